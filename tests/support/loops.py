"""Both event loops that the daemon runs on."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from support.stalls import SteadyLoop

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


def on(loop: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run it on asyncio's own loop, or on that of the extra `speed`; skips the test where that is not installed."""
    new_loop = SteadyLoop if loop == "asyncio" else pytest.importorskip(loop).new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(work())
