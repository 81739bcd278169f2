"""The cells of the fault matrix: a fault, a server, with or without acknowledgements; each played on its own daemon."""

import asyncio
import contextlib
import json
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.config import AUDIT
from support.eventually import eventually
from support.faults import BETWEEN_S, FAULTS, Fault, new_rig
from support.ledger import Publisher
from support.listening import Listening
from support.oracle import Json, Promise, Verdict, judge
from support.rigs import CHATS, Rig
from support.scrape import watching
from support.wallclock import WallClock, faketime_library

BEFORE_S = AFTER_S = 1.0
AT_ONCE = 3  # events a burst
CELLS_AT_ONCE = 16  # most of a cell is waiting
RECOVERED_S = 60.0
DRAINED_S = 15.0
QUIET_S = 1.2  # chats that were re-read are compared half a second later
SLACK = timedelta(seconds=2)  # a gap begins where the last granted poll was sent, which the server may have held
LOG_LINES = 25
NAMED = 10  # problems in a failure's text


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One combination."""

    fault: Fault
    server: str
    ack: bool

    @property
    def name(self) -> str:
        return f"{self.fault.name}, {self.server} {'with' if self.ack else 'without'} ack"

    @property
    def promise(self) -> Promise:
        """A session with acknowledgements that the server keeps loses nothing; else the loss is on record."""
        kept = self.ack and not self.fault.ends_session
        return Promise.NOTHING_MISSING if kept else Promise.MISSING_ON_RECORD


CELLS = tuple(
    Cell(fault=fault, server=server, ack=ack) for fault in FAULTS for server in fault.servers for ack in (True, False)
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of one cell.

    Attributes:
        verdict: None when the cell ended before there was anything to judge.
        recover_s: from the end of the fault to the first event in the file that was published after it; the longest of
            all hits, None where none came.
        problems: everything that breaks a promise, the verdict's included; empty when the cell holds.
        log: the daemon's last lines.
    """

    cell: Cell
    verdict: Verdict | None
    recover_s: float | None
    problems: tuple[str, ...]
    log: tuple[str, ...]

    def __str__(self) -> str:
        problems = [f"- {problem}" for problem in self.problems[:NAMED]]
        return "\n".join([self.cell.name, *problems, f"{len(self.problems)} problems; the daemon's log:", *self.log])


class Follower:
    """Which values are in an audit file by now; each line is read once."""

    def __init__(self, path: Path) -> None:
        self.values: set[str] = set()
        self._path = path
        self._offset = 0

    def look(self) -> set[str]:
        """The values of all whole lines so far."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self._offset += len(whole) + 1
                self.values |= {json.loads(line)["data"].get("disposition") for line in whole.split(b"\n")}
        return self.values


async def play(cell: Cell, folder: Path) -> Outcome:
    """Run a daemon in `folder` through one cell. Never raises: what went wrong is in the outcome."""
    run = _Run(cell, folder)
    try:
        await run.play()
    except Exception:  # noqa: BLE001 - one cell that breaks down is one row, not the end of the table
        run.problems.append(traceback.format_exc())
    return run.outcome()


async def play_all(
    cells: Sequence[Cell],
    folder: Path,
    *,
    at_once: int = CELLS_AT_ONCE,
    done: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Play the cells, so many at a time, the long ones first; the outcomes in the order of the cells."""
    room = asyncio.Semaphore(at_once)

    async def one(cell: Cell) -> Outcome:
        async with room:
            place = folder / str(cells.index(cell))
            place.mkdir()
            outcome = await play(cell, place)
            done(outcome)
            return outcome

    longest_first = sorted(cells, key=lambda cell: cell.fault.pause_s, reverse=True)
    outcomes = await asyncio.gather(*map(one, longest_first))
    return sorted(outcomes, key=lambda outcome: cells.index(outcome.cell))


class _Run:
    """One cell under way."""

    def __init__(self, cell: Cell, folder: Path) -> None:
        self.cell = cell
        self.problems: list[str] = []
        self._rig: Rig = new_rig(cell.server, cell.fault, ack=cell.ack)
        if cell.fault.sets_clock and (library := faketime_library()) is not None:
            self._rig.clock = WallClock(library, folder)
        self._folder = folder
        self._recover_s: float | None = None
        self._recovered = datetime.now(UTC)
        self._publisher = Publisher(self._rig.send, chats=CHATS, agent=self._rig.agent)
        self._audit = Follower(folder / AUDIT)
        self._listening: Listening | None = None

    async def play(self) -> None:
        async with contextlib.AsyncExitStack() as owned:
            rig = await owned.enter_async_context(self._rig)
            url = rig.link.url if self.cell.fault.through == "link" else rig.gateway.url
            listening = self._listening = await owned.enter_async_context(self._installation(url))
            await listening.start()
            port = (await listening.daemon.logged("http_listening"))["port"]
            async with watching(port) as imbalances:
                async with self._publisher.streaming(pause_s=self.cell.fault.pause_s, at_once=AT_ONCE):
                    await asyncio.sleep(BEFORE_S)
                    began = datetime.now(UTC)
                    for _ in range(self.cell.fault.hits):
                        await self.cell.fault.play(rig)
                        await self._recover()
                        await asyncio.sleep(BETWEEN_S)
                    await asyncio.sleep(AFTER_S)
                await self._drain()
            self.problems += [*imbalances[:3], *self._unfounded_gaps(listening.gaps, began, self._recovered)]
            status = await listening.stop()
            if status != 0:
                self.problems.append(f"the daemon ended with {status}")

    def _installation(self, url: str) -> Listening:
        settings = self._rig.settings(url)
        fault = self.cell.fault
        limits = {"poll_margin_s": fault.margin_s, "connect_timeout_s": 2.0, "request_timeout_s": 5.0}
        limits["max_message_bytes"] = fault.max_message_bytes
        env = self._rig.clock.env if self._rig.clock is not None else None
        return Listening(self._folder, env=env, **{**settings, "server": {**settings["server"], **limits}})

    async def _recover(self) -> None:
        """The fault is over for now: a fresh event has to flow."""
        over, start = datetime.now(UTC), time.monotonic()

        def fresh() -> bool:
            heard = self._audit.look()
            return any(entry.value in heard for entry in self._publisher.ledger if entry.since >= over)

        await eventually(fresh, timeout_s=RECOVERED_S, interval_s=0.03, what="a fresh event after the fault")
        self._recovered = datetime.now(UTC)
        self._recover_s = max(self._recover_s or 0.0, time.monotonic() - start)

    def _unfounded_gaps(self, gaps: Sequence[Json], began: datetime, ended: datetime) -> Iterator[str]:
        """A gap that is longer than the fault would excuse what nothing excuses."""
        if gaps and self.cell.promise is Promise.NOTHING_MISSING:
            yield f"{len(gaps)} gaps on record, although the session lost nothing"
        for gap in gaps:
            start, end = datetime.fromisoformat(gap["from"]), datetime.fromisoformat(gap["to"])
            step = timedelta(seconds=gap.get("clockStepSeconds", 0))  # it names the stretch by both clocks
            start, end = start - min(step, timedelta()), end - max(step, timedelta())
            if not began - SLACK <= start <= end <= ended + SLACK:
                yield f"a gap from {start} to {end}, but the fault was from {began} to {ended}"

    async def _drain(self) -> None:
        """Let everything arrive that can; what does not is for the oracle to find."""
        ledger = self._publisher.ledger
        due = {entry.value for entry in (ledger if self.cell.promise is Promise.NOTHING_MISSING else ledger[-1:])}
        with contextlib.suppress(AssertionError):
            await eventually(lambda: due <= self._audit.look(), timeout_s=DRAINED_S, interval_s=0.03)
        await asyncio.sleep(QUIET_S)

    def outcome(self) -> Outcome:
        verdict, log = None, []
        if self._listening is not None:
            log = self._listening.daemon.lines[-LOG_LINES:]
            verdict = judge(
                self._publisher.ledger,
                self._listening.events,
                promise=self.cell.promise,
                accounts=(self._rig.account,),
            )
        problems = [*self.problems, *(verdict.problems if verdict else ())]
        return Outcome(
            cell=self.cell, verdict=verdict, recover_s=self._recover_s, problems=tuple(problems), log=tuple(log)
        )
