"""Waiting with a deadline, so that no test has to guess how long something takes."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 60.0  # for what takes a moment: a machine that is busy elsewhere is no failure


async def eventually(
    probe: Callable[[], T | Awaitable[T]],
    *,
    timeout_s: float = PATIENCE_S,
    interval_s: float = 0.01,
    what: str | Callable[[], str] = "",
) -> T:
    """The first true answer of `probe`, which is asked every `interval_s` seconds and may be a coroutine function.

    Raises AssertionError with `what` and the last answer after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        answer = probe()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if time.monotonic() > deadline:
            text = (what() if callable(what) else what) or getattr(probe, "__name__", "the condition")
            raise AssertionError(f"not within {timeout_s} s: {text} (last answer: {answer!r})")
        await asyncio.sleep(interval_s)


async def comes_to(
    probe: Callable[[], T | Awaitable[T]], wanted: T, *, timeout_s: float = PATIENCE_S, interval_s: float = 0.01
) -> None:
    """Wait until `probe` answers `wanted`; a failure shows what it answered last."""
    last: list[T] = []

    async def same() -> bool:
        answer = probe()
        last[:] = [await answer if inspect.isawaitable(answer) else answer]
        return last == [wanted]

    await eventually(same, timeout_s=timeout_s, interval_s=interval_s, what=lambda: f"{wanted!r}, but {last!r}")
