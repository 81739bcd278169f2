"""What was delivered comes again at a command: just that, in order, beside what is new, over restarts."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from listener.errors import JournalError, Park, Refusal, Reject, Retry
from listener.model.event import LaneState
from listener.testing import sample_event
from support.eventually import eventually
from support.lanes import HOUR_S, Ailing, World

Start = Callable[..., Awaitable[World]]


async def delivered(start: Start, world: World, count: int = 9) -> World:
    """A world in which these events are delivered, and forgotten by the sink."""
    await start(world, *range(1, count + 1))
    await world.drained()
    forget(world)
    return world


def forget(world: World) -> None:
    world.journal.elsewhere |= {event.id for event in world.sink.events}
    world.sink.events.clear()
    world.sink.attempts.clear()


async def resent(world: World) -> None:
    await eventually(lambda: not world.lane.status().resend_left)


async def state(world: World) -> LaneState:
    return (await world.journal.lane_states())["crm"]


async def test_just_what_is_meant_comes_again_as_it_was_and_moves_nothing(start: Start):
    world = await delivered(start, World())
    stored = {event.sequence: event for event in await world.journal.read(0, 100)}
    await world.lane.resend(2, 5)
    await resent(world)
    assert world.delivered() == [3, 4, 5]
    assert all(event == stored[event.sequence] for event in world.sink.events)
    assert (world.count("sink_resent_total"), world.count("sink_delivered_total")) == (3, 9)
    assert (await world.cursor(), world.lane.status().lag) == (9, 0)


async def test_what_is_new_does_not_wait_for_a_long_resend(start: Start):
    world = await delivered(start, World(), 1000)
    world.sink.hold()
    await world.lane.resend(0, 1000)
    await world.sink.wait_for_attempts(1)
    await world.number(1001)
    world.sink.release()
    await resent(world)
    await world.drained()
    assert sorted(world.delivered()) == list(range(1, 1002))
    assert world.delivered().index(1001) <= 100, "the batch under way, and one more at most"
    assert [number for number in world.delivered() if number <= 1000] == list(range(1, 1001))


async def test_the_rest_comes_after_a_restart(start: Start):
    world = await delivered(start, World(batch=10), 100)
    world.sink.hold()
    await world.lane.resend(0, 100)
    await world.sink.wait_for_attempts(1)
    assert (await state(world)).resend_left == 100
    with suppress(asyncio.CancelledError):
        await world.end()
    world.sink.release()
    forget(world)
    again = await start(World(after=world))
    await again.sink.wait_for_events(100)
    await resent(again)
    assert again.delivered() == list(range(1, 101))
    assert (await state(again)).resend_left == 0, "no later start begins with it again"


async def test_what_has_not_come_yet_comes_once(start: Start):
    world = World()
    world.sink.hold()
    await start(world, 1, 2, 3)
    await world.sink.wait_for_attempts(1)
    await world.lane.resend(0, 3)
    world.sink.release()
    await world.drained()
    await resent(world)
    assert world.delivered() == [1, 2, 3]


async def test_what_is_cancelled_does_not_come(start: Start):
    world = await delivered(start, World(), 200)
    world.sink.hold()
    await world.lane.resend(0, 200)
    await world.sink.wait_for_attempts(1)
    assert await world.lane.cancel_resend() == 200
    world.sink.release()
    await world.number(201)
    await world.drained()
    assert world.delivered() == [*range(1, 51), 201], "what was under way, and what is new"
    assert await world.lane.cancel_resend() == 0
    assert (await state(world)).resend_left == 0


async def test_the_settings_of_the_sink_and_its_dead_letters_are_left_out(start: Start):
    world = World(accounts=frozenset({"agent1"}))
    world.sink.then(Reject(1, "422"))
    await start(world, 1, 2, 3)
    await world.drained()
    forget(world)
    world.journal.elsewhere.add("event-4")
    await world.store(sample_event(4, account="agent2"))
    await world.drained()
    await world.lane.resend(0, 4)
    await resent(world)
    assert world.delivered() == [1, 3]
    assert [letter.sequence for letter in await world.letters()] == [2]


async def test_what_is_refused_this_time_is_a_dead_letter_and_the_rest_comes(start: Start):
    world = await delivered(start, World())
    world.sink.then(Reject(1, "422", rejected={3: Refusal("413")}))
    await world.lane.resend(0, 9)
    await resent(world)
    assert world.delivered() == [1, 3, 5, 6, 7, 8, 9]
    assert [(one.sequence, one.reason, one.attempts) for one in await world.letters()] == [(2, "422", 1), (4, "413", 1)]


async def test_a_receiver_that_refuses_all_of_it_is_parked_and_nothing_becomes_a_letter(start: Start):
    world = await delivered(start, World(park_after_refusals=5))
    world.sink.then(Reject(0, "422", rejected={index: Refusal("422") for index in range(1, 9)}))
    await world.lane.resend(0, 9)
    await eventually(lambda: world.lane.status().parked)
    assert await world.letters() == []
    assert world.lane.resume(by_command=True)
    await resent(world)
    assert world.delivered() == list(range(1, 10))


@pytest.mark.parametrize("outcome", [Retry("503"), Retry("503", delivered=frozenset({0, 4})), Park("401")])
async def test_a_failure_loses_nothing_and_keeps_the_order(start: Start, outcome: Retry | Park):
    world = await delivered(start, World())
    world.sink.then(outcome)
    await world.lane.resend(0, 9)
    if isinstance(outcome, Park):
        await eventually(lambda: world.lane.status().parked)
        world.lane.resume()
    await resent(world)
    assert sorted(world.delivered()) == list(range(1, 10))
    left = [number for number in world.delivered() if number not in {1, 5}]
    assert left == sorted(left)
    assert world.lane.status().last_error is None


async def test_what_fails_for_the_whole_horizon_is_a_dead_letter(start: Start):
    world = await delivered(start, World(sink=Ailing(fails_for=()), retry_horizon_s=3 * HOUR_S), 3)
    world.sink.fails_for = {"event-2"}
    await world.lane.resend(0, 3)
    await resent(world)
    assert world.delivered() == [1, 3]
    assert [(letter.sequence, letter.reason) for letter in await world.letters()] == [(2, "not taken within 3 h")]


async def test_a_journal_that_cannot_delays_it_and_refuses_the_command(start: Start):
    world = await delivered(start, World())
    world.journal.read_errors.append(JournalError("disk"))
    await world.lane.resend(0, 9)
    await resent(world)
    assert world.delivered() == list(range(1, 10))
    store, world.journal.store_lane_state = world.journal.store_lane_state, _fails  # type: ignore[method-assign]
    with pytest.raises(JournalError, match="disk"):
        await world.lane.resend(0, 9)
    world.journal.store_lane_state = store  # type: ignore[method-assign]
    assert world.lane.status().resend_left == 0


async def _fails(_state: Any) -> None:
    raise JournalError("disk")


async def test_what_retention_has_deleted_does_not_hold_it_up(start: Start):
    world = await delivered(start, World())
    await world.journal.retain(before_ms=2**52, keep_for=["crm"])
    await world.number(10)
    await world.drained()
    forget(world)
    await world.lane.resend(0, 10)
    await resent(world)
    assert world.delivered() == [10]
