"""When a lane delivers next: at once, or a little later with more events."""

from collections.abc import Callable

_PAUSE_S = 0.02
_MEMORY_S = 0.1
_MOST = 1 / 3


class Pace:
    """Follows what share of the time deliveries would take if every event had one of its own.

    Up to a third, the next one goes at once. Beyond, it waits 20 ms and carries what came meanwhile: a delivery costs
    nearly the same for many events as for one.

    Args:
        monotonic: seconds that only run forward.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._share = 0.0
        self._ended_s = monotonic()

    def pause_s(self, events: int, began_s: float) -> float:
        """Seconds until the next delivery, after one of so many events that began at a moment and has just ended."""
        now_s = self._monotonic()
        passed_s, self._ended_s = now_s - self._ended_s, now_s
        if passed_s > 0:
            share = min(1.0, events * (now_s - began_s) / passed_s)
            self._share += (share - self._share) * min(1.0, passed_s / _MEMORY_S)
        return _PAUSE_S if self._share > _MOST else 0.0
