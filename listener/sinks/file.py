"""The `file` sink: one line of JSON per event, whole lines only, fsynced per batch, fit for logrotate and `tail -F`."""

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import re
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, NamedTuple, ParamSpec

import structlog
from pydantic import AfterValidator

from listener.errors import Retry, StartError
from listener.forms import CLOUD_EVENT
from listener.model import Event
from listener.ports import Sink
from listener.schema import Section
from listener.sinks.registry import SinkContext, SinkKind

_log = structlog.get_logger()
_BLOCK_BYTES = 64 * 1024
# A rotation in the middle of a batch makes it be written once more; several in a row are a rotation gone wild.
_ROTATIONS = 3
_OWNER_READS_AND_WRITES = 0o600

P = ParamSpec("P")


def _octal(value: str) -> str:
    if not re.fullmatch(r"0?[0-7]{3}", value) or int(value, 8) & _OWNER_READS_AND_WRITES != _OWNER_READS_AND_WRITES:
        raise ValueError('should be an octal number in quotes that lets the owner read and write, such as "0640"')
    return value


class FileSettings(Section):
    """Keys of a sink of type `file`. `mode` is for a file that the sink creates; an existing one keeps its own."""

    path: Path
    mode: Annotated[str, AfterValidator(_octal)] = "0640"
    fsync: bool = True


class FileSink:
    """Appends to a file from a thread of its own, so that the loop never waits for the disk.

    What the host refuses at `open` is a StartError that names the setting. Later it is a Retry and never a Park: once
    the folder is back, its rights are mended or the disk has room, the lane goes on without a restart. Can be
    opened again after `close`.

    Args:
        context: the sink's name and the base of a relative path.
        settings: its keys.
    """

    def __init__(self, *, context: SinkContext, settings: FileSettings) -> None:
        self._name = context.name
        self._setting = context.setting("path")
        self._path = context.base / settings.path
        self._form = context.form
        self._file = LineFile(
            path=self._path, mode=int(settings.mode, 8), fsync=settings.fsync, opening=context.form.opening
        )
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """See `ports.Sink`."""
        try:
            await self._run(self._file.open)
        except OSError as exc:
            if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise Retry(self._reason(exc)) from exc
            raise StartError(self._reason(exc)) from exc

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. A batch may hold an event twice after a rotation in the middle of its delivery."""
        try:
            await self._run(self._append, events)
        except OSError as exc:
            whole = exc.whole if isinstance(exc, CutShortError) else 0
            raise Retry(self._reason(exc), delivered=frozenset(range(whole))) from exc

    async def check(self) -> None:
        """See `ports.Sink`: the file, or the folder that it would be created in, can be written."""
        try:
            await asyncio.to_thread(self._file.probe)
        except OSError as exc:
            raise Retry(self._reason(exc)) from exc

    async def close(self) -> None:
        """See `ports.Sink`. Waits for a write that is under way."""
        if self._thread is None:
            return
        try:
            await self._run(self._file.close)
        finally:
            thread, self._thread = self._thread, None
            thread.shutdown(wait=False)

    def _append(self, events: Sequence[Event]) -> None:
        self._file.append([self._form.body(event) for event in events])

    async def _run(self, work: Callable[P, object], *args: P.args, **_: P.kwargs) -> None:
        # One thread: what a cancelled caller began ends before the next batch begins.
        self._thread = self._thread or ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sink-{self._name}")
        await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)

    def _reason(self, exc: OSError) -> str:
        if isinstance(exc, FileNotFoundError | NotADirectoryError):
            return f"{self._setting}: there is no folder {self._path.parent}"
        return f"{self._setting}: cannot write {self._path}: {exc.strerror or exc}"


class CutShortError(OSError):
    """An append failed in the middle; the first `whole` lines of it are durable."""

    def __init__(self, cause: OSError, *, whole: int) -> None:
        super().__init__(cause.errno, cause.strerror)
        self.whole = whole


class Torn(NamedTuple):
    """The line at the end of the file of which only `written` bytes are there, and the file's size at that moment."""

    line: bytes
    written: int
    size: int


class LineFile:
    """An append-only file of whole lines with one writer. Every method blocks and raises OSError.

    Args:
        path: the file; its folder must exist.
        mode: permission bits of a file that is created, whatever the umask.
        fsync: whether `append` waits for the disk.
        opening: how every line of ours begins; a torn last line that begins otherwise is kept.
    """

    def __init__(self, *, path: Path, mode: int, fsync: bool, opening: bytes = CLOUD_EVENT.opening) -> None:
        self._opening = opening
        self._path = path
        self._mode = mode
        self._fsync = fsync
        self._fd: int | None = None
        self._torn: Torn | None = None

    def open(self) -> int:
        """Open or create the file, take its lock, mend its last line; returns the descriptor."""
        self.close()
        fd, created = self._open_or_create()
        try:
            self._own(fd)
            if created:
                os.fchmod(fd, self._mode)
                self._sync_folder()
            else:
                self._mend(fd)
        except OSError:
            os.close(fd)
            raise
        self._fd = fd
        return fd

    def close(self) -> None:
        """Idempotent. What `append` returned for is on the disk already, so an error here tells nothing."""
        fd, self._fd, self._torn = self._fd, None, None
        if fd is not None:
            with contextlib.suppress(OSError):
                os.close(fd)

    def probe(self) -> None:
        """Raise what `open` would, without creating or changing anything."""
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK))
        except FileNotFoundError:
            if not os.access(self._path.parent, os.F_OK):
                raise
            if not os.access(self._path.parent, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None

    def append(self, lines: Sequence[bytes]) -> None:
        """Return once the lines are in the file that has the path's name, and on the disk.

        Looks before and after: what went into a file that was renamed in between may already have been compressed
        away or deleted, so it is written again into the new one.

        Raises:
            CutShortError: some of the lines are there.
        """
        data = b"\n".join(lines) + b"\n"
        for _ in range(_ROTATIONS):
            fd = self.open() if self._fd is None or self._moved(self._fd) else self._fd
            self._write(fd, data)
            self._sync(fd)
            if not self._moved(fd):
                return
        raise OSError(errno.ESTALE, "it is moved away again and again")

    def _open_or_create(self) -> tuple[int, bool]:
        flags = os.O_RDWR | os.O_APPEND | os.O_NONBLOCK
        try:
            return os.open(self._path, flags | os.O_CREAT | os.O_EXCL, self._mode), True
        except FileExistsError:
            return os.open(self._path, flags | os.O_CREAT, self._mode), False

    def _own(self, fd: int) -> None:
        """A second writer would take our line under way for a torn one."""
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EAGAIN, "another sink or process writes to it") from None

    def _sync_folder(self) -> None:
        """The name of a new file is durable only once its folder is."""
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _moved(self, fd: int) -> bool:
        """Whether the path leads to another file than the open one, or to none."""
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(fd))
        except FileNotFoundError:
            return True

    def _write(self, fd: int, data: bytes) -> None:
        """Write all of it, beginning with the rest of a line that an earlier call could not complete."""
        torn, self._torn = self._torn, None
        owed, position = b"", 0
        if torn is not None:
            if os.fstat(fd).st_size != torn.size:  # truncated by somebody, as logrotate's copytruncate does
                self._mend(fd)
            else:
                # A lane brings a batch again from the event that failed: then the line owed is its first one.
                owed, position = b"" if data.startswith(torn.line) else torn.line, torn.written
        data = owed + data
        view = memoryview(data)
        try:
            while position < len(data):
                position += os.write(fd, view[position:])
        except OSError as exc:
            whole = self._remember(fd, data, position)
            raise CutShortError(exc, whole=max(0, whole - bool(owed))) from exc

    def _remember(self, fd: int, data: bytes, position: int) -> int:
        """Note the line that `position` cuts; returns how many lines before it are durable."""
        end = data.rfind(b"\n", 0, position) + 1
        if position > end:
            self._torn = Torn(data[end : data.index(b"\n", end) + 1], position - end, os.fstat(fd).st_size)
        self._sync(fd)
        return data.count(b"\n", 0, end)

    def _sync(self, fd: int) -> None:
        """After a failed fsync the kernel may have dropped the pages and call the next one a success: start anew."""
        if self._fsync:
            try:
                os.fdatasync(fd)
            except OSError:
                self.close()
                raise

    def _mend(self, fd: int) -> None:
        """Give the file a clean end.

        A last line without its line end is completed if it is a whole object, cut off if it is the beginning of an
        event (its delivery never returned, so it comes again), and otherwise, being nobody's we know, ended. Zeros
        behind it are what a power cut leaves of blocks that were never written.
        """
        tail = self._tail(fd)
        if not tail:
            return
        text = tail.rstrip(b"\0")
        if _is_object(text):
            keep = len(text)
        elif self._opening and (text.startswith(self._opening) or self._opening.startswith(text)):
            keep = 0
        else:
            keep = len(tail)
        os.ftruncate(fd, os.fstat(fd).st_size - len(tail) + keep)
        if keep:
            os.write(fd, b"\n")
        os.fsync(fd)
        _log.warning("file_tail_mended", path=str(self._path), tail_bytes=len(tail), kept_bytes=keep)

    def _tail(self, fd: int) -> bytes:
        """What stands behind the last line end."""
        start, blocks = os.fstat(fd).st_size, [b""]
        while start and b"\n" not in blocks[0]:
            size = min(start, _BLOCK_BYTES)
            start -= size
            blocks.insert(0, os.pread(fd, size, start))
        return b"".join(blocks).rpartition(b"\n")[2]


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _build(context: SinkContext, settings: FileSettings) -> Sink:
    return FileSink(context=context, settings=settings)


KIND = SinkKind(name="file", settings=FileSettings, build=_build)
