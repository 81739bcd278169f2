"""Time that moves when the test says so."""

import asyncio
import heapq
import itertools


class ManualClock:
    """Time that stands still until `advance`. Its methods stand in for the wall clock, the monotonic clock and sleep.

    Args:
        start_ms: wall clock at the start, epoch milliseconds; the monotonic clock starts at 0.
    """

    def __init__(self, *, start_ms: int = 1_800_000_000_000) -> None:
        self._start_ms = start_ms
        self._elapsed_s = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    def now_ms(self) -> int:
        """The wall clock in epoch milliseconds."""
        return self._start_ms + round(self._elapsed_s * 1000)

    def monotonic_s(self) -> float:
        """The monotonic clock in seconds."""
        return self._elapsed_s

    @property
    def sleepers(self) -> int:
        """How many tasks are asleep."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, delay_s: float) -> None:
        """Return when the clock has been advanced by `delay_s`; a delay of 0 or less only lets others run."""
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_s + delay_s, next(self._order), future))
        self._arrived.set()
        await future

    async def wait_for_sleepers(self, count: int = 1) -> None:
        """Return once at least `count` tasks are asleep: then `advance` cannot come too early."""
        while self.sleepers < count:
            self._arrived.clear()
            await self._arrived.wait()

    def advance(self, seconds: float) -> None:
        """Move both clocks and wake, in the order of their time, the sleepers that are due."""
        self._elapsed_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed_s:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)
