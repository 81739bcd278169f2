"""Reading a journal from the command line, also while the daemon runs: no lock, no write, short transactions."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from listener.journal import rows
from listener.journal.database import connect_reader, journal_error
from listener.journal.sqlite import size_bytes
from listener.model import Change, Event, JournalStats, Kind, Origin

_PAGE = 1000


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    connection = connect_reader(path)
    try:
        yield connection
    except (sqlite3.Error, KeyError, ValueError) as exc:
        raise journal_error(path, exc) from exc
    finally:
        connection.close()


def stats(path: Path) -> JournalStats:
    """The figures of the journal at `path`. Raises JournalError: no such file, or no journal."""
    with _reading(path) as connection:
        return rows.select_stats(connection, size_bytes(path))


def show(path: Path, *, after: int = 0, chat: str | None = None, limit: int) -> list[Event]:
    """At most `limit` events above `after`, oldest first, of one chat or of all. Raises JournalError as `stats`."""
    with _reading(path) as connection:
        return rows.select_events(connection, after, limit, chat)


def export(path: Path) -> Iterator[bytes]:
    """Every event as a line of CloudEvents JSON with its line end, oldest first. Raises JournalError as `stats`.

    Pages through the journal: one long read would keep the daemon's WAL growing.
    """
    with _reading(path) as connection:
        after = 0
        while events := rows.select_events(connection, after, _PAGE):
            yield from (event.to_json() + b"\n" for event in events)
            after = events[-1].sequence


def verify(path: Path) -> list[str]:
    """Everything that is wrong with the journal, one sentence each; empty for a sound one.

    Checks SQLite's own structure, that sequences rise without a hole, that every event can be decoded, and that no
    cursor or dead letter points past the last event. Raises JournalError as `stats`.
    """
    with _reading(path) as connection:
        try:
            return [*_structure(connection), *_events(connection), *_pointers(connection)]
        except sqlite3.DatabaseError as exc:
            return [f"reading stopped: {exc}"]


def _structure(connection: sqlite3.Connection) -> Iterator[str]:
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"integrity: {line}"


def _events(connection: sqlite3.Connection) -> Iterator[str]:
    statement = "SELECT sequence, kind, change, origin, data FROM event WHERE sequence > ? ORDER BY sequence LIMIT ?"
    last: int | None = None
    while page := connection.execute(statement, (last or 0, _PAGE)).fetchall():
        for sequence, kind, change, origin, data in page:
            if last is not None and sequence != last + 1:
                yield f"event {sequence} follows on {last}: {sequence - last - 1} missing"
            yield from _words(sequence, kind, change, origin)
            yield from _data(sequence, data)
            last = sequence


def _words(sequence: int, kind: str, change: str | None, origin: str) -> Iterator[str]:
    if kind not in {*Kind}:
        yield f"event {sequence}: unknown kind {kind!r}"
    if change is not None and change not in {*Change}:
        yield f"event {sequence}: unknown change {change!r}"
    if origin not in {*Origin}:
        yield f"event {sequence}: unknown origin {origin!r}"


def _data(sequence: int, data: Any) -> Iterator[str]:
    try:
        msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as exc:
        yield f"event {sequence}: data is no JSON object: {exc}"


def _pointers(connection: sqlite3.Connection) -> Iterator[str]:
    (last,) = connection.execute(
        "SELECT max((SELECT last_sequence FROM meta), (SELECT ifnull(max(sequence), 0) FROM event))"
    ).fetchone()
    for sink, sequence in rows.select_cursors(connection).items():
        if not 0 <= sequence <= last:
            yield f"cursor of sink {sink}: {sequence} is outside 0 to {last}"
    for letter in rows.select_dead_letters(connection):
        if not 0 < letter.sequence <= last:
            yield f"dead letter of sink {letter.sink}: {letter.sequence} is outside 1 to {last}"
