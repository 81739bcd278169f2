"""A gate before which very many may wait: they are let through a few at a time, and the event loop turns meanwhile."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable

_AT_ONCE = 10
_PAUSE_S = 0.005
_IN_A_STEP = 50


class Gate:
    """Open or shut, at first open."""

    def __init__(self) -> None:
        self._is_open = True
        self._waiters: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._stepping: deque[asyncio.Future[None]] = deque()
        self._stepped = 0

    def shut(self) -> None:
        """Let nobody through."""
        self._is_open = False

    async def open(self, condition: Callable[[], Awaitable[None]] | None = None) -> None:
        """Let through all who wait, in their order, and from then on whoever comes. Cancelling leaves it shut.

        Args:
            condition: waited for before each few of them.
        """
        while self._waiters:
            if condition is not None:
                await condition()
            for _ in range(min(_AT_ONCE, len(self._waiters))):
                _let_through(self._waiters.popitem(last=False)[0])
            await asyncio.sleep(_PAUSE_S)
        self._is_open = True

    async def within(self, limit_s: float) -> None:
        """Return once it is open, or after so many seconds."""
        if self._is_open:
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters[waiter] = None
        timer = loop.call_later(limit_s, _let_through, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiters.pop(waiter, None)

    async def in_step(self) -> None:
        """Return at once, or where very many have come, open or shut, a few steps of the event loop later, in order.

        What makes so many ready at once is a stall, of ours or of a server: none is to follow from it.
        """
        if self._stepped < _IN_A_STEP and not self._stepping:
            self._stepped += 1
            return
        loop = asyncio.get_running_loop()
        if not self._stepping:
            loop.call_soon(self._next_step)
        waiter: asyncio.Future[None] = loop.create_future()
        self._stepping.append(waiter)
        await waiter

    def _next_step(self) -> None:
        self._stepped = min(_IN_A_STEP, len(self._stepping))
        for _ in range(self._stepped):
            _let_through(self._stepping.popleft())
        if self._stepping:
            asyncio.get_running_loop().call_soon(self._next_step)


def _let_through(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
