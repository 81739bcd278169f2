"""What a resend brings: the part of the journal that a command means, and that the sink has got."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from listener.daemon.control import Resend, ResendEvents
from listener.errors import NotPossible
from listener.model.event import Event


async def planned(
    command: ResendEvents,
    read: Callable[[int, int], Awaitable[Sequence[Event]]],
    events_between: Callable[[int, int], int],
    *,
    last: int,
    cursor: int,
) -> Resend:
    """What the command comes to, before anything is done.

    Args:
        command: see there.
        read: `Journal.read`. Its JournalError is raised.
        events_between: as that of `Journal`.
        last: the sequence of the newest event.
        cursor: up to which the sink is done.
    """
    found = await stretch_of(read, last, command.from_ms, command.to_ms)
    through = max(found.after, min(found.through, cursor))
    return Resend(
        sink=command.name,
        events=events_between(found.after, through),
        after=found.after,
        through=through,
        waiting=events_between(max(through, found.after), found.through),
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


class Stretch(NamedTuple):
    """Where the events of a stretch of time are: above the sequence `after`, up to `through`.

    `oldest_ms` is when the oldest event that is left was recorded, None if no event is missing at the beginning.
    """

    after: int
    through: int
    oldest_ms: int | None


async def stretch_of(
    read: Callable[[int, int], Awaitable[Sequence[Event]]], last: int, from_ms: int, to_ms: int
) -> Stretch:
    """Where the events are that were recorded from `from_ms` to `to_ms` (epoch milliseconds), both included.

    By bisection: where the clock was set back, at an end of the stretch, events of the other side may come along.

    Args:
        read: `Journal.read`. Its JournalError is raised.
        last: the sequence of the newest event.
        from_ms: see above.
        to_ms: see above.
    """
    oldest = next(iter(await read(0, 1)), None)
    if oldest is None:
        return Stretch(last, last, None)
    first = oldest.sequence - 1
    after = await _last_before(read, first, last, from_ms)
    through = await _last_before(read, after, last, to_ms + 1)
    is_cut = first > 0 and from_ms < oldest.received_ms
    return Stretch(after, through, oldest.received_ms if is_cut else None)


async def _last_before(read: Callable[[int, int], Awaitable[Sequence[Event]]], low: int, high: int, at_ms: int) -> int:
    """The lowest sequence from `low` to `high` behind which nothing is that was recorded before `at_ms`."""
    while low < high:
        middle = (low + high) // 2
        following = await read(middle, 1)
        if following and following[0].received_ms < at_ms:
            low = min(following[0].sequence, high)
        else:
            high = middle
    return low
