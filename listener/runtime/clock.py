"""Time as the code knows it: the wall clock for stamps, the monotonic clock for durations, and waiting."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Where all time comes from; a test hands in one of its own."""

    def now_ms(self) -> int:
        """The wall clock in epoch milliseconds, for stamps only: it may jump."""

    def monotonic_s(self) -> float:
        """Seconds that only run forward, from an arbitrary start."""

    async def sleep(self, delay_s: float) -> None:
        """Wait on the monotonic clock."""


class SystemClock:
    """The clocks of this machine."""

    def now_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """See `Clock`."""
        await asyncio.sleep(delay_s)


SYSTEM_CLOCK = SystemClock()
