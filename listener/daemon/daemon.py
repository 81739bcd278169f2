"""The composition root: builds every part from the settings, runs them, and stops them in order."""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from listener import __version__
from listener.cometd.certainty import Certainty
from listener.config.schema import input_files
from listener.config.settings import Settings
from listener.daemon import connections, preflight
from listener.daemon.accounts import Accounts, Spawn
from listener.daemon.assembly import new_test_event, source_of, sources_of
from listener.daemon.commands import CommandHandler
from listener.daemon.control import ControlServer
from listener.daemon.credentials import FileWatch
from listener.daemon.duties import offers_of
from listener.daemon.failures import Patience, first, loud, says_only_that_it_is_fenced
from listener.daemon.health import new_health
from listener.daemon.housekeeping import Retention, keep_recording, record_damages, remember_losses
from listener.daemon.lanes import SinkLanes
from listener.daemon.last_hour import Hour
from listener.daemon.reloading import Changes, Reloads, changes_between
from listener.daemon.roll import Roll
from listener.daemon.serving import http_server
from listener.daemon.storage import open_patiently, storage_of
from listener.daemon.supervision import Supervision
from listener.daemon.watching import ConfigurationWatch
from listener.daemon.work import Work
from listener.delivery import Lane
from listener.errors import ConfigError, ControlError, JournalError, JournalLocked
from listener.intake.recorder import Recorder
from listener.journal.shared.database import Database
from listener.model.event import Entry, Event
from listener.runtime.backoff import Backoff
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.metrics import Metrics
from listener.runtime.notify import Notifier
from listener.runtime.open_files import open_as_many_files_as_allowed
from listener.sinks import registry

log = structlog.get_logger(__name__)

_LOOK_S = 10.0
_LOOK_AT_CONFIGURATION_S = 1.0
_SINKS_ANSWER_WITHIN_S = 1.0
_LASTED_S = 60.0
_SERVER = "[server]"  # no sink can be called so


class Daemon:
    """The listener as a whole.

    Args:
        settings: the configuration, checked.
        metrics: passed in by whoever wants to read them.
        on_record: called with each group of events once it is durable.
        load: rereads the configuration, and raises ConfigError; None if it cannot be reread.
        watch: its files, for changes without SIGHUP; None for none.
        notifier: gets the state of the service.
        host: time, chance and workers.
        takes_orders: whether it listens on the control socket beside the journal, if that is a file.
        database: makes the database of replicas, in place of that of `journal.url`: once for each time that it joins.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        metrics: Metrics | None = None,
        on_record: Callable[[tuple[Event, ...]], None] | None = None,
        load: Callable[[], Settings] | None = None,
        watch: ConfigurationWatch | None = None,
        notifier: Notifier | None = None,
        host: Host = THIS_HOST,
        takes_orders: bool = True,
        database: Callable[[], Database] | None = None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._host = host
        self._takes_orders = takes_orders
        self.metrics = metrics or Metrics()
        self._on_record = on_record
        self._hour = Hour(host.clock)
        self._stop = asyncio.Event()
        self._reload_wanted = asyncio.Event()
        self._resume_wanted = False
        self._watch = watch
        self._notifier = notifier or Notifier({})
        self._look = asyncio.Event()
        self._load = load
        self._renew_connections: Callable[[], None] = lambda: None
        self.reloads = Reloads(metrics=self.metrics, now_ms=host.clock.now_ms)
        self._started_ms = host.clock.now_ms()
        self._fences = Backoff(first_s=0.2, limit_s=5.0, uniform=host.random.uniform)
        self._known_sequence = 0
        self._new_parts()
        self.metrics.sample(lambda: self.health.sample(self.metrics))

    def _new_parts(self) -> None:
        """Whatever stands on the journal, as a process has it that starts."""
        settings, host = self._settings, self._host
        self._accounts: Accounts | None = None
        self._roll = Roll(monotonic_s=host.clock.monotonic_s, now_ms=host.clock.now_ms)
        self._starting = "starting"
        self._patience = Patience()
        self._storage = storage_of(
            settings, host=host, metrics=self.metrics, new_database=self._database, known_sequence=self._known_sequence
        )
        self._journal, self._duties = self._storage.journal, self._storage.duties
        self._certainty = Certainty(is_certain=self._duties.is_certain, certainty=self._duties.certainty)
        self._lanes = SinkLanes(
            journal=self._journal,
            metrics=self.metrics,
            host=host,
            certainty=self._duties.certainty if self._duties.is_shared else None,
            on_delivered=self._hour.delivered,
        )
        self._recorder = Recorder(
            journal=self._journal,
            metrics=self.metrics,
            source=source_of(settings),
            sources=sources_of(settings),
            type_prefix=settings.disposition.type_prefix,
            on_record=self._recorded,
            host=host,
            is_alone=not self._duties.is_shared,
        )
        self.health = new_health(
            settings=lambda: self._settings,
            storage=self._storage,
            roll=self._roll,
            lanes=lambda: [lane.status() for _, lane in sorted(self._lanes.running.items())],
            recorder=self._recorder,
            configuration=self.reloads.status,
            starting=lambda: self._starting,
            patience=self._patience,
            started_ms=self._started_ms,
            hour=self._hour,
            host=host,
        )

    def _recorded(self, events: tuple[Event, ...]) -> None:
        self._hour.recorded(events)
        if self._on_record is not None:
            self._on_record(events)

    def stop(self) -> None:
        """Ask for a clean stop; `run` then returns."""
        self._stop.set()

    def reload(self) -> None:
        """Handle SIGHUP: reopen renamed files, reload the configuration, resume parked sinks."""
        self._lanes.reopen()
        self._resume_wanted = True
        self._reload_wanted.set()

    async def run(self) -> None:
        """Listen until `stop`, then drain the lanes for at most `shutdown_timeout_s`.

        Raises:
            ListenerError: why it could not start, or continue.
        """
        open_as_many_files_as_allowed()
        _tune_gc()
        for text in self._settings.renamed:
            log.warning("setting_renamed", text=text)
        began_s = self._host.clock.monotonic_s()
        while await self._is_fenced_in_its_run():
            if self._host.clock.monotonic_s() - began_s > _LASTED_S:
                self._fences.reset()
            self._forget()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._fences.next())
            began_s = self._host.clock.monotonic_s()
        log.info("stopped", last_sequence=self._journal.last_sequence)

    async def _is_fenced_in_its_run(self) -> bool:
        """Run until `stop`, or until others have taken this process for gone: then it is to begin anew."""
        try:
            async with AsyncExitStack() as stack:
                await self._run(stack)
        except BaseExceptionGroup as group:
            if not says_only_that_it_is_fenced(group):
                raise first(group) from group
            return not self._stop.is_set()
        return False

    def _forget(self) -> None:
        """Others have what this process had. All of it was cut off, and nothing confirmed that is not durable."""
        self.metrics.count("fenced_total")
        self._known_sequence = self._storage.known_sequence()
        reason = "others took this replica for gone and have its duties, or another process has joined by its name"
        log.error("starting_over", reason=reason)
        self._lanes.running.clear()
        self.health.sample(self.metrics)
        for gauge in ("sessions_subscribed", "sessions_configured", "agents_wanted", "agents_monitored"):
            self.metrics.set(gauge, 0)
        self._new_parts()
        gc.unfreeze()  # what is gone was kept from the collector; that takes its time now, while nothing is at work
        gc.collect()
        gc.freeze()

    async def _run(self, stack: AsyncExitStack) -> None:
        is_alone, lanes = not self._duties.is_shared, dict[str, Lane]()
        if is_alone:
            await self._open_journal(stack)
            lanes = self._lanes.build(self._settings, self._settings.sinks, retry_start_errors=False)
            self._lanes.running.update(lanes)
        commands = await self._serve_control(stack)
        await self._serve_http(stack, commands)
        watch = FileWatch()
        await asyncio.to_thread(watch.look, self._input_files())  # before they are read: what is replaced since is seen
        accounts = self._accounts = await self._new_accounts(stack)
        work = self._new_work(accounts)
        if is_alone:
            await self._duties.offer(offers_of(self._settings))
            await accounts.build(self._settings.listening_accounts())
            self._has_started()
        async with asyncio.TaskGroup() as tasks:

            def spawn(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
                return tasks.create_task(loud(work), name=name)

            workers = [spawn("supervision", self._supervision().run())]
            if is_alone or await self._has_joined(stack, spawn):
                workers += [*self._begin(work, watch, spawn), spawn("passwords", accounts.passwords.run())]
                self._lanes.start(lanes, spawn)
                await self._sinks_answered()
                accounts.start(spawn)
                await self._stop.wait()
                self._notifier.stopping()
                await self._end(work, accounts)
            for worker in workers:
                worker.cancel()
            await self._lanes.end(list(self._lanes.running))
            await accounts.leave()

    def _begin(self, work: Work, watch: FileWatch, spawn: Spawn) -> list[asyncio.Task[None]]:
        """What goes on beside accounts and lanes."""
        begun = [] if self._duties.is_shared else [spawn("last hour", self._hour.recall(self._journal))]
        begun += [
            spawn("recorder", self._recorder.run()),
            spawn("retention", self._retention(work).run()),
            spawn("damages", keep_recording(self._record_damages, self._patience)),
            spawn("reload", self._reload_when_asked(work, spawn)),
            spawn("credentials", self._watch_files(work, watch, spawn)),
        ]
        if self._watch is not None:
            begun.append(spawn("configuration", self._watch_configuration(self._watch)))
        begun += [spawn(name, run()) for name, run in self._storage.workers.items()]
        if self._duties.is_shared:
            begun += [spawn("duties", work.run(spawn)), spawn("certainty", self._certainty.run())]
        if self.health.replicas is not None:
            begun.append(spawn("reports", self.health.replicas.keep_telling(self._host.clock.sleep)))
        return begun

    async def _has_joined(self, stack: AsyncExitStack, spawn: Spawn) -> bool:
        """Join the others as soon as the database lets it; False if it is to stop before."""
        stack.push_async_callback(self._journal.close)
        joining, stopping = spawn("joining", self._join()), spawn("stop", self._stopped())
        await asyncio.wait((joining, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in (joining, stopping):
            task.cancel()
        if joining.done():
            self._has_started()
        return joining.done()

    async def _join(self) -> None:
        await open_patiently(self._journal, uniform=self._host.random.uniform, on_failure=self._waits)
        await self._patience.persist("losses", partial(remember_losses, self._journal, self._names()))

    async def _stopped(self) -> None:
        await self._stop.wait()

    def _waits(self, why: str) -> None:
        self._starting = f"the journal cannot be opened: {why}"

    def _has_started(self) -> None:
        self._starting = ""
        log.info(
            "started",
            version=__version__,
            accounts=len(self._settings.listening_accounts()),
            sinks=list(self._settings.sinks),
            journal=self._storage.place,
            last_sequence=self._journal.last_sequence,
        )

    async def _sinks_answered(self) -> None:
        """A start that the host refuses to a sink touches no session; a sink that takes its time holds none up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SINKS_ANSWER_WITHIN_S):
                await self._lanes.answered()

    async def _end(self, work: Work, accounts: Accounts) -> None:
        """Come to rest, then let the lanes finish, if nobody else goes on with them."""
        log.info("stopping", timeout_s=self._settings.shutdown_timeout_s)
        if self._duties.is_shared:
            await work.leave(timeout_s=self._settings.shutdown_timeout_s)
        else:
            await self._drain(accounts)

    async def _drain(self, accounts: Accounts) -> None:
        """What does not fit into the time stays in the journal."""
        try:
            async with asyncio.timeout(self._settings.shutdown_timeout_s):
                await accounts.stop()
                await self._lanes.drained()
        except TimeoutError:
            left = {name: status.lag for name, lane in self._lanes.running.items() if (status := lane.status()).lag}
            log.warning("not_drained", left_in_the_journal=left)
            accounts.abandon()

    async def _reload_when_asked(self, work: Work, spawn: Spawn) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            resume, self._resume_wanted = self._resume_wanted, False
            self._notifier.reloading()
            await self._reload(work, spawn)
            self._notifier.ready(self.reloads.summary())
            if resume:
                log.info("sinks_resumed", sinks=self._lanes.resume())

    async def _watch_configuration(self, watch: ConfigurationWatch) -> None:
        while True:
            await self._host.clock.sleep(_LOOK_AT_CONFIGURATION_S)
            if self._settings.is_watched and await asyncio.to_thread(watch.look, named_too=self.reloads.is_refused):
                self._reload_wanted.set()

    async def _watch_files(self, work: Work, watch: FileWatch, spawn: Spawn) -> None:
        """Reload replaced certificates and secrets; passwords of accounts are read at each login."""
        while True:
            changed = await asyncio.to_thread(lambda: watch.look(self._input_files()))
            try:
                if _SERVER in changed:
                    await asyncio.to_thread(self._renew_connections)
                if sinks := changed - {_SERVER}:
                    await work.exchange(sorted(sinks), spawn)
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

    async def _reload(self, work: Work, spawn: Spawn) -> None:
        """Apply a new configuration completely, or, if it has any problem, not at all."""
        if self._load is None:
            return
        try:
            new, changes = await asyncio.to_thread(self._loaded, self._load)
            await work.apply(new, changes, spawn)
        except ConfigError as exc:
            self.reloads.refused(exc.problems)
            return
        self._look.set()
        self.reloads.done(changes)

    def _loaded(self, load: Callable[[], Settings]) -> tuple[Settings, Changes]:
        if self._watch is not None:
            self._watch.take()
        new = load()
        changes = changes_between(self._settings, new)
        if problems := preflight.host_problems_of_sinks(new.parts(), changes.sinks_started):
            raise ConfigError(problems)
        return new, changes

    async def _open_journal(self, stack: AsyncExitStack) -> None:
        """Raises JournalError, which names the setting."""
        stack.push_async_callback(self._journal.close)
        try:
            await self._journal.open()
            await remember_losses(self._journal, self._names())
        except JournalLocked:
            raise  # names it already
        except JournalError as exc:
            raise JournalError(f"journal.path: {exc}") from exc

    def _names(self) -> list[str]:
        return [account.username for account in self._settings.listening_accounts()]

    async def _serve_control(self, stack: AsyncExitStack) -> CommandHandler:
        """If the journal's folder cannot hold a socket, the daemon runs without control commands.

        A replica has no socket: whoever reaches the database can ask there, from any host.
        """
        commands = CommandHandler(
            journal=self._journal,
            lanes=self._lanes.running,
            new_test_event=lambda sink: new_test_event(self._settings, sink, self._host),
            duties=self._duties,
            configured=lambda: self._settings.sinks,
            owner=None if self.health.replicas is None else self.health.replicas.owner_of,
            summary=self.health.summary,
            holds_once=lambda sink: registry.holds_once(sink, self._settings.sinks[sink].type),
        )
        if self._duties.is_shared or not self._takes_orders:
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

    async def _new_accounts(self, stack: AsyncExitStack) -> Accounts:
        server = self._settings.server
        tls = connections.tls_context(server)
        connector = connections.new_connector(server, tls=tls)
        stack.push_async_callback(connector.close)
        self._renew_connections = partial(connections.renew, server, tls=tls, proxy=connector.proxy)
        return Accounts(
            settings=self._settings,
            journal=self._journal,
            recorder=self._recorder,
            metrics=self.metrics,
            connector=connector,
            roll=self._roll,
            certainty=self._certainty if self._duties.is_shared else None,
            host=self._host,
            patience=self._patience,
        )

    def _new_work(self, accounts: Accounts) -> Work:
        return Work(
            duties=self._duties,
            accounts=accounts,
            lanes=self._lanes,
            settings=self._settings,
            settled=lambda: self._recorder.record(Entry(account="")),  # what has nothing to say waits in the row
            in_force=self._goes_by,
            patience=self._patience,
        )

    def _goes_by(self, settings: Settings) -> None:
        self._settings = settings

    def _supervision(self) -> Supervision:
        return Supervision(
            notifier=self._notifier,
            progress=self._journal.ping,
            not_ready=self.not_ready,
            summary=self.reloads.summary,
        )

    def _retention(self, work: Work) -> Retention:
        return Retention(
            journal=self._journal,
            keep_for=lambda: self._settings.sinks,
            is_ours=work.keeps_house,
            retention_days=self._settings.journal.retention_days,
            max_bytes=self._settings.journal.max_bytes,
            now_ms=self._host.clock.now_ms,
            monotonic_s=self._host.clock.monotonic_s,
        )

    async def _record_damages(self) -> None:
        await record_damages(self._journal, self._recorder.record, self._names(), self.metrics)

    def not_ready(self) -> list[str]:
        """Why the daemon is not ready; empty if it is."""
        return [problem.full for problem in self.health.problems()]


def _tune_gc() -> None:
    """What exists now lives as long as the process, and batches create no cycles: collect less often."""
    gc.freeze()
    gc.set_threshold(10_000, 5, 1_000)
