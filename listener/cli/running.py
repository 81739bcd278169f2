"""Run a coroutine as a command: event loop and signals."""

import asyncio
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import structlog

try:
    from uvloop import new_event_loop
except ImportError:  # the extra `speed` is not installed
    new_event_loop = None  # type: ignore[assignment]

T = TypeVar("T")

_NAME = "disposition-listener"
_ENDING = (signal.SIGINT, signal.SIGTERM)

log = structlog.get_logger(__name__)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on an event loop of its own, uvloop's if installed."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def on_request(stop: Callable[[], None]) -> None:
    """Call `stop` on the first SIGINT or SIGTERM; a second one exits at once, with the signal's own status.

    Stays so until the event loop is closed.
    """
    loop = asyncio.get_running_loop()
    heard: list[int] = []

    def handle(number: signal.Signals) -> None:
        heard.append(number)
        if len(heard) > 1:
            log.warning("forced_exit", signal=number.name)
            os._exit(128 + number)
        log.info("stop_requested", signal=number.name)
        stop()

    for number in _ENDING:
        loop.add_signal_handler(number, handle, number)


def on_hangup(act: Callable[[], None]) -> None:
    """Call `act` on each SIGHUP, which would end the process otherwise. Stays so until the event loop is closed."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, act)


async def until_request(work: Coroutine[Any, Any, None]) -> bool:
    """Await `work`; SIGINT or SIGTERM cancels it. Returns whether it finished."""
    task, asked = asyncio.current_task(), asyncio.Event()

    def stop() -> None:
        asked.set()
        if task is not None:
            task.cancel()

    on_request(stop)
    try:
        await work
    except asyncio.CancelledError:
        if not asked.is_set():
            raise
    return not asked.is_set()


def program() -> str:
    """What a shell knows this command by: its name, or the file that was called where no folder of PATH holds it."""
    called = sys.argv[0]
    return shlex.quote(called) if Path(called).name == _NAME and shutil.which(_NAME) is None else _NAME
