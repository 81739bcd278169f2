"""`demo --replicas`: processes that share a journal on PostgreSQL; one is killed, and the others take over."""

import asyncio
import json
import math
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.text import Text

from listener.cli.demo_board import Board, PlainView, Tally, compare, expected, faults, until
from listener.cli.demo_postgres import USER, has_ended, spawn, temporary_postgres
from listener.cli.readable import parse
from listener.daemon.assembly import load_checked
from listener.daemon.database import database_of
from listener.errors import StartError
from listener.journal.shared.database import Database
from listener.model.replica import ACCOUNT, HOUSEKEEPING, LANE
from listener.simulator import Simulator, SimulatorOptions, Summary, WorkingDay, play

if TYPE_CHECKING:
    import subprocess

CONFIG, POSTGRES_LOG = "listener.toml", "postgres.log"
_SINK = "log"
_LIMIT_S = 60.0
_SEED = 11
_LOOK_S = 0.05
_PAGE = 500


class Killed(NamedTuple):
    """The replica that was killed, what it had, and after how long others had all of that."""

    name: str
    duties: Collection[str]
    seconds: float


class ReplicasDemo:
    """One run: PostgreSQL, the replicas, the play, the kill, the comparison.

    Args:
        home: the folder for what they write.
        count: how many replicas, 2 or more.
        options: of the simulated server.
        day: what is played.
    """

    def __init__(self, *, home: Path, count: int, options: SimulatorOptions, day: WorkingDay) -> None:
        self._home = home
        self._names = [f"replica-{number}" for number in range(1, count + 1)]
        self._options = options
        self._day = day
        self._console = Console(highlight=False, soft_wrap=True)
        self._board = Board()
        self._view = PlainView(board=self._board)
        self._lines: list[bytes] = []  # the events of the journal
        self._last_sequence = 0
        self._alive: Collection[str] = ()
        self._owners: Mapping[str, str | None] = {}
        self._replicas: dict[str, subprocess.Popen[bytes]] = {}
        self._played: Summary
        self._killed: Killed
        self._tally: Tally

    async def run(self) -> None:
        """Raises StartError: PostgreSQL or a replica does not start, or ends by itself."""
        self._say(f"A PostgreSQL, a simulated server and {len(self._names)} replicas start.")
        async with temporary_postgres(self._home / POSTGRES_LOG) as url, Simulator(self._options) as sim:
            (self._home / CONFIG).write_text(_config(sim, url, self._day.media), encoding="utf-8")
            settings = load_checked(self._home / CONFIG, environ={})
            database = database_of(settings.journal, settings.base)
            await database.open()
            try:
                await self._act(sim, database)
            except ExceptionGroup as group:
                raise group.exceptions[0] from group
            finally:
                for replica in self._replicas.values():
                    replica.kill()
                    replica.wait()
                await database.close()
            self._tally = compare(sim.ledger, [parse(line) for line in self._lines])

    async def _act(self, sim: Simulator, database: Database) -> None:
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch(database), name="watch")
            self._replicas = {name: self._start(name) for name in self._names}
            await self._reach(
                lambda: (
                    self._is_shared(sim.center.agents)
                    and all(sim.subscribed(agent, self._day.media) for agent in sim.center.agents)
                )
            )
            self._show("Each has its share, and the agents begin their day.")
            playing = tasks.create_task(self._play(sim), name="play")
            await self._reach(lambda: self._board.dispositions >= self._day.events // 3)
            await self._kill()
            await playing
            await until(lambda: self._board.dispositions >= expected(sim.ledger), within_s=_LIMIT_S)
            await self._stop()
            watching.cancel()
        await self._read(database)  # what may have come at the very end, such as a gap

    async def _watch(self, database: Database) -> None:
        """Show what becomes durable, and keep who has what."""
        while True:
            self._alive = {each.name for each in await database.replicas()}
            self._owners = {each.duty: each.replica for each in await database.duties()}
            await self._read(database)
            await asyncio.sleep(_LOOK_S)

    async def _read(self, database: Database) -> None:
        while events := await database.read(self._last_sequence, _PAGE):
            self._view.take(events)
            self._lines += [event.to_json() for event in events]
            self._last_sequence = events[-1].sequence

    async def _play(self, sim: Simulator) -> None:
        day = self._day
        self._played = await play(sim, events=day.events, pace=day.pace_s, seed=_SEED, media=day.media)

    def _start(self, name: str) -> "subprocess.Popen[bytes]":
        """A replica as it starts on a host of this name; Ctrl-C does not reach it."""
        environ = {key: value for key, value in os.environ.items() if not key.startswith("LISTENER_")}
        with self._output(name).open("wb") as output, (self._home / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-m", "listener", "run", "--config", self._home / CONFIG]
            return spawn(command, env=environ | {"LISTENER_JOURNAL__REPLICA": name}, stdout=output, stderr=log)

    def _output(self, name: str) -> Path:
        return self._home / f"{name}.out"

    async def _kill(self) -> None:
        """Kill the replica that has the sink, and wait until others have all that it had."""
        name = self._owners[LANE + _SINK] or self._names[0]
        duties = self._duties_of(name)
        self._say(f"\nkill -9 of {name}, which has {_words(duties)}\n", style="bold red")
        replica, killed_s = self._replicas.pop(name), time.monotonic()
        replica.kill()
        replica.wait()
        await self._reach(lambda: all(self._owners.get(duty) in self._replicas for duty in duties))
        self._killed = Killed(name, duties, time.monotonic() - killed_s)
        self._show(f"The others have taken over after {self._killed.seconds:.1f} s.")

    async def _stop(self) -> None:
        """Let the others go, one after another: each hands over in order."""
        for name, replica in self._replicas.items():
            replica.send_signal(signal.SIGTERM)
            if not await has_ended(replica, within_s=_LIMIT_S) or replica.returncode != 0:
                raise StartError(f"demo: {name} did not end in order; {self._home / name}.log has the reason")

    async def _reach(self, ready: Callable[[], bool]) -> None:
        """Raises StartError where a replica ends, or it takes too long."""

        def ended() -> Iterator[str]:
            return (name for name, replica in self._replicas.items() if replica.poll() is not None)

        await until(lambda: ready() or any(ended()), within_s=_LIMIT_S)
        for name in ended():
            raise StartError(f"demo: {name} has ended; {self._home / name}.log has the reason")
        if not ready():
            raise StartError(f"demo: the replicas took longer than {_LIMIT_S:.0f} s; their logs are in {self._home}")

    def _is_shared(self, agents: Collection[str]) -> bool:
        """All replicas are there, everything has an owner, and nobody has more accounts than a fair share."""
        owners = Counter(self._owners.get(ACCOUNT + agent) for agent in agents)
        share = math.ceil(len(agents) / len(self._names))
        others = (LANE + _SINK, HOUSEKEEPING)
        all_owned = None not in owners and all(map(self._owners.get, others))
        return all_owned and set(self._names) == set(self._alive) and max(owners.values()) <= share

    def _duties_of(self, name: str) -> list[str]:
        return sorted(duty for duty, owner in self._owners.items() if owner == name)

    def _show(self, text: str) -> None:
        self._say(f"\n{text}", style="bold")
        for name in self._replicas:
            self._say(f"  {name:<12}{_words(self._duties_of(name))}")
        self._say("")

    def _say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style))

    @property
    def good(self) -> bool:
        """Everything is there, once and in order, without a gap or a hole, and has been delivered."""
        whole = self._tally.good and not self._tally.gaps and self._last_sequence == len(self._lines)
        return whole and self._delivered() == len(self._lines)

    def _delivered(self) -> int:
        """How many of the events the sink has written, wherever it ran; a kill cuts a line, and repeats some."""
        written = {line for name in self._names for line in self._output(name).read_bytes().splitlines()}
        return len(written & set(self._lines))

    def summary(self) -> Iterator[Text]:
        """What was played, what became of it, and where the logs are."""
        day, tally, killed = self._played, self._tally, self._killed
        yield Text(f"\n{day.came}, {day.conferences} of them with two agents\n", style="bold")
        yield Text(f"  {'published':<10}{tally.published:>5}")
        yield Text(f"  {'journaled':<10}{tally.events:>5}          with the sequences 1 to {self._last_sequence}")
        note = f"by the sink {_SINK}, of one replica after another"
        yield Text(f"  {'delivered':<10}{self._delivered():>5}          {note}")
        yield from faults(tally, place="journal")
        yield Text(f"  {'take-over':<10}{killed.seconds:>7.1f} s      of {_words(killed.duties)}\n")
        if self.good:
            yield Text("Everything that was published is in the journal, once, in order and without a gap.\n", "green")
        else:
            yield Text("Something is wrong.\n", style="bold red")
        yield Text(f"The replicas' logs, and what the sink wrote to their standard output, are in\n  {self._home}")


def _config(sim: Simulator, url: str, media: Sequence[str]) -> str:
    """One file for all replicas, as a user would write it."""
    accounts = [
        f'[[accounts]]\nusername = "{agent}"\npassword = "{sim.options.password}"\n' for agent in sim.center.agents
    ]
    return "\n".join(
        (
            "# Written by `disposition-listener demo --replicas`. PostgreSQL and the simulated server ended with it.",
            f'[server]\nurl = "{sim.url}"\n',
            *accounts,
            f"[disposition]\nmedia = {json.dumps(media)}\n",
            f'[journal]\nurl = "{url}"\nusername = "{USER}"\n',
            f'[sinks.{_SINK}]\ntype = "stdout"\n',
        )
    )


def _words(duties: Collection[str]) -> str:
    """Accounts by their names, then the rest."""
    accounts = [duty.removeprefix(ACCOUNT) for duty in duties if duty.startswith(ACCOUNT)]
    lanes = [f"the sink {duty.removeprefix(LANE)}" for duty in duties if duty.startswith(LANE)]
    return ", ".join([*accounts, *lanes, *([HOUSEKEEPING] if HOUSEKEEPING in duties else ())]) or "nothing"
