"""Orders go to the daemon where one runs, and to the journal itself where none does."""

import asyncio

import pytest

from listener.cli import control
from listener.daemon.control import (
    ControlServer,
    DeadLetterCount,
    DropDeadLetters,
    LaneList,
    ListLanes,
    ReplayDeadLetters,
    Resumed,
    ResumeLane,
)
from listener.errors import ControlError
from listener.journal.sqlite import SqliteJournal, views
from listener.model.event import DeadLetterFilter, LaneState, LaneStatus

CRM = DeadLetterFilter(sink="crm")
LANE = LaneStatus(sink="crm", kind="webhook", cursor=1, lag=2, delivered=1, failures=0, parked=None, last_error=None)


async def obey(command):
    match command:
        case ResumeLane(name=name):
            return Resumed(resumed=(name or "every",))
        case DropDeadLetters() | ReplayDeadLetters():
            return DeadLetterCount(letters=7)
        case ListLanes():
            return LaneList(lanes=(LANE,))


@pytest.fixture
async def daemon(letters):
    """Something that takes orders, beside a journal."""
    server = ControlServer(journal=letters, execute=obey)
    await server.start()
    yield letters
    await server.stop()


async def test_the_daemon_is_asked_where_there_is_one(daemon):
    assert await asyncio.to_thread(control.replay, daemon, CRM) == (7, True)
    assert await asyncio.to_thread(control.drop, daemon, CRM) == (7, True)
    assert await asyncio.to_thread(control.resume, daemon, "crm") == (Resumed(resumed=("crm",)), True)
    assert await asyncio.to_thread(control.resume, daemon, None) == (Resumed(resumed=("every",)), True)
    assert await asyncio.to_thread(control.lanes, daemon) == [LANE]
    assert len(views.dead_letters(daemon)) == 4, "nothing was done beside it"


def test_without_a_daemon_the_journal_is_changed(letters):
    assert control.lanes(letters) is None
    assert control.replay(letters, DeadLetterFilter(event_ids=("event-3",))) == (1, False)
    assert [letter.sequence for letter in views.dead_letters(letters) if letter.replaying] == [3]
    assert control.drop(letters, CRM) == (3, False)
    assert [letter.sink for letter in views.dead_letters(letters)] == ["bi"]


@pytest.mark.parametrize(
    "halt",
    [
        {"parked": "401", "parked_ms": 1},
        {"parked": "410", "parked_ms": 1, "disabled": True},
        {"quiet_from_ms": 1, "quiet_until_ms": 2**50},
    ],
)
def test_without_a_daemon_a_park_is_forgotten_and_a_time_that_was_named(letters, halt):
    async def park():
        journal = SqliteJournal(path=letters)
        await journal.open()
        await journal.store_lane_state(LaneState(sink="crm", sequence=3, attempts=2, **halt))
        await journal.close()

    asyncio.run(park())
    assert control.resume(letters, None) == (Resumed(resumed=("crm",), running=("audit", "bi")), False)
    assert views.stats(letters).lanes["crm"] == LaneState(sink="crm", sequence=3, attempts=2)
    assert control.resume(letters, "crm") == (Resumed(resumed=(), running=("crm",)), False)
    with pytest.raises(ControlError, match=r"knows no sink 'cmr' \(known: audit, bi, crm\)"):
        control.resume(letters, "cmr")


async def test_an_owner_that_takes_no_orders_is_told(letters):
    journal = SqliteJournal(path=letters)
    await journal.open()
    with pytest.raises(ControlError, match=r"in use by another process .*, which takes no commands; if it is start"):
        await asyncio.to_thread(control.drop, letters, CRM)
    await journal.close()
