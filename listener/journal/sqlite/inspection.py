"""Checks whether a journal is damaged, before its owner opens it."""

import errno
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from listener.journal.sqlite import recovered, rows
from listener.journal.sqlite.database import APPLICATION_ID, connect, migrations
from listener.journal.sqlite.lock import may_be_owned
from listener.journal.sqlite.pages import HEADER_BYTES, MAGIC, events, page_bytes_of
from listener.journal.sqlite.wal import read_index, read_log

WHOLE_BYTES = 256 * 2**20
"""Up to this size all of a journal is looked at, which takes one to three seconds: SQLite checks its structure at about
1,000 MiB a second, and the checksums of small events take 100 to 200 MiB a second. Of a larger one, the small tables
are, and the ends of those that grow with the traffic."""

LONG_LOG_BYTES = 64 * 2**20
"""A longer log, which a reader that never ended has left, is counted alone: its sums would take a minute a GiB here."""

_PAGE = 1000
_GROWING = ("last_value", "dead_letter")  # as the traffic does; what is wrong in them is found when it is read
_SCHEMA_FORMATS = range(1, 5)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_UNREAD = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_CORRUPTFS, sqlite3.SQLITE_IOERR_SHORT_READ)
_OURS = {"event", "last_value", "session", "sink_cursor", "dead_letter", "meta"}


def fault_of(path: Path, *, thorough: bool) -> str | None:
    """What is wrong with a journal, in a few words; None if nothing is, or where that is no damage.

    Another program's database, one of a newer version and what cannot be opened for now are none: they are for who
    opens it to refuse. `thorough` looks at all of a large journal too. No connection to it is open in this process.

    Raises OSError, sqlite3.Error.
    """
    try:
        return _fault_of(path, thorough=thorough)
    except OSError as exc:
        if not is_bad_sector(exc):
            raise
        return "the disk does not give all of it"


def _fault_of(path: Path, *, thorough: bool) -> str | None:
    log = path.with_name(f"{path.name}-wal")
    log_bytes = log.stat().st_size if log.exists() else 0
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if not header:
        return "it is empty, and its log is not" if log_bytes else None
    if not header.startswith(MAGIC):
        return "it is no SQLite file"
    if path.with_name(f"{path.name}-journal").exists():  # its creation was cut short: to be rolled back by its opener
        return None
    if log_bytes > LONG_LOG_BYTES:
        return _long_log_fault(path) or _fault_inside(path, thorough=thorough, log_bytes=log_bytes)
    found = read_log(path, page_bytes_of(header))
    newest = next((frame.content for frame in reversed(found.frames) if frame.page == 1), header)
    fault = _header_fault(path, header, newest) or found.fault
    if fault is not None:
        return fault
    return _fault_inside(path, thorough=thorough, log_bytes=log_bytes)


def _fault_inside(path: Path, *, thorough: bool, log_bytes: int) -> str | None:
    small = path.stat().st_size + log_bytes <= WHOLE_BYTES
    with closing(connect(path, "ro" if log_bytes else "ro&immutable=1")) as connection:
        return _fault_in(connection, whole=thorough or small)


def _long_log_fault(path: Path) -> str | None:
    """Whether SQLite, which makes the index anew from what holds, finds as many pages as the owner had counted."""
    with closing(connect(path, "ro")) as connection:
        counted = read_index(path)
        with suppress(sqlite3.DatabaseError):  # what it is will be seen next
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        held = read_index(path)
    if counted is None or held is None or counted.salts != held.salts or counted.frames <= held.frames:
        return None
    return f"its log holds {held.frames} of {counted.frames} pages"


def log_fault_of(path: Path) -> str | None:
    """What is wrong with the log of a journal whose owner is gone; None if one may be there, and knows.

    An owner that comes meanwhile writes to the log first, and only then to the index: what is read in this order while
    nobody wrote to the log belongs together. Raises OSError.
    """
    log = path.with_name(f"{path.name}-wal")
    if not log.exists() or not path.exists() or may_be_owned(path):
        return None
    before = log.stat()
    with path.open("rb") as file:
        page_bytes = page_bytes_of(file.read(HEADER_BYTES))
    fault = read_log(path, page_bytes).fault
    after = log.stat()
    return fault if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns) else None


def _header_fault(path: Path, header: bytes, newest: bytes) -> str | None:
    """What SQLite would not tell from a file that it may not write, or that is meant for a newer SQLite.

    SQLite takes from the file's own header how the file is to be read, and the rest from the newest one, which may be
    in the log. A header that we do not write may be another program's, unless it names ours or there are our events
    behind it; one that is cut off is no program's.
    """
    _page, write, read, _reserved, *fractions = struct.unpack_from(">HBBBBBB", header.ljust(HEADER_BYTES, b"\0"), 16)
    form, encoding = int.from_bytes(newest[44:48], "big"), int.from_bytes(newest[56:60], "big")
    if {write, read} <= {1, 2} and fractions == [64, 32, 32] and form in _SCHEMA_FORMATS and encoding == 1:
        return None
    names_ours = len(header) < HEADER_BYTES or int.from_bytes(header[68:72], "big") == APPLICATION_ID
    return "its header is not what was written" if names_ours or any(True for _ in events(path, [])) else None


def _fault_in(connection: sqlite3.Connection, *, whole: bool) -> str | None:
    connection.text_factory = recovered.text_or_bytes
    try:
        is_journal, fault = _schema(connection)
        if fault is not None or not is_journal:
            return fault
        return next(_faults(connection, whole=whole), None)
    except sqlite3.DatabaseError as exc:
        if exc.sqlite_errorcode & 0xFF not in _DAMAGED and exc.sqlite_errorcode not in _UNREAD:
            raise
        return str(exc)
    except UnicodeDecodeError:  # SQLite's message quotes what it cannot make sense of
        return "its schema is no text"


def _schema(connection: sqlite3.Connection) -> tuple[bool, str | None]:
    """Whether this is a journal with something in it that this program reads, and what is wrong with its tables."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    found = _columns(connection)
    if application != APPLICATION_ID:
        return False, "its header names another program" if found.keys() >= _OURS else None
    scripts = migrations()
    if version > len(scripts):
        return False, None
    with closing(sqlite3.connect(":memory:")) as expected:
        for script in scripts[: max(0, version)]:
            expected.executescript(script)
        wrong = [table for table, columns in _columns(expected).items() if found.get(table) != columns]
    if wrong:
        return True, f"its schema is wrong for table {wrong[0]}"
    return bool(found), "its schema has no version" if found and version < 1 else None


def _columns(connection: sqlite3.Connection) -> dict[str, list[str]]:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name: recovered.columns_of(connection, name) for (name,) in names}


def _faults(connection: sqlite3.Connection, *, whole: bool) -> Iterator[str]:
    if whole:
        for (line,) in connection.execute("PRAGMA integrity_check(1)"):  # what the indices of dead letters say, too
            if line != "ok":
                yield line.replace("\n", ": ")
    for table in recovered.TABLES:
        if not recovered.is_sound(connection, table, ends_only=table in _GROWING and not whole):
            yield f"table {table} cannot be read"
    if recovered.deferred_in(connection) is None:
        yield "what events defer cannot be read"
    yield from _events(connection) if whole else _ends(connection)


def _events(connection: sqlite3.Connection) -> Iterator[str]:
    after = -1
    while page := rows.select_raw_events(connection, after, _PAGE):
        yield from (_wrong(row[0]) for row in page if not rows.is_intact(row))
        after = page[-1][0]


def _ends(connection: sqlite3.Connection) -> Iterator[str]:
    for row in rows.select_ends(connection):
        if not rows.is_intact(row):
            yield _wrong(row[0])


def _wrong(sequence: int) -> str:
    return f"event {sequence} is not what was stored"


def is_bad_sector(exc: OSError) -> bool:
    """Whether the disk refuses what it should hold."""
    return exc.errno == errno.EIO
