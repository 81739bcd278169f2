"""What a resend brings: the part of the journal that a command means, and that the sink has got."""

from collections.abc import Awaitable, Callable, Sequence

from listener.daemon.control import Resend, ResendEvents
from listener.delivery.resends import stretch_of
from listener.errors import NotPossible
from listener.model.event import Event


async def planned(
    command: ResendEvents, read: Callable[[int, int], Awaitable[Sequence[Event]]], *, last: int, cursor: int
) -> Resend:
    """What the command comes to, before anything is done.

    Args:
        command: see there.
        read: `Journal.read`. Its JournalError is raised.
        last: the sequence of the newest event.
        cursor: up to which the sink is done.
    """
    found = await stretch_of(read, last, command.from_ms, command.to_ms)
    through = max(found.after, min(found.through, cursor))
    return Resend(
        sink=command.name,
        events=through - found.after,
        after=found.after,
        through=through,
        waiting=found.through - max(through, found.after),
        oldest_ms=found.oldest_ms,
    )


def require_possible(sink: str, *, holds_once: bool, left: int) -> None:
    """Raises NotPossible: the sink's destination holds each event once, or a resend is under way."""
    if holds_once:
        raise NotPossible(
            f"sink {sink!r} is an audit trail, which holds each event once: nothing is delivered to it again"
        )
    if left:
        raise NotPossible(f"{left} events are already to be delivered to sink {sink!r} again: wait, or cancel that")
