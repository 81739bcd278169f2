"""A gate before which very many may wait: they are let through a few at a time, and the event loop turns meanwhile."""

import asyncio
from collections import deque

_AT_ONCE = 10
_PAUSE_S = 0.005


class Gate:
    """Open or shut, at first open."""

    def __init__(self) -> None:
        self._is_open = True
        self._waiters: deque[asyncio.Future[None]] = deque()

    def shut(self) -> None:
        """Let nobody through."""
        self._is_open = False

    async def open(self) -> None:
        """Let through all who wait, in their order, and from then on whoever comes. Cancelling leaves it shut."""
        while self._waiters:
            for _ in range(min(_AT_ONCE, len(self._waiters))):
                _let_through(self._waiters.popleft())
            await asyncio.sleep(_PAUSE_S)
        self._is_open = True

    async def within(self, limit_s: float) -> None:
        """Return once it is open, or after so many seconds."""
        if self._is_open:
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_later(limit_s, _let_through, waiter)
        try:
            await waiter
        finally:
            timer.cancel()


def _let_through(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
