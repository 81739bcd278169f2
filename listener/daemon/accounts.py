"""The accounts: builds, starts and stops each of them while the others continue."""

import asyncio
import gc
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import ceil
from types import MappingProxyType
from typing import Any

import aiohttp
import structlog

from listener.cometd.certainty import Certainty
from listener.config.settings import AUTO, AccountSettings, Settings, SupervisorSettings
from listener.daemon import connections
from listener.daemon.assembly import Account, identity_of
from listener.daemon.failures import Patience
from listener.daemon.passwords import Passwords
from listener.daemon.roll import Roll
from listener.daemon.supervisors import monitoring_of, team_of
from listener.intake.receiver import Receiver, ReceiverOptions
from listener.intake.reconciliation import Reconciler
from listener.intake.recorder import Recorder, digest_of
from listener.intake.supervisor import SupervisorReceiver
from listener.model.event import Kind, SessionState
from listener.ports import Journal
from listener.runtime.gate import Gate
from listener.runtime.host import Host
from listener.runtime.metrics import Metrics
from listener.webservices.found_keys import FoundKeys
from listener.webservices.notifications import NotificationDecoder
from listener.webservices.skew import ClockSkew
from listener.webservices.team import TeamChats, TeamDecoder

log = structlog.get_logger(__name__)

_RECENT = 4096  # events
_STARTS_PER_S = 100  # logins of many accounts are spread: a denial-of-service filter may stand before the server
_STARTED_WITHIN_S = 20.0  # unless there are so many that they are heard too late
_RESUMES_PER_S = 4000  # their logins hold, and their sessions do not wait
_TICK_S = 0.005
_MOST_ENDED = 500  # accounts
_AT_ONCE = 10  # accounts that are dealt with in one turn of the event loop
_NOTHING: Mapping[str, tuple[bytes, ...]] = MappingProxyType({})

Spawn = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Runs a coroutine as a task of this name, whose death ends the daemon."""


@dataclass(kw_only=True, slots=True)
class _Listening:
    """One account at work."""

    settings: AccountSettings
    parts: Account
    receiver: Receiver
    resumes: bool
    is_waiting: bool = False
    task: asyncio.Task[None] | None = None


class _Digests:
    """Digests of the newest notifications: a session that is continued may repeat them."""

    def __init__(self) -> None:
        self._newest: deque[tuple[str, bytes]] = deque(maxlen=_RECENT)
        self._last = 0

    async def read(self, journal: Journal) -> dict[str, tuple[bytes, ...]]:
        """Per account; reads what has come since the last time. Raises JournalError."""
        for event in await journal.read(max(self._last, journal.last_sequence - _RECENT), _RECENT):
            self._last = event.sequence
            digest = digest_of(event.id)
            if digest is not None and event.kind is Kind.DISPOSITION:
                self._newest.append((event.account, digest))
        found: dict[str, list[bytes]] = {}
        for account, digest in self._newest:
            found.setdefault(account, []).append(digest)
        return {account: tuple(digests) for account, digests in found.items()}


class Accounts:
    """Builds, starts and stops the accounts of a configuration.

    What they are made of is kept from the garbage collector: one look at the parts of all sessions would hold the event
    loop for a second. What an account leaves when it ends is looked for once so many have ended (`_MOST_ENDED`).

    Args:
        settings: the configuration; of a later one only the accounts are looked at (see `apply`).
        journal: open; holds the sessions that are continued.
        recorder: turns observations into durable events.
        metrics: counts.
        connector: shared by all accounts.
        roll: where they are entered.
        certainty: what sessions may ask for now; None where no other process can have them.
        host: time and chance.
        patience: has those begin that change, once they are stopped.

    Attributes:
        passwords: tries those that change, as long as it runs.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        journal: Journal,
        recorder: Recorder,
        metrics: Metrics,
        connector: aiohttp.BaseConnector,
        roll: Roll,
        certainty: Certainty | None = None,
        host: Host,
        patience: Patience,
    ) -> None:
        self._settings = settings
        self._host = host
        self._journal = journal
        self._recorder = recorder
        self._metrics = metrics
        self._connector = connector
        self._roll = roll
        self._skew = ClockSkew(time_s=host.time_s)
        self._certainty = certainty
        self._patience = patience
        self._decoders: dict[tuple[str, ...], NotificationDecoder] = {}
        self._found_keys = FoundKeys(self._decoder_of)
        self._listening: dict[str, _Listening] = {}
        self._digests = _Digests()
        self._roll.number((one.username for one in settings.listening_accounts()), settings.marks())
        self._starting: set[asyncio.Task[None]] = set()
        self._resumed = Gate()
        self._resuming = 0
        self._ended = 0
        self.passwords = Passwords(
            settings=lambda: self._settings, connector=connector, lives=self._lives, doubt=roll.doubt, host=host
        )

    def __len__(self) -> int:
        return len(self._listening)

    async def build(
        self, accounts: Iterable[AccountSettings], heard: Mapping[str, tuple[bytes, ...]] = _NOTHING
    ) -> None:
        """Build the accounts that do not exist yet; those with a stored session continue it. Raises JournalError.

        Args:
            accounts: which.
            heard: digests of what was heard by those that are begun anew: the journal may not have it yet.
        """
        configured = [account for account in accounts if account.username not in self._listening]
        if not configured:
            return
        saved = await self._journal.sessions([account.username for account in configured])
        digests = await self._digests.read(self._journal)
        spread_s = min(10.0, max(0.5, len(self._settings.listening_accounts()) / 500))
        for built, account in enumerate(configured, 1):
            stored = saved.get(account.username)
            known = (*digests.get(account.username, ()), *heard.get(account.username, ()))
            ended = "never" if stored is None else "in_order" if stored.clean else "cut_off"
            self._metrics.count("accounts_begun_total", 1, ended)
            one = self._listening[account.username] = self._build(account, stored, known, spread_s)
            self._roll.enter(one.receiver.status, one.receiver.silence)
            if not built % _AT_ONCE:
                gc.freeze()
                await asyncio.sleep(0)
        self._metrics.set("sessions_configured", len(self._listening))

    def start(self, spawn: Spawn) -> None:
        """Start those that do not run yet: those that continue a session first and at once, the others over time."""
        waiting = [one for one in self._listening.values() if one.task is None and not one.is_waiting]
        if not waiting:
            return
        for one in waiting:
            one.is_waiting = True
        resuming = [one for one in waiting if one.resumes]
        new = [one for one in waiting if not one.resumes]
        for work in (self._resume(resuming, spawn), self._start_over_time(new, _starts_per_s(len(new)), spawn)):
            starting = spawn("starts", work)
            self._starting.add(starting)
            starting.add_done_callback(self._starting.discard)

    async def _resume(self, waiting: list[_Listening], spawn: Spawn) -> None:
        """The first connect of each comes before the second of any: the server ends those that wait too long for it."""
        self._resumed.shut()
        self._resuming += 1
        try:
            await self._start_over_time(waiting, _RESUMES_PER_S, spawn)
        finally:
            self._resuming -= 1
        if not self._resuming:
            await self._resumed.open()

    async def _start_over_time(self, waiting: list[_Listening], per_s: float, spawn: Spawn) -> None:
        """So many a second, and no more in one turn of the event loop than that makes: a slow loop gets fewer."""
        for begin, end in pairwise(_slices(len(waiting), per_s * _TICK_S)):
            if begin:
                await asyncio.sleep(_TICK_S)
            gc.freeze()
            for one in waiting[begin:end]:
                if one.is_waiting:
                    one.is_waiting = False
                    one.task = spawn(f"account {one.settings.username}", one.receiver.run())

    async def apply(
        self, settings: Settings, changed: Iterable[str], spawn: Spawn, *, teams: Iterable[str] = (), timeout_s: float
    ) -> None:
        """Stop the accounts of these names, cleanly if time allows, and start those that are configured now.

        Args:
            settings: the new configuration.
            changed: the names of accounts that are added, removed, or to be restarted.
            spawn: see `Spawn`.
            teams: the names of supervisors that monitor others from now on, and go on.
            timeout_s: how long the old ones may take to stop.
        """
        names, configured = set(changed), {one.username: one for one in settings.listening_accounts()}
        gone = [name for name in names if not isinstance(configured.get(name), SupervisorSettings)]
        await self._release(gone, timeout_s)
        for name in teams:
            one, supervisor = self._listening.get(name), configured[name]
            if one is not None and isinstance(one.receiver, SupervisorReceiver):
                one.settings = supervisor
                if isinstance(supervisor, SupervisorSettings):
                    one.receiver.watch(team_of(supervisor))
        old = {name: self._listening[name] for name in names & self._listening.keys()}
        lost = {name: one.parts.engine.subscription.cause for name, one in old.items()}
        await self.end(names, timeout_s=timeout_s)
        self._settings = settings
        self._roll.number((one.username for one in settings.listening_accounts()), settings.marks())
        begun = [account for account in settings.listening_accounts() if account.username in names]
        heard = {name: one.receiver.repeats.known for name, one in old.items()}
        await self._patience.persist("begin anew", lambda: self.build(begun, heard))
        for name in lost.keys() & self._listening.keys():  # that it begins anew is not why it is lost
            subscription = self._listening[name].parts.engine.subscription
            subscription.cause = lost[name] or subscription.cause
        self.start(spawn)
        self.passwords.look()

    def _lives(self, name: str) -> bool:
        """Whether an account has a session that goes on without a login."""
        one = self._listening.get(name)
        return one is not None and one.receiver.status.subscribed

    async def _release(self, names: Iterable[str], timeout_s: float) -> None:
        """Let the server know that these supervisors monitor nobody any more, if time allows."""
        gone = [one.receiver for name in names if (one := self._listening.get(name)) is not None]
        releases = [receiver.release() for receiver in gone if isinstance(receiver, SupervisorReceiver)]
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*releases), timeout_s)

    async def end(self, names: Iterable[str], *, timeout_s: float) -> None:
        """Stop the accounts of these names, cleanly if time allows; their sessions are stored, to be continued."""
        old = [self._listening[name] for name in names if name in self._listening]
        await asyncio.gather(*(_end(one, timeout_s) for one in old))
        self._ended += len(old)
        if self._ended > _MOST_ENDED:
            self._ended = 0
            gc.unfreeze()
        for one in old:
            self._metrics.add("sessions_subscribed", -one.receiver.status.subscribed)
            if (team := one.receiver.status.team) is not None:
                self._metrics.add("agents_wanted", -team.wanted)
                self._metrics.add("agents_monitored", -team.monitored)
            self._roll.strike(one.settings.username)
            del self._listening[one.settings.username]
        self._metrics.set("sessions_configured", len(self._listening))

    async def stop(self) -> None:
        """Stop all of them cleanly; returns when all have stored their state. Cancelling is safe.

        Polls that cost nothing stay open until `leave`: a server forgets a session so long after its last poll.
        """
        self._start_no_more()
        async for one in self._each():
            one.receiver.stop()
        for one in list(self._listening.values()):
            if one.task is not None:
                await one.receiver.rested.wait()

    def abandon(self) -> None:
        """Cancel those that take too long."""
        for one in self._listening.values():
            if one.task is not None and not one.receiver.rested.is_set():
                one.task.cancel()

    async def leave(self) -> None:
        """End all tasks, and so the polls that are open."""
        self._start_no_more()
        async for one in self._each():
            if one.task is not None:
                one.task.cancel()

    def _start_no_more(self) -> None:
        for starting in self._starting:
            starting.cancel()

    async def _each(self) -> AsyncIterator[_Listening]:
        """All of them, a few in each turn of the event loop."""
        for number, one in enumerate(list(self._listening.values()), 1):
            yield one
            if not number % _AT_ONCE:
                gc.freeze()
                await asyncio.sleep(0)

    def _build(
        self, account: AccountSettings, stored: SessionState | None, digests: tuple[bytes, ...], spread_s: float
    ) -> _Listening:
        saved = self._fitting(stored, account)
        if saved is not None:
            self.passwords.continued(account.username, saved.seen_ms)
        parts = Account(
            settings=self._settings,
            account=account,
            connector=self._connector,
            metrics=self._metrics,
            saved=saved,
            spread_s=spread_s,
            skew=self._skew,
            certainty=self._certainty,
            others_first=self._resumed,
            host=self._host,
        )
        receiver = self._receiver(parts, account, stored, digests)
        return _Listening(settings=account, parts=parts, receiver=receiver, resumes=saved is not None)

    def _fitting(self, saved: SessionState | None, account: AccountSettings) -> SessionState | None:
        """A stored session that belongs to this server, its topics and transport."""
        if saved is None:
            return None
        identity = identity_of(self._settings, account)
        return saved if identity.fits(saved) and saved.connection_type == self._settings.server.transport else None

    def _decoder(self, parts: Account, account: AccountSettings) -> NotificationDecoder:
        keys = self._settings.keys_of(account)
        if keys != AUTO:
            return self._decoder_of(keys)
        finding = self._found_keys.decoder(account.username)
        parts.after_login = finding.learn
        parts.engine.login_first = True
        return finding

    def _decoder_of(self, keys: tuple[str, ...]) -> NotificationDecoder:
        """The decoder of these keys, which all accounts that have them share."""
        if (decoder := self._decoders.get(keys)) is None:
            wanted = self._settings.disposition
            decoder = self._decoders[keys] = NotificationDecoder(
                keys=keys, user_data=wanted.user_data, participants=wanted.participants, media=wanted.media
            )
        return decoder

    def _receiver(
        self, parts: Account, account: AccountSettings, stored: SessionState | None, digests: tuple[bytes, ...]
    ) -> Receiver:
        decoder = self._decoder(parts, account)
        new: Callable[..., Receiver] = Receiver
        if isinstance(account, SupervisorSettings) and parts.services is not None:
            chats = TeamChats()
            decoder = TeamDecoder(decoder, chats)
            monitoring = monitoring_of(account, parts.services, chats, metrics=self._metrics, host=self._host)
            parts.on_login.append(monitoring.logged_in)
            new = partial(SupervisorReceiver, monitoring=monitoring)
        receiver = new(
            identity=parts.identity,
            client=parts.client,
            decoder=decoder,
            record=self._recorder.record,
            submit=self._recorder.submit,
            rest=parts.rest,
            reconciler=self._reconciler(parts, decoder),
            cookies=lambda: connections.saved_cookies(parts.http),
            saved=stored,
            metrics=self._metrics,
            options=ReceiverOptions(
                resubscribe_s=self._settings.server.reconcile_interval_s,
                keepalive_s=self._settings.server.keepalive_s,
                disconnect_on_stop=self._settings.disconnect_on_stop,
                known_digests=digests,
            ),
            host=self._host,
        )
        receiver.on_status = self._roll.note
        parts.on_login.append(partial(self.passwords.logged_in, account.username))
        if stored is None or not stored.client_id:
            parts.before_listening = receiver.learn_chats
        return receiver

    def _reconciler(self, parts: Account, decoder: NotificationDecoder) -> Reconciler | None:
        if parts.rest is None:
            return None
        return Reconciler(
            account=parts.identity.account,
            rest=parts.rest,
            decoder=decoder,
            record=self._recorder.record,
            differences=self._recorder.differences,
            metrics=self._metrics,
            clock=self._host.clock,
            interval_s=self._settings.server.reconcile_interval_s,
            uniform=self._host.random.uniform,
            media=self._settings.disposition.media,
            tell=self._roll.unread,
        )


def _starts_per_s(count: int) -> float:
    return max(_STARTS_PER_S, count / _STARTED_WITHIN_S)


def _slices(count: int, size: float) -> Iterator[int]:
    """Where slices of this size, on average, begin and end."""
    for number in range(ceil(count / size)):
        yield int(number * size)
    yield count


async def _end(one: _Listening, timeout_s: float) -> None:
    """Stop one account, cleanly if time allows; its session is stored, so that it can be continued."""
    one.is_waiting = False
    one.receiver.stop()
    if one.task is not None:
        if not await one.receiver.rested.within(timeout_s):
            log.warning("account_not_stopped_in_time", account=one.settings.username, after_s=timeout_s)
        one.task.cancel()
        await asyncio.wait((one.task,))
