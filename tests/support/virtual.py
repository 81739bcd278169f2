"""Time that jumps to the next thing to do: hours of pauses and timeouts pass in a moment, always in the same order."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from listener.runtime.host import Host

START_S = 1_800_000_000.0
_PATIENCE_S = 10.0


class _Jumping(selectors.DefaultSelector):
    """Waits for nobody: what would pass meanwhile is over."""

    passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now, or where nothing else is left, once a thread has ended."""
        ready = super().select(0)
        if not ready and timeout is None:
            ready = super().select(_PATIENCE_S)
        if not ready and timeout is None:
            raise AssertionError("nothing is left to run, and it is not done")
        if not ready:
            self.passed_s += timeout or 0.0
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop in a time of its own, which begins at 0."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds that have passed."""
        return self._jumping.passed_s

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncio's
        """Wait for the threads themselves, which know nothing of this time."""
        self._executor_shutdown_called = True
        if self._default_executor is not None:
            self._default_executor.shutdown()


class LoopClock:
    """The clock of whoever runs on a loop of this kind; its wall clock may be wrong by `off_s`."""

    def __init__(self, off_s: float = 0.0) -> None:
        self.off_s = off_s

    def monotonic_s(self) -> float:
        """Seconds that have passed."""
        return asyncio.get_running_loop().time()

    def now_s(self) -> float:
        """The wall clock in epoch seconds."""
        return START_S + self.off_s + self.monotonic_s()

    def now_ms(self) -> int:
        """The wall clock in epoch milliseconds."""
        return round(self.now_s() * 1000)

    async def sleep(self, delay_s: float) -> None:
        """Wait."""
        await asyncio.sleep(delay_s)


def virtual_host(*, seed: int = 0, off_s: float = 0.0, boot_id: str = "a-start") -> Host:
    """A host whose time is that of the loop."""
    dice = Random(seed)  # noqa: S311 - the same at each run
    return Host(clock=LoopClock(off_s), random=dice, boot_id=boot_id)


def in_virtual_time(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it to its end."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work())
