"""Whether the names of an open journal still lead to its files, and the rescue of what the files hold if not."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from listener.errors import JournalDamaged, JournalError, JournalFull, JournalLocked
from listener.journal.sqlite import dead_letters, rows
from listener.journal.sqlite.damage import free_name, install, remove_part
from listener.journal.sqlite.database import connect
from listener.journal.sqlite.lock import FileLock, identity, look_at
from listener.model.event import Damage
from listener.runtime.durable import sync_path

_SUFFIXES = ("", "-wal", "-shm")
_COARSEST_NS = 2 * 10**9  # no file system's clock has longer steps


class _FolderState(NamedTuple):
    """Which folder it is, and when it last changed (nanoseconds): its ctime, which nobody can set."""

    device: int
    number: int
    changed_ns: int


def _state_of(folder: str) -> _FolderState | None:
    """None for no folder. Raises OSError."""
    found = look_at(folder)
    return None if found is None else _FolderState(found.st_dev, found.st_ino, found.st_ctime_ns)


class Place:
    """What the names of a journal led to when it was opened.

    Connections hold on to files that were removed or replaced: SQLite reads and writes on, and all of it is gone when
    the process ends. So each commit looks. No name is made, removed or changed in a folder without changing the time of
    the folder, which one call tells instead of four.

    Args:
        path: the journal, which a connection has read.
        lock: its lock.
        now_ms: epoch milliseconds.
    """

    def __init__(self, *, path: Path, lock: FileLock, now_ms: Callable[[], int]) -> None:
        self._path = path
        self._folder_name = str(path.parent)
        self._lock = lock
        self._now_ms = now_ms
        self.settle()

    def settle(self) -> None:
        """What the names lead to now are our files; a connection has read them."""
        self._folder = identity(self._folder_name)
        names = [f"{self._path}{suffix}" for suffix in _SUFFIXES]  # not paths: a look costs half, and each commit looks
        self._files = {name: identity(name) for name in names}
        self._log = names[1]
        self._unchanged: _FolderState | None = None

    def missing(self, *, whole: bool = True) -> list[str]:
        """The names that lead to none of our files any more. Raises OSError.

        Unless the `whole` is asked for, a folder that has not changed since they were all in place is enough.
        """
        now = _state_of(self._folder_name)
        if now is not None and now == self._unchanged and not whole:
            return []
        gone = [Path(name).name for name, held in self._files.items() if identity(name) != held]
        if not self._lock.is_in_place():
            gone.append(f"{self._path.name}.lock")
        self._unchanged = now if not gone and now is not None and self._is_past(now) else None
        return gone

    def _is_past(self, folder: "_FolderState") -> bool:
        """Whether a change that comes now gives the folder another time: the log was written that much later."""
        log = look_at(self._log)
        return log is not None and log.st_mtime_ns - folder.changed_ns > _COARSEST_NS

    def has_its_folder(self) -> bool:
        """Whether the folder is the one that it was. Raises OSError."""
        return identity(self._folder_name) == self._folder

    def take_lock(self) -> None:
        """Lock the name again if somebody has taken the lock's file away.

        Raises:
            JournalDamaged: another process owns the journal now; two must not write to it.
        """
        if self._lock.is_in_place():
            return
        try:
            self._lock.renew()
        except JournalLocked as exc:
            raise JournalDamaged(f"its lock was taken away, and {exc}") from exc

    def rescue(self, connection: sqlite3.Connection, *, newest: int) -> str:
        """Write all that the connection sees to a new journal under the old name. Blocks, as long as it is large.

        What else lies there now is set aside; what is still ours goes. A process that dies meanwhile leaves either what
        was there, or the new one whole.

        Args:
            connection: to the files that lost their names.
            newest: the last sequence that is durable.

        Returns:
            the name under which a strange journal was set aside; empty if there was none.

        Raises:
            JournalError: the copy does not hold what it should.
            JournalFull: there is no room for it.
            sqlite3.Error, OSError: it cannot be written.
        """
        part = self._path.with_name(f"{self._path.name}.part")
        remove_part(part)
        self._require_room(connection)
        now_ms = self._now_ms()
        ours = [Path(name) for name, held in self._files.items() if identity(name) == held]
        is_strange = any(file.exists() for file in map(Path, self._files) if file not in ours)
        aside = free_name(self._path, now_ms).name if is_strange else ""
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            _copy(connection, part, Damage(at_ms=now_ms, set_aside=aside, kept=0, stretches=()), newest=newest)
            sync_path(part)
        except BaseException:
            remove_part(part)
            raise
        install(part, self._path, now_ms, replaced=ours)
        return aside

    def _require_room(self, connection: sqlite3.Connection) -> None:
        """So that a full disk does not cost a copy at each attempt."""
        wanted = rows.used_bytes(connection)
        found = os.statvfs(self._path.parent)
        if found.f_bavail * found.f_frsize < wanted:
            raise JournalFull(
                f"no room for a copy of journal {self._path}, whose files were taken away: {wanted} bytes"
            )


def _copy(connection: sqlite3.Connection, part: Path, damage: Damage, *, newest: int) -> None:
    """Syncs nothing. Raises JournalError: the copy does not end with the newest sequence."""
    with closing(connect(part, "rw")) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        connection.backup(copy)
        if damage.set_aside:
            dead_letters.insert_damage(copy, damage, pending=False)
        found = rows.select_newest(copy)
    if found != newest:
        raise JournalError(f"the copy {part} of a journal ends at {found}, not at {newest}")
