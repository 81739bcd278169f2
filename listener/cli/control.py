"""Commands to the daemon that owns a journal; if none runs, the same is done on the journal directly."""

from pathlib import Path
from typing import NamedTuple

from listener.cli import running
from listener.daemon import offline
from listener.daemon.control import (
    DeadLetterCount,
    DropDeadLetters,
    LaneList,
    ListLanes,
    ReplayDeadLetters,
    Resumed,
    ResumeLane,
    ask,
)
from listener.errors import DaemonEnded, NoDaemon
from listener.model.event import ControlFilter, DeadLetterFilter, LaneStatus


class Done(NamedTuple):
    """How many dead letters, and whether a daemon did it."""

    letters: int
    daemon: bool


def replay(journal: Path, which: DeadLetterFilter) -> Done:
    """Mark dead letters for another delivery. Raises ControlError or JournalError if that fails."""
    try:
        done = ask(journal, ReplayDeadLetters(filter=ControlFilter.of(which)), DeadLetterCount)
        return Done(done.letters, daemon=True)
    except NoDaemon:
        return Done(running.run(offline.replay(journal, which)), daemon=False)


def drop(journal: Path, which: DeadLetterFilter) -> Done:
    """Delete dead letters for good. Raises as `replay` does."""
    try:
        done = ask(journal, DropDeadLetters(filter=ControlFilter.of(which)), DeadLetterCount)
        return Done(done.letters, daemon=True)
    except NoDaemon:
        return Done(running.run(offline.drop(journal, which)), daemon=False)


def resume(journal: Path, name: str | None) -> tuple[Resumed, bool]:
    """Resume a parked sink, or all; returns also whether a daemon did it. Raises as `replay` does."""
    try:
        return ask(journal, ResumeLane(name=name, all=name is None), Resumed), True
    except NoDaemon:
        resumed, running_anyway = running.run(offline.resume(journal, name))
        return Resumed(resumed=resumed, running=running_anyway), False


def lanes(journal: Path) -> list[LaneStatus] | None:
    """The lanes of the daemon, None if no daemon runs. Raises ControlError if it does not answer."""
    try:
        return list(ask(journal, ListLanes(), LaneList).lanes)
    except (NoDaemon, DaemonEnded):
        return None
