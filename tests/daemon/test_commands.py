"""Orders carried out on a journal in memory and lanes that run."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from listener.daemon.commands import CommandHandler
from listener.daemon.control import (
    CancelResend,
    DeadLetterCount,
    DropDeadLetters,
    LaneList,
    ListLanes,
    ReplayDeadLetters,
    Resend,
    ResendCancelled,
    ResendEvents,
    Resumed,
    ResumeLane,
    SendTestEvent,
    SinkTestResult,
)
from listener.daemon.duties import EveryDuty
from listener.errors import ControlError, NotPossible, Outcome, Park, Reject, Retry
from listener.model.event import DeadLetter, LaneState
from listener.model.filter import ControlFilter
from listener.runtime.backoff import Backoff
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
def commands(world: World) -> CommandHandler:
    return CommandHandler(journal=world.journal, lanes={"crm": world.lane}, new_test_event=sample_test)


async def parked(world: World, *, disabled: bool = False) -> None:
    world.sink.then(Park("401", disabled=disabled))
    await world.number(1)
    await eventually(lambda: world.lane.status().parked)


async def failing(world: World) -> None:
    world.lane._backoff = Backoff(first_s=600.0, limit_s=600.0, floor_s=600.0)
    world.sink.then(Retry("503"))
    await world.number(1)
    await eventually(lambda: world.lane.status().next_attempt_s)


@pytest.mark.parametrize("command", [ResumeLane(name="crm"), ResumeLane(all=True)])
@pytest.mark.parametrize("disabled", [False, True])
async def test_a_parked_lane_goes_on(world: World, commands: CommandHandler, command: ResumeLane, disabled: bool):
    await parked(world, disabled=disabled)
    with capture_logs() as logs:
        assert await commands.execute(command) == Resumed(resumed=("crm",))
        await world.drained()
        await world.sink.wait_for_events(1)
    assert [line["sinks"] for line in logs if line["event"] == "sinks_resumed"] == [("crm",)]
    assert await commands.execute(command) == Resumed(resumed=(), running=("crm",))


@pytest.mark.parametrize("command", [ResumeLane(name="crm"), ResumeLane(all=True)])
async def test_a_lane_that_waits_for_its_next_attempt_makes_it_at_once(
    world: World, commands: CommandHandler, command: ResumeLane
):
    await failing(world)
    assert await commands.execute(command) == Resumed(resumed=(), trying=("crm",))
    await world.drained()
    assert await commands.execute(command) == Resumed(resumed=(), running=("crm",))


@pytest.mark.parametrize("command", [ResumeLane(), ResumeLane(name="crm", all=True)])
async def test_who_resumes_says_what(commands: CommandHandler, command: ResumeLane):
    with pytest.raises(ControlError, match="give either name or all"):
        await commands.execute(command)


@pytest.mark.parametrize("command", [ResumeLane(name="crn"), ReplayDeadLetters(filter=ControlFilter(sink="crn"))])
async def test_a_sink_that_is_not_there_is_told_with_those_that_are(commands: CommandHandler, command: ResumeLane):
    with pytest.raises(ControlError, match=r"there is no sink 'crn' in the running daemon \(it has: crm\)"):
        await commands.execute(command)


async def test_letters_are_marked_and_their_lane_delivers_them(world: World, commands: CommandHandler):
    world.sink.then(Reject(0, "422"))
    await world.number(1, 2)
    await world.drained()
    assert await commands.execute(ReplayDeadLetters(filter=ControlFilter())) == DeadLetterCount(letters=1)
    await world.sink.wait_for_events(2)
    assert world.delivered() == [2, 1]


async def test_letters_of_a_sink_that_is_configured_no_more_are_not_marked(world: World):
    world.sink.then(Reject(0, "422"))
    await world.number(1)
    await world.drained()
    others = CommandHandler(journal=world.journal, lanes={}, new_test_event=sample_test)
    assert await others.execute(ReplayDeadLetters(filter=ControlFilter())) == DeadLetterCount(letters=0)
    assert [letter.replaying for letter in await world.letters()] == [False]


async def test_letters_are_dropped(world: World, commands: CommandHandler):
    world.sink.then(Reject(0, "422"))
    await world.number(1)
    await world.drained()
    assert await commands.execute(DropDeadLetters(filter=ControlFilter(event_ids=("event-9",)))) == DeadLetterCount(
        letters=0
    )
    assert await commands.execute(DropDeadLetters(filter=ControlFilter(event_ids=("event-1",)))) == DeadLetterCount(
        letters=1
    )
    assert await world.letters() == []


async def test_the_lanes_are_told_as_they_stand(world: World, commands: CommandHandler):
    await parked(world)
    answer = await commands.execute(ListLanes())
    assert isinstance(answer, LaneList)
    assert [(lane.sink, lane.parked) for lane in answer.lanes] == [("crm", "401")]


async def test_lanes_are_told_by_name_in_whatever_order_they_were_started(world: World):
    other = World().lane
    other.name = "bi"
    lanes = {"crm": world.lane, "bi": other}
    handler = CommandHandler(journal=world.journal, lanes=lanes, new_test_event=sample_test)
    answer = await handler.execute(ListLanes())
    assert isinstance(answer, LaneList)
    assert [lane.sink for lane in answer.lanes] == ["bi", "crm"]


async def test_a_test_event_goes_past_what_waits_and_leaves_nothing_behind(world: World, commands: CommandHandler):
    """Also where the lane is parked: that is when somebody wants to know."""
    await parked(world)
    tested = await commands.execute(SendTestEvent(name="crm"))
    assert tested == SinkTestResult(event_id="test-1", verdict="taken")
    assert [event.id for event in world.sink.events] == ["test-1"]
    assert world.lane.status().parked == "401"
    assert world.lane.status().delivered == 0
    assert await world.cursor() == 0


@pytest.mark.parametrize(
    ("outcome", "verdict"), [(Retry("503"), "retry"), (Park("401"), "park"), (Reject(0, "422", detail="no"), "reject")]
)
async def test_what_the_sink_says_of_a_test_event_is_told_and_changes_nothing(
    world: World, commands: CommandHandler, outcome: Outcome, verdict: str
):
    await eventually(lambda: world.sink.opened)
    await asyncio.sleep(0)
    world.sink.then(outcome)
    tested = await commands.execute(SendTestEvent(name="crm"))
    assert tested == SinkTestResult(event_id="test-1", verdict=verdict, reason=outcome.reason, answer=outcome.detail)
    assert (world.lane.status().parked, world.lane.status().last_error) == (None, None)
    assert await world.letters() == []


async def test_a_sink_that_cannot_be_opened_is_told():
    shut = World()
    shut.sink.open_error = Retry("no route")
    await shut.journal.open()
    task = asyncio.create_task(shut.lane.run(), name="lane that cannot open")
    await eventually(lambda: shut.lane.status().last_error)
    tested = await CommandHandler(journal=shut.journal, lanes={"crm": shut.lane}, new_test_event=sample_test).execute(
        SendTestEvent(name="crm")
    )
    task.cancel()
    await asyncio.wait((task,))
    assert isinstance(tested, SinkTestResult)
    assert (tested.verdict, tested.reason) == ("retry", "the sink is not open yet: no route")


class Others:
    """`ports.Duties` as far as orders go."""

    is_shared = True

    def __init__(self) -> None:
        self.orders: list[tuple[str, str]] = []

    async def order(self, duty: str, what: str) -> str | None:
        self.orders.append((duty, what))
        return "b"

    async def owner_of(self, sink: str) -> str | None:
        return "host-b" if sink == "bi" else None


@pytest.fixture
def others() -> Others:
    return Others()


@pytest.fixture
def of_a_replica(world: World, others: Others) -> CommandHandler:
    """Where another replica delivers to `bi` and `audit`."""
    return CommandHandler(
        journal=world.journal,
        lanes={"crm": world.lane},
        new_test_event=sample_test,
        configured=lambda: ("crm", "bi", "audit"),
        duties=others,  # type: ignore[arg-type]
        owner=others.owner_of,
    )


async def test_a_lane_of_another_replica_is_resumed_by_an_order(of_a_replica: CommandHandler, others: Others):
    assert await of_a_replica.execute(ResumeLane(name="bi")) == Resumed(resumed=(), ordered={"bi": "b"})
    assert others.orders == [("lane/bi", "resume")]


async def test_all_lanes_are_resumed_wherever_they_are(world: World, of_a_replica: CommandHandler, others: Others):
    await parked(world)
    done = await of_a_replica.execute(ResumeLane(all=True))
    assert done == Resumed(resumed=("crm",), ordered={"bi": "b", "audit": "b"})
    assert others.orders == [("lane/bi", "resume"), ("lane/audit", "resume")]


async def test_letters_of_a_lane_of_another_replica_are_marked(world: World, of_a_replica: CommandHandler):
    await world.number(1)
    await world.drained()
    letter = DeadLetter(sink="bi", sequence=1, event_id="event-1", reason="422", attempts=1, at_ms=1)
    await world.journal.advance("bi", 1, [letter])
    done = await of_a_replica.execute(ReplayDeadLetters(filter=ControlFilter(sink="bi")))
    assert done == DeadLetterCount(letters=1)
    assert [one.id for one in await world.journal.replays("bi", 10)] == ["event-1"]


async def test_a_test_event_is_sent_where_the_lane_is(of_a_replica: CommandHandler):
    with pytest.raises(NotPossible, match="replica 'host-b' delivers to sink 'bi': ask for the test event there"):
        await of_a_replica.execute(SendTestEvent(name="bi"))
    with pytest.raises(NotPossible, match="no replica delivers to sink 'audit' at the moment"):
        await of_a_replica.execute(SendTestEvent(name="audit"))


async def test_attempts_are_where_the_lane_is(of_a_replica: CommandHandler):
    assert await of_a_replica.attempts("crm", 10) == ((), True, None)
    assert await of_a_replica.attempts("bi", 10) == ((), False, "host-b")
    assert await of_a_replica.attempts("audit", 10) == ((), False, None)
    with pytest.raises(ControlError, match="there is no sink 'crn'"):
        await of_a_replica.attempts("crn", 10)


EVERYTHING = {"from_ms": 0, "to_ms": 2**52}


async def test_what_a_sink_got_comes_again_and_is_counted_before(world: World, commands: CommandHandler):
    await world.number(1, 2, 3)
    await world.drained()
    plan = Resend(sink="crm", events=3, after=0, through=3)
    assert await commands.execute(ResendEvents(name="crm", dry_run=True, **EVERYTHING)) == plan
    assert world.lane.status().resend_left == 0
    assert await commands.execute(ResendEvents(name="crm", **EVERYTHING)) == plan
    await world.sink.wait_for_events(6)
    assert world.delivered() == [1, 2, 3] * 2


async def test_one_resend_is_under_way_at_a_time_until_it_is_cancelled(world: World, commands: CommandHandler):
    await world.number(1, 2, 3)
    await world.drained()
    world.sink.hold()
    await commands.execute(ResendEvents(name="crm", **EVERYTHING))
    with pytest.raises(NotPossible, match="3 events are already to be delivered to sink 'crm' again"):
        await commands.execute(ResendEvents(name="crm", **EVERYTHING))
    assert await commands.execute(CancelResend(name="crm")) == ResendCancelled(sink="crm", left=3)
    assert await commands.execute(CancelResend(name="crm")) == ResendCancelled(sink="crm", left=0)
    world.sink.release()


async def test_nothing_comes_again_to_a_sink_that_holds_each_event_once(world: World):
    commands = CommandHandler(
        journal=world.journal, lanes={"crm": world.lane}, new_test_event=sample_test, holds_once=lambda sink: True
    )
    with pytest.raises(NotPossible, match="sink 'crm' is an audit trail, which holds each event once"):
        await commands.execute(ResendEvents(name="crm", **EVERYTHING))


async def test_a_resend_of_a_lane_of_another_replica_is_an_order(
    world: World, of_a_replica: CommandHandler, others: Others
):
    await world.number(1, 2, 3)
    await world.journal.advance("bi", 2)
    assert await of_a_replica.execute(ResendEvents(name="bi", **EVERYTHING)) == Resend(
        sink="bi", events=2, after=0, through=2, waiting=1, ordered="b"
    )
    await world.journal.store_lane_state(LaneState(sink="bi", resend_after=1, resend_through=2))
    with pytest.raises(NotPossible, match="1 events are already"):
        await of_a_replica.execute(ResendEvents(name="bi", **EVERYTHING))
    assert await of_a_replica.execute(CancelResend(name="bi")) == ResendCancelled(sink="bi", left=1)
    assert others.orders == [("lane/bi", "resend 0 2"), ("lane/bi", "resend-cancel")]


@pytest.mark.parametrize(
    "command", [ResendEvents(name="bi", **EVERYTHING), CancelResend(name="bi"), ResumeLane(name="bi")]
)
async def test_what_is_wanted_of_a_sink_that_the_only_process_has_not_started_is_not_said_to_be_done(
    world: World, command: ResendEvents | CancelResend | ResumeLane
):
    await world.number(1)
    await world.journal.advance("bi", 1)
    alone = CommandHandler(
        journal=world.journal,
        lanes={"crm": world.lane},
        new_test_event=sample_test,
        configured=lambda: ("crm", "bi"),
        duties=EveryDuty(),
    )
    with pytest.raises(NotPossible, match="has not started yet"):
        await alone.execute(command)
