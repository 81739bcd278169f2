"""A set of whole numbers that come in long stretches."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple


class Span(NamedTuple):
    """The numbers from `first` to `last`, both included."""

    first: int
    last: int


class Spans:
    """Stretches of numbers; to be added in rising order, and taken out one by one."""

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __contains__(self, number: int) -> bool:
        return self._at(number) is not None

    def add(self, first: int, last: int) -> None:
        """Add a stretch above all that are there."""
        assert not self._spans or self._spans[-1].last < first <= last  # noqa: S101 - see the class
        self._spans.append(Span(first, last))

    def discard(self, number: int) -> None:
        """Take a number out; one that is not there is fine."""
        position = self._at(number)
        if position is None:
            return
        first, last = self._spans[position]
        rest = [Span(first, number - 1), Span(number + 1, last)]
        self._spans[position : position + 1] = [span for span in rest if span.first <= span.last]

    def _at(self, number: int) -> int | None:
        position = bisect_right(self._spans, Span(number, number)) - 1
        for near in (position, position + 1):
            if 0 <= near < len(self._spans) and self._spans[near].first <= number <= self._spans[near].last:
                return near
        return None
