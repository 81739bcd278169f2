"""The tables beside the events, row by row as far as they can be read: what is looked at, and what is salvaged."""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, NamedTuple

UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file raises: a message that quotes what is no text is none for Python."""

_TYPES: dict[str, Any] = {"text": str, "number": int, "blob": bytes, "null": type(None)}

_SHAPES = {
    "meta": "last_sequence:number deleted_through:number",
    "hole": "first_sequence:number last_sequence:number",
    "sink_cursor": "sink:text sequence:number",
    "session": "account:text url:text topic:text client_id:text connection_type:text ack:number|null seen_ms:number"
    " max_interval_ms:number|null cookies:text clean:number",
    "last_value": "chat_id:text key:text value:text|null account:text server_time_ms:number|null received_ms:number",
    "lane_state": "sink:text parked:text|null parked_ms:number sequence:number attempts:number failing_ms:number"
    " last_error:text|null disabled:number quiet_from_ms:number quiet_until_ms:number",
    "dead_letter": "sink:text sequence:number event_id:text reason:text attempts:number at_ms:number"
    " received_ms:number|null type:text|null source:text|null subject:text|null time:text|null kind:text|null"
    " account:text|null change:text|null origin:text|null data:blob|null answer:text replaying:number",
    "damage": "at_ms:number set_aside:text kept:number stretches:text pending:number",
}


def _columns(shape: str) -> dict[str, tuple[type, ...]]:
    pairs = (one.split(":") for one in shape.split())
    return {name: tuple(_TYPES[word] for word in words.split("|")) for name, words in pairs}


TABLES = {table: _columns(shape) for table, shape in _SHAPES.items()}
"""Each table's columns with the types that their values can have."""

_SEQUENCES = ("sequence", "first_sequence", "last_sequence", "deleted_through")
_MAX_SEQUENCE = 2**53
_JSON = ("cookies", "stretches")

Row = dict[str, Any]


class Found(NamedTuple):
    """The rows of a table that could be read; `whole` tells that these are all."""

    rows: list[Row]
    whole: bool


def columns_of(connection: sqlite3.Connection, table: str) -> list[str]:
    """The columns that a table has in this file, none for no table. Raises sqlite3.Error."""
    return [name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()]


def read(connection: sqlite3.Connection, table: str) -> Found:
    """The rows of one of TABLES, as far as they can be read from either end of it; of an older file in what it has."""
    try:
        present = columns_of(connection, table)
    except UNREADABLE:
        return Found([], whole=False)
    columns = [column for column in TABLES[table] if column in present]
    if not columns:
        return Found([], whole=True)
    found, whole = _read(connection, table, columns, "ASC")
    if not whole:
        found += _read(connection, table, columns, "DESC")[0]
    types = {column: TABLES[table][column] for column in columns}
    kept = [row for row in found if _is_sane(row, types)]
    return Found(list({tuple(row.values()): row for row in kept}.values()), whole and len(kept) == len(found))


def _read(connection: sqlite3.Connection, table: str, columns: list[str], order: str) -> tuple[list[Row], bool]:
    """Rows up to the first that cannot be read, by the key: the rowid, or what stands for it."""
    key = "1, 2" if table in _WITHOUT_ROWID_BY_TWO else "1" if table in _WITHOUT_ROWID else "rowid"
    by = ", ".join(f"{one} {order}" for one in key.split(", "))
    found: list[Row] = []
    try:
        for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY {by}"):  # noqa: S608 - our own names
            found.append(dict(zip(columns, row, strict=True)))  # noqa: PERF401 - what came before an error counts
    except UNREADABLE:
        return found, False
    return found, True


_WITHOUT_ROWID = ("sink_cursor", "session", "lane_state")
_WITHOUT_ROWID_BY_TWO = ("last_value",)


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
