"""Builds a sound journal from what can be read of a damaged one."""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from listener.journal.sqlite import dead_letters, deferred, pages, rows
from listener.journal.sqlite.database import PAGE_BYTES, connect, create_newest
from listener.journal.sqlite.lock import Known
from listener.journal.sqlite.recovered import Recovered, read_recovered
from listener.journal.sqlite.wal import read_log
from listener.model.event import Damage
from listener.model.holes import JUMP
from listener.model.media import CHAT, identity_of
from listener.runtime.durable import sync_path

MAX_STRETCHES = 16

_CHUNK = 1000
_COPIED = ("sink_cursor", "session", "last_value", "lane_state", "dead_letter", "damage")


class Salvaged(NamedTuple):
    """What the new journal holds: the damage, and the tables that could not be read whole."""

    damage: Damage
    unread: list[str]


def rebuild(source: Path, target: Path, *, at_ms: int, set_aside: str, log_is_whole: bool = True) -> Salvaged:
    """Build a journal at `target`, which does not exist yet, from the file at `source` and the log beside it. Blocks.

    Every event that can be read is kept. The tables are kept as far as they can be read: a cursor that cannot is gone,
    so that its sink gets its events again; last values that cannot are taken from the events. Nothing is written to
    `source`, and no connection to it is open in this process. The result is on the disk, and holds its Damage. Where
    `log_is_whole` is False, later events may have stood in the log.

    Raises OSError, sqlite3.Error.
    """
    log = read_log(source, _page_bytes(source))
    known = read_recovered(source, target.with_name(f"{target.name}-copy"), with_log=log.fault is None)
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(connect(target, "rw")) as new:
        for pragma in (f"page_size = {PAGE_BYTES}", "journal_mode = OFF", "synchronous = OFF"):
            new.execute(f"PRAGMA {pragma}")
        create_newest(new)
        new.execute("BEGIN")
        _copy_events(new, pages.events(source, log.frames), _floor(known))
        damage = _complete(new, known, at_ms=at_ms, set_aside=set_aside, tail=log_is_whole and log.fault is None)
        new.execute("COMMIT")
    sync_path(target)
    return Salvaged(damage, [table for table, found in known.tables.items() if not found.whole])


def catch_up(journal: sqlite3.Connection, known: Sequence[Known], *, at_ms: int) -> Damage | None:
    """Where the journal ends before what is known of it, put the loss on record; sequences go on above what is known.

    The stretch begins with the journal's last event; without one, with what the first that knows better says.
    """
    newest = rows.select_last_sequence(journal)
    ahead = [one for one in known if one.sequence > newest]
    if not ahead:
        return None
    kept = rows.count_events(journal)
    (last,) = journal.execute("SELECT ifnull(max(sequence), 0) FROM event").fetchone()
    since_ms = _last_known_ms(journal, last) if last else ahead[0].since_ms
    damage = Damage(at_ms=at_ms, set_aside="", kept=kept, stretches=merged([(min(since_ms, at_ms), at_ms)]))
    top = max(one.sequence for one in ahead) + JUMP
    journal.execute("BEGIN IMMEDIATE")
    journal.execute("UPDATE meta SET last_sequence = ?", (top,))
    if kept:
        journal.execute("INSERT OR REPLACE INTO hole VALUES (?, ?)", (last + 1, top))
    journal.execute("UPDATE session SET clean = 0")
    dead_letters.insert_damage(journal, damage)
    journal.execute("COMMIT")
    return damage


def _page_bytes(source: Path) -> int:
    with source.open("rb") as file:
        return pages.page_bytes_of(file.read(100))


def _floor(known: Recovered) -> int:
    """Up to which sequence retention deleted: what lies below is left over in a page that is free."""
    deleted = known.numbers("meta", "deleted_through")
    first = [known.ends[0] - 1] if known.ends and known.ends[0] else []
    return min([*deleted, *first], default=0)


def _copy_events(new: sqlite3.Connection, found: Iterable[pages.Row], floor: int) -> None:
    """Of several rows of one sequence the first counts."""
    above = (row for row in found if row[0] > floor)
    while chunk := list(islice(above, _CHUNK)):
        new.executemany("INSERT OR IGNORE INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)", chunk)


def _complete(new: sqlite3.Connection, known: Recovered, *, at_ms: int, set_aside: str, tail: bool) -> Damage:
    """All but the events, which `new` holds; `tail` tells that no later event can be missing in the log."""
    kept, last = new.execute("SELECT count(*), ifnull(max(sequence), 0) FROM event").fetchone()
    is_whole = tail and known.ends is not None and known.ends[1] == last and known.tables["meta"].whole
    newest = max([last, *known.numbers("meta", "last_sequence")])
    if not is_whole:
        used = [newest, *known.numbers("sink_cursor", "sequence"), *known.numbers("dead_letter", "sequence")]
        newest = max(used) + JUMP if any(used) else at_ms  # more than an event a millisecond there never were
    ends = (newest, _floor(known), newest)
    new.execute("UPDATE meta SET last_sequence = ?, deleted_through = ?, folded_through = ?", ends)
    if not (is_whole and known.tables["last_value"].whole and known.deferred is not None):
        _values_of_events(new)
    _copy_tables(new, known, newest)
    stretches = [*_head(new, known), *_holes(new, known)]
    if kept and newest > last:
        new.execute("INSERT INTO hole VALUES (?, ?)", (last + 1, newest))
    if not is_whole:
        oldest_ms = min([at_ms, *known.numbers("session", "seen_ms")])
        stretches.append((_last_known_ms(new, last) if last else oldest_ms, at_ms))
    damage = Damage(at_ms=at_ms, set_aside=set_aside, kept=kept, stretches=merged(stretches))
    dead_letters.insert_damage(new, damage)
    return damage


def _copy_tables(new: sqlite3.Connection, known: Recovered, newest: int) -> None:
    for table in _COPIED:
        for row in known.tables[table].rows:
            if table == "last_value":
                _replace_older_value(new, row)
            elif table != "sink_cursor" or row["sequence"] <= newest:  # nothing was ever there
                _insert(new, table, {**row, "clean": 0} if table == "session" else row)
    for value in deferred.values_of(known.deferred or ()):
        _replace_older_value(new, msgspec.structs.asdict(value))
    deferred.move_sessions(new, known.deferred or ())


def _insert(new: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    statement = f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - our own names
    with suppress(sqlite3.IntegrityError):  # where the damage renamed a column, all rows lack what it held
        new.execute(statement, list(row.values()))


def _replace_older_value(new: sqlite3.Connection, row: dict[str, Any]) -> None:
    """Of what an event says and what was stored, the younger; of the same moment, what was stored."""
    newer = "SELECT 1 FROM last_value WHERE chat_id = :chat_id AND key = :key AND received_ms > :received_ms"
    if new.execute(newer, row).fetchone() is None:
        _insert(new, "last_value", row)


class _ValueFields(msgspec.Struct, rename="camel"):
    """What a last value takes from an event's data; a gap has no chat."""

    media_type: str = CHAT
    chat_id: str | None = None
    key: str | None = None
    disposition: str | None = None


def _values_of_events(new: sqlite3.Connection) -> None:
    """Last values as the events in their order leave them."""
    after = 0
    while page := rows.select_events(new, after, _CHUNK):
        for event in page:
            heard = msgspec.json.decode(event.data, type=_ValueFields)
            if heard.chat_id is not None and heard.key is not None:
                identity = identity_of(heard.media_type, heard.chat_id)
                row = (identity, heard.key, heard.disposition, event.account, None, event.received_ms)
                new.execute("INSERT OR REPLACE INTO last_value VALUES (?, ?, ?, ?, ?, ?)", row)
        after = page[-1].sequence


Stretch = tuple[int, int]


def _head(new: sqlite3.Connection, known: Recovered) -> Iterator[Stretch]:
    """The stretch before the first event, where events before it may be lost."""
    first = new.execute("SELECT sequence, received_ms FROM event ORDER BY sequence LIMIT 1").fetchone()
    if first is None or (known.ends and known.ends[0] == first[0]) or first[0] == _floor(known) + 1:
        return
    (oldest,) = new.execute("SELECT min(received_ms) FROM last_value").fetchone()
    yield min(first[1], *[oldest] if oldest is not None else [first[1]]), first[1]


def _holes(new: sqlite3.Connection, known: Recovered) -> list[Stretch]:
    """Put every hole between events on record; the stretches of those that were not yet."""
    gaps = new.execute(
        "SELECT before, sequence, before_ms, received_ms FROM (SELECT sequence, received_ms,"
        " lag(sequence) OVER (ORDER BY sequence) AS before, lag(received_ms) OVER (ORDER BY sequence) AS before_ms"
        " FROM event) WHERE sequence > before + 1"
    ).fetchall()
    new.executemany("INSERT INTO hole VALUES (?, ?)", [(before + 1, after - 1) for before, after, *_ in gaps])
    old = {(row["first_sequence"] - 1, row["last_sequence"] + 1) for row in known.tables["hole"].rows}
    return [(before_ms, after_ms) for before, after, before_ms, after_ms in gaps if (before, after) not in old]


def _last_known_ms(journal: sqlite3.Connection, last: int) -> int:
    """When the last event came."""
    return int(journal.execute("SELECT received_ms FROM event WHERE sequence = ?", (last,)).fetchone()[0])


def merged(stretches: Iterable[Stretch]) -> tuple[Stretch, ...]:
    """The stretches in order, none in two of them, at most MAX_STRETCHES: those with the least between them are one."""
    joined: list[Stretch] = []
    for start, end in sorted((min(one), max(one)) for one in stretches):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    between = sorted((right[0] - left[1], at) for at, (left, right) in enumerate(pairwise(joined), 1))
    cuts = sorted(at for _, at in between[::-1][: MAX_STRETCHES - 1])
    parts = [joined[start:end] for start, end in pairwise([0, *cuts, len(joined)])]
    return tuple((part[0][0], part[-1][1]) for part in parts if part)
