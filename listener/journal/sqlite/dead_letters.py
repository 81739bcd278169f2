"""The SQL of dead letters, lane states and damage."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from listener.journal.sqlite import rows
from listener.model.event import Damage, DeadLetter, DeadLetterFilter, Event, JournalStats, LaneState
from listener.model.filter import MOST_COUNTED, MOST_GROUPS, DeadLetterGroup, Undelivered

_LETTER = ("sink", "sequence", "event_id", "reason", "attempts", "at_ms", "answer", "replaying")

_INSERT = (
    "INSERT INTO dead_letter (sink, sequence, event_id, reason, attempts, at_ms, answer, replaying,"
    " received_ms, type, source, subject, time, kind, account, change, origin, data)"
    " SELECT :sink, :sequence, :event_id, :reason, :attempts, :at_ms, :answer, :replaying,"
    " received_ms, type, source, subject, time, kind, account, change, origin, data"
    " FROM (SELECT 1) LEFT JOIN event ON event.sequence = :sequence"
)
_INSERT_COPY = (
    "INSERT INTO dead_letter (sink, sequence, event_id, reason, attempts, at_ms, answer, replaying,"
    " received_ms, type, source, subject, time, kind, account, change, origin, data)"
    " VALUES (:sink, :sequence, :event_id, :reason, :attempts, :at_ms, :answer, :replaying,"
    " :received_ms, :type, :source, :subject, :time, :kind, :account, :change, :origin, :data)"
)
_COPY = ("received_ms", "type", "source", "subject", "time", "kind", "account", "change", "origin", "data")
_SELECT = "SELECT sink, sequence, event_id, reason, attempts, at_ms, answer, replaying FROM dead_letter"
_SELECT_GROUPS = (
    "SELECT sink, reason, count(*) AS count, min(sequence) AS first_sequence, max(sequence) AS last_sequence,"
    " min(at_ms) AS first_ms, max(at_ms) AS last_ms, sum(replaying) AS replaying FROM"
    " (SELECT sink, reason, sequence, at_ms, replaying FROM dead_letter WHERE {} AND sequence > 0"
    " ORDER BY sequence DESC LIMIT :counted)"
    " GROUP BY sink, reason ORDER BY 3 DESC, 1, 2 LIMIT :most"
)
_SELECT_WITH_EVENT = (
    "SELECT sink, sequence, event_id, reason, attempts, at_ms, answer, replaying,"
    " sequence, received_ms, event_id, type, source, subject, time, kind, account, change, origin, data"
    " FROM dead_letter WHERE rowid IN (SELECT rowid FROM dead_letter WHERE"
)
_SELECT_EVENT = (
    "SELECT sequence, received_ms, event_id, type, source, subject, time, kind, account, change, origin, data"
    " FROM dead_letter WHERE"
)
_MARK = "UPDATE dead_letter SET replaying = 1 WHERE data IS NOT NULL AND"
_DROP = "DELETE FROM dead_letter WHERE"
_DELETE = f"{_DROP} sink = :sink AND sequence = :sequence"

# Only what is asked for, so that SQLite has an index for it. Ids go as one JSON array: there may be more than SQLite
# has parameters.
_CONDITIONS = {
    "ids": "event_id IN (SELECT value FROM json_each(:ids))",
    "sink": "sink = :sink",
    "since_ms": "at_ms >= :since_ms",
    "until_ms": "at_ms <= :until_ms",
    "after": "sequence > :after",
}

_SELECT_STATES = (
    "SELECT sink, parked, parked_ms, sequence, attempts, failing_ms, last_error, disabled, quiet_from_ms,"
    " quiet_until_ms, resend_after, resend_through FROM lane_state"
)
_REPLACE_STATE = (
    "INSERT OR REPLACE INTO lane_state (sink, parked, parked_ms, sequence, attempts, failing_ms, last_error,"
    " disabled, quiet_from_ms, quiet_until_ms, resend_after, resend_through) VALUES (:sink, :parked, :parked_ms,"
    " :sequence, :attempts, :failing_ms, :last_error, :disabled, :quiet_from_ms, :quiet_until_ms, :resend_after,"
    " :resend_through)"
)


def insert(connection: sqlite3.Connection, letters: Iterable[DeadLetter]) -> None:
    """Store letters with a copy of their event: retention removes it from `event`. A letter of an event replaces it."""
    stored = [asdict(letter) for letter in letters]
    connection.executemany(_DELETE, stored)
    connection.executemany(_INSERT, stored)


def insert_copies(connection: sqlite3.Connection, letters: Iterable[Undelivered]) -> None:
    """Store letters of another journal, each with the copy of its event that it has there, or none."""
    connection.executemany(
        _INSERT_COPY,
        [{name: getattr(one.event, name, None) for name in _COPY} | asdict(one.letter) for one in letters],
    )


def select(connection: sqlite3.Connection, which: DeadLetterFilter) -> list[DeadLetter]:
    """The letters that are meant, oldest first."""
    meant, parameters = _meant_by(which)
    # The plus keeps SQLite from walking all letters in the order of time, to be spared the sorting of some.
    found = connection.execute(f"{_SELECT} WHERE {meant} ORDER BY +at_ms, sequence, sink", parameters)
    return [_letter(row) for row in found.fetchall()]


def select_groups(connection: sqlite3.Connection, which: DeadLetterFilter) -> list[DeadLetterGroup]:
    """The newest letters that are meant, counted by sink and reason; the largest groups first."""
    meant, parameters = _meant_by(which)
    found = connection.execute(
        _SELECT_GROUPS.format(meant), {**parameters, "counted": MOST_COUNTED, "most": MOST_GROUPS}
    )
    names = [column[0] for column in found.description]
    return [DeadLetterGroup(**dict(zip(names, row, strict=True))) for row in found.fetchall()]


def select_undelivered(connection: sqlite3.Connection, condition: str, parameters: Sequence[Any]) -> list[Undelivered]:
    """The letters that a condition on sink and sequence holds for, with their events, in journal order."""
    found = connection.execute(f"{_SELECT_WITH_EVENT} {condition}) ORDER BY sequence, sink", parameters)
    width = len(_LETTER)
    return [
        Undelivered(letter=_letter(row[:width]), event=None if row[-1] is None else rows.event_of(row[width:]))
        for row in found.fetchall()
    ]


def select_behind(connection: sqlite3.Connection, place: tuple[int, str] | None, limit: int) -> list[Undelivered]:
    """At most `limit` letters behind a sequence and sink, or the first, with their events, in the order of both."""
    condition = f"(sequence, sink) {'>=' if place is None else '>'} (?, ?) ORDER BY sequence, sink LIMIT ?"
    return select_undelivered(connection, condition, (*(place or (0, "")), limit))


def mark(connection: sqlite3.Connection, which: DeadLetterFilter) -> int:
    """Mark the letters that are meant for replay; those that are already count, those without event cannot be."""
    meant, parameters = _meant_by(which)
    return connection.execute(f"{_MARK} {meant}", parameters).rowcount


def drop(connection: sqlite3.Connection, which: DeadLetterFilter) -> int:
    """Delete the letters that are meant."""
    meant, parameters = _meant_by(which)
    return connection.execute(f"{_DROP} {meant}", parameters).rowcount


def select_events(connection: sqlite3.Connection, which: DeadLetterFilter, limit: int = -1) -> list[Event]:
    """The events of the letters that are meant, in journal order; a letter whose event was gone has none."""
    meant, parameters = _meant_by(which)
    return _events(connection, f"data IS NOT NULL AND {meant}", parameters, limit)


def select_replays(connection: sqlite3.Connection, sink: str, limit: int) -> list[Event]:
    """The events of a sink's letters that are marked for replay."""
    return _events(connection, "replaying = 1 AND sink = :sink", {"sink": sink}, limit)


def settle(connection: sqlite3.Connection, sink: str, delivered: Collection[int], dead: Sequence[DeadLetter]) -> None:
    """Delete the delivered, and put the others' news on record with their mark taken away."""
    connection.executemany(_DELETE, [{"sink": sink, "sequence": sequence} for sequence in delivered])
    connection.executemany(
        "UPDATE dead_letter SET reason = :reason, answer = :answer, attempts = :attempts, at_ms = :at_ms, replaying = 0"
        " WHERE sink = :sink AND sequence = :sequence",
        [asdict(letter) for letter in dead],
    )


def select_states(connection: sqlite3.Connection) -> dict[str, LaneState]:
    """Per sink, its lane's state."""
    found = connection.execute(_SELECT_STATES)
    names = [column[0] for column in found.description]
    states = (LaneState(**dict(zip(names, row, strict=True))) for row in found.fetchall())
    return {state.sink: replace(state, disabled=bool(state.disabled)) for state in states}


def replace_state(connection: sqlite3.Connection, state: LaneState) -> None:
    """Store a lane's state."""
    connection.execute(_REPLACE_STATE, asdict(state))


def insert_damage(connection: sqlite3.Connection, damage: Damage, *, pending: bool = True) -> None:
    """Store what damage cost."""
    stretches = msgspec.json.encode(damage.stretches).decode()
    connection.execute(
        "INSERT INTO damage (at_ms, set_aside, kept, stretches, pending) VALUES (?, ?, ?, ?, ?)",
        (damage.at_ms, damage.set_aside, damage.kept, stretches, int(pending)),
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


def settle_damages(connection: sqlite3.Connection, damages: Iterable[Damage]) -> None:
    """These are not pending any more."""
    of_these = [(one.at_ms, one.set_aside) for one in damages]
    connection.executemany("UPDATE damage SET pending = 0 WHERE at_ms = ? AND set_aside = ?", of_these)


def _meant_by(which: DeadLetterFilter) -> tuple[str, dict[str, Any]]:
    """The condition for the letters that are meant, and its parameters."""
    parameters = {
        "ids": msgspec.json.encode(which.event_ids).decode() if which.event_ids else None,
        "sink": which.sink,
        "since_ms": which.since_ms,
        "until_ms": which.until_ms,
        "after": which.after or None,
    }
    given = {name: value for name, value in parameters.items() if value is not None}
    return " AND ".join(_CONDITIONS[name] for name in given) or "TRUE", given


def _letter(row: tuple[Any, ...]) -> DeadLetter:
    values = dict(zip(_LETTER, row, strict=True))
    return DeadLetter(**{**values, "replaying": bool(values["replaying"])})


def _events(connection: sqlite3.Connection, condition: str, parameters: dict[str, Any], limit: int) -> list[Event]:
    statement = f"{_SELECT_EVENT} {condition} ORDER BY sequence LIMIT :limit"
    found = connection.execute(statement, {**parameters, "limit": limit})
    return [rows.event_of(row) for row in found.fetchall()]
