"""Real brokers as child processes that keep their port and their data over kill -9 and a restart."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from support.eventually import eventually

_STOP_S = 5.0
_TAIL = 40


def free_port() -> int:
    """A port of the loopback that nobody has at the moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Broker:
    """One broker, in a session of its own. It belongs to no event loop, so that many tests may share it.

    Args:
        argv: how to run it in the foreground.
        folder: where it runs; its output goes to `output.log` there.
        port: where it listens.
        ready: what is in the line that it writes when it takes connections.
        ready_within_s: how long that may take.
        env: more of its environment.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        folder: Path,
        port: int,
        ready: str,
        ready_within_s: float = 15.0,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.port = port
        self._argv = [str(word) for word in argv]
        self._folder = folder
        self._log = folder / "output.log"
        self._ready = ready
        self._ready_within_s = ready_within_s
        self._env = {**os.environ, **(env or {})}
        self._child: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Return once it has said that it is ready. Blocks."""
        self._starts += 1
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._argv, cwd=self._folder, env=self._env, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + self._ready_within_s
        while self.output().count(self._ready) < self._starts:
            if self._child.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(self.output().splitlines()[-_TAIL:])
                self.kill()
                raise AssertionError(f"not ready (exit status {self._child.returncode}):\n{tail}")
            time.sleep(0.01)

    def output(self) -> str:
        """What it has written so far, over all its starts."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """SIGKILL; returns once it is gone."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        assert self._child is not None
        self._child.terminate()
        try:
            self._child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    @contextlib.asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """Kill -9 at the beginning, a new start on the same port with the same data at the end."""
        await asyncio.to_thread(self.kill)
        try:
            yield
        finally:
            await asyncio.to_thread(self.start)

    @contextlib.asynccontextmanager
    async def stall(self) -> AsyncIterator[None]:
        """The kernel takes connections, and nobody answers."""
        assert self._child is not None
        self._child.send_signal(signal.SIGSTOP)
        try:
            await eventually(
                lambda pid=self._child.pid: is_stopped(pid), what="every thread of the server stands still"
            )
            yield
        finally:
            self._child.send_signal(signal.SIGCONT)


def is_stopped(pid: int) -> bool:
    """Whether every thread of a process stands still: SIGSTOP returns before they do."""
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(state == "T" for state in states)
