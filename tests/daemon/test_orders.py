"""Orders carried out on a journal in memory and lanes that run."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from listener.daemon.control import (
    LaneResume,
    Lanes,
    Letters,
    LettersDrop,
    LettersReplay,
    ListLanes,
    Resumed,
    SinkTest,
    TrialResult,
)
from listener.daemon.orders import Orders
from listener.errors import ControlError, Outcome, Park, Reject, Retry
from listener.model.event import Selection
from listener.testing import sample_test
from support.eventually import eventually
from support.lanes import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A lane `crm` that runs."""
    world = World()
    await world.journal.open()
    world.task = asyncio.create_task(world.lane.run(), name="lane under test")
    yield world
    world.task.cancel()
    await asyncio.wait((world.task,))


@pytest.fixture
def orders(world: World) -> Orders:
    return Orders(journal=world.journal, lanes={"crm": world.lane}, trial=sample_test)


async def parked(world: World, *, disabled: bool = False) -> None:
    world.sink.then(Park("401", disabled=disabled))
    await world.number(1)
    await eventually(lambda: world.lane.status().parked)


@pytest.mark.parametrize("order", [LaneResume(name="crm"), LaneResume(all=True)])
@pytest.mark.parametrize("disabled", [False, True])
async def test_a_parked_lane_goes_on(world: World, orders: Orders, order: LaneResume, disabled: bool):
    await parked(world, disabled=disabled)
    with capture_logs() as logs:
        assert await orders.carry_out(order) == Resumed(resumed=("crm",))
        await world.drained()
        await world.sink.wait_for_events(1)
    assert [line["sinks"] for line in logs if line["event"] == "lanes_resumed"] == [("crm",)]
    assert await orders.carry_out(order) == Resumed(resumed=(), running=("crm",))


@pytest.mark.parametrize("order", [LaneResume(), LaneResume(name="crm", all=True)])
async def test_who_resumes_says_what(orders: Orders, order: LaneResume):
    with pytest.raises(ControlError, match="give either name or all"):
        await orders.carry_out(order)


@pytest.mark.parametrize("order", [LaneResume(name="crn"), LettersReplay(filter=Selection(sink="crn"))])
async def test_a_sink_that_is_not_there_is_told_with_those_that_are(orders: Orders, order: LaneResume):
    with pytest.raises(ControlError, match=r"there is no sink 'crn' in the running daemon \(it has: crm\)"):
        await orders.carry_out(order)


async def test_letters_are_marked_and_their_lane_delivers_them(world: World, orders: Orders):
    world.sink.then(Reject(0, "422"))
    await world.number(1, 2)
    await world.drained()
    assert await orders.carry_out(LettersReplay(filter=Selection())) == Letters(letters=1)
    await world.sink.wait_for_events(2)
    assert world.delivered() == [2, 1]


async def test_letters_of_a_sink_that_is_configured_no_more_are_not_marked(world: World):
    world.sink.then(Reject(0, "422"))
    await world.number(1)
    await world.drained()
    others = Orders(journal=world.journal, lanes={}, trial=sample_test)
    assert await others.carry_out(LettersReplay(filter=Selection())) == Letters(letters=0)
    assert [letter.replaying for letter in await world.letters()] == [False]


async def test_letters_are_dropped(world: World, orders: Orders):
    world.sink.then(Reject(0, "422"))
    await world.number(1)
    await world.drained()
    assert await orders.carry_out(LettersDrop(filter=Selection(event_ids=("event-9",)))) == Letters(letters=0)
    assert await orders.carry_out(LettersDrop(filter=Selection(event_ids=("event-1",)))) == Letters(letters=1)
    assert await world.letters() == []


async def test_the_lanes_are_told_as_they_stand(world: World, orders: Orders):
    await parked(world)
    answer = await orders.carry_out(ListLanes())
    assert isinstance(answer, Lanes)
    assert [(lane.sink, lane.parked) for lane in answer.lanes] == [("crm", "401")]


async def test_a_test_event_goes_past_what_waits_and_leaves_nothing_behind(world: World, orders: Orders):
    """Also where the lane is parked: that is when somebody wants to know."""
    await parked(world)
    tested = await orders.carry_out(SinkTest(name="crm"))
    assert tested == TrialResult(event_id="test-1", verdict="taken")
    assert [event.id for event in world.sink.events] == ["test-1"]
    assert world.lane.status().parked == "401"
    assert world.lane.status().delivered == 0
    assert await world.cursor() == 0


@pytest.mark.parametrize(
    ("outcome", "verdict"), [(Retry("503"), "retry"), (Park("401"), "park"), (Reject(0, "422", detail="no"), "reject")]
)
async def test_what_the_sink_says_of_a_test_event_is_told_and_changes_nothing(
    world: World, orders: Orders, outcome: Outcome, verdict: str
):
    await eventually(lambda: world.sink.opened)
    await asyncio.sleep(0)
    world.sink.then(outcome)
    tested = await orders.carry_out(SinkTest(name="crm"))
    assert tested == TrialResult(event_id="test-1", verdict=verdict, reason=outcome.reason, answer=outcome.detail)
    assert (world.lane.status().parked, world.lane.status().last_error) == (None, None)
    assert await world.letters() == []


async def test_a_sink_that_cannot_be_opened_is_told():
    shut = World()
    shut.sink.open_error = Retry("no route")
    await shut.journal.open()
    task = asyncio.create_task(shut.lane.run(), name="lane that cannot open")
    await eventually(lambda: shut.lane.status().last_error)
    tested = await Orders(journal=shut.journal, lanes={"crm": shut.lane}, trial=sample_test).carry_out(
        SinkTest(name="crm")
    )
    task.cancel()
    await asyncio.wait((task,))
    assert isinstance(tested, TrialResult)
    assert (tested.verdict, tested.reason) == ("retry", "the sink is not open yet: no route")
