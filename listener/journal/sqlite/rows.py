"""Every SQL statement of the journal, and the way from rows to values and back."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from listener.errors import JournalDamaged
from listener.model.event import (
    Change,
    Event,
    JournalBatch,
    JournalStats,
    Kind,
    LastValue,
    Origin,
    SessionState,
)
from listener.model.holes import Holes, all_holes, events_between
from listener.model.team import TeamState

# A statement that inserts many rows is one step of SQLite: the interpreter lock changes hands once, not once a row,
# which costs a quarter less and, under a busy event loop, saves waiting for the lock at every row. 64 rows of the
# widest table stay below 999 parameters, the limit of older SQLite libraries.
_ROWS_A_STATEMENT = 64

_EVENT = (
    "INSERT INTO event"
    " (sequence, received_ms, id, type, source, subject, time, kind, account, change, origin, data, crc) VALUES "
)
_EVENT_WIDTH = 13
_DEFERRING_EVENT = _EVENT.replace(", crc)", ", crc, deferred)") + f"({', '.join('?' * (_EVENT_WIDTH + 1))})"
_VALUE = "INSERT OR REPLACE INTO last_value (chat_id, key, value, account, server_time_ms, received_ms) VALUES "
_VALUE_WIDTH = 6
_SESSION = (
    "INSERT OR REPLACE INTO session"
    " (account, url, topic, client_id, connection_type, ack, seen_ms, max_interval_ms, cookies, clean,"
    " seen_monotonic_ms, boot, taken, team) VALUES "
)
_SESSION_WIDTH = 14

_SELECT_VALUES = "SELECT chat_id, key, value, account, server_time_ms, received_ms FROM last_value WHERE chat_id IN "
_VALUES_BEHIND = (
    "SELECT chat_id, key, value, account, server_time_ms, received_ms FROM last_value"
    " WHERE (chat_id, key) > (?, ?) ORDER BY chat_id, key LIMIT ?"
)
_FIRST_VALUES = _VALUES_BEHIND.replace(">", ">=")
_SELECT_KNOWN = "SELECT chat_id FROM last_value WHERE chat_id IN "
_CHATS_A_STATEMENT = 500
SELECT_EVENT = (
    "SELECT sequence, received_ms, id, type, source, subject, time, kind, account, change, origin, data, crc FROM event"
)

# Both ends in one SELECT would walk the whole table: SQLite goes straight to an end only where it is asked for alone.
_ENDS = "SELECT (SELECT min(sequence) FROM event), (SELECT max(sequence) FROM event)"
_VALUE_TYPES = {
    (str, str, value, str, server_time_ms, int) for value in (str, type(None)) for server_time_ms in (int, type(None))
}
_LETTERS = "SELECT sink, letters FROM dead_letter_count WHERE letters > 0"
_EVER_MS = 2**63 - 1
_SIZE = ("page_count", "freelist_count", "page_size")

_KINDS = {kind.value: kind for kind in Kind}
_CHANGES: dict[str | None, Change | None] = {None: None} | {change.value: change for change in Change}

_ORIGINS = {origin.value: origin for origin in Origin}

Cookies = tuple[tuple[str, str, str, str], ...]
Taken = tuple[tuple[int, int, str], ...]


@cache
def _many(statement: str, width: int, count: int) -> str:
    row = f"({', '.join('?' * width)})"
    return statement + ", ".join([row] * count)


def _insert(connection: sqlite3.Connection, insert: str, width: int, parameters: list[Any]) -> None:
    """Insert the rows that stand one after the other in `parameters`."""
    step = width * _ROWS_A_STATEMENT
    for start in range(0, len(parameters), step):
        chunk = parameters[start : start + step]
        connection.execute(_many(insert, width, len(chunk) // width), chunk)


def checksum(
    sequence: int,
    received_ms: int,
    id_: str,
    type_: str,
    source: str,
    subject: str,
    time: str,
    kind: str,
    account: str,
    change: str | None,
    origin: str,
    data: bytes,
) -> int:
    """The CRC-32 of an event's columns, a nul after each of those before `data`. Raises where no event holds such."""
    head = (
        f"{sequence}\0{received_ms}\0{id_}\0{type_}\0{source}\0{subject}\0{time}\0{kind}\0{account}\0{change or ''}"
        f"\0{origin}\0"
    )
    return crc32(data, crc32(head.encode()))


def is_intact(row: Sequence[Any]) -> bool:
    """Whether the row of an event, `crc` last, is as it was stored. Rows older than checksums are taken for it."""
    try:
        return row[-1] is None or row[-1] == checksum(*row[:-1])
    except (TypeError, UnicodeEncodeError):
        return False


_TYPES: tuple[Any, ...] = (
    int,
    int,
    str,
    str,
    str,
    str,
    str,
    str,
    str,
    (str, type(None)),
    str,
    bytes,
    (int, type(None)),
)


def is_event(row: Sequence[Any]) -> bool:
    """Whether a row that was found somewhere is an event: intact, and of the right types, words and data."""
    try:
        return (
            all(isinstance(value, types) for value, types in zip(row, _TYPES, strict=True))
            and is_intact(row)
            and row[7] in _KINDS
            and row[9] in _CHANGES
            and row[10] in _ORIGINS
            and (row[-1] is not None or isinstance(msgspec.json.decode(row[-2]), dict))
        )
    except ValueError:
        return False


def event_parameters(events: Iterable[Event]) -> list[Any]:
    """The events' columns one after the other. Enumerations go as plain str: sqlite3 is slow with subclasses."""
    flat: list[Any] = []
    for event in events:
        change = event.change
        row = (
            event.sequence,
            event.received_ms,
            event.id,
            event.type,
            event.source,
            event.subject,
            event.time,
            event.kind._value_,
            event.account,
            None if change is None else change._value_,
            event.origin._value_,
            event.data,
        )
        flat += row
        flat.append(checksum(*row))
    return flat


def insert_events(connection: sqlite3.Connection, parameters: list[Any], *, deferred: bytes | None = None) -> None:
    """Store events, given as `event_parameters`; `deferred` goes with the last."""
    if deferred is None:
        _insert(connection, _EVENT, _EVENT_WIDTH, parameters)
        return
    _insert(connection, _EVENT, _EVENT_WIDTH, parameters[:-_EVENT_WIDTH])
    connection.execute(_DEFERRING_EVENT, [*parameters[-_EVENT_WIDTH:], deferred])


def replace_values(connection: sqlite3.Connection, batches: Iterable[JournalBatch]) -> None:
    """Store the batches' last values; of several for one (chat, key) the last counts."""
    newest = {(value.chat_id, value.key): value for batch in batches for value in batch.values}
    flat: list[Any] = []
    for value in newest.values():
        flat += (value.chat_id, value.key, value.value, value.account, value.server_time_ms, value.received_ms)
    _insert(connection, _VALUE, _VALUE_WIDTH, flat)


def replace_sessions(connection: sqlite3.Connection, batches: Iterable[JournalBatch]) -> None:
    """Store the batches' sessions; of several for one account the last counts."""
    newest = {session.account: session for batch in batches for session in batch.sessions}
    flat: list[Any] = []
    for session in newest.values():
        flat += (
            session.account,
            session.url,
            session.topic,
            session.client_id,
            session.connection_type,
            session.ack,
            session.seen_ms,
            session.max_interval_ms,
            msgspec.json.encode(session.cookies).decode(),
            int(session.clean),
            session.seen_monotonic_ms,
            session.boot,
            msgspec.json.encode(session.taken).decode(),
            msgspec.json.encode(() if session.team is None else (session.team,)).decode(),
        )
    _insert(connection, _SESSION, _SESSION_WIDTH, flat)


def advance(connection: sqlite3.Connection, sink: str, sequence: int) -> None:
    """Move a cursor forward, never back."""
    connection.execute(
        "INSERT INTO sink_cursor (sink, sequence) VALUES (?, ?) ON CONFLICT (sink)"
        " DO UPDATE SET sequence = excluded.sequence WHERE excluded.sequence > sequence",
        (sink, sequence),
    )


class Deleted(NamedTuple):
    """What one step of retention removed: how many events, and up to which sequence (0 for none)."""

    events: int
    through: int


def delete_events(connection: sqlite3.Connection, before_ms: int, keep_for: Collection[str], limit: int) -> Deleted:
    """Delete at most `limit` of the oldest events, up to the first that is young or not yet done with everywhere."""
    first, last = connection.execute(_ENDS).fetchone()
    if first is None:
        return Deleted(0, 0)
    done = select_cursors(connection)
    end = min(last, first + limit - 1, *(done.get(sink, 0) for sink in keep_for))
    (young,) = connection.execute(
        "SELECT min(sequence) FROM event WHERE sequence <= ? AND received_ms >= ?", (end, before_ms)
    ).fetchone()
    end = end if young is None else young - 1
    if end < first:
        return Deleted(0, 0)
    connection.execute("UPDATE meta SET last_sequence = max(last_sequence, ?), deleted_through = ?", (last, end))
    connection.execute("DELETE FROM hole WHERE last_sequence <= ?", (end,))
    return Deleted(connection.execute("DELETE FROM event WHERE sequence <= ?", (end,)).rowcount, end)


def used_bytes(connection: sqlite3.Connection) -> int:
    """What the rows take, without the pages that are free for others; the file may be larger."""
    (pages, free, size) = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _SIZE)
    return int((pages - free) * size)


def delete_beyond(connection: sqlite3.Connection, max_bytes: int, keep_for: Collection[str], limit: int) -> Deleted:
    """Delete the oldest events while more than `max_bytes` are used: about as many as are too much, at most `limit`.

    As `delete_events` it stops at the first that is not yet done with everywhere.
    """
    used = used_bytes(connection)
    if used <= max_bytes:
        return Deleted(0, 0)
    first, last = connection.execute(_ENDS).fetchone()
    excess = 0 if first is None else (used - max_bytes) * (last - first + 1) // used
    return delete_events(connection, _EVER_MS, keep_for, min(limit, max(excess, 1)))


def delete_values(connection: sqlite3.Connection, before_ms: int, start: str, limit: int) -> str | None:
    """Of `limit` chats from `start` on, drop those not heard of since `before_ms`; returns the next step's start."""
    chats = connection.execute(
        "SELECT DISTINCT chat_id FROM last_value WHERE chat_id >= ? ORDER BY chat_id LIMIT ?", (start, limit + 1)
    ).fetchall()
    if not chats:
        return None
    last = chats[:limit][-1][0]
    connection.execute(
        "DELETE FROM last_value WHERE chat_id IN (SELECT chat_id FROM last_value WHERE chat_id BETWEEN ? AND ?"
        " GROUP BY chat_id HAVING max(received_ms) < ?)",
        (start, last, before_ms),
    )
    return chats[limit][0] if len(chats) > limit else None


def select_events(connection: sqlite3.Connection, after: int, limit: int, chat: str | None = None) -> list[Event]:
    """At most `limit` events above `after`, oldest first, of one chat or of all."""
    filtered, parameters = ("", (after, limit)) if chat is None else (" AND subject = ?", (after, chat, limit))
    statement = f"{SELECT_EVENT} WHERE sequence > ?{filtered} ORDER BY sequence LIMIT ?"
    return [intact_event_of(row) for row in connection.execute(statement, parameters).fetchall()]


def select_raw_events(connection: sqlite3.Connection, after: int, limit: int) -> list[tuple[Any, ...]]:
    """Rows of events as they are stored, `crc` last, in a file of any version: for who looks at what is wrong."""
    statement = f"{_select_stored(connection)} WHERE sequence > ? ORDER BY sequence LIMIT ?"
    return connection.execute(statement, (after, limit)).fetchall()


def select_ends(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """The rows of the first and of the last event, as `select_raw_events`; the same twice for one, none for none."""
    statement = f"{_select_stored(connection)} ORDER BY sequence"
    return [row for order in ("ASC", "DESC") for row in connection.execute(f"{statement} {order} LIMIT 1")]


def _select_stored(connection: sqlite3.Connection) -> str:
    (sums,) = connection.execute("SELECT count(*) FROM pragma_table_info('event') WHERE name = 'crc'").fetchone()
    return SELECT_EVENT if sums else SELECT_EVENT.replace(", crc", ", NULL")


def intact_event_of(row: tuple[Any, ...]) -> Event:
    """The event of a row as SELECT_EVENT brings it. Raises JournalDamaged: it is not what was stored."""
    if not is_intact(row):
        raise JournalDamaged(f"event {row[0]} is not what was stored: its checksum is wrong")
    return event_of(row[:-1])


def event_of(row: tuple[Any, ...]) -> Event:
    """The event of a row of the columns from `sequence` to `data`. Raises KeyError: a word that no event has."""
    sequence, received_ms, id_, type_, source, subject, time, kind, account, change, origin, data = row
    return Event(
        sequence=sequence,
        received_ms=received_ms,
        id=id_,
        type=type_,
        source=source,
        subject=subject,
        time=time,
        kind=_KINDS[kind],
        account=account,
        change=_CHANGES[change],
        origin=_ORIGINS[origin],
        data=data,
    )


def select_last_sequence(connection: sqlite3.Connection) -> int:
    """The last sequence ever used. Cursors count too: a new event below one would never be delivered."""
    (sequence,) = connection.execute(
        "SELECT max((SELECT last_sequence FROM meta), (SELECT ifnull(max(sequence), 0) FROM event),"
        " (SELECT ifnull(max(sequence), 0) FROM sink_cursor))"
    ).fetchone()
    return int(sequence)


def select_newest(connection: sqlite3.Connection) -> int:
    """The last sequence that an event had; `select_last_sequence` without the cursors."""
    (sequence,) = connection.execute(
        "SELECT max((SELECT last_sequence FROM meta), (SELECT ifnull(max(sequence), 0) FROM event))"
    ).fetchone()
    return int(sequence)


def select_cursors(connection: sqlite3.Connection) -> dict[str, int]:
    """Per sink, its cursor."""
    return dict(connection.execute("SELECT sink, sequence FROM sink_cursor").fetchall())


def select_values(connection: sqlite3.Connection, chat_ids: Collection[str]) -> list[LastValue]:
    """Every last value of these chats. Raises JournalDamaged: one of them is not what anybody stored."""
    wanted = list(dict.fromkeys(chat_ids))
    found: list[LastValue] = []
    for start in range(0, len(wanted), _CHATS_A_STATEMENT):
        chunk = wanted[start : start + _CHATS_A_STATEMENT]
        found += _values(connection.execute(_many(_SELECT_VALUES, len(chunk), 1), chunk).fetchall())
    return found


def _values(found: list[tuple[Any, ...]]) -> list[LastValue]:
    if not {tuple(map(type, row)) for row in found} <= _VALUE_TYPES:
        raise JournalDamaged("a last value is not what was stored: its columns have other types")
    return [LastValue(*row) for row in found]


def select_values_behind(connection: sqlite3.Connection, place: tuple[str, str] | None, limit: int) -> list[LastValue]:
    """At most `limit` last values behind a chat and key, or the first, in the order of both."""
    statement = _FIRST_VALUES if place is None else _VALUES_BEHIND
    found = connection.execute(statement, (*(place or ("", "")), limit))
    return _values(found.fetchall())


def select_known(connection: sqlite3.Connection, chat_ids: Sequence[str]) -> set[str]:
    """Those of these chats that have a last value."""
    found: set[str] = set()
    for start in range(0, len(chat_ids), _CHATS_A_STATEMENT):
        chunk = chat_ids[start : start + _CHATS_A_STATEMENT]
        found.update(chat for (chat,) in connection.execute(_many(_SELECT_KNOWN, len(chunk), 1), chunk))
    return found


def select_sessions(connection: sqlite3.Connection) -> dict[str, SessionState]:
    """Per account, its session."""
    found = connection.execute(
        "SELECT account, url, topic, client_id, connection_type, ack, seen_ms, max_interval_ms, seen_monotonic_ms,"
        " boot, cookies, clean, taken, team FROM session"
    )
    names = ("account", "url", "topic", "client_id", "connection_type", "ack", "seen_ms", "max_interval_ms")
    return {
        row[0]: SessionState(
            **dict(zip((*names, "seen_monotonic_ms", "boot"), row[:-4], strict=True)),
            cookies=msgspec.json.decode(row[-4], type=Cookies),
            clean=bool(row[-3]),
            taken=msgspec.json.decode(row[-2], type=Taken),
            team=next(iter(msgspec.json.decode(row[-1], type=tuple[TeamState, ...])), None),
        )
        for row in found.fetchall()
    }


def count_events(connection: sqlite3.Connection) -> int:
    """How many events there are, not counted one by one: what is not in `hole` is there."""
    _, last = connection.execute(_ENDS).fetchone()
    return 0 if last is None else events_between(0, last, select_all_holes(connection))


def select_stats(connection: sqlite3.Connection, size_bytes: int) -> JournalStats:
    """The figures but those of `letters`."""
    (first,) = connection.execute("SELECT min(sequence) FROM event").fetchone()
    oldest = connection.execute("SELECT received_ms FROM event WHERE sequence = ?", (first,)).fetchone()
    return JournalStats(
        first_sequence=first or 0,
        last_sequence=select_last_sequence(connection),
        events=count_events(connection),
        bytes=size_bytes,
        cursors=select_cursors(connection),
        dead_letters=dict(connection.execute(_LETTERS).fetchall()),
        oldest_ms=oldest[0] if oldest else None,
        holes=select_all_holes(connection),
    )


def select_all_holes(connection: sqlite3.Connection) -> Holes:
    """Every sequence that has no event, up to the last that was ever used."""
    (first,) = connection.execute("SELECT min(sequence) FROM event").fetchone()
    known = connection.execute("SELECT first_sequence, last_sequence FROM hole")
    return all_holes(first, select_last_sequence(connection), known)


def select_holes(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """The holes that damage left, each as the sequences before it and after it."""
    return connection.execute("SELECT first_sequence - 1, last_sequence + 1 FROM hole ORDER BY 1").fetchall()


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Several statements that see one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
