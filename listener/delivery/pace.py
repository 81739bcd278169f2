"""When a lane delivers next: at once, or a little later with more events."""

from collections.abc import Callable

_MANY = 300.0
_PAUSE_S = 0.02
_MEMORY_S = 0.1


class Pace:
    """Follows how many events a second come.

    Up to 300, each goes at once. Beyond, 20 ms pass between two deliveries, and each carries what came meanwhile: a
    delivery costs nearly the same for many events as for one.

    Args:
        monotonic: seconds that only run forward.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._rate = 0.0
        self._ended_s = monotonic()

    def pause_s(self, events: int) -> float:
        """Seconds until the next delivery, after one of so many events that has just ended."""
        now_s = self._monotonic()
        passed_s, self._ended_s = now_s - self._ended_s, now_s
        if passed_s > 0:
            rate = min(events / passed_s, 3 * _MANY)  # so that a flood is soon forgotten
            self._rate += (rate - self._rate) * min(1.0, passed_s / _MEMORY_S)
        return _PAUSE_S if self._rate > _MANY else 0.0
