"""A world: the real daemon, the real simulator, a receiver and agents at work, in one virtual time, by one schedule."""

import asyncio
import hashlib
import logging
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import msgspec
import structlog

from listener.cometd import engine, protocol, slices
from listener.config.settings import Settings
from listener.journal.sqlite import SqliteJournal
from listener.model.event import Event, SessionState
from listener.runtime.host import Host
from listener.simulator import SimulatorOptions
from listener.sinks import registry
from simulation import receiver, site, teams
from simulation.acts import begin
from simulation.clock import EPOCH_MS, WorldClock
from simulation.disk import Disk, mounted
from simulation.evidence import Evidence, Recorded
from simulation.loop import Loop, Worker
from simulation.process import HOST, Process
from simulation.receiver import Receiver
from simulation.schedule import RECONCILE_S, Schedule, ends_at
from simulation.site import Agents, Site

SETTLES_WITHIN_S = 120.0
PACE_S = 1.0
EVENT_AFTER_S = 10.0
_LATENCY_S = (0.001, 0.02)
_LOOK_S = 0.5
_T = TypeVar("_T")
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it, readable by the owner alone


class World:
    """Plays one schedule.

    Args:
        plan: what goes wrong in it.
        log: whether to print what the parts log.

    Attributes:
        loop: its time.
        evidence: what is known of it, whole after `play`.
        trace: a digest of all that happened, and when.
        agents: who works there.
        listeners: the hosts on which the listener runs.
        clocks: the wall clock of each host.
        site, receiver, disk: its parts, once it plays.
        quiet_s: by then the chats were looked at once more.
    """

    quiet_s = RECONCILE_S + 10.0

    def __init__(self, plan: Schedule, *, log: bool = False) -> None:
        self.plan = plan
        self._is_logged = log
        self._is_over = False
        self.evidence = Evidence()
        self.trace = ""
        self.loop = Loop(plan.seed)
        self._digest = hashlib.blake2b(digest_size=16)
        self.listeners = self._listeners()
        self.clocks = {host: WorldClock(self.loop) for host in (*self.listeners, "gws", "crm")}
        self._processes: list[Process] = []
        self._boot = 1
        self.agents = tuple(f"agent{number}" for number in range(1, plan.accounts + 1))
        if plan.team is not None and not plan.team.hears_properties:
            self.quiet_s += RECONCILE_S + 10.0  # only a look finds what is set, and the one before may be under way
        self.logins = (*teams.accounts_of(plan, self.agents), *([teams.NAME] if plan.team is not None else ()))

    def _listeners(self) -> tuple[str, ...]:
        return (HOST,)

    def play(self) -> Evidence:
        """Play it to its end, and return what is known then."""
        folder = Path(tempfile.mkdtemp(prefix="simulation-", dir=_MEMORY if _MEMORY.is_dir() else None))
        self.disk = Disk(folder)
        self._folder = folder / "first"
        self._folder.mkdir()
        with ExitStack() as stack:
            for setting in (
                mounted(self.disk),
                _installed_once(),
                _logging(self.loop, shown=self._is_logged),
                patch.object(SqliteJournal, "sessions", _noting(SqliteJournal.sessions, self._found)),
            ):
                stack.enter_context(setting)
            if self.plan.team is not None:
                stack.enter_context(teams.recorded_sooner())
            if self.plan.sliced:
                stack.enter_context(_small_slices())
            try:
                self.loop.play(self._play())
                self._note_end()
            finally:
                self._close_the_books()
                self.loop.end(process.life for process in self._processes)
                shutil.rmtree(folder)
        return self.evidence

    def _close_the_books(self) -> None:
        """What the parts do on their way out is nobody's concern."""
        self._is_over = True
        self.site.evidence = self.receiver.evidence = Evidence()

    def _note_end(self) -> None:
        self.note(f"{self.loop.steps} {self.evidence.crashes}")
        self.trace = self._digest.hexdigest()

    def note(self, what: str) -> None:
        self._digest.update(f"{self.loop.now_s!r} {what}\n".encode())

    # --- the course of it ---------------------------------------------------------------------------------------------

    async def _play(self) -> None:
        for host in self.clocks:
            self.loop.net.host(host)
        self.loop.net.set_defaults(latency=_LATENCY_S)
        self.site = self._new_site()
        self.receiver = Receiver(self.loop, self.evidence)
        await self.loop.net.host("gws").create_task(self.site.start())
        await self.loop.net.host("crm").create_task(self.receiver.start())
        agents = Agents(self.site, self.agents, random.Random(f"{self.plan.seed}:agents"))
        self.start()
        work = self.loop.create_task(agents.work(PACE_S))
        for fault in self.plan.faults:
            await self._until(fault.at)
            begin(self, fault)
        await self._until(max([self.plan.lasts_s, *(ends_at(fault) for fault in self.plan.faults)]))
        self._heal()
        await asyncio.sleep(3.0)
        work.cancel()
        await self._settle()
        await self._end()

    async def _until(self, at: float) -> None:
        await asyncio.sleep(max(0.0, at - self.loop.now_s))

    def _heal(self) -> None:
        self.site.heal()
        self.receiver.heal()
        self.disk.is_full = False
        self.loop.stall_s = 0.0
        self.evidence.healed_at = self.loop.now_s

    async def _settle(self) -> None:
        """Give it its time; a person looks at `/readyz` meanwhile, and resumes the sinks that it names."""
        quiet_until_s = self.loop.now_s + self.quiet_s
        give_up_s = self.evidence.healed_at + SETTLES_WITHIN_S
        while self.loop.now_s < quiet_until_s or (left := self._left()):
            if self.loop.now_s > give_up_s:
                self.evidence.unsettled += left
                break
            for process in self.processes:
                process.resume_what_is_told()
            await asyncio.sleep(_LOOK_S)

    def _left(self) -> list[str]:
        if not self.processes:
            return ["the listener does not run"]
        left = [text for process in self.processes for text in process.not_settled()]
        left = [text for text in left if "is not told what is set" not in text]  # it will not be
        return left + [f"account {agent} does not listen" for agent in self.logins if not self.site.listens(agent)]

    async def _end(self) -> None:
        """Stop in order, and look at everything."""
        self.evidence.ended_at = self.loop.now_s
        self.evidence.values = site.values_of(self.site)
        self.site.note_team_at_the_end()
        self.evidence.clock = self.clocks[self.listeners[0]].settings
        for process in self.processes:
            self._look(process)
            process.daemon.stop()
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(process.task), 60.0)
        await self._read(self._folder)
        self.evidence.crashes += [(self.loop.now_s, f"nobody waited for {error!r}") for error in self.loop.errors]

    async def _read(self, folder: Path) -> None:
        """What the files say at the end."""
        host = Host(clock=self.clocks["listener"], random=random.Random(0), new_worker=lambda _: Worker(self.loop))
        journal = SqliteJournal(path=folder / "journal.db", host=host)
        await journal.open()
        self.evidence.journal = list(await journal.read(0, 100_000))
        self.evidence.letters = await journal.dead_letters()
        self.evidence.team.open = teams.open_stretches(await journal.sessions(), self._at_by_its_clock)
        await journal.close()
        file = folder / "audit.jsonl"
        lines = file.read_bytes().splitlines() if file.exists() else []
        self.evidence.lines = [msgspec.json.decode(line) for line in lines]

    def _at_by_its_clock(self, wall_ms: int, monotonic_ms: int | None) -> float:
        """The virtual second of a moment that a listener has stored."""
        if monotonic_ms is not None:
            return monotonic_ms / 1000 - self.clocks["listener"].monotonic_s() + self.loop.now_s
        return (wall_ms - EPOCH_MS - self.clocks["listener"].settings[-1][1]) / 1000

    # --- the parts ----------------------------------------------------------------------------------------------------

    def _new_site(self) -> Site:
        options = SimulatorOptions(
            host="0.0.0.0",
            port=site.PORT,
            agents=self.plan.accounts,
            csrf=self.plan.csrf,
            ack=self.plan.ack,
            timeout_ms=self.plan.hold_ms,
            max_interval_ms=self.plan.max_interval_ms,
        )
        if (team := self.plan.team) is not None:
            options = replace(
                options,
                supervisors=1,
                supervisor_hears_properties=team.hears_properties,
                supervisor_dropped_on_leave=team.dropped_on_leave,
                monitoring_survives_login=team.survives_login,
                monitor_again=team.monitor_again,
                intrude=team.intrude,
                supervisor_needs_session=team.needs_session,
            )
        host = Host(clock=self.clocks["gws"], random=random.Random(f"{self.plan.seed}:gws"))
        return Site(options, host=host, loop=self.loop, evidence=self.evidence, media=self.plan.media)

    def _settings(self, folder: Path) -> Settings:
        return Settings.model_validate(self._tables(folder))

    def _tables(self, folder: Path) -> dict[str, Any]:
        webhook = {
            "type": "webhook",
            "url": f"http://crm:{receiver.PORT}/events",
            "mode": "batched" if self.plan.batched else "structured",
            "timeout_s": 4.0,
            "retry_limit_s": 5.0,
            "retry_event_after_h": EVENT_AFTER_S / 3600,
        }
        return {
            "server": {
                "url": f"http://gws:{site.PORT}",
                "verify": False,  # no TLS here, so no certificates to be read at each start
                "connect_timeout_s": 3.0,
                "request_timeout_s": 5.0,
                "poll_margin_s": 3.0,
                "reconcile_interval_s": RECONCILE_S,
            },
            "accounts": [
                {"username": name, "password": "secret"} for name in teams.accounts_of(self.plan, self.agents)
            ],
            "supervisors": self._supervisors(),
            "disposition": {"media": self.plan.media},
            "sinks": {"audit": {"type": "file", "path": "audit.jsonl"}, "crm": webhook},
            "base": folder,
        }

    def _supervisors(self) -> list[dict[str, Any]]:
        team = self.plan.team
        if team is None:
            return []
        return [
            {
                "username": teams.NAME,
                "password": "secret",
                "monitor": teams.team_of(self.plan, self.agents),
                "refresh_s": teams.REFRESH_S,
                "start_contact_center_session": team.needs_session,
            }
        ]

    @property
    def processes(self) -> list[Process]:
        """Those that run."""
        return [] if self.running is None else [self.running]

    @property
    def running(self) -> Process | None:
        last = self._processes[-1] if self._processes else None
        return last if last is not None and last.life.alive and not last.task.done() else None

    def start(self) -> None:
        """Start the listener on what the last one left."""
        if self.running is None:
            self.site.meet_a_new_process()
            self.site.note_refusals()
            self._processes.append(self.process(self._folder, len(self._processes) + 1, self._ended))

    def process(self, folder: Path, number: int, on_end: Callable[[Process, BaseException | None], None]) -> Process:
        """A listener with the files of this folder."""
        return Process(
            loop=self.loop,
            clock=self.clocks["listener"],
            settings=self._settings(folder),
            number=number,
            boot=self._boot,
            on_record=self._recorded,
            on_end=on_end,
        )

    def kill(self, process: Process, *, power: bool) -> None:
        """End a process in the middle of whatever it does; what it leaves is what the next one finds."""
        self._look(process)
        process.kill(power=power)
        self._boot += power
        self.evidence.lives.append((process.started_at, self.loop.now_s, "killed"))
        self._folder = self.disk.folder / f"after-{process.number}"
        self.disk.move(process.folder, self._folder, power=power, commits_are_synced=process.commits_are_synced)

    def _recorded(self, process: int, events: tuple[Event, ...]) -> None:
        if self._is_over:
            return
        self.note(f"recorded {[event.id for event in events]}")
        self.evidence.recorded += [Recorded(at=self.loop.now_s, process=process, event=event) for event in events]

    def _found(self, sessions: Mapping[str, SessionState]) -> None:
        ids = frozenset(one.client_id for one in sessions.values() if one.client_id is not None)
        self.evidence.known_sessions.append((self.loop.now_s, ids))

    def _ended(self, process: Process, error: BaseException | None) -> None:
        if self._is_over:
            return
        how = "stopped" if error is None else f"{type(error).__name__}: {error}"
        self.note(f"process {process.number} ended: {how}")
        self.evidence.lives.append((process.started_at, self.loop.now_s, how))
        if error is not None:
            self.evidence.crashes.append((self.loop.now_s, how))
            self.loop.call_later(1.0, self.start)

    def _look(self, process: Process) -> None:
        self.evidence.counts.append((self.loop.now_s, process.number, process.counts()))


def _noting(read: Callable[..., Awaitable[_T]], note: Callable[[_T], None]) -> Callable[..., Awaitable[_T]]:
    """A method that reads something, and notes what."""

    async def reading(*rest: Any) -> _T:
        found = await read(*rest)
        note(found)
        return found

    return reading


@contextmanager
def _small_slices() -> Iterator[None]:
    """Two notifications fill a slice, and one a part of what is stored."""
    with ExitStack() as stack:
        for module, name, value in (
            (slices, "SLICE_BYTES", 1500),
            (protocol, "_PART_BYTES", 1),
            (protocol, "PART_EVENTS", 1),
            (engine, "PART_EVENTS", 1),
        ):
            stack.enter_context(patch.object(module, name, value))
        yield


@contextmanager
def _installed_once() -> Iterator[None]:
    """Look once for all worlds which kinds of sinks are installed."""
    before = registry.kinds
    registry.kinds = _KINDS  # type: ignore[assignment]
    try:
        yield
    finally:
        registry.kinds = before


_KINDS = cache(registry.kinds)


@contextmanager
def _logging(loop: Loop, *, shown: bool) -> Iterator[None]:
    """Log in virtual time, or nothing: thousands of worlds have nothing to say that their evidence does not."""

    def line(_: object, level: str, event: MutableMapping[str, Any]) -> str:
        name, values = event.pop("event"), " ".join(f"{key}={value!r}" for key, value in event.items())
        return f"{loop.now_s:9.3f} {level:7} {name} {values}"

    before = structlog.get_config()
    structlog.configure(
        processors=[line],
        logger_factory=structlog.PrintLoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if shown else logging.CRITICAL),
    )
    try:
        yield
    finally:
        structlog.configure(**before)
