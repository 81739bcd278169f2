"""Both event loops that the daemon runs on."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


def on(loop: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it on asyncio's own loop, or on that of the extra `speed`; skips the test where that is not installed."""
    with asyncio.Runner(loop_factory=pytest.importorskip(loop).new_event_loop) as runner:
        runner.run(work())
