"""Commands to the daemon that owns a journal; if none runs, the same is done on the journal directly.

Where replicas share it, it is always done in their database, which lets whoever has a lane know.
"""

from typing import NamedTuple

from listener.cli import running, shared
from listener.cli.looks import Journal
from listener.cli.shared import Shared
from listener.daemon import offline
from listener.daemon.control import (
    CancelResend,
    DeadLetterCount,
    DropDeadLetters,
    LaneList,
    ListLanes,
    ReplayDeadLetters,
    Resend,
    ResendCancelled,
    ResendEvents,
    Resumed,
    ResumeLane,
    ask,
    ask_twice,
)
from listener.errors import NoDaemon
from listener.model.event import DeadLetterFilter, LaneStatus
from listener.model.filter import ControlFilter


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


def resend(journal: Journal, command: ResendEvents) -> tuple[Resend, bool]:
    """Deliver events again; returns also whether a daemon does it. Raises as `replay` does."""
    if isinstance(journal, Shared):
        return shared.resend(journal, command), True
    try:
        return ask(journal, command, Resend), True
    except NoDaemon:
        return running.run(offline.resend(journal, command)), False


def cancel_resend(journal: Journal, sink: str) -> ResendCancelled:
    """Deliver nothing again any more. Raises as `replay` does."""
    if isinstance(journal, Shared):
        return shared.cancel_resend(journal, sink)
    try:
        return ask(journal, CancelResend(name=sink), ResendCancelled)
    except NoDaemon:
        return running.run(offline.cancel_resend(journal, sink))


def lanes(journal: Journal) -> list[LaneStatus] | None:
    """The lanes of the daemon, None if no daemon runs. Raises ControlError if it does not answer."""
    if isinstance(journal, Shared):
        return shared.lanes(journal)
    try:
        return list(ask_twice(journal, ListLanes(), LaneList).lanes)
    except NoDaemon:
        return None
