"""The newest events in memory, so that a lane that is up to date reads no file."""

from collections.abc import Sequence

from listener.model.event import Event

MAX_EVENTS = 4096
MAX_BYTES = 8 * 2**20


class Tail:
    """The newest durable events without a hole, bounded by count and by the bytes of their `data`.

    When a bound is passed, a quarter goes at once: trimming one by one would shift the list on every append.
    """

    def __init__(self, *, last_sequence: int, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self._before = last_sequence
        self._events: list[Event] = []
        self._bytes = 0
        self._max_events = max_events
        self._max_bytes = max_bytes

    @property
    def last_sequence(self) -> int:
        """Sequence of the newest event in memory, or where the next one belongs behind."""
        return self._before + len(self._events)

    def extend(self, events: Sequence[Event]) -> None:
        """Add committed events; their sequences follow on the last ones."""
        self._events += events
        self._bytes += sum([len(event.data) for event in events])
        while len(self._events) > self._max_events or self._bytes > self._max_bytes:
            self._drop(len(self._events) // 4 + 1)

    def _drop(self, count: int) -> None:
        self._bytes -= sum([len(event.data) for event in self._events[:count]])
        del self._events[:count]
        self._before += count

    def forget_through(self, sequence: int) -> None:
        """Drop what retention deleted."""
        self._drop(min(max(0, sequence - self._before), len(self._events)))

    def read(self, after: int, limit: int) -> Sequence[Event] | None:
        """At most `limit` events above `after`, oldest first; None when the first of them is no longer in memory."""
        start = after - self._before
        return None if start < 0 else self._events[start : start + limit]
