"""The composition root: builds every part from the settings, runs them, and stops them in order."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from listener import __version__
from listener.config.schema import input_files
from listener.config.settings import Settings
from listener.daemon import connections
from listener.daemon.accounts import Accounts, Spawn
from listener.daemon.assembly import known_elsewhere, new_test_event, source_of
from listener.daemon.commands import CommandHandler
from listener.daemon.control import ControlServer
from listener.daemon.credentials import FileWatch
from listener.daemon.health import Health
from listener.daemon.housekeeping import Retention, look_after, record_damages
from listener.daemon.lanes import SinkLanes
from listener.daemon.reloading import Changes, Reloads, changes_between
from listener.daemon.roll import Roll
from listener.daemon.serving import http_server
from listener.daemon.supervision import Supervision
from listener.errors import ConfigError, ControlError, JournalError, JournalLocked, ListenerError
from listener.intake.recorder import Recorder
from listener.journal.sqlite import SqliteJournal
from listener.journal.sqlite.journal import wal_bytes
from listener.model.event import Committed, Event
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.metrics import Metrics
from listener.runtime.notify import Notifier
from listener.runtime.open_files import open_as_many_files_as_allowed

log = structlog.get_logger(__name__)

_LOOK_S = 10.0
_SINKS_ANSWER_WITHIN_S = 1.0
_SERVER = "[server]"  # no sink can be called so


class Daemon:
    """The listener as a whole.

    Args:
        settings: the configuration, checked.
        metrics: passed in by whoever wants to read them.
        on_record: called with each group of events once it is durable.
        load: rereads the configuration for SIGHUP, and raises ConfigError; None if it cannot be reread.
        notifier: gets the state of the service.
        host: time, chance and workers.
        takes_orders: whether it listens on the control socket beside the journal.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        metrics: Metrics | None = None,
        on_record: Callable[[tuple[Event, ...]], None] | None = None,
        load: Callable[[], Settings] | None = None,
        notifier: Notifier | None = None,
        host: Host = THIS_HOST,
        takes_orders: bool = True,
    ) -> None:
        self._settings = settings
        self._host = host
        self._takes_orders = takes_orders
        self.metrics = metrics or Metrics()
        self._on_record = on_record
        self._stop = asyncio.Event()
        self._reload_wanted = asyncio.Event()
        self._notifier = notifier or Notifier({})
        self._look = asyncio.Event()
        self._load = load
        self._accounts: Accounts | None = None
        self._roll = Roll(monotonic_s=host.clock.monotonic_s)
        self._renew_connections: Callable[[], None] = lambda: None
        self._down_since_ms: int | None = None
        path = settings.path(settings.journal.path)
        self._journal = self._new_journal(path)
        self._lanes = SinkLanes(journal=self._journal, metrics=self.metrics, host=host)
        self.reloads = Reloads(metrics=self.metrics, now_ms=host.clock.now_ms)
        self._recorder = Recorder(
            journal=self._journal,
            metrics=self.metrics,
            source=source_of(settings),
            type_prefix=settings.disposition.type_prefix,
            on_record=on_record,
            host=host,
        )
        self.health = Health(
            roll=self._roll,
            lanes=lambda: [lane.status() for lane in self._lanes.running.values()],
            configuration=self.reloads.status,
            journal=self._journal,
            wal_bytes=partial(wal_bytes, path),
            recorder=self._recorder,
            now_ms=host.clock.now_ms,
            monotonic_s=host.clock.monotonic_s,
        )
        self.metrics.sample(partial(self.health.sample, self.metrics))

    def _new_journal(self, path: Path) -> SqliteJournal:
        return SqliteJournal(
            path=path,
            on_commit=self._count_commit,
            max_bytes=self._settings.journal.max_bytes,
            host=self._host,
            known=partial(known_elsewhere, self._settings),
            on_rescue=partial(self.metrics.count, "journal_rescues_total"),
        )

    def _count_commit(self, done: Committed) -> None:
        self.metrics.observe("journal_fsync_seconds", done.fsync_s)
        if done.waited_s is not None:
            self.metrics.observe("journal_commit_seconds", done.waited_s)

    def stop(self) -> None:
        """Ask for a clean stop; `run` then returns."""
        self._stop.set()

    def reload(self) -> None:
        """Handle SIGHUP: reopen renamed files, reload the configuration, resume parked sinks."""
        self._lanes.reopen()
        self._reload_wanted.set()

    async def run(self) -> None:
        """Listen until `stop`, then drain the lanes for at most `shutdown_timeout_s`.

        Raises:
            ListenerError: why it could not start, or continue.
        """
        try:
            async with AsyncExitStack() as stack:
                await self._run(stack)
        except BaseExceptionGroup as group:
            raise _first(group) from group

    async def _run(self, stack: AsyncExitStack) -> None:
        open_as_many_files_as_allowed()
        _tune_gc()
        for text in self._settings.renamed:
            log.warning("setting_renamed", text=text)
        await self._open_journal(stack)
        lanes = self._lanes.build(self._settings, self._settings.sinks, retry_start_errors=False)
        self._lanes.running.update(lanes)
        commands = await self._serve_control(stack)
        await self._serve_http(stack, commands)
        watch = FileWatch()
        await asyncio.to_thread(watch.look, self._input_files())  # before they are read: what is replaced since is seen
        accounts = self._accounts = await self._build_accounts(stack)
        log.info(
            "started",
            version=__version__,
            accounts=len(accounts),
            sinks=list(lanes),
            journal=str(self._settings.path(self._settings.journal.path)),
            last_sequence=self._journal.last_sequence,
        )
        async with asyncio.TaskGroup() as tasks:

            def spawn(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
                return tasks.create_task(_loud(work), name=name)

            workers = [
                spawn("recorder", self._recorder.run()),
                spawn("retention", self._retention().run()),
                spawn("damages", self._record_damages()),
                spawn("journal", look_after(self._journal)),
                spawn("reload", self._reload_when_asked(accounts, spawn)),
                spawn("credentials", self._watch_files(watch, spawn)),
                spawn("supervision", self._supervision().run()),
            ]
            self._lanes.start(lanes, spawn)
            await self._sinks_answered()
            accounts.start(spawn)
            await self._stop.wait()
            self._notifier.stopping()
            await self._drain(accounts)
            for worker in workers:
                worker.cancel()
            await self._lanes.end(list(self._lanes.running))
            await accounts.leave()
        log.info("stopped", last_sequence=self._journal.last_sequence)

    async def _sinks_answered(self) -> None:
        """A start that the host refuses to a sink touches no session; a sink that takes its time holds none up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SINKS_ANSWER_WITHIN_S):
                await self._lanes.answered()

    async def _drain(self, accounts: Accounts) -> None:
        """Come to rest, then let the lanes finish; what does not fit into the time stays in the journal."""
        log.info("stopping", timeout_s=self._settings.shutdown_timeout_s)
        try:
            async with asyncio.timeout(self._settings.shutdown_timeout_s):
                await accounts.stop()
                await self._lanes.drained()
        except TimeoutError:
            left = {name: status.lag for name, lane in self._lanes.running.items() if (status := lane.status()).lag}
            log.warning("not_drained", left_in_the_journal=left)
            accounts.abandon()

    async def _reload_when_asked(self, accounts: Accounts, spawn: Spawn) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            self._notifier.reloading()
            await self._reload(accounts, spawn)
            self._notifier.ready(self.reloads.summary())
            log.info("sinks_resumed", sinks=self._lanes.resume())

    async def _watch_files(self, watch: FileWatch, spawn: Spawn) -> None:
        """Reload replaced certificates and secrets; passwords of accounts are read at each login."""
        while True:
            changed = await asyncio.to_thread(lambda: watch.look(self._input_files()))
            try:
                if _SERVER in changed:
                    await asyncio.to_thread(self._renew_connections)
                if sinks := changed - {_SERVER}:
                    await self._lanes.exchange(self._settings, sorted(sinks), spawn)
            except ConfigError as exc:
                problems = [str(problem) for problem in exc.problems]
                log.warning("credentials_not_renewed", problems=problems, effect="the old ones stay in use")
            else:
                if changed:
                    log.info("credentials_renewed", of=sorted(changed))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), _LOOK_S)
            self._look.clear()

    def _input_files(self) -> dict[str, list[Path]]:
        settings = self._settings
        return {_SERVER: list(input_files(settings.server)), **self._lanes.files(settings)}

    async def _reload(self, accounts: Accounts, spawn: Spawn) -> None:
        """Apply a new configuration completely, or, if it has any problem, not at all."""
        if self._load is None:
            return
        try:
            new, changes = await asyncio.to_thread(self._loaded, self._load)
            lanes = self._lanes.build(new, changes.sinks_started)
        except ConfigError as exc:
            self.reloads.refused(exc.problems)
            return
        await self._lanes.end(changes.sinks_ended)
        self._settings = new
        self._lanes.start(lanes, spawn)
        self._look.set()
        if changes.accounts:
            await accounts.apply(new, changes.accounts, spawn, timeout_s=new.shutdown_timeout_s)
        self.reloads.done(changes)

    def _loaded(self, load: Callable[[], Settings]) -> tuple[Settings, Changes]:
        new = load()
        return new, changes_between(self._settings, new)

    async def _open_journal(self, stack: AsyncExitStack) -> None:
        """Raises JournalError, which names the setting."""
        try:
            await self._journal.open()
        except JournalLocked:
            raise  # names it already
        except JournalError as exc:
            raise JournalError(f"journal.path: {exc}") from exc
        stack.push_async_callback(self._journal.close)
        damages = await self._journal.pending_damages()
        self._down_since_ms = min((damage.at_ms for damage in damages), default=None)

    async def _serve_control(self, stack: AsyncExitStack) -> CommandHandler:
        """If the journal's folder cannot hold a socket, the daemon runs without control commands."""
        commands = CommandHandler(
            journal=self._journal,
            lanes=self._lanes.running,
            new_test_event=lambda sink: new_test_event(self._settings, sink, self._host),
        )
        if not self._takes_orders:
            return commands
        server = ControlServer(journal=self._settings.path(self._settings.journal.path), execute=commands.execute)
        try:
            await server.start()
        except ControlError as exc:
            log.warning("control_unavailable", reason=str(exc))
        stack.push_async_callback(server.stop)
        return commands

    async def _serve_http(self, stack: AsyncExitStack, commands: CommandHandler) -> None:
        if self._settings.http is None:
            return
        server = http_server(
            self._settings.http,
            base=self._settings.base,
            metrics=self.metrics,
            health=self.health,
            commands=commands,
            journal=self._journal,
        )
        await server.start()
        stack.push_async_callback(server.stop)

    async def _build_accounts(self, stack: AsyncExitStack) -> Accounts:
        server = self._settings.server
        tls = connections.tls_context(server)
        connector = connections.new_connector(server, tls=tls)
        stack.push_async_callback(connector.close)
        self._renew_connections = partial(connections.renew, server, tls=tls, proxy=connector.proxy)
        accounts = Accounts(
            settings=self._settings,
            journal=self._journal,
            recorder=self._recorder,
            metrics=self.metrics,
            connector=connector,
            roll=self._roll,
            down_since_ms=self._down_since_ms,
            host=self._host,
        )
        await accounts.build(self._settings.listening_accounts())
        stack.push_async_callback(accounts.close)
        return accounts

    def _supervision(self) -> Supervision:
        return Supervision(
            notifier=self._notifier,
            progress=self._journal.ping,
            not_ready=self.not_ready,
            summary=self.reloads.summary,
        )

    def _retention(self) -> Retention:
        return Retention(
            journal=self._journal,
            keep_for=self._lanes.running.keys(),
            retention_days=self._settings.journal.retention_days,
            max_bytes=self._settings.journal.max_bytes,
            now_ms=self._host.clock.now_ms,
            monotonic_s=self._host.clock.monotonic_s,
        )

    async def _record_damages(self) -> None:
        accounts = [account.username for account in self._settings.listening_accounts()]
        await record_damages(self._journal, self._recorder.record, accounts, self.metrics)

    def not_ready(self) -> list[str]:
        """Why the daemon is not ready; empty if it is."""
        return [problem.full for problem in self.health.problems()]


def _tune_gc() -> None:
    """What exists now lives as long as the process, and batches create no cycles: collect less often."""
    gc.freeze()
    gc.set_threshold(10_000, 5, 1_000)


async def _loud(work: Coroutine[Any, Any, None]) -> None:
    """Add the task's name to whatever ends the task."""
    try:
        await work
    except Exception as exc:
        task = asyncio.current_task()
        for leaf in _leaves(exc):
            leaf.add_note(f"in {task.get_name() if task else 'no task'}")
        raise


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The cause to show to a person: an error of ours, if there is one."""
    leaves = list(_leaves(group))
    return next((exc for exc in leaves if isinstance(exc, ListenerError)), leaves[0])


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group of groups, from left to right."""
    if isinstance(exc, BaseExceptionGroup):
        for part in exc.exceptions:
            yield from _leaves(part)
    else:
        yield exc
