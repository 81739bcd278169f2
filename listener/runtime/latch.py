"""An event to wait for, without the 700 bytes of queue that each `asyncio.Event` holds: a session needs several."""

import asyncio


class Latch:
    """Open or shut; `wait` returns once it is open. As `asyncio.Event`, for one event loop.

    Args:
        is_open: how it begins.
    """

    __slots__ = ("_open", "_waiters")

    def __init__(self, *, is_open: bool = False) -> None:
        self._open = is_open
        self._waiters: tuple[asyncio.Future[None], ...] = ()

    def is_set(self) -> bool:
        """Whether it is open."""
        return self._open

    def set(self) -> None:
        """Open it and wake everyone who waits, even if it is shut again before they run. Idempotent."""
        self._open = True
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """Shut it."""
        self._open = False

    async def wait(self) -> None:
        """Return once it is open, at once if it is. Cancelling is safe."""
        if self._open:
            return
        await self._waiter()

    async def within(self, limit_s: float) -> bool:
        """Wait at most so long; returns whether it is open. Lighter than a timeout around `wait`."""
        if self._open:
            return True
        waiter = self._waiter()
        timer = asyncio.get_running_loop().call_later(limit_s, _give_up, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
        return self._open

    def _waiter(self) -> asyncio.Future[None]:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        others = self._waiters
        self._waiters = (*[other for other in others if not other.done()], waiter) if others else (waiter,)
        return waiter


def _give_up(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
