"""The sink that plays a script."""

import asyncio

import pytest

from listener.errors import Park, Reject, Retry
from listener.testing import RecordingSink, sample_event

EVENTS = [sample_event(n) for n in range(4)]


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
