"""Who may go on: one at a time, in the order of asking; at once, where nobody is before."""

import asyncio
from contextlib import suppress
from types import TracebackType


class Turn:
    """As `asyncio.Lock`, for one event loop; it can also be taken without waiting, and given back by a callback."""

    __slots__ = ("_is_taken", "_waiters")

    def __init__(self) -> None:
        self._is_taken = False
        self._waiters: list[asyncio.Future[None]] = []

    def locked(self) -> bool:
        """Whether somebody has it."""
        return self._is_taken

    def take(self) -> bool:
        """Take it if nobody has it; whether that is so."""
        if self._is_taken:
            return False
        self._is_taken = True
        return True

    def release(self) -> None:
        """Give it to who has waited longest, in this step: nobody comes in between."""
        while self._waiters:
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return
        self._is_taken = False

    async def acquire(self) -> None:
        """Return once it is ours. Cancelling is safe."""
        if self.take():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # it was given to who does not want it any more
            raise

    async def rest(self, until_s: float) -> None:
        """Return once all who ask now had it, or at this time of the event loop."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until_s), self:
                pass

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self, _kind: type[BaseException] | None, _exc: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.release()
