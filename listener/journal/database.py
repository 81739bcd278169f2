"""Opening the SQLite file: creation, pragmas, schema and migrations, and what its errors mean to us."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

import structlog

from listener.errors import JournalError, JournalFull
from listener.journal import rows
from listener.journal.lock import FileLock

APPLICATION_ID = 0x444C6A6E
"""`PRAGMA application_id` of a journal, so that no other SQLite file is taken for one."""

PAGE_BYTES = 8192
CHECKPOINT_PAGES = 4 * 2**20 // PAGE_BYTES
WAL_LIMIT_BYTES = 16 * 2**20
BUSY_S = 10.0

_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})

_log = structlog.get_logger(__name__)


def journal_error(path: Path, exc: BaseException) -> JournalError:
    """What `exc` means to the caller; the text names the file, the cause is kept."""
    if isinstance(exc, JournalError):
        return exc
    full = getattr(exc, "sqlite_errorcode", None) in _NO_ROOM
    error = JournalFull(f"no room for journal {path}: {exc}") if full else JournalError(f"journal {path}: {exc}")
    error.__cause__ = exc
    return error


def migrations() -> list[str]:
    """The migrations' SQL in order; the first one makes version 1."""
    folder = files(__package__) / "migrations"
    scripts = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    return [script.read_text(encoding="utf-8") for script in scripts]


def newest_schema() -> str:
    """The SQL of schema.sql."""
    return (files(__package__) / "schema.sql").read_text(encoding="utf-8")


class Store:
    """An owned journal: the lock, the connection of the writer thread and that of the reader thread.

    The reader's connection is closed first: whoever closes last folds the WAL into the file, and a reader may not.
    """

    def __init__(self, *, write: sqlite3.Connection, read: sqlite3.Connection, close: Callable[[], None]) -> None:
        self.write = write
        self.read = read
        self.close = close
        self.last_sequence = rows.select_last_sequence(read)


def open_store(path: Path) -> Store:
    """Take ownership of the journal at `path`; creates or migrates it. Blocks.

    Raises:
        JournalLocked: another process owns it.
        JournalError: it cannot be opened; the text names the file.
    """
    with ExitStack() as stack:
        try:
            stack.callback(FileLock.acquire(path).release)
            _create(path)
            write = connect_writer(path)
            stack.callback(write.close)
            _narrow(path)
            _prepare(write, path)
            read = connect_reader(path)
            stack.callback(read.close)
            return Store(write=write, read=read, close=stack.pop_all().close)
        except (sqlite3.Error, OSError, JournalError) as exc:
            raise journal_error(path, exc) from exc


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


def sync_folder(folder: Path) -> None:
    """Make a new name in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,  # transactions are begun and ended by us
        check_same_thread=False,  # opened in one thread, then owned by another
        cached_statements=256,
    )


def connect_writer(path: Path) -> sqlite3.Connection:
    """A connection whose commits are on the disk when they return.

    The WAL is folded into the file every CHECKPOINT_PAGES and then written from its start again, so it stays near
    that size; WAL_LIMIT_BYTES cuts it back after a burst in which a reader held it. Pages that retention frees are
    reused, the file is not shrunk: with a steady load its size is that of the retention window.
    """
    connection = _connect(path, "rw")
    try:
        _version(connection, path)  # another program's file is left as it is
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """A connection that cannot write; it sees what is committed, and delays no commit.

    Args:
        path: the journal.
        immutable: the file is all there is, without a WAL, and does not change. SQLite then takes no lock and makes
            no file: without it, it wants `-wal` and `-shm` beside every journal and leaves them there.

    Raises:
        JournalError: there is no such file, or it is no journal of this version.
    """
    if not path.exists():
        raise JournalError(f"journal {path}: no such file")
    try:
        connection = _connect(path, "ro&immutable=1" if immutable else "ro")
    except sqlite3.Error as exc:
        raise journal_error(path, exc) from exc
    try:
        _require_newest(connection, path)
    except (sqlite3.Error, JournalError) as exc:
        connection.close()
        raise journal_error(path, exc) from exc
    return connection


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version; 0 for an empty file."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and (tables or application):
        raise JournalError(f"journal {path}: this SQLite file is no journal")
    return int(version)


def _require_newest(connection: sqlite3.Connection, path: Path) -> None:
    found, newest = _version(connection, path), len(migrations())
    if found != newest:
        raise JournalError(f"journal {path}: schema version {found}, this program reads {newest}")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema to the newest version: schema.sql for an empty file, else the migrations that are missing."""
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        raise JournalError(f"journal {path}: the file system supports no write-ahead log (mode {mode})")
    scripts = migrations()
    found = _version(connection, path)
    if found > len(scripts):
        raise JournalError(f"journal {path}: schema version {found} is newer than this program's {len(scripts)}")
    if found == 0:
        _run(connection, newest_schema(), len(scripts))
    for version, script in enumerate(scripts[found:] if found else (), found + 1):
        _run(connection, script, version)
        _log.info("journal_migrated", path=str(path), version=version)


def _run(connection: sqlite3.Connection, script: str, version: int) -> None:
    """Apply a script and its version number in one transaction, so that a crash leaves the schema before it."""
    stamp = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};"
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {script}; {stamp} COMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
