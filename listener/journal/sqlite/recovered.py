"""What SQLite can still read of a damaged journal's tables, row by row, where necessary with another first page."""

import json
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from listener.errors import JournalDamaged
from listener.journal.sqlite import deferred, rows
from listener.journal.sqlite.database import PAGE_BYTES, connect, create_newest
from listener.journal.sqlite.pages import HEADER_BYTES

UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file raises: a message that quotes what is no text is none for Python."""

_TYPES: dict[str, Any] = {"text": str, "number": int, "blob": bytes, "null": type(None)}

_SHAPES = {
    "meta": "last_sequence:number deleted_through:number folded_through:number",
    "hole": "first_sequence:number last_sequence:number",
    "sink_cursor": "sink:text sequence:number",
    "session": "account:text url:text topic:text client_id:text connection_type:text ack:number|null seen_ms:number"
    " max_interval_ms:number|null cookies:text clean:number seen_monotonic_ms:number|null boot:text taken:text"
    " team:text",
    "last_value": "chat_id:text key:text value:text|null account:text server_time_ms:number|null received_ms:number",
    "lane_state": "sink:text parked:text|null parked_ms:number sequence:number attempts:number failing_ms:number"
    " last_error:text|null disabled:number quiet_from_ms:number quiet_until_ms:number resend_after:number"
    " resend_through:number",
    "dead_letter": "sink:text sequence:number event_id:text reason:text attempts:number at_ms:number"
    " received_ms:number|null type:text|null source:text|null subject:text|null time:text|null kind:text|null"
    " account:text|null change:text|null origin:text|null data:blob|null answer:text replaying:number",
    "dead_letter_count": "sink:text letters:number",
    "damage": "at_ms:number set_aside:text kept:number stretches:text pending:number",
}
_SEQUENCES = ("sequence", "first_sequence", "last_sequence", "deleted_through", "folded_through")
_MAX_SEQUENCE = 2**53
_JSON = ("cookies", "stretches", "taken", "team")
Row = dict[str, Any]
_WITHOUT_ROWID = ("sink_cursor", "session", "lane_state", "dead_letter_count")
_WITHOUT_ROWID_BY_TWO = ("last_value",)
_PAGE_COUNT = slice(28, 32)


def _columns(shape: str) -> dict[str, tuple[type, ...]]:
    pairs = (one.split(":") for one in shape.split())
    return {name: tuple(_TYPES[word] for word in words.split("|")) for name, words in pairs}


TABLES = {table: _columns(shape) for table, shape in _SHAPES.items()}
"""Each table's columns with the types that their values can have."""


class Found(NamedTuple):
    """The rows of a table that could be read; `whole` tells that these are all."""

    rows: list[Row]
    whole: bool


def columns_of(connection: sqlite3.Connection, table: str) -> list[str]:
    """The columns that a table has in this file, none for no table. Raises sqlite3.Error."""
    return [name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()]


def read_table(connection: sqlite3.Connection, table: str) -> Found:
    """The rows of one of TABLES, as far as they can be read from either end of it; of an older file in what it has."""
    try:
        present = columns_of(connection, table)
    except UNREADABLE:
        return Found([], whole=False)
    columns = [column for column in TABLES[table] if column in present]
    if not columns:
        return Found([], whole=True)
    found, whole = _rows_of(connection, table, columns, "ASC")
    if not whole:
        found += _rows_of(connection, table, columns, "DESC")[0]
    types = {column: TABLES[table][column] for column in columns}
    kept = [row for row in found if _is_sane(row, types)]
    return Found(list({tuple(row.values()): row for row in kept}.values()), whole and len(kept) == len(found))


def is_sound(connection: sqlite3.Connection, table: str, *, ends_only: bool) -> bool:
    """Whether all rows of one of TABLES, or its first and its last one, can be read and are what somebody stored."""
    try:
        present = columns_of(connection, table)
        columns = {column: types for column, types in TABLES[table].items() if column in present}
        if not columns:
            return True
        if not ends_only:
            return _are_sane(connection.execute(_select(table, columns, "ASC")), columns)
        return all(
            _are_sane(connection.execute(f"{_select(table, columns, order)} LIMIT 1"), columns)
            for order in ("ASC", "DESC")
        )
    except UNREADABLE:
        return False


def _are_sane(found: Iterable[tuple[Any, ...]], columns: Mapping[str, tuple[type, ...]]) -> bool:
    """As `_is_sane` of each row, at a tenth of the cost: most rows have the types of one before."""
    checked = [(place, column) for place, column in enumerate(columns) if column in (*_SEQUENCES, *_JSON)]
    accepted: set[tuple[type, ...]] = set()
    for row in found:
        types = tuple(map(type, row))
        if types not in accepted:
            if any(one not in expected for one, expected in zip(types, columns.values(), strict=True)):
                return False
            accepted.add(types)
        if checked and not all(_is_in_range(column, row[place]) for place, column in checked):
            return False
    return True


def _select(table: str, columns: Iterable[str], order: str) -> str:
    """By the key: the rowid, or what stands for it."""
    key = "1, 2" if table in _WITHOUT_ROWID_BY_TWO else "1" if table in _WITHOUT_ROWID else "rowid"
    by = ", ".join(f"{one} {order}" for one in key.split(", "))
    return f"SELECT {', '.join(columns)} FROM {table} ORDER BY {by}"  # noqa: S608 - our own names


def _rows_of(connection: sqlite3.Connection, table: str, columns: list[str], order: str) -> tuple[list[Row], bool]:
    """Rows up to the first that cannot be read."""
    found: list[Row] = []
    try:
        for row in connection.execute(_select(table, columns, order)):
            found.append(dict(zip(columns, row, strict=True)))  # noqa: PERF401 - what came before an error counts
    except UNREADABLE:
        return found, False
    return found, True


def text_or_bytes(content: bytes) -> str | bytes:
    """For `text_factory`: what is no text comes as bytes, which is the wrong type, and costs only its row."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _is_sane(row: Mapping[str, Any], types: Mapping[str, Any]) -> bool:
    return all(isinstance(row[column], types[column]) and _is_in_range(column, row[column]) for column in row)


def _is_in_range(column: str, value: Any) -> bool:
    if column in _SEQUENCES:
        return bool(0 <= value < _MAX_SEQUENCE)
    if column in _JSON:
        try:
            return isinstance(json.loads(value), list)
        except ValueError:
            return False
    return True


class Recovered(NamedTuple):
    """What there is of a journal.

    Attributes:
        tables: as far as they can be read.
        ends: the first and last sequence; 0 for no event, None for unreadable.
        deferred: last values and sessions in the rows of events; None for unreadable.
    """

    tables: dict[str, Found]
    ends: tuple[int, int] | None
    deferred: list[deferred.Deferred] | None

    def numbers(self, table: str, column: str) -> list[int]:
        """The column's values in the rows that have it."""
        return [row[column] for row in self.tables[table].rows if column in row]


_NOTHING = Recovered({table: Found([], whole=False) for table in TABLES}, None, None)


def read_recovered(source: Path, scratch: Path, *, with_log: bool) -> Recovered:
    """Read the tables of the journal at `source`, which is not changed; nothing that SQLite refuses is an error.

    The first page holds the header and says where the tables are. Where it is of no use a copy gets another header, and
    then another first page: every journal has its tables in the same places. `scratch` is a free name for the copy,
    which takes the log along if `with_log`.

    Raises OSError: no room for the copy.
    """
    found = _read(source) if source.stat().st_size else _NOTHING  # SQLite removes the log of an empty file
    for kept in (HEADER_BYTES, PAGE_BYTES):
        if found.tables["meta"].rows:
            break
        with _with_first_page(source, scratch, kept, with_log=with_log) as copy:
            found = _read(copy)
    return found


def _read(path: Path) -> Recovered:
    log = path.with_name(f"{path.name}-wal")
    with closing(connect(path, "ro" if log.exists() else "ro&immutable=1")) as old:
        old.text_factory = text_or_bytes
        with suppress(*UNREADABLE):
            old.execute("PRAGMA writable_schema = ON")  # a file that lost its end is then read as far as it goes
        found = {table: read_table(old, table) for table in TABLES}
        return Recovered(found, _ends(old), deferred_in(old))


def deferred_in(connection: sqlite3.Connection) -> list[deferred.Deferred] | None:
    """What is deferred, nothing in an older file; None where unreadable."""
    try:
        return deferred.read(connection) if "deferred" in columns_of(connection, "event") else []
    except (*UNREADABLE, JournalDamaged):
        return None


def _ends(old: sqlite3.Connection) -> tuple[int, int] | None:
    try:
        ends = rows.select_ends(old)
    except UNREADABLE:
        return None
    if not all(map(rows.is_event, ends)):
        return None
    return (ends[0][0], ends[-1][0]) if ends else (0, 0)


@contextmanager
def _with_first_page(source: Path, scratch: Path, replaced: int, *, with_log: bool) -> Iterator[Path]:
    """A copy of which the first `replaced` bytes are those of an empty journal."""
    log, scratch_log = (file.with_name(f"{file.name}-wal") for file in (source, scratch))
    try:
        page = _first_page(scratch)
        shutil.copyfile(source, scratch)
        with scratch.open("r+b") as file:
            file.write(page[:replaced])
        if with_log and log.exists():
            shutil.copyfile(log, scratch_log)
        yield scratch
    finally:
        for suffix in ("", "-wal", "-shm"):
            scratch.with_name(f"{scratch.name}{suffix}").unlink(missing_ok=True)


def _first_page(scratch: Path) -> bytes:
    """That of an empty journal. It names no page count, so that SQLite goes by the file's size."""
    with closing(connect(scratch, "rwc")) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        create_newest(connection)
    page = bytearray(scratch.read_bytes()[:PAGE_BYTES])
    page[_PAGE_COUNT] = bytes(4)
    return bytes(page)
