"""The SQL of dead letters, of the lanes' states and of what damage cost."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from listener.journal import rows
from listener.model.event import Damage, DeadLetter, DeadLetterFilter, Event, JournalStats, LaneState
from listener.model.filter import Undelivered

_EVENT = "received_ms, type, source, subject, time, kind, account, change, origin, data"
_WHOLE_EVENT = "sequence, received_ms, event_id, type, source, subject, time, kind, account, change, origin, data"
_LETTER = ("sink", "sequence", "event_id", "reason", "attempts", "at_ms", "answer", "replaying")
_STATE = tuple(field.name for field in msgspec.structs.fields(LaneState))


def insert(connection: sqlite3.Connection, letters: Iterable[DeadLetter]) -> None:
    """Store letters with a copy of their event: retention removes it from `event`. A letter of an event replaces it."""
    connection.executemany(
        f"INSERT OR REPLACE INTO dead_letter ({', '.join(_LETTER)}, {_EVENT})"  # noqa: S608 - our own names
        f" SELECT :{', :'.join(_LETTER)}, {_EVENT} FROM (SELECT 1) LEFT JOIN event ON event.sequence = :sequence",
        [asdict(letter) for letter in letters],
    )


def select(connection: sqlite3.Connection, which: DeadLetterFilter) -> list[DeadLetter]:
    """The letters that are meant, oldest first."""
    condition, parameters = _where(which)
    found = connection.execute(
        f"SELECT {', '.join(_LETTER)} FROM dead_letter WHERE {condition} ORDER BY at_ms, sequence, sink",  # noqa: S608 - our own names
        parameters,
    )
    return [_letter(row) for row in found.fetchall()]


def select_undelivered(connection: sqlite3.Connection, condition: str, parameters: Sequence[Any]) -> list[Undelivered]:
    """The letters that a condition on sink and sequence holds for, with their events, in journal order."""
    found = connection.execute(
        f"SELECT {', '.join(_LETTER)}, {_WHOLE_EVENT} FROM dead_letter WHERE rowid IN"  # noqa: S608 - our own names
        f" (SELECT rowid FROM dead_letter WHERE {condition}) ORDER BY sequence, sink",
        parameters,
    )
    width = len(_LETTER)
    return [
        Undelivered(letter=_letter(row[:width]), event=None if row[-1] is None else rows.event_of(row[width:]))
        for row in found.fetchall()
    ]


def mark(connection: sqlite3.Connection, which: DeadLetterFilter) -> int:
    """Mark the letters that are meant for replay; those that are already count, those without event cannot be."""
    condition, parameters = _where(which)
    statement = f"UPDATE dead_letter SET replaying = 1 WHERE data IS NOT NULL AND {condition}"  # noqa: S608 - our own names
    return connection.execute(statement, parameters).rowcount


def drop(connection: sqlite3.Connection, which: DeadLetterFilter) -> int:
    """Delete the letters that are meant."""
    condition, parameters = _where(which)
    return connection.execute(f"DELETE FROM dead_letter WHERE {condition}", parameters).rowcount  # noqa: S608 - our own names


def select_events(connection: sqlite3.Connection, which: DeadLetterFilter, limit: int = -1) -> list[Event]:
    """The events of the letters that are meant, in journal order; a letter whose event was gone has none."""
    condition, parameters = _where(which)
    return _events(connection, f"data IS NOT NULL AND {condition}", parameters, limit)


def select_replays(connection: sqlite3.Connection, sink: str, limit: int) -> list[Event]:
    """The events of a sink's letters that are marked for replay."""
    return _events(connection, "replaying = 1 AND sink = :sink", {"sink": sink}, limit)


def settle(connection: sqlite3.Connection, sink: str, delivered: Collection[int], dead: Sequence[DeadLetter]) -> None:
    """Delete the delivered, and put the others' news on record with their mark taken away."""
    connection.executemany(
        "DELETE FROM dead_letter WHERE sink = ? AND sequence = ?", [(sink, sequence) for sequence in delivered]
    )
    connection.executemany(
        "UPDATE dead_letter SET reason = :reason, answer = :answer, attempts = :attempts, at_ms = :at_ms, replaying = 0"
        " WHERE sink = :sink AND sequence = :sequence",
        [asdict(letter) for letter in dead],
    )


def select_states(connection: sqlite3.Connection) -> dict[str, LaneState]:
    """Per sink, its lane's state."""
    found = connection.execute(f"SELECT {', '.join(_STATE)} FROM lane_state").fetchall()  # noqa: S608 - our own names
    return {row[0]: _state(row) for row in found}


def _state(row: Sequence[Any]) -> LaneState:
    state = LaneState(**dict(zip(_STATE, row, strict=True)))
    return replace(state, disabled=bool(state.disabled))


def replace_state(connection: sqlite3.Connection, state: LaneState) -> None:
    """Store a lane's state."""
    connection.execute(
        f"INSERT OR REPLACE INTO lane_state ({', '.join(_STATE)}) VALUES (:{', :'.join(_STATE)})",  # noqa: S608 - our own names
        asdict(state),
    )


def insert_damage(connection: sqlite3.Connection, damage: Damage) -> None:
    """Store what damage cost, pending."""
    stretches = msgspec.json.encode(damage.stretches).decode()
    connection.execute(
        "INSERT INTO damage (at_ms, set_aside, kept, stretches, pending) VALUES (?, ?, ?, ?, 1)",
        (damage.at_ms, damage.set_aside, damage.kept, stretches),
    )


def select_stats(connection: sqlite3.Connection, size_bytes: int) -> JournalStats:
    """All figures of one moment."""
    with rows.snapshot(connection):
        return replace(
            rows.select_stats(connection, size_bytes),
            lanes=select_states(connection),
            damages=tuple(select_damages(connection)),
        )


def select_damages(connection: sqlite3.Connection, *, pending: bool = False) -> list[Damage]:
    """All damages, or those that are pending; oldest first."""
    found = connection.execute(
        "SELECT at_ms, set_aside, kept, stretches FROM damage WHERE pending >= ? ORDER BY rowid", (int(pending),)
    )
    return [
        Damage(
            at_ms=at_ms,
            set_aside=set_aside,
            kept=kept,
            stretches=msgspec.json.decode(stretches, type=tuple[tuple[int, int], ...]),
        )
        for at_ms, set_aside, kept, stretches in found.fetchall()
    ]


def settle_damages(connection: sqlite3.Connection) -> None:
    """None is pending any more."""
    connection.execute("UPDATE damage SET pending = 0")


def _where(which: DeadLetterFilter) -> tuple[str, dict[str, Any]]:
    """The condition and its parameters. Ids go as one JSON array: there may be more than SQLite has parameters."""
    condition = (
        "(:ids IS NULL OR event_id IN (SELECT value FROM json_each(:ids))) AND (:sink IS NULL OR sink = :sink)"
        " AND (:since_ms IS NULL OR at_ms >= :since_ms) AND (:until_ms IS NULL OR at_ms <= :until_ms)"
        " AND sequence > :after"
    )
    return condition, {
        "ids": msgspec.json.encode(which.event_ids).decode() if which.event_ids else None,
        "sink": which.sink,
        "since_ms": which.since_ms,
        "until_ms": which.until_ms,
        "after": which.after,
    }


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    values = dict(zip(_LETTER, row, strict=True))
    return DeadLetter(**{**values, "replaying": bool(values["replaying"])})


def _events(connection: sqlite3.Connection, condition: str, parameters: dict[str, Any], limit: int) -> list[Event]:
    found = connection.execute(
        f"SELECT {_WHOLE_EVENT} FROM dead_letter WHERE {condition} ORDER BY sequence LIMIT :limit",  # noqa: S608 - our own names
        {**parameters, "limit": limit},
    )
    return [rows.event_of(row) for row in found.fetchall()]
