"""A replay as it goes on: a bar on a terminal, a line now and then elsewhere, until there is nothing to wait for."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from listener.cli import control
from listener.journal.views import dead_letters
from listener.model.event import DeadLetter, DeadLetterFilter, LaneStatus

_LOOK_S = 0.2
_LINE_S = 2.0
_NO_PROGRESS_S = 10.0


class ReplayProgress(NamedTuple):
    """What became of a replay so far; `halt` is why there is nothing to wait for although some are pending."""

    delivered: int
    rejected: int
    pending: int
    halt: str | None = None

    @property
    def done(self) -> int:
        """Those that are decided."""
        return self.delivered + self.rejected

    @property
    def is_over(self) -> bool:
        """Whether waiting is of no use any more."""
        return not self.pending or self.halt is not None

    def __str__(self) -> str:
        parts = [f"{self.delivered} delivered"]
        parts += [f"{self.rejected} rejected again"] if self.rejected else []
        parts += [f"{self.pending} still to come"] if self.pending else []
        return ", ".join(parts)


class Replay:
    """Letters on their way: what the journal and the lanes say of them.

    Args:
        journal: the journal's path.
        before: the letters as they were before they were marked.
        clock: seconds that only run forward.
    """

    def __init__(
        self, *, journal: Path, before: Sequence[DeadLetter], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._journal = journal
        self._before = {(letter.sink, letter.sequence): letter for letter in before}
        self._clock = clock
        self._moved_s = clock()
        self._last_done = 0

    def poll(self) -> ReplayProgress:
        """How it stands now. Raises ControlError or JournalError."""
        now = self._now()
        gone = [place for place in self._before if place not in now]
        waiting = [letter for place, letter in now.items() if letter.replaying]
        rejected = [place for place, letter in now.items() if not letter.replaying and self._is_news(place, letter)]
        progress = ReplayProgress(delivered=len(gone), rejected=len(rejected), pending=len(waiting))
        if progress.done != self._last_done:
            self._last_done, self._moved_s = progress.done, self._clock()
        return progress._replace(halt=self._halt({letter.sink for letter in waiting})) if waiting else progress

    def _now(self) -> dict[tuple[str, int], DeadLetter]:
        sinks = {sink for sink, _ in self._before}
        found = dead_letters(self._journal, DeadLetterFilter(sink=sinks.pop() if len(sinks) == 1 else None))
        return {place: letter for letter in found if (place := (letter.sink, letter.sequence)) in self._before}

    def _is_news(self, place: tuple[str, int], letter: DeadLetter) -> bool:
        return replace(self._before[place], replaying=False) != letter

    def _halt(self, sinks: set[str]) -> str | None:
        """Why none of these sinks takes anything now; None where one may."""
        lanes = control.lanes(self._journal)
        if lanes is None:
            return "the daemon has ended; what is left is delivered when it runs again"
        reasons = [self._problem(lane) for lane in lanes if lane.sink in sinks]
        return "; ".join(reason for reason in reasons if reason) if reasons and all(reasons) else None

    def _problem(self, lane: LaneStatus) -> str | None:
        if lane.parked is not None:
            return f"sink {lane.sink} is parked: {lane.parked}; `sinks resume {lane.sink}` lets it go on"
        if lane.last_error is not None and self._clock() - self._moved_s > _NO_PROGRESS_S:
            return f"sink {lane.sink} takes none now: {lane.last_error}; it is tried again by itself"
        return None


def follow(replay: Replay, *, sleep: Callable[[float], None] = time.sleep) -> ReplayProgress:
    """Show a replay until it is over, or until Ctrl-C, which raises KeyboardInterrupt."""
    shown = _draw_bar if sys.stdout.isatty() else _print_lines
    return shown(_polls(replay, sleep))


def _polls(replay: Replay, sleep: Callable[[float], None]) -> Iterator[ReplayProgress]:
    """Look again and again; a look into a large journal takes long, and must not be all that the disk does."""
    while True:
        began_s = time.monotonic()
        progress = replay.poll()
        yield progress
        if progress.is_over:
            return
        sleep(max(_LOOK_S, 4 * (time.monotonic() - began_s)))


def _draw_bar(polls: Iterator[ReplayProgress]) -> ReplayProgress:
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = ReplayProgress(0, 0, 0)
    with Progress(*columns, console=Console(highlight=False), transient=True) as bar:
        task = bar.add_task("replaying")
        for progress in polls:
            bar.update(task, completed=progress.done, total=progress.done + progress.pending)
    return progress


def _print_lines(polls: Iterator[ReplayProgress]) -> ReplayProgress:
    progress = printed = ReplayProgress(0, 0, 0)
    printed_s = time.monotonic()
    for progress in polls:
        if progress != printed and not progress.is_over and time.monotonic() - printed_s >= _LINE_S:
            print(progress, flush=True)
            printed, printed_s = progress, time.monotonic()
    return progress
