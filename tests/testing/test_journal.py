"""What MemoryJournal has beside the contract in contracts/test_journal.py."""

import pytest

from listener.errors import JournalError, JournalFull
from listener.model.event import JournalBatch
from listener.testing import MemoryJournal, sample_event


@pytest.fixture
async def journal():
    journal = MemoryJournal()
    await journal.open()
    return journal


def one(number):
    return JournalBatch(events=(sample_event(number),))


async def test_appends_fail_as_often_as_told_and_leave_nothing(journal):
    journal.fail_appends(JournalFull("no room"), times=2)
    for _ in range(2):
        with pytest.raises(JournalFull):
            await journal.append(one(1))
    assert await journal.append(one(2)) == 1


async def test_appends_fail_until_healed(journal):
    journal.fail_appends(JournalError("broken"))
    for _ in range(3):
        with pytest.raises(JournalError, match="broken"):
            await journal.append(one(1))
    journal.heal()
    assert await journal.append(one(2)) == 1
    assert [event.id for event in await journal.read(0, 10)] == ["event-2"]


async def test_failing_appends_leave_everything_else_alone(journal):
    await journal.append(one(1))
    journal.fail_appends(JournalFull("no room"))
    await journal.advance("crm", 1)
    assert await journal.cursors() == {"crm": 1}
    assert len(await journal.read(0, 10)) == 1
