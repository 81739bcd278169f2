"""The `stdout` sink: one line of JSON per event on standard output, for pipes and containers."""

import asyncio
import errno
import os
import select
from collections.abc import Sequence

from listener.config.schema import Section
from listener.errors import Park, Retry
from listener.model.event import Event
from listener.ports import Sink
from listener.sinks.registry import SinkContext, SinkKind

_STDOUT = 1
_GONE = {errno.EPIPE, errno.EBADF, errno.EIO}


class StdoutSettings(Section):
    """A sink of type `stdout` has no keys of its own."""


class StdoutSink:
    """Writes to a descriptor that it does not own. A slow reader holds up this sink alone, never the loop.

    An event counts as delivered when the pipe, the terminal or the file has taken its line: there is no fsync. A
    reader that is gone cannot come back, so it is a Park. Can be opened again after `close`.

    Args:
        context: the sink's name.
        fd: the descriptor; a pipe is written only when it has room, its mode (blocking or not) is left alone.
    """

    def __init__(self, *, context: SinkContext, fd: int = _STDOUT) -> None:
        self._name = context.name
        self._form = context.form
        self._fd = fd
        self._rest = b""

    async def open(self) -> None:
        """See `ports.Sink`."""

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. The rest of a line that a cancelled call left unfinished is written first."""
        owed = self._rest
        data = memoryview(owed + b"\n".join([self._form.body(event) for event in events]) + b"\n")
        position = 0
        try:
            while position < len(data):
                await _room(self._fd)
                position += _write_some(self._fd, data[position:])
        except OSError as exc:
            raise (Park if exc.errno in _GONE else Retry)(
                f"sinks.{self._name}: standard output: {exc.strerror}"
            ) from exc
        finally:
            self._rest = _unfinished(bytes(data), position) if position else owed

    async def check(self) -> None:
        """See `ports.Sink`."""
        try:
            os.fstat(self._fd)
        except OSError as exc:
            raise Park(f"sinks.{self._name}: standard output is closed") from exc

    async def close(self) -> None:
        """See `ports.Sink`. The descriptor stays open: it belongs to the process."""


def _write_some(fd: int, data: memoryview) -> int:
    """A pipe that polls as writable takes PIPE_BUF bytes without blocking (pipe(7)), and for sure no more."""
    try:
        return os.write(fd, data[: select.PIPE_BUF])
    except BlockingIOError:
        return 0


def _unfinished(data: bytes, position: int) -> bytes:
    """The rest of the line that `position` cuts; empty between lines."""
    if position == len(data) or data[position - 1 : position] == b"\n":
        return b""
    return data[position : data.index(b"\n", position) + 1]


async def _room(fd: int) -> None:
    """Return when `fd` takes bytes, or has an error to tell."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_writer(fd, _settle, ready)
    except PermissionError:  # epoll_ctl(2), EPERM: a regular file, always ready
        return
    try:
        await ready
    finally:
        loop.remove_writer(fd)


def _settle(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def _build(context: SinkContext, _settings: StdoutSettings) -> Sink:
    return StdoutSink(context=context)


# The loop knows one callback per descriptor (loop.add_writer): a second sink would take the first one's.
KIND = SinkKind(name="stdout", settings=StdoutSettings, build=_build, single=True)
