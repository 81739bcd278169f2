"""Dead letters of a journal that no daemon owns."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from listener.daemon import offline
from listener.errors import ControlError, JournalError
from listener.journal.sqlite import SqliteJournal, views
from listener.model.event import DeadLetter, DeadLetterFilter, JournalBatch
from support.events import disposition_event


@pytest.fixture
async def owner(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """A journal that is open, with two letters of sink `crm`."""
    journal = SqliteJournal(path=tmp_path / "journal.db")
    await journal.open()
    events = [disposition_event(number) for number in (1, 2, 3)]
    await journal.append(JournalBatch(events=tuple(events)))
    letters = [
        DeadLetter(sink="crm", sequence=event.sequence, event_id=event.id, reason="HTTP 422", attempts=1, at_ms=1)
        for event in events[:2]
    ]
    await journal.advance("crm", 3, letters)
    yield journal
    await journal.close()


@pytest.fixture
async def path(owner: SqliteJournal, tmp_path: Path) -> Path:
    await owner.close()
    return tmp_path / "journal.db"


async def test_letters_are_marked_for_the_next_daemon(path: Path):
    assert await offline.replay(path, DeadLetterFilter(event_ids=("event-2",))) == 1
    assert [letter.replaying for letter in views.dead_letters(path)] == [False, True]


async def test_letters_are_dropped(path: Path):
    assert await offline.drop(path, DeadLetterFilter(sink="crm")) == 2
    assert views.dead_letters(path) == []


@pytest.mark.parametrize("work", [offline.replay, offline.drop])
async def test_a_journal_that_is_owned_is_left_alone(owner: SqliteJournal, tmp_path: Path, work):
    with pytest.raises(ControlError, match=r"is in use by another process \(pid \d+\), which takes no commands"):
        await work(tmp_path / "journal.db", DeadLetterFilter())
    assert len(await owner.dead_letters()) == 2


@pytest.mark.parametrize("work", [offline.replay, offline.drop])
def test_no_journal_is_made_where_there_is_none(tmp_path: Path, work):
    with pytest.raises(JournalError, match="no such file"):
        asyncio.run(work(tmp_path / "journal.db", DeadLetterFilter()))
    assert list(tmp_path.iterdir()) == []
