"""Taking ownership of a journal: the lock, the file, its connections."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import structlog

from listener.errors import JournalDamaged, JournalError
from listener.journal import rows
from listener.journal.damage import repair
from listener.journal.database import connect_reader, connect_writer, journal_error, prepare
from listener.journal.handle import Handle
from listener.journal.lock import FileLock
from listener.journal.walindex import WalIndex
from listener.runtime.clock import SYSTEM_CLOCK
from listener.runtime.durable import sync_folder

_log = structlog.get_logger(__name__)


class Store:
    """An owned journal: the lock, the writer's connection and that of the reader. Made by `open_store`.

    The reader's connection is closed first: whoever closes last folds the WAL into the file, and a reader may not.
    After an I/O error that is just what is wanted, and the next open recovers the WAL.
    """

    def __init__(self, *, handle: Handle, read: sqlite3.Connection, last: Callable[[], None]) -> None:
        self.handle = handle
        self.read = read
        self.last_sequence = rows.select_last_sequence(read)
        self._last = last

    @property
    def write(self) -> sqlite3.Connection:
        """The connection of the writer at this moment."""
        return self.handle.connection

    def close(self) -> None:
        """Fold the WAL into the file, close, and let the next one in."""
        with ExitStack() as stack:
            stack.callback(self._last)
            first, then = (self.read, self.write) if self.handle.recover() else (self.write, self.read)
            stack.callback(then.close)
            stack.callback(first.close)


def open_store(path: Path, now_ms: Callable[[], int] = SYSTEM_CLOCK.now_ms) -> Store:
    """Take ownership of the journal at `path`; creates, migrates or, where it is damaged, repairs it. Blocks.

    Args:
        path: the database.
        now_ms: epoch milliseconds, for the names and the record of damage.

    Raises:
        JournalLocked: another process owns it.
        JournalError: it cannot be opened; the text names the file.
    """
    with ExitStack() as stack:
        try:
            stack.callback(FileLock.acquire(path).release)
            return _open(path, stack, now_ms)
        except (sqlite3.Error, OSError, UnicodeDecodeError, JournalError, JournalDamaged) as exc:
            raise journal_error(path, exc) from exc


def _open(path: Path, stack: ExitStack, now_ms: Callable[[], int]) -> Store:
    """Open both connections; what `stack` holds is left to the store."""
    repair(path, now_ms())
    _create(path)
    connect = partial(connect_writer, path)
    with ExitStack() as connections:
        write = connections.enter_context(closing(connect()))
        _narrow(path)
        prepare(write, path)
        read = connections.enter_context(closing(connect_reader(path)))
        rows.select_newest(write)  # only who has read has an index
        index = WalIndex.open(path)
        stack.callback(index.close)
        handle = Handle(path=path, connect=connect, connection=write, index=index)
        store = Store(handle=handle, read=read, last=stack.pop_all().close)
        connections.pop_all()
    return store


def _create(path: Path) -> None:
    """Create the file, readable by its owner alone whatever the umask says. SQLite gives the WAL the same mode.

    An existing file is not opened here: closing any descriptor of it would drop SQLite's own locks in this process.
    """
    if path.exists():
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def _narrow(path: Path) -> None:
    """Take a journal that others may read, a restored one perhaps, from their eyes: it holds session cookies.

    Before anything is written, and after the file was seen to be a journal: another program's keeps its mode.
    """
    files = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
    wide = [file for file in files if file.exists() and file.stat().st_mode & 0o077]
    for file in wide:
        file.chmod(0o600)
    if wide:
        _log.warning("journal_mode_narrowed", path=str(path), files=[file.name for file in wide], mode="0600")
