"""Delays between attempts: exponential growth with full jitter, and those that a server asks for."""

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime

from listener.runtime.host import THIS_HOST

LONGEST_PAUSE_S = 86_400.0
"""What is asked for beyond a day is a mistake, such as a date in place of seconds."""


class Backoff:
    """Successive delays in seconds, each drawn uniformly from 0 to a cap that doubles.

    Full jitter keeps many sessions that failed at one moment from returning at one moment. `floor_s` keeps a
    lucky draw of zero from becoming a request storm.

    Args:
        first_s: cap of the first delay.
        limit_s: cap that growth stops at.
        floor_s: least delay.
        uniform: source of randomness, `random.uniform` by signature; tests hand in their own.
    """

    __slots__ = ("_first_s", "_floor_s", "_limit_s", "_uniform", "attempts")

    def __init__(
        self,
        *,
        first_s: float = 0.5,
        limit_s: float = 30.0,
        floor_s: float = 0.05,
        uniform: Callable[[float, float], float] = THIS_HOST.random.uniform,
    ) -> None:
        self._first_s = first_s
        self._limit_s = limit_s
        self._floor_s = floor_s
        self._uniform = uniform
        self.attempts = 0

    def next(self) -> float:
        """The delay before the next attempt; counts the attempt."""
        cap_s = min(self._limit_s, self._first_s * 2 ** min(self.attempts, 32))
        self.attempts += 1
        return max(self._floor_s, self._uniform(0.0, cap_s))

    def reset(self, attempts: int = 0) -> None:
        """A success: the next failure starts from `first_s` again; or from where so many attempts have led."""
        self.attempts = attempts


def retry_after_s(value: str | None, *, limit_s: float, now_s: Callable[[], float] = THIS_HOST.time_s) -> float | None:
    """`Retry-After` (RFC 9110, 10.2.3: seconds or an HTTP date) as seconds from now; None if it is neither.

    `limit_s` bounds it: a wait without end would look like a dead listener.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), limit_s)
    try:
        at = parsedate_to_datetime(text)
        wait_s = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() - now_s()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, wait_s), limit_s)
