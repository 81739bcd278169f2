"""What the command line does without a daemon: probes, a test event, SetDisposition."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from typing import Any, NamedTuple

from listener.cometd.facts import SessionProblem
from listener.config.lane import LaneSettings
from listener.config.settings import AccountSettings, ServerSettings, Settings, SupervisorSettings
from listener.daemon import connections
from listener.daemon.assembly import Account, new_test_event, sink_problems
from listener.daemon.control import SinkTestResult
from listener.daemon.storage import storage_of
from listener.daemon.supervisors import team_problems
from listener.delivery import outcome_of, try_out
from listener.errors import ConfigError, JournalError, ListenerError, Problem, StartError, WebServicesError
from listener.runtime.host import THIS_HOST
from listener.runtime.metrics import Metrics
from listener.sinks import registry
from listener.webservices.media import A_CHAT, Target

_HANDSHAKE_S = 10.0
_AT_ONCE = 50  # logins: as in the daemon, a denial-of-service filter may stand before the server
_SERVER_KEYS = {f"server.{name}" for name in ServerSettings.model_fields}


async def probe(settings: Settings) -> list[Problem]:
    """Log in every account, do a CometD handshake, and probe what the journal and the sinks connect to.

    Sends no event, and leaves out the sinks of other replicas. Returns every problem found, in the order of the
    configuration; takes some ten seconds if nothing answers.
    """
    async with AsyncExitStack() as stack:
        connector = connections.new_connector(settings.server)
        stack.push_async_callback(connector.close)
        journal = settings.journal
        slots = asyncio.Semaphore(_AT_ONCE)
        found = await asyncio.gather(
            *(_within(slots, _probe_login(settings, *one, connector)) for one in _listening(settings)),
            _probe_database(settings),
            *(_probe_sink(settings, name, lane) for name, lane in settings.sinks.items() if journal.is_here(lane.on)),
        )
    return settings.placed(problem for some in found for problem in some)


class Survey(NamedTuple):
    """What a server tells somebody who is about to configure the listener for it; None where it does not.

    Attributes:
        version: of the Web Services.
        ack: whether it offers CometD's acknowledge extension.
        key: the disposition key that its settings name.
        problems: why the first account has no session, if so.
    """

    version: str | None = None
    ack: bool | None = None
    key: str | None = None
    problems: tuple[Problem, ...] = ()


async def survey(settings: Settings) -> Survey:
    """Log in the first account, do a CometD handshake and ask what else there is to know. Raises ConfigError."""
    found = Survey()

    async def look(parts: Account) -> None:
        nonlocal found
        found = Survey(ack=parts.engine.session.ack_granted)
        if parts.rest is not None:
            with suppress(WebServicesError):
                found = found._replace(version=await parts.rest.version())
            with suppress(WebServicesError):
                found = found._replace(key=await parts.rest.disposition_key())

    connector = connections.new_connector(settings.server)
    try:
        problems = await _probe_account(settings, *_listening(settings)[0], connector, look)
    finally:
        await connector.close()
    return found._replace(problems=tuple(settings.placed(problems)))


async def _within(slots: asyncio.Semaphore, probe: Awaitable[Iterable[Problem]]) -> Iterable[Problem]:
    async with slots:
        return await probe


async def set_disposition(
    settings: Settings,
    *,
    chat_id: str,
    disposition: str,
    key: str | None = None,
    username: str | None = None,
    target: Target = A_CHAT,
) -> dict[str, Any]:
    """Set a disposition as one of the accounts, the first by default; returns the server's answer.

    Raises:
        ConfigError: there is no such account, or the server has no REST API.
        WebServicesError: the server did not do it.
    """
    account = _account(settings, username)
    connector = connections.new_connector(settings.server)
    try:
        parts = Account(settings=settings, account=account, connector=connector, metrics=Metrics())
        if parts.rest is None:
            raise ConfigError([Problem("server.login", 'SetDisposition needs the REST API: login = "basic"')])
        return await parts.rest.set_disposition(chat_id, disposition, key, target)
    finally:
        await connector.close()


async def send_test_event(settings: Settings, name: str) -> SinkTestResult:
    """Send one test event to a sink that no daemon holds.

    Raises:
        ConfigError: there is no such sink.
        StartError: the host refuses what the sink needs.
    """
    lane = settings.sinks.get(name)
    if lane is None:
        known = ", ".join(settings.sinks)
        raise ConfigError([Problem(f"sinks.{name}", f"there is no such sink (configured: {known or 'none'})")])
    event = new_test_event(settings, name)
    sink = registry.build(name, lane, base=settings.base)
    try:
        await sink.open()
        return SinkTestResult.of(event.id, *await try_out(sink, event))
    except StartError:
        raise
    except Exception as exc:  # noqa: BLE001 - as in a lane: whatever a sink raises is its verdict
        return SinkTestResult.of(event.id, outcome_of(exc, 1))
    finally:
        await sink.close()


def _account(settings: Settings, username: str | None) -> AccountSettings:
    accounts = settings.listening_accounts()
    if username is None:
        return accounts[0]
    for account in accounts:
        if account.username == username:
            return account
    known = ", ".join(account.username for account in accounts)
    raise ConfigError([Problem("--account", f"there is no account {username!r} (configured: {known})")])


def _listening(settings: Settings) -> list[tuple[str, AccountSettings]]:
    """Those who listen, each with its place in the configuration."""
    return [*settings.parts().accounts.items()] or [("accounts[0]", settings.listening_accounts()[0])]


async def _nothing(_: Account) -> None:
    """A session that is open is all that was asked."""


async def _probe_login(settings: Settings, place: str, account: AccountSettings, connector: Any) -> Iterable[Problem]:
    """What keeps an account from its session, or a supervisor from knowing its team."""
    if not isinstance(account, SupervisorSettings):
        return await _probe_account(settings, place, account, connector)
    found: list[Problem] = []

    async def look(parts: Account) -> None:
        if parts.services is not None:
            found.extend(await team_problems(place, account, parts.services))

    # The supervisor may be at work: nobody is monitored, and no contact-center session is started, by a look.
    only_looks = account.model_copy(update={"start_contact_center_session": False})
    return [*await _probe_account(settings, place, only_looks, connector, look), *found]


async def _probe_account(
    settings: Settings,
    place: str,
    account: AccountSettings,
    connector: Any,
    look: Callable[[Account], Awaitable[None]] = _nothing,
) -> Iterable[Problem]:
    """The first problem of the session before its handshake is granted; else it is looked at and ended."""
    parts = Account(settings=settings, account=account, connector=connector, metrics=Metrics())
    opening = asyncio.create_task(parts.client.open(), name=f"probe {account.username}")  # awaited below
    watching = asyncio.create_task(_first_problem(parts), name="first problem")
    try:
        await asyncio.wait((opening, watching), timeout=_HANDSHAKE_S, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            opening.result()
            await look(parts)
            await parts.client.close()
            return _refused_topics(parts)
        if watching.done():
            return [_as_problem(account, place, watching.result())]
        return [Problem("server.url", f"no answer from {parts.identity.url} within {_HANDSHAKE_S:.0f} s")]
    finally:
        for task in (opening, watching):
            task.cancel()
        await asyncio.wait((opening, watching))
        if parts.client.link.transport is not None:
            await parts.client.link.transport.close()


def _refused_topics(parts: Account) -> list[Problem]:
    refused = parts.engine.session.refused_topics
    return [
        Problem("disposition.media", f"{medium} is not heard, {topic} was refused: {refused[topic]}")
        for medium, topic in parts.identity.topics.items()
        if topic in refused
    ]


async def _first_problem(parts: Account) -> SessionProblem:
    async for fact in parts.client.facts():
        if isinstance(fact, SessionProblem):
            return fact
    raise AssertionError("facts end with their caller only")


def _as_problem(account: AccountSettings, place: str, reported: SessionProblem) -> Problem:
    if reported.reason == "login_refused":
        key = "password" if account.password is not None else "password_file"
        return Problem(f"{place}.{key}", reported.text)
    setting, named, text = reported.text.partition(": ")
    if named and setting in _SERVER_KEYS:  # the session knows the setting
        return Problem(setting, text)
    return Problem("server.url", reported.text)


async def _probe_database(settings: Settings) -> Iterable[Problem]:
    database = storage_of(settings, host=THIS_HOST, metrics=Metrics()).database
    if database is None:
        return []
    try:
        await database.check()
    except JournalError as exc:
        return [Problem("journal.url", str(exc))]
    finally:
        await database.close()
    return []


async def _probe_sink(settings: Settings, name: str, lane: LaneSettings) -> Iterable[Problem]:
    if any(problem.path.startswith(f"sinks.{name}.") for problem in sink_problems(settings)):
        return []  # the check of the configuration reports it
    sink = registry.build(name, lane, base=settings.base)
    try:
        await sink.check()
    except ListenerError as exc:
        text = str(exc)
        return [Problem("" if text.startswith(f"sinks.{name}") else f"sinks.{name}", text)]
    else:
        return []
    finally:
        await sink.close()
