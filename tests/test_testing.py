"""The doubles that ship; MemoryJournal's contract is in contracts/test_journal.py."""

import asyncio

import msgspec
import pytest

from listener.errors import JournalError, JournalFull, Park, Reject, Retry
from listener.model import Change, Disposition, JournalBatch, Kind
from listener.testing import SAMPLE_MS, ManualClock, MemoryJournal, RecordingSink, sample_event

EVENTS = [sample_event(n) for n in range(4)]


@pytest.fixture
async def journal():
    journal = MemoryJournal()
    await journal.open()
    return journal


def one(number):
    return JournalBatch(events=(sample_event(number),))


def test_a_sample_event_reads_like_a_real_one():
    event = sample_event(5, chat="chat-1", account="agent2", change=Change.CLEARED)
    data = msgspec.json.decode(event.data, type=Disposition)
    assert (event.id, event.subject, event.kind, event.sequence) == ("event-5", "chat-1", Kind.DISPOSITION, 0)
    assert (data.chat_id, data.account, data.change) == (event.subject, event.account, event.change)
    assert event.time == data.received_at == "2026-11-22T09:39:00.123Z"
    assert event.received_ms == SAMPLE_MS


@pytest.mark.parametrize("size", [400, 600, 5000])
def test_a_sample_event_can_be_made_as_large_as_wanted(size):
    assert size <= len(sample_event(1, data_bytes=size).data) <= size + 32


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


async def test_a_sink_without_a_script_takes_everything():
    sink = RecordingSink()
    await sink.deliver(EVENTS[:2])
    await sink.deliver(EVENTS[2:])
    assert sink.events == EVENTS
    assert sink.attempts == [tuple(EVENTS[:2]), tuple(EVENTS[2:])]


async def test_a_sink_plays_its_script_and_then_succeeds():
    sink = RecordingSink([Retry("busy", delivered=frozenset({2, 0})), None])
    sink.then(Reject(1, "too large", delivered=frozenset({0})), Park("HTTP 401"))
    with pytest.raises(Retry, match="busy"):
        await sink.deliver(EVENTS)
    assert sink.events == [EVENTS[0], EVENTS[2]]
    await sink.deliver(EVENTS[:1])
    with pytest.raises(Reject) as refused:
        await sink.deliver(EVENTS)
    assert refused.value.index == 1
    with pytest.raises(Park):
        await sink.deliver(EVENTS)
    await sink.deliver(EVENTS[3:])
    assert sink.events == [EVENTS[0], EVENTS[2], EVENTS[0], EVENTS[0], EVENTS[3]]
    assert len(sink.attempts) == 5


async def test_a_held_sink_keeps_nothing_until_released():
    sink = RecordingSink()
    sink.hold()
    delivery = asyncio.ensure_future(sink.deliver(EVENTS))
    await asyncio.wait_for(sink.wait_for_attempts(1), 1)
    assert sink.events == []
    sink.release()
    await asyncio.wait_for(sink.wait_for_events(4), 1)
    await delivery


async def test_a_cancelled_delivery_has_taken_nothing():
    sink = RecordingSink()
    sink.hold()
    delivery = asyncio.ensure_future(sink.deliver(EVENTS))
    await sink.wait_for_attempts(1)
    delivery.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivery
    assert sink.events == []


async def test_opening_and_closing_are_counted_and_can_fail():
    sink = RecordingSink()
    sink.open_error = Park("HTTP 403")
    for call in (sink.open, sink.check):
        with pytest.raises(Park):
            await call()
    sink.open_error = None
    await sink.open()
    await sink.check()
    await sink.close()
    await sink.close()
    assert (sink.opened, sink.closed) == (2, 2)


async def test_both_clocks_stand_still_until_advanced():
    clock = ManualClock(start_ms=1_000)
    assert (clock.now_ms(), clock.monotonic()) == (1_000, 0.0)
    clock.advance(2.5)
    assert (clock.now_ms(), clock.monotonic()) == (3_500, 2.5)


async def test_sleepers_wake_when_they_are_due_in_the_order_of_their_time():
    clock = ManualClock()
    woken = []

    async def sleeper(name, delay_s):
        await clock.sleep(delay_s)
        woken.append(name)

    tasks = [asyncio.ensure_future(sleeper(name, delay_s)) for name, delay_s in (("c", 3), ("a", 1), ("b", 2))]
    await asyncio.wait_for(clock.wait_for_sleepers(3), 1)
    clock.advance(0.999)
    await asyncio.sleep(0)
    assert woken == []
    clock.advance(1.001)
    await asyncio.wait_for(asyncio.gather(*tasks[1:]), 1)
    assert woken == ["a", "b"]
    assert clock.sleepers == 1
    clock.advance(1)
    await asyncio.wait_for(tasks[0], 1)


async def test_a_cancelled_sleeper_is_no_longer_counted():
    clock = ManualClock()
    task = asyncio.ensure_future(clock.sleep(5))
    await clock.wait_for_sleepers()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.sleepers == 0
    clock.advance(10)


@pytest.mark.parametrize("delay_s", [0, -1])
async def test_no_delay_lets_others_run_and_returns(delay_s):
    clock = ManualClock()
    others = asyncio.ensure_future(asyncio.sleep(0, "ran"))
    await asyncio.wait_for(clock.sleep(delay_s), 1)
    assert await others == "ran"
    assert clock.sleepers == 0
