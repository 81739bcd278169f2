"""How many events there are between two sequences: these have holes, so they cannot be subtracted."""

from collections.abc import Iterable

Holes = tuple[tuple[int, int], ...]
"""The first and the last of sequences that no event has, rising: what is deleted, lost, or was left out on purpose."""

JUMP = 1_000_000
"""If later events may be lost, sequences continue this far above the last known one: a sink may have seen them."""


def events_between(after: int, through: int, holes: Holes) -> int:
    """How many events have a sequence above `after`, up to `through`."""
    missing = (min(last, through) - max(first - 1, after) for first, last in holes)
    return max(0, through - after) - sum(one for one in missing if one > 0)


def all_holes(first: int | None, newest: int, known: Iterable[tuple[int, int]]) -> Holes:
    """What retention deleted, and the holes behind that.

    Args:
        first: the sequence of the oldest event; None where no event is stored.
        newest: the last sequence that was ever used.
        known: the holes that are on record; those that retention has passed may be among them.
    """
    deleted = newest if first is None else first - 1
    return ((1, deleted), *sorted((start, end) for start, end in known if start > deleted))
