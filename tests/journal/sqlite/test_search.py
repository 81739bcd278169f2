"""What only the journal on a file can promise of its searches: where damage shows, and what SQLite goes through."""

import sqlite3
from contextlib import closing

import pytest

from listener.errors import JournalDamaged
from listener.journal.sqlite import SqliteJournal, search
from listener.journal.sqlite.database import connect_reader
from listener.model.event import DeadLetter, JournalBatch
from listener.model.filter import EventFilter
from listener.testing import sample_event


@pytest.fixture
async def journal(path):
    journal = SqliteJournal(path=path)
    await journal.open()
    await journal.append(JournalBatch(events=tuple(sample_event(n, chat=f"c{n}") for n in range(1, 101))))
    yield journal
    await journal.close()


def change(path, statement):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize("data", ["CAST('{' AS BLOB)", "CAST(replace(CAST(data AS TEXT), 'Iss', 'iss') AS BLOB)"])
@pytest.mark.parametrize("which", [EventFilter(), EventFilter(chat="c50"), EventFilter(disposition="iss*")])
async def test_an_event_that_is_not_what_was_stored_is_damage(journal, path, data, which):
    change(path, f"UPDATE event SET data = {data} WHERE sequence = 50")  # noqa: S608 - a test's own words
    with pytest.raises(JournalDamaged, match="event 50 is not what was stored"):
        await journal.search(which, limit=100)
    assert (path.parent / "journal.db.suspect").exists(), "the next start repairs"
    assert len((await journal.search(EventFilter(chat="c51"), limit=100)).events) == 1


@pytest.mark.parametrize(("which", "looked_at"), [(EventFilter(chat="none"), 20), (EventFilter(agent="none"), 5)])
async def test_fewer_events_are_looked_at_where_their_data_is_decoded(journal, monkeypatch, which, looked_at):
    monkeypatch.setattr(search, "ROWS_A_LOOK", 20)
    monkeypatch.setattr(search, "DECODED_A_LOOK", 5)
    assert (await journal.search(which, limit=1)).before == 101 - looked_at
    assert (await journal.search(which, before=50, limit=1)).before == 50 - looked_at
    assert (await journal.search(which, before=looked_at + 1, limit=1)).before is None


async def test_a_hole_costs_a_search_nothing(journal, monkeypatch):
    await journal.advance("crm", 2_000_000)
    await journal.close()
    await journal.open()
    await journal.append(JournalBatch(events=(sample_event(101),)))
    monkeypatch.setattr(search, "ROWS_A_LOOK", 20)
    found = await journal.search(limit=3)
    assert [event.sequence for event in found.events] == [2_000_001, 100, 99]


def statements(path, work):
    """What SQLite is asked in the work, and how it goes about it."""
    asked = []
    with closing(connect_reader(path)) as connection:
        connection.set_trace_callback(asked.append)
        work(connection)
        connection.set_trace_callback(None)
        return [
            step[3]
            for statement in asked
            if statement.startswith("SELECT")
            for step in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]


@pytest.mark.parametrize("which", [EventFilter(), EventFilter(chat="c1"), EventFilter(agent="a", disposition="b")])
async def test_a_search_walks_the_journal_and_sorts_nothing(journal, path, which):
    steps = statements(path, lambda connection: search.search_back(connection, which, 90, 10))
    assert steps
    assert [step for step in steps if step.startswith("SCAN event") or "TEMP B-TREE" in step] == []


async def test_a_page_of_letters_reads_no_other_letters(journal, path):
    letters = [DeadLetter(sink="crm", sequence=n, event_id="e", reason="r", attempts=1, at_ms=n) for n in range(1, 90)]
    await journal.advance("crm", 100, letters)
    steps = statements(path, lambda connection: search.select_page(connection, 10, 20, None))
    assert [step for step in steps if step.startswith("SCAN dead_letter") and "COVERING INDEX" not in step] == []
    assert any("SEARCH dead_letter USING INTEGER PRIMARY KEY" in step for step in steps)
