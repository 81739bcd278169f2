"""The SQL of looking through the journal backwards, and of dead letters by the page: bounded, whatever there is."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from typing import Any

from listener.errors import UNDECODABLE
from listener.journal.sqlite import dead_letters, rows
from listener.model.event import Change, Event
from listener.model.filter import DeadLetterPage, EventFilter, Found

ROWS_A_LOOK = 20_000
DECODED_A_LOOK = 5_000
"""How many events one look goes through at most, and where their `data` has to be decoded: 20 to 50 ms, for which a
lane that reads may have to wait."""

_ABOVE_ALL = 2**63 - 1
_SEQUENCES = "SELECT sequence FROM event"
_DECIDING = "SELECT sequence, account, data FROM event"
_LAST_OF_PAGE = "SELECT max(sequence) FROM (SELECT sequence FROM dead_letter WHERE"
_ANY = "SELECT EXISTS (SELECT 1 FROM dead_letter WHERE"


def search_back(connection: sqlite3.Connection, which: EventFilter, before: int | None, limit: int) -> Found:
    """The newest events below `before` that are meant, at most `limit` of them; see the port."""
    top = _ABOVE_ALL if before is None else before
    looked_at = ROWS_A_LOOK if which.within() is None else DECODED_A_LOOK
    with rows.snapshot(connection):
        (floor,) = connection.execute(
            "SELECT min(sequence) FROM (SELECT sequence FROM event WHERE sequence < ? ORDER BY sequence DESC LIMIT ?)",
            (top, looked_at),
        ).fetchone()
        if floor is None:
            return Found(events=(), before=None, through_ms=None)
        events = tuple(_meant(connection, which, (floor, top), limit))
        through = events[-1].sequence if len(events) == limit else floor
        received_ms, more = connection.execute(
            "SELECT received_ms, EXISTS (SELECT 1 FROM event WHERE sequence < ?) FROM event WHERE sequence = ?",
            (through, through),
        ).fetchone()
        return Found(events=events, before=through if more else None, through_ms=received_ms)


def _meant(connection: sqlite3.Connection, which: EventFilter, between: tuple[int, int], limit: int) -> Iterator[Event]:
    """What columns tell is left to SQLite; of the rest only those columns are brought here that decide."""
    condition, parameters = _columns(which)
    within = which.within()
    wanted = _SEQUENCES if within is None else _DECIDING
    statement = f"{wanted} WHERE sequence >= ? AND sequence < ?{condition} ORDER BY sequence DESC"
    with closing(connection.execute(statement, (*between, *parameters))) as found:
        fitting = (row for row in found if within is None or _may_fit(within, row))
        for sequence, *_ in islice(fitting, limit):
            row = connection.execute(f"{rows.SELECT_EVENT} WHERE sequence = ?", (sequence,)).fetchone()
            yield rows.intact_event_of(row)


def _may_fit(within: Callable[[str, bytes], bool], row: tuple[Any, ...]) -> bool:
    """If `data` cannot be read, it may: the row's checksum decides later."""
    try:
        return within(row[1], row[2])
    except UNDECODABLE:
        return True


def _columns(which: EventFilter) -> tuple[str, list[Any]]:
    condition, parameters = "", []
    if which.of_dispositions:
        condition += " AND kind = 'disposition'"
    if which.chat is not None:
        condition += " AND subject = ?"
        parameters.append(which.chat)
    if which.change is not None:
        condition += " AND change = ?"
        parameters.append(Change(which.change).value)
    return condition, parameters


def select_page(connection: sqlite3.Connection, after: int, limit: int, sink: str | None) -> DeadLetterPage:
    """Letters of events above `after`, in journal order; see the port. The index is walked, only the page is read."""
    meant, of_the_sink = ("sequence > ?", ()) if sink is None else ("sequence > ? AND sink = ?", (sink,))
    with rows.snapshot(connection):
        (last,) = connection.execute(
            f"{_LAST_OF_PAGE} {meant} ORDER BY sequence LIMIT ?)",
            (after, *of_the_sink, limit),
        ).fetchone()
        if last is None:
            return DeadLetterPage(letters=(), more=False)
        page = dead_letters.select_undelivered(connection, f"{meant} AND sequence <= ?", (after, *of_the_sink, last))
        (more,) = connection.execute(
            f"{_ANY} {meant})",
            (last, *of_the_sink),
        ).fetchone()
        return DeadLetterPage(letters=tuple(page), more=bool(more))
