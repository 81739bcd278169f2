"""The last attempts of a lane, for the person who asks what became of them; in memory, and bounded."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from listener.errors import Outcome, Park, Reject
from listener.model.condition import Attempt, Verdict
from listener.model.event import Event, rfc3339

KEPT = 50
SAID_AT_MOST = 300  # characters


class _Made(NamedTuple):
    """An attempt as it is kept: what a batch costs here is one of these."""

    number: int
    at_ms: int
    events: int
    taken: int
    first: int
    last: int
    outcome: Verdict
    seconds: float
    said: str

    def shown(self) -> Attempt:
        return Attempt(
            at=rfc3339(self.at_ms),
            events=self.events,
            taken=self.taken,
            first_sequence=self.first if self.events else None,
            last_sequence=self.last if self.events else None,
            outcome=self.outcome,
            seconds=round(self.seconds, 3),
            said=self.said,
        )


class Attempts:
    """Keeps the last `KEPT` attempts that were taken whole, and as many of the others, which those shall not displace.

    Of what the destination said it keeps the reason, which quotes no event.

    Args:
        now_ms: epoch milliseconds, for stamps.
        monotonic: seconds that only run forward.
    """

    def __init__(self, *, now_ms: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._taken: deque[_Made] = deque(maxlen=KEPT)
        self._others: deque[_Made] = deque(maxlen=KEPT)
        self._number = 0

    def begin(self) -> tuple[int, float]:
        """The moment at which an attempt begins, for `note`."""
        return self._now_ms(), self._monotonic()

    def note(self, began: tuple[int, float], events: Sequence[Event], outcome: Outcome | None) -> None:
        """An attempt is over: with these events, or none where the sink could not be opened."""
        at_ms, began_s = began
        seconds = self._monotonic() - began_s
        count = len(events)
        first, last = (events[0].sequence, events[-1].sequence) if events else (0, 0)
        self._number += 1
        if outcome is None:
            self._taken.append(_Made(self._number, at_ms, count, count, first, last, "delivered", seconds, ""))
            return
        taken, said = len(outcome.delivered), outcome.reason[:SAID_AT_MOST]
        self._others.append(_Made(self._number, at_ms, count, taken, first, last, _verdict(outcome), seconds, said))

    def newest(self, limit: int) -> tuple[Attempt, ...]:
        """At most so many, newest first."""
        made = sorted((*self._taken, *self._others), reverse=True)
        return tuple(one.shown() for one in made[:limit])


def _verdict(outcome: Outcome) -> Verdict:
    if isinstance(outcome, Park):
        return "park"
    return "reject" if isinstance(outcome, Reject) else "retry"
