"""The lock that makes one process the owner of a journal."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

from listener.errors import JournalLocked
from listener.runtime.owned import open_owned

_CONTENT_BYTES = 200


class Known(NamedTuple):
    """What is known of a journal from elsewhere: a journal that ends before this sequence is not all that was.

    `since_ms` (epoch milliseconds) is from when on events may be missing if nothing is left of it.
    """

    sequence: int
    since_ms: int


class FileLock:
    """An exclusive `flock` on a file of its own, held until `release`.

    The kernel drops it when the process dies, however it dies, so a stale file never keeps a journal closed. The
    file is never removed: removing it would let two processes lock two files of one name.

    Its first line is the owner's process id. The second is a witness beside the journal: the last sequence that was
    committed, and when this owner's first was. It is not synced: it outlives the process, not the machine. A mapping of
    the file would cost a commit a microsecond less, and the process its life if somebody truncated the file.

    Attributes:
        left: what the last owner has left as the second line; None for nothing.
    """

    def __init__(self, *, journal: Path, descriptor: int) -> None:
        self._journal = journal
        self._path = str(_path(journal))
        self._own(descriptor)
        self.left = _known_of(descriptor)

    @classmethod
    def acquire(cls, journal: Path) -> Self:
        """Lock `<journal>.lock`, created with mode 0600, and write our process id into it.

        Raises:
            JournalLocked: another process (or another journal object of this one) holds it.
            OSError: the file cannot be created, or is not ours.
        """
        lock = cls(journal=journal, descriptor=_locked(journal))
        try:
            lock._begin(lock.left)
        except BaseException:
            lock.release()
            raise
        return lock

    def is_in_place(self) -> bool:
        """Whether the file that is locked still has its name. Raises OSError."""
        return identity(self._path) == self._identity

    def renew(self) -> None:
        """Lock the file that has the name now, or a new one. Raises as `acquire`; the old one is held until then."""
        descriptor = _locked(self._journal)
        self.release()
        self._own(descriptor)
        self._begin(None)

    def note(self, known: Known) -> None:
        """Leave word of a commit that is durable. After a power cut it may say less, never more."""
        with suppress(OSError):  # a witness more, nothing that anybody waits for
            os.pwrite(self._descriptor, self._owner + _line(known), 0)

    def _own(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        self._descriptor, self._identity = descriptor, (found.st_dev, found.st_ino)
        self._owner = b"%d\n" % os.getpid()

    def _begin(self, known: Known | None) -> None:
        content = self._owner + (_line(known) if known is not None else b"")
        os.pwrite(self._descriptor, content, 0)
        os.ftruncate(self._descriptor, len(content))

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._descriptor)


def identity(name: str) -> tuple[int, int] | None:
    """Which file a name leads to, as its device and number; None if to none. Raises OSError."""
    found = look_at(name)
    return None if found is None else (found.st_dev, found.st_ino)


def look_at(name: str) -> os.stat_result | None:
    """What a name leads to; None if to nothing. Raises OSError."""
    try:
        return os.stat(name)  # noqa: PTH116 - a Path would cost each commit more than the look
    except (FileNotFoundError, NotADirectoryError):
        return None


def _path(journal: Path) -> Path:
    return Path(f"{journal}.lock")


def _locked(journal: Path) -> int:
    descriptor = open_owned(_path(journal), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.fchmod(descriptor, 0o600)  # what the umask took away, the owner needs
    except BlockingIOError as exc:
        owner = _owner(descriptor)
        os.close(descriptor)
        raise JournalLocked(f"journal.path: {journal} is in use by another process{owner}") from exc
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def may_be_owned(journal: Path) -> bool:
    """Whether the process that locked it last still lives: this one too, and whoever got its number. Takes no lock."""
    try:
        pid, *_ = _path(journal).read_bytes().splitlines() or [b""]
        os.kill(int(pid), 0)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _line(known: Known) -> bytes:
    return b"%020d %020d\n" % known


def _lines(descriptor: int) -> list[bytes]:
    return os.pread(descriptor, _CONTENT_BYTES, 0).splitlines()


def _owner(descriptor: int) -> str:
    """The owner's process id for the message; empty if it has not been written yet."""
    pid, *_ = _lines(descriptor) or [b""]
    return f" (pid {pid.decode()})" if pid.isdigit() else ""


def _known_of(descriptor: int) -> Known | None:
    """None where there is none, or what a crash has cut."""
    line = _lines(descriptor)[1:2]
    words = line[0].split() if line else []
    if len(words) != len(Known._fields) or not all(word.isdigit() for word in words):
        return None
    return Known(*map(int, words))
