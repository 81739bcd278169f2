"""The composition root: builds every part from the settings, runs them, and ends them in order."""

import asyncio
import gc
import resource
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any, ParamSpec

import structlog

from listener import __version__, connections
from listener.assembly import Account, WallClock, identity_of, policy_of, sink_problems, source_of, trial_for
from listener.backoff import Backoff
from listener.control import ControlServer
from listener.delivery import Lane
from listener.errors import ConfigError, ControlError, JournalError, JournalLocked, ListenerError
from listener.health import Health
from listener.housekeeping import Retention, record_damages
from listener.journal import SqliteJournal
from listener.journal.sqlite import Committed, size_bytes
from listener.lane_settings import LaneSettings
from listener.metrics import Metrics
from listener.model import Event, Kind, SessionState
from listener.orders import Orders
from listener.receiver import Receiver, ReceiverOptions
from listener.recorder import Recorder, digest_of
from listener.rereading import Rereader
from listener.serving import http_server
from listener.settings import AccountSettings, Settings
from listener.sinks import registry
from listener.webservices.notifications import NotificationDecoder

P = ParamSpec("P")

log = structlog.get_logger(__name__)

_RECENT = 4096  # events
_STARTS_PER_S = 100  # logins of many accounts are spread: a denial-of-service filter may stand before the server
_OPEN_FILES = 65_536


class Daemon:
    """The listener as a whole.

    Args:
        settings: the configuration, checked.
        metrics: handed in by whoever wants to look at them.
        on_record: called with each group of events once it is durable.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        metrics: Metrics | None = None,
        on_record: Callable[[tuple[Event, ...]], None] | None = None,
    ) -> None:
        self._settings = settings
        self.metrics = metrics or Metrics()
        self._on_record = on_record
        self._stop = asyncio.Event()
        self._receivers: list[Receiver] = []
        self._lanes: list[Lane] = []
        self._down_since_ms: int | None = None
        self._known_digests: dict[str, list[bytes]] = {}
        path = settings.path(settings.journal.path)
        self._journal = SqliteJournal(
            path=path,
            on_commit=self._count_commit,
            max_bytes=settings.journal.max_bytes,
        )
        self._recorder = Recorder(
            journal=self._journal,
            metrics=self.metrics,
            source=source_of(settings),
            type_prefix=settings.disposition.type_prefix,
            on_record=on_record,
        )
        self.health = Health(
            accounts=lambda: [receiver.status() for receiver in self._receivers],
            lanes=lambda: [lane.status() for lane in self._lanes],
            journal=self._journal,
            journal_bytes=partial(size_bytes, path),
            recorder=self._recorder,
            now_ms=WallClock().now_ms,
        )
        self.metrics.sample(partial(self.health.sample, self.metrics))

    def _count_commit(self, done: Committed) -> None:
        self.metrics.observe("journal_fsync_seconds", done.fsync_s)
        if done.waited_s is not None:
            self.metrics.observe("journal_commit_seconds", done.waited_s)

    def stop(self) -> None:
        """Ask for an end in order; `run` then returns."""
        self._stop.set()

    def resume_lanes(self) -> None:
        """Let every lane that waits for a person go on."""
        log.info("lanes_resumed", sinks=[lane.name for lane in self._lanes if lane.resume()])

    async def run(self) -> None:
        """Listen until `stop`, then drain the lanes for at most `shutdown_timeout_s`.

        Raises:
            ListenerError: what kept it from starting, or from going on.
        """
        try:
            async with AsyncExitStack() as stack:
                await self._run(stack)
        except BaseExceptionGroup as group:
            raise _first(group) from group

    async def _run(self, stack: AsyncExitStack) -> None:
        _raise_open_files()
        _calm_the_collector()
        await self._open_journal(stack)
        self._build_lanes()
        orders = await self._take_orders(stack)
        await self._serve_http(stack, orders)
        accounts = await self._build_accounts(stack)
        log.info(
            "started",
            version=__version__,
            accounts=len(accounts),
            sinks=[lane.name for lane in self._lanes],
            journal=str(self._settings.path(self._settings.journal.path)),
            last_sequence=self._journal.last_sequence,
        )
        async with asyncio.TaskGroup() as tasks:
            workers = [
                tasks.create_task(_loud(self._recorder.run), name="recorder"),
                tasks.create_task(_loud(self._retention().run), name="retention"),
                tasks.create_task(_loud(self._record_damages), name="damages"),
                *(tasks.create_task(_loud(lane.run), name=f"lane {lane.name}") for lane in self._lanes),
            ]
            listeners = [
                tasks.create_task(
                    _loud(self._start_later, receiver, index / _STARTS_PER_S),
                    name=f"account {receiver.status().account}",
                )
                for index, receiver in enumerate(self._receivers)
            ]
            await self._stop.wait()
            await self._drain(listeners)
            for worker in workers:
                worker.cancel()
        log.info("stopped", last_sequence=self._journal.last_sequence)

    async def _drain(self, listeners: list[asyncio.Task[None]]) -> None:
        """Stop taking, then let the lanes finish; what does not fit into the time stays in the journal."""
        log.info("stopping", timeout_s=self._settings.shutdown_timeout_s)
        try:
            async with asyncio.timeout(self._settings.shutdown_timeout_s):
                await asyncio.gather(*listeners)
                await asyncio.gather(*(lane.drained() for lane in self._lanes))
        except TimeoutError:
            left = {lane.name: status.lag for lane in self._lanes if (status := lane.status()).lag}
            log.warning("not_drained", left_in_the_journal=left)
            for listener in listeners:
                listener.cancel()

    async def _start_later(self, receiver: Receiver, delay_s: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay_s)
        await receiver.run(self._stop)

    async def _open_journal(self, stack: AsyncExitStack) -> None:
        """Raises JournalError, which names the setting."""
        try:
            await self._journal.open()
        except JournalLocked:
            raise  # names it already
        except JournalError as exc:
            raise JournalError(f"journal.path: {exc}") from exc
        stack.push_async_callback(self._journal.close)
        self._known_digests = await self._recent_digests()
        damages = await self._journal.pending_damages()
        self._down_since_ms = min((damage.at_ms for damage in damages), default=None)

    async def _recent_digests(self) -> dict[str, list[bytes]]:
        """Per account, what the newest events came from: a session that is continued may bring it once more."""
        found: dict[str, list[bytes]] = {}
        for event in await self._journal.read(max(0, self._journal.last_sequence - _RECENT), _RECENT):
            digest = digest_of(event.id)
            if digest is not None and event.kind is Kind.DISPOSITION:
                found.setdefault(event.account, []).append(digest)
        return found

    def _build_lanes(self) -> None:
        """Raises ConfigError with the problems of all sinks."""
        problems = sink_problems(self._settings)
        if problems:
            raise ConfigError(problems)
        self._lanes = [self._lane(name, lane) for name, lane in self._settings.sinks.items()]

    def _lane(self, name: str, lane: LaneSettings) -> Lane:
        return Lane(
            name=name,
            kind=lane.type,
            sink=registry.build(name, lane, base=self._settings.base),
            journal=self._journal,
            policy=policy_of(name, lane),
            metrics=self.metrics,
            now_ms=WallClock().now_ms,
            backoff=Backoff(limit_s=lane.retry_limit_s),
        )

    async def _take_orders(self, stack: AsyncExitStack) -> Orders:
        """Where the journal's folder takes no socket, listening goes on without its orders."""
        orders = Orders(
            journal=self._journal,
            lanes={lane.name: lane for lane in self._lanes},
            trial=partial(trial_for, self._settings),
        )
        server = ControlServer(journal=self._settings.path(self._settings.journal.path), carry_out=orders.carry_out)
        try:
            await server.start()
        except ControlError as exc:
            log.warning("control_unavailable", reason=str(exc))
        stack.push_async_callback(server.stop)
        return orders

    async def _serve_http(self, stack: AsyncExitStack, orders: Orders) -> None:
        if self._settings.http is None:
            return
        server = http_server(
            self._settings.http, base=self._settings.base, metrics=self.metrics, health=self.health, orders=orders
        )
        await server.start()
        stack.push_async_callback(server.stop)

    async def _build_accounts(self, stack: AsyncExitStack) -> list[Account]:
        connector = connections.new_connector(self._settings.server)
        stack.push_async_callback(connector.close)
        saved = await self._journal.sessions()
        configured = self._settings.listening_accounts()
        spread_s = min(10.0, max(1.0, len(configured) / 500))
        accounts = [
            Account(
                settings=self._settings,
                account=account,
                connector=connector,
                metrics=self.metrics,
                saved=self._fitting(saved.get(account.username), account),
                spread_s=spread_s,
            )
            for account in configured
        ]
        for account in accounts:
            stack.push_async_callback(account.http.close)
        decoder = self._decoder()
        self._receivers = [
            self._receiver(account, decoder, saved.get(account.identity.account)) for account in accounts
        ]
        self.metrics.set("sessions_configured", len(accounts))
        return accounts

    def _fitting(self, saved: SessionState | None, account: AccountSettings) -> SessionState | None:
        """A stored session that belongs to this server, topic and transport."""
        if saved is None:
            return None
        identity = identity_of(self._settings, account)
        same = (saved.url, saved.topic) == (identity.url, identity.topic)
        return saved if same and saved.connection_type == self._settings.server.transport else None

    def _receiver(self, account: Account, decoder: NotificationDecoder, saved: SessionState | None) -> Receiver:
        receiver = Receiver(
            identity=account.identity,
            client=account.client,
            decoder=decoder,
            record=self._recorder.record,
            rest=account.rest,
            rereader=self._rereader(account, decoder),
            cookies=lambda: connections.saved_cookies(account.http),
            saved=saved,
            metrics=self.metrics,
            options=ReceiverOptions(
                keepalive_s=self._settings.server.keepalive_s,
                disconnect_on_stop=self._settings.disconnect_on_stop,
                down_since_ms=self._down_since_ms,
                known_digests=tuple(self._known_digests.pop(account.identity.account, ())),
            ),
        )
        if saved is None:
            account.before_listening = receiver.learn_chats
        return receiver

    def _rereader(self, account: Account, decoder: NotificationDecoder) -> Rereader | None:
        if account.rest is None:
            return None
        return Rereader(
            account=account.identity.account,
            rest=account.rest,
            decoder=decoder,
            record=self._recorder.record,
            differences=self._recorder.differences,
            metrics=self.metrics,
            now_ms=WallClock().now_ms,
            interval_s=self._settings.server.reconcile_interval_s,
        )

    def _decoder(self) -> NotificationDecoder:
        wanted = self._settings.disposition
        return NotificationDecoder(keys=wanted.keys, user_data=wanted.user_data, participants=wanted.participants)

    def _retention(self) -> Retention:
        return Retention(
            journal=self._journal,
            keep_for=tuple(self._settings.sinks),
            retention_days=self._settings.journal.retention_days,
            max_bytes=self._settings.journal.max_bytes,
            now_ms=WallClock().now_ms,
        )

    async def _record_damages(self) -> None:
        accounts = [account.username for account in self._settings.listening_accounts()]
        await record_damages(self._journal, self._recorder.record, accounts, self.metrics)

    def not_ready(self) -> list[str]:
        """Why the daemon does not do its whole work now; empty when it does."""
        return [hindrance.full for hindrance in self.health.hindrances()]


def _raise_open_files() -> None:
    """One held poll an account, one socket each: ask for as many as the host allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _calm_the_collector() -> None:
    """What exists now lives as long as the process; what a batch makes holds no cycles: look for them less often."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _loud(work: Callable[P, Coroutine[Any, Any, None]], *args: P.args, **kwargs: P.kwargs) -> None:
    """Let what ends a task tell the task's name."""
    try:
        await work(*args, **kwargs)
    except Exception as exc:
        task = asyncio.current_task()
        for leaf in _leaves(exc):
            leaf.add_note(f"in {task.get_name() if task else 'no task'}")
        raise


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The cause that a person should read: an error of ours where there is one."""
    leaves = list(_leaves(group))
    return next((exc for exc in leaves if isinstance(exc, ListenerError)), leaves[0])


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group of groups, from left to right."""
    if isinstance(exc, BaseExceptionGroup):
        for part in exc.exceptions:
            yield from _leaves(part)
    else:
        yield exc
