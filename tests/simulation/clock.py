"""The clocks of simulated hosts: one time for all, and wall clocks that may be wrong."""

import asyncio

from simulation.loop import Loop

EPOCH_MS = 1_795_340_340_000  # Sun, 22 Nov 2026 09:39:00 GMT


class WorldClock:
    """`listener.runtime.clock.Clock` of one host.

    Attributes:
        settings: since when (virtual seconds) the wall clock is off by how much (milliseconds).
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.settings: list[tuple[float, int]] = [(0.0, 0)]

    def jump(self, by_s: float) -> None:
        """Set the wall clock."""
        self.settings.append((self._loop.now_s, self.settings[-1][1] + round(by_s * 1000)))

    def now_ms(self) -> int:
        """See `Clock`."""
        return EPOCH_MS + int(self._loop.now_s * 1000) + self.settings[-1][1]

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return 1000.0 + self._loop.now_s

    async def sleep(self, delay_s: float) -> None:
        """See `Clock`."""
        await asyncio.sleep(delay_s)
