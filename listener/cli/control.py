"""Commands to the daemon that owns a journal; if none runs, the same is done on the journal directly.

Where replicas share it, it is always done in their database, which lets whoever has a lane know.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from listener.cli import running, shared
from listener.cli.looks import Journal
from listener.cli.shared import Shared
from listener.daemon import at_rest, offline
from listener.daemon.control import (
    DeadLetterCount,
    DropDeadLetters,
    LaneList,
    ListLanes,
    ReplayDeadLetters,
    Resumed,
    ResumeLane,
    Summarize,
    ask,
)
from listener.errors import DaemonEnded, NoDaemon
from listener.model.event import ControlFilter, DeadLetterFilter, LaneStatus
from listener.web.summary import Summary


class Done(NamedTuple):
    """How many dead letters, and whether a daemon did it."""

    letters: int
    daemon: bool


def replay(journal: Journal, which: DeadLetterFilter) -> Done:
    """Mark dead letters for another delivery. Raises ControlError or JournalError if that fails."""
    if isinstance(journal, Shared):
        letters, owned = shared.replay(journal, which)
        return Done(letters, daemon=owned)
    try:
        done = ask(journal, ReplayDeadLetters(filter=ControlFilter.of(which)), DeadLetterCount)
        return Done(done.letters, daemon=True)
    except NoDaemon:
        return Done(running.run(offline.replay(journal, which)), daemon=False)


def drop(journal: Journal, which: DeadLetterFilter) -> Done:
    """Delete dead letters for good. Raises as `replay` does."""
    if isinstance(journal, Shared):
        return Done(shared.drop(journal, which), daemon=True)
    try:
        done = ask(journal, DropDeadLetters(filter=ControlFilter.of(which)), DeadLetterCount)
        return Done(done.letters, daemon=True)
    except NoDaemon:
        return Done(running.run(offline.drop(journal, which)), daemon=False)


def resume(journal: Journal, name: str | None) -> tuple[Resumed, bool]:
    """Resume a parked sink, or all; returns also whether a daemon did it. Raises as `replay` does."""
    if isinstance(journal, Shared):
        return shared.resume(journal, name)
    try:
        return ask(journal, ResumeLane(name=name, all=name is None), Resumed), True
    except NoDaemon:
        resumed, running_anyway = running.run(offline.resume(journal, name))
        return Resumed(resumed=resumed, running=running_anyway), False


def lanes(journal: Journal) -> list[LaneStatus] | None:
    """The lanes of the daemon, None if no daemon runs. Raises ControlError if it does not answer."""
    if isinstance(journal, Shared):
        return shared.lanes(journal)
    try:
        return list(ask(journal, ListLanes(), LaneList).lanes)
    except (NoDaemon, DaemonEnded):
        return None


def summary(journal: Journal, kinds: Mapping[str, str], accounts: Collection[str] | None) -> tuple[Summary, bool]:
    """What is well and what is not, and whether a daemon runs; without one, what it has left.

    `kinds` are the configured sinks with their kinds, `accounts` those that are configured, None for all that have a
    session. Raises ControlError if a daemon does not answer, JournalError if there is no journal.
    """
    if isinstance(journal, Shared):
        return journal.ask(lambda database: at_rest.of_database(database, kinds))
    try:
        return ask(journal, Summarize(), Summary), True
    except (NoDaemon, DaemonEnded):
        return at_rest.of_file(journal, kinds, accounts), False
