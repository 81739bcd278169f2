"""Connections to the SQLite file: pragmas, schema, migrations, and the mapping of its errors."""

import sqlite3
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

import structlog

from listener.errors import JournalDamaged, JournalError, JournalFull
from listener.runtime.owned import regular

APPLICATION_ID = 0x444C6A6E
"""`PRAGMA application_id` of a journal, so that no other SQLite file is taken for one."""

PAGE_BYTES = 8192
WAL_LIMIT_BYTES = 16 * 2**20
BUSY_S = 10.0

_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NO_TEXT = "Could not decode to UTF-8"

E = TypeVar("E", bound=Exception)

_log = structlog.get_logger(__name__)


def journal_error(path: Path, exc: BaseException) -> JournalError | JournalDamaged:
    """What `exc` means to the caller; the text names the file, the cause is kept, and no event is quoted."""
    if isinstance(exc, JournalDamaged):
        return _caused(JournalDamaged(f"journal {path}: {exc}"), exc)
    if isinstance(exc, JournalError):
        return exc
    code = getattr(exc, "sqlite_errorcode", None)
    if code in _NO_ROOM:
        return _caused(JournalFull(f"no room for journal {path}: {exc}"), exc)
    if code is not None and code & 0xFF in _DAMAGED:
        return _caused(JournalDamaged(f"journal {path}: {exc}"), exc)
    is_no_text = isinstance(exc, sqlite3.OperationalError) and str(exc).startswith(_NO_TEXT)
    if is_no_text or isinstance(exc, UnicodeDecodeError):  # the latter: a message of SQLite that quotes such
        return _caused(JournalDamaged(f"journal {path}: a text in it is not UTF-8"), exc)
    return _caused(JournalError(f"journal {path}: {exc}"), exc)


def _caused(error: E, cause: BaseException) -> E:
    error.__cause__ = cause
    return error


def migrations() -> list[str]:
    """The migrations' SQL in order; the first one makes version 1."""
    folder = files(__package__) / "migrations"
    scripts = sorted((item for item in folder.iterdir() if item.name.endswith(".sql")), key=lambda item: item.name)
    return [script.read_text(encoding="utf-8") for script in scripts]


def newest_schema() -> str:
    """The SQL of schema.sql."""
    return (files(__package__) / "schema.sql").read_text(encoding="utf-8")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A plain connection; `mode` is SQLite's. Nothing is looked at yet. Raises sqlite3.Error."""
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

    Its owner (`Handle`) checkpoints the WAL, never SQLite within a commit; after that the WAL is written from its
    start again; WAL_LIMIT_BYTES cuts it back after a burst in which a reader held it. Pages that retention frees are
    reused, the file is not shrunk: with a steady load its size is that of the retention window.
    """
    connection = connect(path, "rw")
    try:
        _version(connection, path)  # another program's file is left as it is
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
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
    try:
        connection = connect(regular(path), "ro&immutable=1" if immutable else "ro")
    except FileNotFoundError as exc:
        raise JournalError(f"journal {path}: no such file") from exc
    except (sqlite3.Error, OSError) as exc:
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


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema to the newest version: schema.sql for an empty file, else the migrations that are missing."""
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        raise JournalError(f"journal {path}: the file system supports no write-ahead log (mode {mode})")
    scripts = migrations()
    found = _version(connection, path)
    if found > len(scripts):
        raise JournalError(f"journal {path}: schema version {found} is newer than this program's {len(scripts)}")
    if found <= 0:  # less is what damage left in the header of an empty one
        create_newest(connection)
    for version, script in enumerate(scripts[found:] if found > 0 else (), found + 1):
        _run(connection, script, version)
        _log.info("journal_migrated", path=str(path), version=version)


def create_newest(connection: sqlite3.Connection) -> None:
    """The newest schema in an empty database."""
    _run(connection, newest_schema(), len(migrations()))


def _run(connection: sqlite3.Connection, script: str, version: int) -> None:
    """Apply a script and its version number in one transaction, so that a crash leaves the schema before it."""
    stamp = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version};"
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {script}; {stamp} COMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
