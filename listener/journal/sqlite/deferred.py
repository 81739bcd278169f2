"""Last values and sessions that stand in the rows of events, and go into their tables later, many at once.

A page of SQLite is written as a whole. A commit that replaced a row of `last_value` and one of `session` would write
two pages for a few bytes, beside that of the event, and so would the next one. So a small commit puts them into the
row of its last event, and now and then all that stands in those above `meta.folded_through` goes into the tables.
Whoever reads one of these tables beside the writer reads those rows too.
"""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from listener.errors import JournalDamaged
from listener.journal.sqlite import rows
from listener.model.event import JournalBatch, LastValue, SessionState

MAX_EVENTS = 512
"""From the first event with something in its row alone, after so many all of it goes into the tables."""

_MAX_EVENTS_READ = 4096  # what a start looks through, and whoever reads

_MAX_VALUES = 32  # of a commit: more fill pages of their own, and those of the table are no more
_INT_MAX = 2**63 - 1
_FOLDED = "UPDATE meta SET folded_through = ?"

_Integer = Annotated[int, msgspec.Meta(ge=-_INT_MAX, le=_INT_MAX)]  # as SQLite has them
_Taken = tuple[tuple[int, int, str], ...]

# In a row the chat, the account and the time of receipt are None where they are those of its event.
_Value = tuple[str | None, str, str | None, str | None, _Integer | None, _Integer | None]
_Move = tuple[str | None, _Integer | None, _Integer, _Integer | None, _Taken]


class Move(NamedTuple):
    """What changes of a session with each batch; the rest is as in the table."""

    account: str
    ack: int | None
    seen_ms: int
    seen_monotonic_ms: int | None
    taken: _Taken


class Deferred(NamedTuple):
    """What one event defers."""

    values: list[LastValue]
    moves: list[Move]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[_Value], list[_Move]]).decode


def _rest(session: SessionState) -> tuple[object, ...]:
    """What of a session does not move."""
    return (
        session.url,
        session.topic,
        session.client_id,
        session.connection_type,
        session.max_interval_ms,
        session.cookies,
        session.clean,
        session.boot,
        session.team,
    )


class Deferral:
    """What is deferred, as the writer knows it; each of its transactions is begun and, in the end, committed.

    Args:
        found: what the last owner deferred, in the order of the events.
        newest: the last event.

    Attributes:
        chats: those of which a value may not be in the table.
    """

    def __init__(self, found: Sequence[Deferred], newest: int) -> None:
        self.chats = {value.chat_id for value in values_of(found)}
        self._found = found
        self._batches: list[JournalBatch] = []
        self._rests: dict[str, tuple[object, ...]] = {}
        self._folded = newest
        self._first = self._last = newest
        self.begin()

    @property
    def _holds(self) -> bool:
        return bool(self._batches or self._found)

    def begin(self) -> None:
        """What follows is forgotten unless `committed` comes."""
        self._deferred: Sequence[JournalBatch] = ()
        self._stored: Sequence[JournalBatch] = ()
        self._folds: int | None = None

    def committed(self) -> None:
        """It is durable."""
        if self._folds is not None:
            self._folded, self._found = self._folds, ()
            self._batches.clear()
            self.chats.clear()
        for batch in self._stored:
            self._rests.update((session.account, _rest(session)) for session in batch.sessions)
        if self._deferred and not self._holds:
            self._first = self._last
        for batch in self._deferred:
            self._batches.append(JournalBatch(values=batch.values, sessions=batch.sessions))
            self.chats.update([value.chat_id for value in batch.values])

    def store(
        self, connection: sqlite3.Connection, batches: Sequence[JournalBatch], parameters: list[Any], *, last: int
    ) -> None:
        """Insert the batches' events, of `parameters` up to number `last`, and defer what goes with them if it can be.

        Nothing may follow in the transaction. Raises OverflowError as sqlite3, for a number that no table can hold.
        """
        is_near = not self._holds or last - self._first < MAX_EVENTS
        row = self._row(batches, parameters) if is_near and parameters else None
        rows.insert_events(connection, parameters, deferred=row)
        if row is not None:
            self._deferred, self._last = batches, last
            return
        self.fold(connection, through=last)
        self.replace(connection, batches)

    def replace(self, connection: sqlite3.Connection, batches: Sequence[JournalBatch]) -> None:
        """Put what the batches have into the tables, where all that was deferred is already."""
        rows.replace_values(connection, batches)
        rows.replace_sessions(connection, batches)
        self._stored = [*self._stored, *batches]

    def fold(self, connection: sqlite3.Connection, *, through: int) -> None:
        """Put into the tables all that was deferred before this transaction; `through` is the newest event."""
        if self._folds is None and (self._holds or through - self._folded > _MAX_EVENTS_READ):
            rows.replace_values(connection, [JournalBatch(values=values_of(self._found))])
            move_sessions(connection, self._found)
            rows.replace_values(connection, self._batches)
            rows.replace_sessions(connection, self._batches)
            connection.execute(_FOLDED, (through,))
            self._folds = through

    def _row(self, batches: Sequence[JournalBatch], parameters: Sequence[Any]) -> bytes | None:
        """What the batches defer; None if that is too much, or if more of a session is new than what moves."""
        if sum([len(batch.values) for batch in batches]) > _MAX_VALUES:
            return None
        received_ms, chat_id, account = parameters[-12], parameters[-8], parameters[-5]  # of the last event
        values: list[_Value] = []
        moves: list[_Move] = []
        numbers: list[int | None] = []
        for batch in batches:
            for value in batch.values:
                numbers += (value.server_time_ms, value.received_ms)
                values.append(
                    (
                        None if value.chat_id == chat_id else value.chat_id,
                        value.key,
                        value.value,
                        None if value.account == account else value.account,
                        value.server_time_ms,
                        None if value.received_ms == received_ms else value.received_ms,
                    )
                )
            for session in batch.sessions:
                if self._rests.get(session.account) != _rest(session):
                    return None
                numbers += (session.ack, session.seen_ms, session.seen_monotonic_ms)
                whose = None if session.account == account else session.account
                moves.append((whose, session.ack, session.seen_ms, session.seen_monotonic_ms, session.taken))
        if not values and not moves:
            return None
        if not all(number is None or -_INT_MAX <= number <= _INT_MAX for number in numbers):
            raise OverflowError("Python int too large to convert to SQLite INTEGER")
        return _encode((values, moves))


def read(connection: sqlite3.Connection) -> list[Deferred]:
    """What is deferred, in the order of the events. Raises JournalDamaged: not what anybody stored."""
    found = connection.execute(
        "SELECT deferred, received_ms, subject, account FROM event"
        " WHERE sequence > (SELECT folded_through FROM meta) AND deferred IS NOT NULL"
        " ORDER BY sequence"
    )
    try:
        return [_deferred(content, *own) for content, *own in found.fetchall()]
    except (ValueError, TypeError) as exc:
        raise JournalDamaged("what an event defers is not what was stored") from exc


def _deferred(content: bytes, received_ms: int, chat_id: str, account: str) -> Deferred:
    values, moves = _decode(content)
    if (type(received_ms), type(chat_id), type(account)) != (int, str, str):
        raise TypeError("the event of a row is not what was stored")
    return Deferred(
        [
            LastValue(
                chat_id if chat is None else chat,
                key,
                value,
                account if whose is None else whose,
                server_time_ms,
                received_ms if at_ms is None else at_ms,
            )
            for chat, key, value, whose, server_time_ms, at_ms in values
        ],
        [
            Move(account if whose is None else whose, ack, seen_ms, seen_monotonic_ms, taken)
            for whose, ack, seen_ms, seen_monotonic_ms, taken in moves
        ],
    )


def fold_all(connection: sqlite3.Connection) -> None:
    """What the last owner deferred goes where it belongs. Raises JournalDamaged, sqlite3.Error."""
    found = read(connection)
    if found:
        connection.execute("BEGIN IMMEDIATE")
        Deferral(found, 0).fold(connection, through=rows.select_newest(connection))
        connection.execute("COMMIT")


def values_of(found: Iterable[Deferred]) -> tuple[LastValue, ...]:
    """All values, in their order."""
    return tuple(value for one in found for value in one.values)


def move_sessions(connection: sqlite3.Connection, found: Iterable[Deferred]) -> None:
    """Move the sessions in the table on to where they are now."""
    for account, ack, seen_ms, seen_monotonic_ms, taken in _newest_moves(found).values():
        connection.execute(
            "UPDATE session SET ack = ?, seen_ms = ?, seen_monotonic_ms = ?, taken = ? WHERE account = ?",
            (ack, seen_ms, seen_monotonic_ms, msgspec.json.encode(taken).decode(), account),
        )


def _newest_moves(found: Iterable[Deferred]) -> dict[str, Move]:
    return {move.account: move for one in found for move in one.moves}


def select_values(connection: sqlite3.Connection, chat_ids: Collection[str]) -> list[LastValue]:
    """Every last value of these chats, in no order. Raises JournalDamaged as `rows.select_values`."""
    wanted = set(chat_ids)
    with rows.snapshot(connection):
        found = (*rows.select_values(connection, chat_ids), *values_of(read(connection)))
    return list({(one.chat_id, one.key): one for one in found if one.chat_id in wanted}.values())


def select_sessions(connection: sqlite3.Connection) -> dict[str, SessionState]:
    """Per account, its session."""
    with rows.snapshot(connection):
        found, moves = rows.select_sessions(connection), _newest_moves(read(connection))
    for account in found.keys() & moves.keys():
        _, ack, seen_ms, seen_monotonic_ms, taken = moves[account]
        found[account] = msgspec.structs.replace(
            found[account], ack=ack, seen_ms=seen_ms, seen_monotonic_ms=seen_monotonic_ms, taken=taken
        )
    return found
