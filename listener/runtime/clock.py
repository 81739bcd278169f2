"""Time as the code knows it: the wall clock for stamps, the monotonic clock for durations, and waiting."""

import asyncio
import time
from typing import Protocol, Self

import msgspec


class Clock(Protocol):
    """Where all time comes from; a test hands in one of its own."""

    def now_ms(self) -> int:
        """The wall clock in epoch milliseconds, for stamps only: it may jump."""

    def monotonic_s(self) -> float:
        """Seconds that only run forward, from an arbitrary start."""

    async def sleep(self, delay_s: float) -> None:
        """Wait on the monotonic clock."""


class Moment(msgspec.Struct, frozen=True):
    """One moment by both clocks: the wall clock says when it was, the monotonic clock how long it is ago.

    Attributes:
        wall_ms: what the wall clock showed, epoch milliseconds.
        monotonic_s: what the monotonic clock showed; None for a moment that only the wall clock tells.
    """

    wall_ms: int
    monotonic_s: float | None

    @classmethod
    def of(cls, clock: Clock) -> Self:
        """Now."""
        return cls(clock.now_ms(), clock.monotonic_s())

    def seconds_to(self, later: "Moment") -> float:
        """How long it is from here to there, by the monotonic clock if both have been read from it."""
        if self.monotonic_s is None or later.monotonic_s is None:
            return (later.wall_ms - self.wall_ms) / 1000
        return later.monotonic_s - self.monotonic_s

    @property
    def order(self) -> tuple[bool, float]:
        """What moments of the past are compared by: what only the wall clock tells was before this machine's start."""
        return (False, self.wall_ms) if self.monotonic_s is None else (True, self.monotonic_s)

    def earlier(self, by_s: float) -> "Moment":
        """So many seconds before, by both clocks."""
        monotonic_s = None if self.monotonic_s is None else self.monotonic_s - by_s
        return Moment(self.wall_ms - round(by_s * 1000), monotonic_s)


class SystemClock:
    """The clocks of this machine."""

    def now_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000

    monotonic_s = staticmethod(time.monotonic)  # itself: a poll asks for it a dozen times

    async def sleep(self, delay_s: float) -> None:
        """See `Clock`."""
        await asyncio.sleep(delay_s)


SYSTEM_CLOCK = SystemClock()
