"""Taking ownership of a journal: the file, its connections, and the writing one that is given up after an I/O error."""

import errno
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from listener.errors import JournalDamaged, JournalError
from listener.journal.sqlite import deferred, rows
from listener.journal.sqlite.damage import repair
from listener.journal.sqlite.database import connect_reader, connect_writer, journal_error, prepare
from listener.journal.sqlite.lock import FileLock, Known
from listener.journal.sqlite.place import Place
from listener.journal.sqlite.salvage import catch_up
from listener.journal.sqlite.wal import WalIndex
from listener.model.event import rfc3339
from listener.runtime.clock import SYSTEM_CLOCK
from listener.runtime.durable import sync_folder
from listener.runtime.owned import require_owned

CHECKPOINT_PAGES = 512
"""Pages (of 8 KiB) in the log at which it is checkpointed into the file."""

MAX_LOG_PAGES = 8 * CHECKPOINT_PAGES
"""Pages at which a log that cannot be read is damage; up to there the disk may give it after all."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Handle:
    """The connection that the writer uses now.

    The kernel reports a lost write to an fsync once and then takes the page for written, so a second fsync that
    succeeds tells nothing. Nothing is therefore tried again on a connection that saw an I/O error: `ready` opens a new
    one first and lets it write every page of the log into the database again, from frames that were synced before the
    error. The old one is closed after that: as long as another is open, closing checkpoints nothing, and nobody
    recovers the log, where the transaction that failed may stand whole and would be stored twice when its caller tries
    again. The log's descriptor is always a new one. The database's may be one that SQLite kept for us (it closes none
    while a lock of POSIX is held on the file): every page is written through it anew, and it hears of every error
    since.

    SQLite itself tells nobody when the checkpoint that it does in a commit fails; the connection must have it switched
    off. `_checkpoint` does that work.

    A connection whose files were removed or replaced sees all of them to the end, but nobody else ever will: before
    anything more is stored, `ready` writes what it sees to a new journal under the old name.

    Args:
        path: for the text of errors.
        connect: opens a writing connection.
        connection: the first one.
        place: the names of the files.
        note: called with the last sequence after each commit of events.

    Attributes:
        connection: the present one.
        rescues: how often the journal was written anew because its files were taken away.
        taken_away: what is missing, in words, while it is not back in place.
    """

    def __init__(
        self,
        *,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        connection: sqlite3.Connection,
        place: Place,
        note: Callable[[int], None],
    ) -> None:
        self.connection = connection
        self.rescues = 0
        self.taken_away: str | None = None
        self._path = path
        self._connect = connect
        self._place = place
        self._note = note
        self._index = WalIndex.open(path)
        self._failure: str | None = None
        self._logged = False
        self._changes = connection.total_changes
        self._damage: JournalDamaged | None = None
        self._checkpoint_failing = False
        self._log_pages = 0
        self._blocked = False
        self._durable = rows.select_newest(connection)

    @property
    def had_io_error(self) -> bool:
        """An I/O error was seen, and no connection took this one's place yet."""
        return self._failure is not None

    def failed(self, error: BaseException) -> None:
        """Note an error of the connection; an I/O error is remembered."""
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF == sqlite3.SQLITE_IOERR:
            self._failure = str(getattr(error, "sqlite_errorname", error))

    def committed(self, newest: int | None) -> None:
        """Note a commit and its last event; checkpoints the log if it is long enough.

        Raises OSError: the disk turned read-only meanwhile. Then the commit is not to be believed, and no other one
        follows it until the journal is reopened, which finds out what is there.
        """
        try:
            self._index.require_sound()
        except OSError as exc:
            self._failure = errno.errorcode.get(exc.errno or 0, str(exc))
            raise
        if newest:
            self._durable = newest
            self._note(newest)
        if self.connection.total_changes != self._changes:  # what writes nothing is committed on any disk
            self._changes, self._logged = self.connection.total_changes, False
        try:
            self._checkpoint()
        except (sqlite3.Error, OSError) as exc:  # what was committed is on the disk, in the log
            self.failed(exc)
            error = journal_error(self._path, exc)
            if isinstance(error, JournalDamaged) and self._index.frames() >= MAX_LOG_PAGES:
                self._damage = error
            if not self._checkpoint_failing:
                _log.warning("journal_checkpoint_failed", path=str(self._path), error=str(exc))
            self._checkpoint_failing = True

    def _checkpoint(self) -> None:
        """Where a reader keeps the log from starting again, every commit tries it, so that it does so soon."""
        pages = self._index.frames()
        if pages >= CHECKPOINT_PAGES:
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._checkpoint_failing = False
        self._tell_of_reader(pages)

    def _tell_of_reader(self, pages: int) -> None:
        """A long log that was due already at the commit before has not started again: somebody reads on and on."""
        blocked = pages >= MAX_LOG_PAGES and self._log_pages >= CHECKPOINT_PAGES
        self._log_pages = pages
        if blocked and not self._blocked:
            effect = "the write-ahead log grows for as long as another program reads the journal"
            _log.warning("journal_checkpoint_blocked", path=str(self._path), wal_pages=pages, effect=effect)
        elif self._blocked and not blocked:
            _log.info("journal_checkpoint_unblocked", path=str(self._path))
        self._blocked = blocked

    def ready(self, *, whole_look: bool = True) -> sqlite3.Connection:
        """The connection for the next transaction, a new one after an I/O error or where the files were taken away.

        Args:
            whole_look: see `Place.missing`.

        Raises:
            JournalDamaged: the log cannot be read, so that it cannot be checkpointed, and grows; or another process
                owns the journal.
            JournalError: the new one does not find what is known to be durable, a reader keeps the log, or the folder
                is not there.
            sqlite3.Error, OSError: the disk still fails; the next call tries again.
        """
        if self._damage is not None:
            raise self._damage
        self._stay_in_place(whole=whole_look)
        if self._failure is None:
            return self.connection
        fresh = self._connect()
        try:
            self._rewrite(fresh)
        except BaseException:
            fresh.close()
            raise
        self.connection, old = fresh, self.connection
        self._changes = fresh.total_changes
        old.close()
        if not self._logged:  # a disk that fails each commit would have it said each time
            _log.warning("journal_reopened", path=str(self._path), error=self._failure, last_sequence=self._durable)
        self._failure, self._logged = None, True
        return fresh

    def _stay_in_place(self, *, whole: bool) -> None:
        missing = self._place.missing(whole=whole)
        if not missing:
            if self.taken_away is not None:
                _log.info("journal_back_in_place", path=str(self._path))
                self.taken_away = None
            return
        if self.taken_away is None:
            effect = "nothing is acknowledged until what they hold is in place again"
            _log.error("journal_taken_away", path=str(self._path), files=missing, effect=effect)
        self.taken_away = f"removed, replaced or moved: {', '.join(missing)}"
        if not self._place.has_its_folder() and self._index.has_a_name():
            raise JournalError(f"journal {self._path}: its folder was moved or unmounted; put it back")
        try:
            self._place.take_lock()
        except JournalDamaged as exc:
            self._damage = exc
            raise
        if self._place.missing():
            self._rescue()
        self.taken_away = None

    def _rescue(self) -> None:
        """Exchange the connection for one to a copy of all that it sees.

        The reader's old connection outlives it, and is read-only: whoever may write and closes last removes the log by
        its name, and that is the new one's.
        """
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        set_aside = self._place.rescue(self.connection, newest=self._durable)
        fresh = self._connect()
        try:
            rows.select_newest(fresh)
            index = WalIndex.open(self._path)
        except BaseException:
            fresh.close()
            raise
        (self.connection, old), (self._index, old_index) = (fresh, self.connection), (index, self._index)
        old.close()
        old_index.close()
        self._place.settle()
        self._failure, self._changes = None, fresh.total_changes
        self.rescues += 1
        _log.error("journal_rescued", path=str(self._path), last_sequence=self._durable, set_aside=set_aside)

    def close_index(self) -> None:
        """After the last connection."""
        self._index.close()

    def _rewrite(self, fresh: sqlite3.Connection) -> None:
        self._index.forget_backfill()
        busy, _, _ = fresh.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise JournalError(f"journal {self._path}: another process keeps its log after {self._failure}")
        found = rows.select_newest(fresh)
        if found != self._durable:
            raise JournalError(f"journal {self._path}: ends at {found} after {self._failure}, not at {self._durable}")

    def recover(self) -> bool:
        """`ready` for whoever only wants to close; False if the disk still fails."""
        try:
            self.ready()
        except (sqlite3.Error, OSError, JournalError, JournalDamaged) as exc:
            _log.error("journal_not_checkpointed", path=str(self._path), error=str(exc))
            return False
        return True


class Store:
    """An owned journal: the lock, the writer's connection and that of the reader. Made by `open_store`.

    The reader's connection is opened again when the journal was written anew, by whoever reads.

    The reader's connection is closed first: whoever closes last checkpoints the WAL, and a reader may not.
    After an I/O error that is just what is wanted, and the next open recovers the WAL.
    """

    def __init__(
        self,
        *,
        handle: Handle,
        read: sqlite3.Connection,
        connect: Callable[[], sqlite3.Connection],
        last: Callable[[], None],
    ) -> None:
        self.handle = handle
        self.read = read
        self.last_sequence = rows.select_last_sequence(read)
        self.holes = rows.select_all_holes(read)
        self.deferred = deferred.read(read)
        self._connect = connect
        self._seen = 0
        self._last = last

    def query(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The result of `work` with the reader's connection, in the one thread that reads. Raises as `work`."""
        if self._seen != self.handle.rescues:
            self._seen = self.handle.rescues
            self.read, old = self._connect(), self.read
            old.close()
        return work(self.read)

    @property
    def write(self) -> sqlite3.Connection:
        """The connection of the writer at this moment."""
        return self.handle.connection

    def close(self) -> None:
        """Checkpoint the WAL into the file, close, and let the next one in."""
        with ExitStack() as stack:
            stack.callback(self._last)
            stack.callback(self.handle.close_index)
            first, then = (self.read, self.write) if self.handle.recover() else (self.write, self.read)
            stack.callback(then.close)
            stack.callback(first.close)


def open_store(
    path: Path, now_ms: Callable[[], int] = SYSTEM_CLOCK.now_ms, known: Callable[[], Known | None] = lambda: None
) -> Store:
    """Take ownership of the journal at `path`; creates, migrates or, where it is damaged, repairs it. Blocks.

    Args:
        path: the database.
        now_ms: epoch milliseconds, for the names and the record of damage.
        known: what is known of it from elsewhere.

    Raises:
        JournalLocked: another process owns it.
        JournalError: it cannot be opened; the text names the file.
    """
    with ExitStack() as stack:
        try:
            lock = FileLock.acquire(path)
            stack.callback(lock.release)
            witnesses = [one for one in (known(), lock.left) if one is not None]
            return _open(path, stack, lock, witnesses, now_ms)
        except (sqlite3.Error, OSError, UnicodeDecodeError, JournalError, JournalDamaged) as exc:
            raise journal_error(path, exc) from exc


def _open(path: Path, stack: ExitStack, lock: FileLock, known: Sequence[Known], now_ms: Callable[[], int]) -> Store:
    """Open both connections; what `stack` holds is left to the store."""
    for suffix in ("", "-wal", "-shm", "-journal", ".part", ".repaired"):
        require_owned(path.with_name(f"{path.name}{suffix}"))
    repair(path, now_ms())
    _create(path)
    connect = partial(connect_writer, path)
    with ExitStack() as connections:
        write = connections.enter_context(closing(connect()))
        _narrow(path)
        prepare(write, path)
        _catch_up(write, path, known, now_ms())
        read = connections.enter_context(closing(connect_reader(path)))
        rows.select_newest(write)  # only who has read has an index
        since_ms = now_ms()
        handle = Handle(
            path=path,
            connect=connect,
            connection=write,
            place=Place(path=path, lock=lock, now_ms=now_ms),
            note=lambda sequence: lock.note(Known(sequence, since_ms)),
        )
        store = Store(handle=handle, read=read, connect=partial(connect_reader, path), last=stack.pop_all().close)
        connections.pop_all()
    return store


def _catch_up(write: sqlite3.Connection, path: Path, known: Sequence[Known], at_ms: int) -> None:
    damage = catch_up(write, known, at_ms=at_ms)
    if damage is not None:
        last = rows.select_ends(write)[-1:]
        _log.error(
            "journal_lost",
            path=str(path),
            last_event=last[0][0] if last else 0,
            known=max(one.sequence for one in known),
            since=rfc3339(damage.stretches[0][0]),
        )


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
        _log.warning("journal_permissions_narrowed", path=str(path), files=[file.name for file in wide], mode="0600")
