"""A journal with something of everything that a journal can hold, and what of it a copy must hold too."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from listener.journal.sqlite import SqliteJournal
from listener.model.event import DeadLetterFilter, JournalBatch, LaneState, LastValue, SessionState
from support.events import dead_letter, disposition_event, gap_event

WANTED = {
    "event": (
        "SELECT sequence, received_ms, id, type, source, subject, time, kind, account, change, origin, data, crc"
        " FROM event ORDER BY sequence"
    ),
    "last_value": "SELECT * FROM last_value ORDER BY chat_id, key",
    "session": (
        "SELECT account, url, topic, client_id, connection_type, ack, max_interval_ms, cookies, clean, taken"
        " FROM session ORDER BY account"
    ),
    "sink_cursor": "SELECT * FROM sink_cursor ORDER BY sink",
    "dead_letter": "SELECT * FROM dead_letter ORDER BY sequence, sink",
    "dead_letter_count": "SELECT * FROM dead_letter_count WHERE letters > 0 ORDER BY sink",
    "lane_state": "SELECT * FROM lane_state ORDER BY sink",
    "hole": "SELECT * FROM hole ORDER BY first_sequence",
}
"""What the tables of two files must have alike; moments of sessions are those of the host's clocks, and what events
defer stands in the tables of a copy."""


async def make_rich_journal(path: Path, *, seen_ms: int = 1_795_305_600_000) -> None:
    """Events 5 to 30 with a hole among and one behind them; letters with and without a copy, one to be replayed."""
    journal = SqliteJournal(path=path)
    await journal.open()
    try:
        await _fill(journal, seen_ms)
    finally:
        await journal.close()
    with closing(sqlite3.connect(path)) as connection:  # as a repair leaves it
        connection.execute("DELETE FROM event WHERE sequence BETWEEN 9 AND 11")
        connection.execute("INSERT INTO hole VALUES (9, 11), (31, 40)")
        connection.execute("UPDATE meta SET last_sequence = 40")
        connection.commit()


async def _fill(journal: SqliteJournal, seen_ms: int) -> None:
    old = [replace(disposition_event(number, chat="gone"), received_ms=1) for number in range(1, 5)]
    young = [
        replace(disposition_event(number, chat=f"chät-{number}", value="Ünlesbar \U0001f600 'x'"), received_ms=5_000)
        for number in range(5, 30)
    ]
    values = [
        LastValue(f"chät-{number}", key, None if number % 3 else "Résolu", "agent1", number or None, 5_000 + number)
        for number in range(5)
        for key in ("DispositionCode", "Ägypten")
    ]
    await journal.append(JournalBatch(events=tuple(old)))
    await journal.append(
        JournalBatch(
            events=(*young, gap_event(30)), values=tuple(values), sessions=(_session(1, seen_ms), _session(2, seen_ms))
        )
    )
    await journal.advance("crm", 4, [dead_letter(2, hour=9)])
    await journal.advance("crm", 30, [dead_letter(number, hour=9) for number in (6, 7, 30)])
    await journal.advance("audit", 30)
    await journal.advance("bi", 20, [replace(dead_letter(2, hour=9, sink="bi"), answer='he said "nö"')])
    await journal.retain(before_ms=1_000, keep_for=())
    await journal.advance("bi", 20, [replace(dead_letter(3, hour=10, sink="bi"), reason="its event is gone")])
    await journal.replay_dead_letters(DeadLetterFilter(event_ids=("event-6",)))
    await journal.store_lane_state(LaneState(sink="crm", parked="crm answered 401", parked_ms=7, disabled=True))
    await journal.store_lane_state(
        LaneState(sink="bi", sequence=21, attempts=3, failing_ms=9, last_error="nö", quiet_from_ms=1, quiet_until_ms=2)
    )


def _session(number: int, seen_ms: int) -> SessionState:
    return SessionState(
        account=f"ägent{number}",
        url="https://gws.example.com/api/v2/notifications",
        topic="/v2/me/chats",
        client_id=f"client-{number}",
        connection_type="long-polling",
        ack=number if number > 1 else None,
        seen_ms=seen_ms,
        max_interval_ms=10_000 if number > 1 else None,
        cookies=(("JSESSIONID", "väl", "gws.example.com", "/"),),
        clean=number > 1,
        taken=((3, 120, "abcdef"),),
    )


def holds(path: Path) -> dict[str, Any]:
    """What is in the tables of a journal that nobody has open, and the last sequence ever used."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        found: dict[str, Any] = {table: connection.execute(query).fetchall() for table, query in WANTED.items()}
        newest = "SELECT max((SELECT last_sequence FROM meta), (SELECT ifnull(max(sequence), 0) FROM event))"
        found["last_sequence"] = connection.execute(newest).fetchone()
    return found
