"""An append-only file of whole lines: one writer, fsynced per append, over rotation by others, torn ends repaired."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from listener.audit.reading import blocks, end_of_lines
from listener.runtime.durable import sync_file, sync_folder
from listener.runtime.owned import open_owned

_log = structlog.get_logger(__name__)
# A batch whose file was deleted in the middle is written again; several such in a row are a rotation gone wild.
_ROTATIONS = 3


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


class Doubtful(NamedTuple):
    """A file whose bytes beyond `size` may not be on the disk, whatever is read of them."""

    device: int
    inode: int
    size: int


class LineFile:
    """An append-only file of whole lines with one writer. Every method blocks and raises OSError.

    Args:
        path: the file; its folder must exist.
        mode: permission bits of a file that is created, whatever the umask.
        fsync: whether `append` waits for the disk.
        opening: how every line of ours begins; a torn last line that begins otherwise is kept.
        on_leave: called with the descriptor of the file that is left for another one, or was emptied; before that.

    Attributes:
        generation: rises whenever the next line is the first one of another file, or of one that somebody emptied.
    """

    def __init__(
        self,
        *,
        path: Path,
        mode: int,
        fsync: bool,
        opening: bytes,
        on_leave: Callable[[int], None] = lambda _fd: None,
    ) -> None:
        self._opening = opening
        self._path = path
        self._mode = mode
        self._fsync = fsync
        self._on_leave = on_leave
        self._fd: int | None = None
        self._size = 0
        self._identity: tuple[int, int] | None = None
        self._torn: Torn | None = None
        self._doubtful: Doubtful | None = None
        self.generation = 0

    def open(self) -> int:
        """Open or create the file, take its lock, repair its last line; returns the descriptor."""
        self.close()
        fd, created = self._open_or_create()
        try:
            self._own(fd)
            if created:
                os.fchmod(fd, self._mode)
                sync_folder(self._path.parent)
            else:
                self._take_back(fd)
                self._mend(fd)
        except OSError:
            os.close(fd)
            raise
        found = os.fstat(fd)
        self.generation += self._identity not in (None, (found.st_dev, found.st_ino))
        self._fd, self._size, self._identity = fd, found.st_size, (found.st_dev, found.st_ino)
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
            os.close(open_owned(self._path, os.O_WRONLY | os.O_APPEND))
        except FileNotFoundError:
            if not os.access(self._path.parent, os.F_OK):
                raise
            if not os.access(self._path.parent, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None

    def current(self) -> int:
        """The descriptor of the file that has the path's name now, which is opened where that is another one."""
        fd = self._fd
        if fd is None:
            return self.open()
        try:
            moved = not os.path.samestat(self._path.stat(), found := os.fstat(fd))
        except FileNotFoundError:
            moved = True
        if moved:
            self._on_leave(fd)
            return self.open()
        size = found.st_size
        if size < self._size or (self._torn is not None and size != self._torn.size):
            # Somebody truncated it, as logrotate's copytruncate does, or wrote behind a line of ours under way.
            self._torn = None
            self._mend(fd)
            self._size = os.fstat(fd).st_size
            self.generation += not self._size
        return fd

    @property
    def size(self) -> int:
        """Bytes in the file as far as this writer knows."""
        return self._size

    def sync(self) -> None:
        """Wait for the disk, also where `append` does not."""
        if self._fd is not None:
            self._flush(self._fd)

    def digest(self) -> bytes | None:
        """The SHA-256 of all that stands in the file; None if it is empty."""
        fd = self.current()
        if not os.fstat(fd).st_size:
            return None
        whole = hashlib.sha256()
        for block in blocks(fd, 0):
            whole.update(block)
        return whole.digest()

    def complete(self) -> bytes:
        """Write the rest of a line that an earlier append has begun; returns that line, empty if there is none."""
        if self._torn is None:
            return b""
        self.current()
        line = self._torn.line if self._torn is not None else b""
        if line:
            self._append([line])
        return line

    def append(self, lines: Sequence[bytes], *, has_looked: bool = False) -> None:
        """Append lines, each with its end; return once they are in a file that has a name, and on the disk.

        Looks before and after; where the caller `has_looked` just now, only after. What went into a file that was
        renamed in between stands there, and is not written again; what went into one that is deleted by now is, into
        the new one. A line that was begun is completed first.

        Raises:
            CutShortError: some of the lines are there.
        """
        self.complete()
        self._append(lines, self._fd if has_looked else None)

    def replace_end(self, offset: int, end: bytes) -> None:
        """Put other lines where those from an offset on stand, durably, or change nothing. Copies the file."""
        fd = self.current()
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        copy = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, self._mode)
        try:
            with os.fdopen(copy, "wb") as file:
                found = os.fstat(fd)
                os.fchmod(copy, found.st_mode & 0o777)
                with contextlib.suppress(PermissionError):
                    os.fchown(copy, found.st_uid, found.st_gid)
                for block in blocks(fd, 0):
                    file.write(block[: max(0, offset - file.tell())])
                file.write(end)
                file.flush()
                sync_file(copy)
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(self._path.parent)
        self.open()

    def _append(self, lines: Sequence[bytes], fd: int | None = None) -> None:
        """The first of the lines is the one that was begun, if one was."""
        for _ in range(_ROTATIONS):
            fd = self.current() if fd is None else fd
            self._put(fd, b"".join(lines))
            self._sync(fd)
            if os.fstat(fd).st_nlink:
                return
            fd = None
        raise OSError(errno.ESTALE, "it is deleted again and again")

    def _open_or_create(self) -> tuple[int, bool]:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        try:
            return open_owned(self._path, flags | os.O_EXCL, self._mode), True
        except FileExistsError:
            return open_owned(self._path, flags, self._mode), False

    def _own(self, fd: int) -> None:
        """A second writer would take our line under way for a torn one."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EAGAIN, "another sink or process writes to it") from None

    def _put(self, fd: int, data: bytes) -> None:
        """Write all of it, going on in its first line where that was begun."""
        torn, self._torn = self._torn, None
        position = torn.written if torn is not None else 0
        view = memoryview(data)
        try:
            while position < len(data):
                position += os.write(fd, view[position:])
        except OSError as exc:
            whole = self._remember(fd, data, position)
            raise CutShortError(exc, whole=whole) from exc

    def _remember(self, fd: int, data: bytes, position: int) -> int:
        """Note the line that `position` cuts; returns how many lines before it are durable."""
        end = data.rfind(b"\n", 0, position) + 1
        size = os.fstat(fd).st_size
        if position > end:
            self._torn = Torn(data[end : data.index(b"\n", end) + 1], position - end, size)
        self._sync(fd)
        return data.count(b"\n", 0, end)

    def _sync(self, fd: int) -> None:
        size = os.fstat(fd).st_size
        if self._fsync:
            self._flush(fd)
        self._size = size

    def _flush(self, fd: int) -> None:
        """After a failed fsync the kernel may have dropped the pages and call the next one a success: start anew.

        What was written since the last good one is taken back then, for it comes again.
        """
        try:
            sync_file(fd)
        except OSError:
            found = os.fstat(fd)
            self._doubtful = Doubtful(found.st_dev, found.st_ino, self._size)
            self.close()
            raise

    def _take_back(self, fd: int) -> None:
        doubtful, self._doubtful = self._doubtful, None
        found = os.fstat(fd)
        if doubtful is not None and doubtful[:2] == (found.st_dev, found.st_ino) and found.st_size > doubtful.size:
            os.ftruncate(fd, doubtful.size)

    def _mend(self, fd: int) -> None:
        """Give the file a clean end.

        A last line without its line end is completed if it is a whole object, cut off if it is the beginning of an
        event (its delivery never returned, so it comes again), and otherwise, being nobody's we know, ended. Zeros
        behind it are what a power cut leaves of blocks that were never written.
        """
        tail = b"".join(blocks(fd, end_of_lines(fd)))
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
        _log.warning("audit_file_repaired", path=str(self._path), tail_bytes=len(tail), kept_bytes=keep)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
