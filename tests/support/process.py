"""Child processes whose output is collected line by line, and the real daemon as one of them."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import listener
from support.eventually import PATIENCE_S, eventually

SOURCE = Path(listener.__file__).parents[1]
MAX_LINE = 2**24


class Process:
    """One child process. As a context manager it is started at the start and stopped at the end.

    Attributes:
        lines: what it wrote to standard output and standard error so far, in the order of arrival.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        hold_stdin: bool = False,
    ) -> None:
        self.argv = [str(word) for word in argv]
        self.lines: list[str] = []
        self._env = env
        self._cwd = cwd
        self._hold_stdin = hold_stdin
        self._child: asyncio.subprocess.Process | None = None
        self._readers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; minus the number of the signal that ended it."""
        return self._running().returncode

    def _running(self) -> asyncio.subprocess.Process:
        assert self._child is not None, "not started"
        return self._child

    async def start(self) -> None:
        child = await asyncio.create_subprocess_exec(
            *self.argv,
            stdin=PIPE if self._hold_stdin else DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            env=self._env,
            cwd=self._cwd,
            limit=MAX_LINE,
            start_new_session=True,
        )
        self._child = child
        self._readers = [
            asyncio.create_task(self._collect(stream), name=f"output of {child.pid}")
            for stream in (child.stdout, child.stderr)
            if stream is not None
        ]

    async def _collect(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self.lines.append(line.decode(errors="replace").rstrip("\n"))

    def output(self) -> str:
        """The last lines, for a failure's text."""
        return "\n".join([" ".join(self.argv), *self.lines[-40:]])

    async def line(self, matches: Callable[[str], Any], *, count: int = 1, timeout_s: float = PATIENCE_S) -> str:
        """The `count`-th line that matches, of all since the start. Fails at once when the process ended without it."""
        hits: list[str] = []
        seen = 0

        def found() -> list[str]:
            nonlocal seen
            fresh = self.lines[seen:]
            seen += len(fresh)
            hits.extend(line for line in fresh if matches(line))
            is_over = self.exit_status is not None and all(reader.done() for reader in self._readers)
            if len(hits) < count and is_over:
                raise AssertionError(f"ended with {self.exit_status} before the line:\n{self.output()}")
            return hits[count - 1 : count]

        return (await eventually(found, timeout_s=timeout_s, what=self.output))[0]

    def send_signal(self, number: signal.Signals) -> None:
        """To the process alone, not to its children."""
        self._running().send_signal(number)

    async def kill(self) -> None:
        """Send SIGKILL, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self._running().kill()
        await self.wait()

    async def wait(self, *, timeout_s: float = PATIENCE_S) -> int:
        """The exit status, once all output has been collected. Fails when it still runs after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._running().wait()
                await asyncio.gather(*self._readers)
        except TimeoutError:
            raise AssertionError(f"still running after {timeout_s} s:\n{self.output()}") from None
        assert self.exit_status is not None
        return self.exit_status

    async def stop(self, *, timeout_s: float = 15.0) -> int | None:
        """SIGTERM; kill -9 after `timeout_s`. Returns the exit status, None if it never ran. Idempotent."""
        if self._child is None:
            return None
        if self.exit_status is None:
            with contextlib.suppress(ProcessLookupError):
                self.send_signal(signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                await self.wait(timeout_s=timeout_s)
        if self.exit_status is None:
            await self.kill()
        if self._child.stdin is not None:
            self._child.stdin.close()
        return await self.wait()


def command_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A bare environment: the source tree that the tests import, nothing of the caller's configuration."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ", "COVERAGE_PROCESS_START") if name in os.environ}
    ours = {"HOME": str(home), "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1"}
    no_authorities = {"SSL_CERT_FILE": os.devnull}  # nobody needs the machine's, and reading them is a tenth of a start
    return kept | ours | no_authorities | dict(extra or {})


class Command(Process):
    """`python -m listener ARGUMENTS` in `folder`, with an environment of its own; or another program in its place."""

    def __init__(
        self,
        *arguments: str | Path,
        folder: Path,
        env: Mapping[str, str] | None = None,
        program: Sequence[str | Path] = (sys.executable, "-m", "listener"),
    ) -> None:
        super().__init__([*program, *arguments], env=command_environment(folder, env), cwd=folder)


class Daemon(Command):
    """`python -m listener run --config CONFIG`, its JSON log read as it comes. Needs `[log] format = "json"`."""

    def __init__(self, config: Path, **options: Any) -> None:
        super().__init__("run", "--config", config, folder=config.parent, **options)

    @property
    def log(self) -> list[dict[str, Any]]:
        """Every log line so far."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    async def logged(
        self, event: str, *, count: int = 1, timeout_s: float = PATIENCE_S, **fields: Any
    ) -> dict[str, Any]:
        """The `count`-th log line with this event name and these fields, of all since the start."""

        def matches(line: str) -> bool:
            if not line.startswith("{"):
                return False
            entry = json.loads(line)
            return entry.get("event") == event and all(entry.get(key) == value for key, value in fields.items())

        return json.loads(await self.line(matches, count=count, timeout_s=timeout_s))
