"""The listener with a watch on its event loop: `python loopwatch.py FILE ARGUMENTS` stands for `-m listener`.

A tick comes every 5 ms. Between two of them lies at most one turn of the loop, whose CPU time is what it did: the wall
clock would count what else the machine does. FILE holds the longest of each so far, in seconds.
"""

import json
import sys
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable
from pathlib import Path

from listener import cli
from listener.cli import running

TICK_S = 0.005


class Watch:
    """Ticks on a loop, and notes the longest turns in `file`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._longest = {"cpu_s": 0.0, "wall_s": 0.0}
        self._last = (0.0, 0.0)

    def begin(self, loop: AbstractEventLoop) -> None:
        self._last = (time.thread_time(), time.monotonic())
        loop.call_later(TICK_S, self._tick, loop)

    def _tick(self, loop: AbstractEventLoop) -> None:
        now = (time.thread_time(), time.monotonic())
        turn = {"cpu_s": now[0] - self._last[0], "wall_s": now[1] - self._last[1] - TICK_S}
        self._last = now
        if any(turn[clock] > self._longest[clock] for clock in turn):
            self._longest = {clock: max(turn[clock], self._longest[clock]) for clock in turn}
            beside = self._file.with_suffix(".new")
            beside.write_text(json.dumps(self._longest))
            beside.replace(self._file)
        loop.call_later(TICK_S, self._tick, loop)


def watched(new_loop: Callable[[], AbstractEventLoop], watch: Watch) -> Callable[[], AbstractEventLoop]:
    """Makes loops that are watched once they run."""

    def new() -> AbstractEventLoop:
        loop = new_loop()
        loop.call_soon(watch.begin, loop)
        return loop

    return new


def main() -> None:
    file, *arguments = sys.argv[1:]
    running.new_event_loop = watched(running.new_event_loop, Watch(Path(file)))
    sys.argv = ["disposition-listener", *arguments]
    cli.main()


if __name__ == "__main__":
    main()
