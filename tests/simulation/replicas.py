"""A world in which several replicas of the listener share a journal, each on a host of its own."""

import random
from pathlib import Path
from typing import Any

import msgspec

from listener.config.settings import Settings
from listener.errors import JournalError
from listener.testing.connection import MemoryConnection
from listener.testing.database import MemoryDatabase
from simulation import database, teams
from simulation.clock import WorldClock
from simulation.database import DatabaseHost
from simulation.evidence import Shared, Unwell
from simulation.process import Process
from simulation.schedule import LOOK_S, RECONCILE_S, Schedule
from simulation.watch import Watch
from simulation.wellness import JOINED_WITHIN_S, troubles_of
from simulation.world import World

GUEST = "guest"
"""The host of a process that somebody starts under the name of a replica."""
_SKEWS_S = (0.0, 0.0, -0.4, 2.5, -1800.0, 3600.0)


class Replicas(World):
    """Plays one schedule of several replicas.

    Attributes:
        database: where they keep what they share.
        shared: what is known of them.
        quiet_s: by then the chats were looked at twice: what a look finds of another replica may be newer than itself.
    """

    quiet_s = 2 * RECONCILE_S + 3 * LOOK_S  # and the one that is under way

    def __init__(self, plan: Schedule, *, log: bool = False) -> None:
        super().__init__(plan, log=log)
        if not plan.ack:
            self.quiet_s += 2 * plan.hold_ms / 1000  # a look subscribes between two polls
        self.shared = self.evidence.shared = Shared()
        self.clocks[database.HOST] = WorldClock(self.loop)
        self._state = MemoryDatabase(lambda: self.clocks[database.HOST].now_ms() / 1000)
        self._watch = Watch(self.loop, self._state, self.shared)
        self.database = DatabaseHost(self.loop, dice=random.Random(f"{plan.seed}:database"), on_call=self._watch.look)
        self._folders: dict[str, Path] = {}
        dice = random.Random(f"{plan.seed}:clocks")
        for host in self.listeners:
            self.clocks[host].jump(dice.choice(_SKEWS_S))

    def _listeners(self) -> tuple[str, ...]:
        return (*(f"replica{number}" for number in range(1, self.plan.replicas + 1)), GUEST)

    def name_of(self, number: int) -> str:
        """The name, and the host, of a replica."""
        return self.listeners[number - 1]

    # --- processes ----------------------------------------------------------------------------------------------------

    @property
    def processes(self) -> list[Process]:
        """Those that run, frozen or not."""
        return [one for one in self._processes if one.life.alive and not one.task.done()]

    def on(self, host: str) -> Process | None:
        """The process that runs there."""
        return next((one for one in self.processes if one.host == host), None)

    def start(self) -> None:
        """Start every replica that does not run."""
        for host in self.listeners[:-1]:
            self.start_on(host)

    def start_on(self, host: str, *, name: str | None = None) -> None:
        """Start a replica on what the last one left there, under the name of its host or another."""
        if self.on(host) is not None:
            return
        self.site.meet_a_new_process()
        folder = self._folders.setdefault(host, self.disk.folder / host)
        folder.mkdir(exist_ok=True)
        self._processes.append(
            Process(
                loop=self.loop,
                host=host,
                clock=self.clocks[host],
                settings=Settings.model_validate(self._tables(folder) | self._shared_tables(name or host)),
                number=len(self._processes) + 1,
                boot=1,
                on_record=self._recorded,
                on_end=self._ended,
                database=lambda: MemoryConnection(self._state, self.database.link(host)),
            )
        )
        self.is_unwell(host, "start", for_s=JOINED_WITHIN_S)

    def _tables(self, folder: Path) -> dict[str, Any]:
        tables = super()._tables(folder)
        tables["sinks"]["audit"]["on"] = self.listeners[0]
        return tables

    def _shared_tables(self, name: str) -> dict[str, Any]:
        url = f"postgresql://{database.HOST}:5432/listener"
        return {"journal": {"url": url, "username": "listener", "tls": False, "replica": name}}

    def kill(self, process: Process, *, power: bool = False) -> None:
        """End a process in the middle of whatever it does."""
        self._look(process)
        process.kill(power=power)
        self.evidence.lives.append((process.started_at, self.loop.now_s, "killed"))
        folder = self.disk.folder / f"{process.host}-after-{process.number}"
        self._folders[process.host] = folder
        self.disk.move(process.folder, folder, power=power, commits_are_synced=True)

    def _ended(self, process: Process, error: BaseException | None) -> None:
        if self._is_over:
            return
        how = "stopped" if error is None else f"{type(error).__name__}: {error}"
        self.note(f"process {process.number} ended: {how}")
        self.evidence.lives.append((process.started_at, self.loop.now_s, how))
        if error is not None:
            if not isinstance(error, JournalError):  # as where the database is away at a start
                self.evidence.crashes.append((self.loop.now_s, how))
            self.loop.call_later(1.0, self.start_on, process.host)

    # --- what hosts lack ----------------------------------------------------------------------------------------------

    def is_unwell(self, host: str, why: str, *, for_s: float, since: float | None = None) -> None:
        """Note that a host lacks something, since a moment or from now on, and for so long from now on."""
        now_s = self.loop.now_s
        since = now_s if since is None else since
        self.shared.unwell.append(Unwell(host=host, since=since, until=now_s + for_s, why=why))

    def drain(self, host: str, *, draining: bool) -> None:
        """As an operator does."""
        self._state.drain(host, draining=draining)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _left(self) -> list[str]:
        left = super()._left()
        left += [f"{host} does not run" for host in self.listeners[:-1] if self.on(host) is None]
        left += [f"nobody has {duty.duty}" for duty in self._state.duties() if duty.replica is None]
        return left

    async def _end(self) -> None:
        self._watch.close()
        self.site.note_refusals()
        await super()._end()

    async def _read(self, folder: Path) -> None:
        self.evidence.troubles += troubles_of(self.shared, self.listeners[:-1], {*self.agents, *self.logins})
        self.shared.clocks = {host: self.clocks[host].settings for host in self.listeners}
        self.evidence.journal = list(self._state.store.read(0, 100_000))
        self.evidence.letters = self._state.store.dead_letters()
        for session, age_ms in self._state.sessions([teams.NAME]):
            seen_s = self.loop.now_s - age_ms / 1000
            self.evidence.team.open = teams.open_stretches({teams.NAME: session}, lambda *_, seen_s=seen_s: seen_s)
        file = self._folders[self.listeners[0]] / "audit.jsonl"
        lines = file.read_bytes().splitlines() if file.exists() else []
        self.evidence.lines = [msgspec.json.decode(line) for line in lines]
