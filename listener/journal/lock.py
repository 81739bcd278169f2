"""The lock that makes one process the owner of a journal."""

import fcntl
import os
from pathlib import Path
from typing import Self

from listener.errors import JournalLocked
from listener.runtime.owned import open_owned


class FileLock:
    """An exclusive `flock` on a file of its own, held until `release`.

    The kernel drops it when the process dies, however it dies, so a stale file never keeps a journal closed. The
    file is never removed: removing it would let two processes lock two files of one name.
    """

    def __init__(self, *, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, journal: Path) -> Self:
        """Lock `<journal>.lock`, created with mode 0600, and write our process id into it.

        Raises:
            JournalLocked: another process (or another journal object of this one) holds it.
            OSError: the file cannot be created, or is not ours.
        """
        descriptor = open_owned(Path(f"{journal}.lock"), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(descriptor, 0o600)  # what the umask took away, the owner needs
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except BlockingIOError as exc:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise JournalLocked(f"journal.path: {journal} is in use by another process{owner}") from exc
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor=descriptor)

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._descriptor)


def may_be_owned(journal: Path) -> bool:
    """Whether the process that locked it last still lives: this one too, and whoever got its number. Takes no lock."""
    try:
        pid = Path(f"{journal}.lock").read_bytes().strip()
        os.kill(int(pid), 0)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _owner(descriptor: int) -> str:
    """The owner's process id for the message; empty if it has not been written yet."""
    pid = os.pread(descriptor, 20, 0).strip()
    return f" (pid {pid.decode()})" if pid.isdigit() else ""
