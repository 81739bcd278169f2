"""A machine that is busy elsewhere for a moment: played at will, and left out of the time of the tests' event loops."""

import asyncio
import ctypes
import random
import selectors
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

_STEP_S = 0.02


class _Stepping(selectors.DefaultSelector):
    """Waits for a step at most, so that a stall cannot pass for a long wait."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready by then."""
        return super().select(_STEP_S if timeout is None else min(timeout, _STEP_S))


class SteadyLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, on whose clock a stall of the machine is short: a limit of 0.1 s that runs out was too short.

    What is measured on another clock, the threads and the other processes know nothing of that.
    """

    def __init__(self) -> None:
        self._passed_s = self._seen_s = monotonic()
        super().__init__(_Stepping())

    def time(self) -> float:
        """Seconds of the monotonic clock, less what nobody had asked for in time."""
        now_s = monotonic()
        self._passed_s += min(now_s - self._seen_s, 2 * _STEP_S)
        self._seen_s = now_s
        return self._passed_s


@contextmanager
def stalled(length_s: float) -> Iterator[None]:
    """Stop every thread of this process once for so many seconds, at a random moment of the first two."""
    over = threading.Event()

    def hold() -> None:
        if not over.wait(10 ** random.uniform(-3, 0.3)):  # noqa: S311 - it is chance that is wanted
            ctypes.PyDLL(None).usleep(int(length_s * 1e6))  # holds the GIL

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
