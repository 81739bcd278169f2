"""A lane carries the journal to its sink: order, outcomes, the cursor, and what happens to what cannot be taken."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs

from listener.delivery import Lane, LanePolicy, lane, pace
from listener.errors import JournalError, Outcome, Park, Refusal, Reject, Retry, StartError
from listener.model.event import Change, DeadLetterFilter, Event, Kind, LaneState
from listener.runtime.backoff import Backoff
from listener.testing import RecordingSink, sample_event
from support.eventually import eventually
from support.lanes import NOW_MS, World

Start = Callable[..., Awaitable[World]]


# --- the way through --------------------------------------------------------------------------------------------------


async def test_events_come_in_order_with_their_sequence(start: Start):
    world = await start(World())
    for first in range(1, 100, 9):
        await world.number(*range(first, first + 9))
        await asyncio.sleep(0)
    await world.drained()
    assert world.delivered() == list(range(1, 100))
    assert [event.sequence for event in world.sink.events] == list(range(1, 100))
    assert await world.cursor() == 99
    assert (world.count("sink_delivered_total"), world.lane.status().lag) == (99, 0)


async def test_a_batch_is_no_larger_than_the_policy_says(start: Start):
    world = await start(World(batch=10), *range(1, 36))
    await world.drained()
    assert [len(batch) for batch in world.attempts()] == [10, 10, 10, 5]


async def test_a_lane_goes_on_behind_its_cursor(start: Start):
    world = World()
    await world.journal.open()
    await world.number(1, 2, 3)
    world.journal.elsewhere = {"event-1", "event-2"}
    await world.journal.advance("crm", 2)
    await world.journal.close()
    await start(world)
    await world.drained()
    assert world.delivered() == [3]


@pytest.mark.parametrize(("stood_at", "told"), [(1, {"after": 1, "up_to": 3}), (3, None), (0, None)])
async def test_what_was_deleted_while_a_sink_was_not_configured_is_told(
    start: Start, stood_at: int, told: dict[str, int] | None
):
    """A sink that is new begins with the oldest event that is left: nothing is missing that it was to get."""
    world = World()
    await world.journal.open()
    await world.number(1, 2, 3)
    world.journal.elsewhere = {"event-1", "event-2", "event-3"}
    if stood_at:
        await world.journal.advance("crm", stood_at)
    await world.journal.retain(before_ms=2**53, keep_for=[])
    await world.journal.close()
    with capture_logs() as logs:
        await start(world, 4)
        await world.drained()
    assert world.delivered() == [4]
    deleted = [line for line in logs if line["event"] == "events_already_deleted"]
    assert [{"after": line["after"], "up_to": line["up_to"]} for line in deleted] == ([told] if told else [])


async def test_a_batch_that_was_under_way_when_the_lane_ended_comes_again(start: Start):
    world = World()
    world.sink.hold()
    await start(world, 1, 2)
    await world.sink.wait_for_attempts(1)
    world.task.cancel()
    await asyncio.wait((world.task,))
    assert (await world.cursor(), world.sink.closed) == (0, 1)
    await world.journal.close()
    world.sink.release()
    await start(world)
    await world.drained()
    assert world.attempts() == [[1, 2], [1, 2]]


async def test_drained_waits_for_what_is_in_the_journal_now(start: Start):
    world = World()
    world.sink.hold()
    await start(world, 1)
    await world.sink.wait_for_attempts(1)
    draining = asyncio.create_task(world.lane.drained())
    await asyncio.sleep(0.02)
    assert not draining.done()
    world.sink.release()
    async with asyncio.timeout(5):
        await draining
    assert await world.cursor() == 1, "a lane that is drained repeats nothing at the next start"


async def test_a_lane_that_is_to_rest_ends_the_batch_in_hand_and_begins_no_other(start: Start):
    world = World(batch=1)
    world.sink.hold()
    await start(world, 1, 2, 3)
    await world.sink.wait_for_attempts(1)
    resting = asyncio.create_task(world.lane.rest())
    await asyncio.sleep(0.02)
    assert not resting.done()
    world.sink.release()
    async with asyncio.timeout(5):
        await resting
    await asyncio.sleep(0.02)
    assert world.attempts() == [[1]]
    assert world.lane.status().cursor == 1


async def test_a_lane_that_waits_for_events_rests_at_once_and_takes_none_any_more(start: Start):
    world = await start(World(), 1)
    await world.drained()
    await asyncio.wait_for(world.lane.rest(), 1)
    await world.number(2)
    await asyncio.sleep(0.02)
    assert world.attempts() == [[1]]


async def test_a_lane_with_nothing_to_do_is_drained(start: Start):
    await (await start(World())).drained()


# --- outcomes ---------------------------------------------------------------------------------------------------------


async def test_what_was_not_taken_is_tried_again_and_what_was_is_not(start: Start):
    world = await start(
        World(Retry("busy", delivered=frozenset({0, 2})), Retry("busy", delivered=frozenset({1}))), 1, 2, 3, 4
    )
    await world.drained()
    assert world.attempts() == [[1, 2, 3, 4], [2, 4], [2]]
    assert sorted(world.delivered()) == [1, 2, 3, 4]
    assert (world.count("sink_failures_total", "retry"), world.count("sink_attempts_total")) == (2, 3)


async def test_the_pause_is_the_one_that_the_destination_names(start: Start):
    world = await start(World(Retry("busy", after_s=0.2)), 1)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await world.drained()
    assert loop.time() - started >= 0.2


async def test_an_event_that_can_never_be_taken_becomes_a_dead_letter_and_the_rest_goes_on(start: Start):
    world = await start(World(Reject(1, "400 Bad Request", delivered=frozenset({0}))), 1, 2, 3)
    await world.drained()
    assert world.attempts() == [[1, 2, 3], [3]]
    assert world.delivered() == [1, 3]
    (letter,) = await world.journal.dead_letters(DeadLetterFilter(sink="crm"))
    assert (letter.sink, letter.sequence, letter.event_id, letter.reason, letter.attempts, letter.at_ms) == (
        "crm",
        2,
        "event-2",
        "400 Bad Request",
        1,
        NOW_MS,
    )
    assert (world.count("sink_dead_letters_total"), world.count("sink_delivered_total")) == (1, 2)


async def test_progress_within_a_batch_does_not_wait_for_its_end(start: Start):
    """A restart in the middle of a long outage repeats neither what was delivered nor what was rejected."""
    outcomes = Retry("busy", delivered=frozenset({0, 1})), Reject(0, "no"), Park("401 Unauthorized")
    world = await start(World(*outcomes), 1, 2, 3, 4)
    await eventually(lambda: world.lane.status().parked)
    assert await world.journal.cursors() == {"crm": 3}
    assert [letter.sequence for letter in await world.journal.dead_letters(DeadLetterFilter(sink="crm"))] == [3]


async def test_an_event_that_is_rejected_after_others_is_the_one_that_was_meant(start: Start):
    """Indexes count in the batch that was handed over, not in the first one."""
    world = await start(World(Retry("busy", delivered=frozenset({0})), Reject(1, "no"), Reject(0, "no")), 1, 2, 3)
    await world.drained()
    assert [letter.event_id for letter in await world.journal.dead_letters()] == ["event-2", "event-3"]
    assert world.delivered() == [1]


async def test_events_that_are_rejected_together_become_dead_letters_together_each_with_its_reason(start: Start):
    reject = Reject(1, "400", rejected={3: Refusal("422"), 0: Refusal("413")}, delivered=frozenset({4}))
    world = await start(World(reject), 1, 2, 3, 4, 5)
    await world.drained()
    assert world.attempts() == [[1, 2, 3, 4, 5], [3]]
    letters = [
        (letter.event_id, letter.reason) for letter in await world.journal.dead_letters(DeadLetterFilter(sink="crm"))
    ]
    assert letters == [("event-1", "413"), ("event-2", "400"), ("event-4", "422")]
    assert (world.count("sink_dead_letters_total"), world.count("sink_delivered_total")) == (3, 2)
    assert world.count("sink_failures_total", "reject") == 1


async def test_what_the_destination_said_is_in_the_dead_letter_and_neither_logged_nor_shown(start: Start):
    """It may quote the event."""
    quoting = {"detail": "IssueResolved is no code of ours"}
    outcomes = (Reject(0, "422", rejected={1: Refusal("413", "IssueResolved")}, **quoting), Retry("503", **quoting))
    with capture_logs() as logs:
        world = await start(World(*outcomes, Park("401", **quoting)), 1, 2, 3)
        await eventually(lambda: world.lane.status().parked)
    letters = [(letter.reason, letter.answer) for letter in await world.journal.dead_letters()]
    assert letters == [("422", "IssueResolved is no code of ours"), ("413", "IssueResolved")]
    assert {"events_rejected", "delivery_failed", "sink_parked"} <= {line["event"] for line in logs}
    assert "IssueResolved" not in f"{logs} {world.lane.status()}"


@pytest.mark.parametrize("index", [-1, 2, 10])
async def test_a_further_rejected_event_that_is_not_in_the_batch_is_no_less_a_bug(start: Start, index: int):
    world = await start(World(Reject(0, "no", rejected={index: Refusal("no")})), 1, 2)
    await world.drained()
    assert world.attempts() == [[1, 2], [1, 2]]
    assert await world.journal.dead_letters() == []


@pytest.mark.parametrize("index", [-1, 2, 10])
async def test_a_rejected_event_that_is_not_in_the_batch_is_the_sinks_bug_and_costs_nothing(start: Start, index: int):
    world = await start(World(Reject(index, "no", delivered=frozenset({1}))), 1, 2)
    await world.drained()
    assert world.attempts() == [[1, 2], [1]]
    assert await world.journal.dead_letters() == []


async def test_a_lane_that_needs_a_person_stands_still_until_it_is_resumed(start: Start):
    world = await start(World(Park("401 Unauthorized"), Park("401 Unauthorized")), 1)
    for n in (1, 2):
        await eventually(lambda: world.lane.status().parked)
        assert (world.lane.status().parked, world.count("sink_parked")) == ("401 Unauthorized", 1)
        await world.number(n + 1)
        await asyncio.sleep(0.02)
        assert len(world.attempts()) == n
        world.lane.resume()
        await world.sink.wait_for_attempts(n + 1)
    await world.drained()
    assert (world.lane.status().parked, world.count("sink_parked"), world.delivered()) == (None, 0, [1, 2, 3])


async def test_a_resume_of_a_lane_that_runs_does_not_skip_the_next_park(start: Start):
    world = await start(World(Park("401")))
    world.lane.resume()
    await world.number(1)
    await eventually(lambda: world.lane.status().parked)
    await asyncio.sleep(0.02)
    assert len(world.attempts()) == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("bug"), OSError("disk"), TimeoutError()])
async def test_an_error_that_no_sink_should_raise_is_tried_again_and_told(start: Start, error: Exception):
    logged: list[str | None] = []

    class Broken(RecordingSink):
        async def deliver(self, events: Sequence[Event]) -> None:
            logged.append(world.lane.status().last_error)
            if len(logged) <= 3:
                raise error
            await super().deliver(events)

    world = World(sink=Broken())
    await start(world, 1)
    await world.drained()
    assert logged == [None, *[f"the sink failed unexpectedly: {type(error).__name__}: {error}"] * 3]
    assert world.delivered() == [1]
    assert world.lane.status().last_error is None


OUTCOMES = st.lists(
    st.one_of(
        st.none(),
        st.builds(lambda taken: Retry("busy", delivered=frozenset(taken)), st.sets(st.integers(0, 6))),
        st.builds(
            lambda n, others, taken: Reject(
                n, "no", rejected=dict.fromkeys(others, Refusal("no")), delivered=frozenset(taken)
            ),
            st.integers(0, 6),
            st.sets(st.integers(0, 6)),
            st.sets(st.integers(0, 6)),
        ),
    ),
    max_size=8,
)


class Careful(RecordingSink):
    """A sink whose script may name events beyond the batch: it leaves those out, as a sound sink does."""

    async def deliver(self, events: Sequence[Event]) -> None:
        outcome = self._script[0] if self._script else None
        if outcome is not None:
            outcome.delivered = frozenset(index for index in outcome.delivered if index < len(events))
            if isinstance(outcome, Reject):
                outcome.index = min(outcome.index, len(events) - 1)
                outcome.rejected = {index: text for index, text in outcome.rejected.items() if index < len(events)}
                outcome.delivered -= outcome.letters.keys()
        await super().deliver(events)


@given(
    outcomes=OUTCOMES, batch=st.integers(1, 7), events=st.integers(1, 20), horizon_s=st.sampled_from([None, 0.0, 1e-6])
)
def test_whatever_the_sink_says_every_event_is_delivered_once_or_dead(
    outcomes: list[Outcome | None], batch: int, events: int, horizon_s: float | None
):
    async def play() -> None:
        world = World(sink=Careful(outcomes), batch=batch, retry_horizon_s=horizon_s)
        await world.journal.open()
        await world.number(*range(1, events + 1))
        running = asyncio.create_task(world.lane.run())
        await world.drained()
        running.cancel()
        await asyncio.wait((running,))
        dead = [letter.sequence for letter in await world.journal.dead_letters()]
        assert sorted(world.delivered() + dead) == list(range(1, events + 1))
        assert await world.cursor() == events
        assert world.count("sink_delivered_total") == len(world.delivered())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lane, "_CURSOR_LAG_S", 0.0)
        patch.setattr(pace, "_PAUSE_S", 0.0)
        asyncio.run(play())


# --- opening ----------------------------------------------------------------------------------------------------------


async def test_a_sink_that_does_not_open_yet_is_opened_again(start: Start):
    world = World()
    world.sink.open_error = Retry("connection refused")
    await start(world, 1)
    await eventually(lambda: world.sink.opened >= 3)
    assert world.lane.status().last_error == "connection refused"
    assert (world.lane.status().lag, world.attempts()) == (1, [])
    world.sink.open_error = None
    await world.drained()
    assert world.lane.status().last_error is None


async def test_a_sink_that_needs_a_person_to_open_parks_the_lane(start: Start):
    world = World()
    world.sink.open_error = Park("no such topic")
    await start(world, 1)
    await eventually(lambda: world.lane.status().parked == "no such topic")
    assert (await world.journal.lane_states())["crm"].parked == "no such topic"
    world.sink.open_error = None
    world.lane.resume()
    await world.drained()


async def test_a_host_that_refuses_ends_the_lane_with_the_error(start: Start):
    world = World()
    world.sink.open_error = StartError("sinks.audit.path: not writable")
    await start(world)
    with pytest.raises(StartError, match=r"sinks\.audit\.path"):
        await world.task
    assert world.sink.closed == 1


@pytest.mark.parametrize("error", [RuntimeError("bug"), Reject(0, "nothing to reject here")])
async def test_a_bug_in_opening_a_foreign_sink_is_its_own_lanes_matter(start: Start, error: Exception):
    world = World()
    world.sink.open_error = error
    await start(world, 1)
    await eventually(lambda: world.sink.opened >= 2)
    assert not world.task.done()
    world.sink.open_error = None
    await world.drained()


async def test_the_lag_is_known_before_the_sink_opens(start: Start):
    world = World()
    world.journal.elsewhere = {"event-1"}
    world.sink.open_error = Park("no")
    await world.journal.open()
    await world.number(1, 2)
    await world.journal.advance("crm", 1)
    await world.journal.close()
    await start(world)
    await eventually(lambda: world.lane.status().parked)
    assert (world.lane.status().cursor, world.lane.status().lag) == (1, 1)


# --- a journal in trouble ---------------------------------------------------------------------------------------------


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "_JOURNAL_RETRY_S", 0.001)


@pytest.mark.usefixtures("_quick")
async def test_a_cursor_that_cannot_be_stored_is_tried_again_and_nothing_is_delivered_twice(start: Start):
    world = World()
    world.journal.advance_errors = [JournalError("disk full")] * 5
    with capture_logs() as logs:
        await start(world, 1, 2)
        await world.drained()
    assert (world.delivered(), await world.cursor()) == ([1, 2], 2)
    assert [entry["event"] for entry in logs] == ["cursor_not_stored"], "told once"


@pytest.mark.usefixtures("_quick")
async def test_a_dead_letter_that_cannot_be_stored_is_not_forgotten(start: Start):
    world = World(Reject(0, "no"))
    world.journal.advance_errors = [JournalError("disk full")] * 3
    await start(world, 1, 2)
    await world.drained()
    assert [letter.sequence for letter in await world.journal.dead_letters()] == [1]
    assert world.attempts() == [[1, 2], [2]]


@pytest.mark.usefixtures("_quick")
async def test_a_journal_that_cannot_be_read_is_read_again(start: Start):
    world = World()
    world.journal.read_errors = [JournalError("disk I/O error")] * 3
    await start(world, 1)
    await world.drained()
    assert world.delivered() == [1]


async def test_the_next_batch_is_read_while_one_is_delivered_and_again_if_that_failed(
    start: Start, monkeypatch: pytest.MonkeyPatch
):
    world = World(batch=2)
    read, asked = world.journal.read, []

    async def fails_once(after: int, limit: int) -> Sequence[Event]:
        asked.append(after)
        if after == 2 and asked.count(2) == 1:
            raise JournalError("disk I/O error")
        return await read(after, limit)

    monkeypatch.setattr(world.journal, "read", fails_once)
    world.sink.hold()
    await start(world, 1, 2, 3, 4, 5)
    await eventually(lambda: 2 in asked)
    assert world.delivered() == []
    world.sink.release()
    await world.drained()
    assert world.attempts() == [[1, 2], [3, 4], [5]]
    assert asked.count(2) == 2


async def test_a_sink_that_is_new_to_a_journal_whose_events_are_gone_waits_quietly_for_the_next(start: Start):
    world = World()
    await world.journal.open()
    await world.number(1, 2, 3)
    await world.journal.retain(before_ms=2**53, keep_for=[])
    await world.journal.close()
    await start(world)
    await world.drained()
    reads = world.journal.reads
    await asyncio.sleep(0.1)
    assert world.journal.reads - reads <= 1, "a lane without work does not ask on and on"
    assert await world.cursor() == 3
    await world.number(4)
    await world.drained()
    assert world.delivered() == [4]


# --- policy -----------------------------------------------------------------------------------------------------------


def of_kind(number: int, change: Change | None) -> Event:
    event = sample_event(number, change=change or Change.SET)
    return event if change else replace(event, kind=Kind.GAP, change=None)


STORED = [Change.SET, Change.UNCHANGED, Change.CHANGED, None, Change.CLEARED, Change.UNCHANGED]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"changes_only": True}, [0, 2, 3, 4]),
        ({"gaps": False}, [0, 1, 2, 4, 5]),
        ({"changes_only": True, "gaps": False}, [0, 2, 4]),
    ],
)
@pytest.mark.parametrize("batch", [1, 500])
async def test_a_sink_gets_what_its_policy_wants_and_its_cursor_moves_over_the_rest(
    start: Start, policy: dict[str, Any], expected: list[int], batch: int
):
    world = World(batch=batch, **policy)
    world.journal.elsewhere = {f"event-{n}" for n in range(6) if n not in expected}
    await start(world)
    await world.store(*(of_kind(number, change) for number, change in enumerate(STORED)))
    await world.drained()
    assert world.delivered() == expected
    assert await world.cursor() == len(STORED)
    assert world.count("sink_skipped_total") == len(STORED) - len(expected)
    assert all(world.attempts()), "nothing is handed over where nothing is wanted"


async def test_the_status_tells_how_the_lane_stands(start: Start):
    world = await start(World(Retry("busy"), Park("401")), 1, 2)
    await eventually(lambda: world.lane.status().parked)
    status = world.lane.status()
    assert (status.sink, status.kind, status.cursor, status.lag) == ("crm", "webhook", 0, 2)
    assert (status.delivered, status.failures, status.last_error) == (0, 2, "401")


async def test_a_lane_that_takes_nothing_says_for_how_long(start: Start):
    world = World()
    world.sink.hold()
    await start(world)
    await asyncio.sleep(0.02)
    world.clock.advance(1000.0)
    assert world.lane.status().stalled_s == 0.0, "there was nothing to do"
    await world.number(1)
    await world.sink.wait_for_attempts(1)
    world.clock.advance(312.0)
    assert world.lane.status().stalled_s == 312.0
    world.sink.release()
    await world.drained()
    assert world.lane.status().stalled_s == 0.0


async def test_progress_within_a_batch_is_progress(start: Start):
    world = World(Retry("busy", delivered=frozenset({1})))
    world.sink.hold()
    await start(world, 1, 2)
    await world.sink.wait_for_attempts(1)
    world.clock.advance(400.0)
    world.sink.release()
    await world.sink.wait_for_attempts(2)
    assert world.lane.status().stalled_s == 0.0


async def test_a_lane_is_not_stalled_by_the_time_it_was_parked(start: Start):
    world = await start(World(Park("401")), 1)
    await eventually(lambda: world.lane.status().parked)
    world.clock.advance(1000.0)
    assert world.lane.status().stalled_s == 0.0
    world.sink.hold()
    assert world.lane.resume() is True
    await world.sink.wait_for_attempts(2)
    assert (world.lane.status().stalled_s, world.lane.resume()) == (0.0, False)
    world.sink.release()
    await world.drained()


async def test_a_lane_that_recovers_leaves_no_failing_batch_on_record(start: Start):
    world = await start(World(Retry("busy")), 1)
    await world.drained()

    async def state() -> LaneState:
        return (await world.journal.lane_states())["crm"]

    async def is_clear() -> bool:
        return await state() == LaneState(sink="crm")

    await eventually(is_clear)


async def test_one_lane_that_stands_still_delays_no_other(start: Start):
    slow, quick = World(), World()
    slow.sink.hold()
    await start(slow)
    other = Lane(
        name="audit",
        kind="file",
        sink=quick.sink,
        journal=slow.journal,
        policy=LanePolicy(),
        metrics=slow.metrics,
        now_ms=lambda: NOW_MS,
    )
    slow.journal.elsewhere = {"event-1"}
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(other.run())
        await slow.number(1)
        async with asyncio.timeout(5):
            await other.drained()
        assert (quick.delivered(), slow.delivered()) == ([1], [])
        running.cancel()


# --- what a restart does not end --------------------------------------------------------------------------------------


async def restarted(start: Start, before: World) -> World:
    """The lane of the next daemon, on the same journal."""
    before.task.cancel()
    await asyncio.wait((before.task,))
    await before.journal.close()
    return await start(World(after=before))


async def test_a_sink_that_is_disabled_gets_nothing_until_somebody_orders_it(start: Start):
    world = await start(World(Park("410", disabled=True)), 1)
    await eventually(lambda: world.lane.status().parked)
    assert world.lane.resume() is False, "SIGHUP is not meant"
    world = await restarted(start, world)
    await eventually(lambda: world.lane.status().parked == "410")
    await world.drained()
    assert (len(world.attempts()), world.sink.opened) == (1, 1), "it is not even opened"
    assert world.lane.resume(by_command=True) is True
    await world.sink.wait_for_events(1)
    await eventually(lambda: world.lane.status().parked is None)
    world = await restarted(start, world)
    await world.number(2)
    await world.sink.wait_for_events(2)


async def test_a_lane_that_is_merely_parked_tries_again_after_a_restart(start: Start):
    world = await start(World(Park("401")), 1)
    await eventually(lambda: world.lane.status().parked)
    await (await restarted(start, world)).sink.wait_for_events(1)


@pytest.mark.parametrize("outcome", [Retry("503", after_s=600.0), Reject(0, "422", after_s=600.0)])
async def test_the_time_that_a_destination_names_is_waited_for_over_restarts_or_until_somebody_orders_otherwise(
    start: Start, outcome: Outcome
):
    world = await start(World(outcome), 1, 2)
    await eventually(lambda: 590.0 < world.lane.status().quiet_s <= 600.0)
    assert (world.lane.status().parked, world.lane.resume()) == (None, False)
    world = await restarted(start, world)
    await eventually(lambda: 590.0 < world.lane.status().quiet_s <= 600.0)
    assert (len(world.attempts()), world.sink.opened) == (1, 1)
    assert world.lane.resume(by_command=True) is True
    await world.sink.wait_for_events(2 - isinstance(outcome, Reject))
    assert world.lane.status().quiet_s == 0.0


async def test_a_lane_tells_how_long_it_fails_and_when_it_tries_again_and_does_at_once_if_a_person_wants(start: Start):
    world = World(*[Retry("503")] * 2)
    world.lane._backoff = Backoff(first_s=600.0, limit_s=600.0, floor_s=600.0)
    await start(world, 1)
    await eventually(lambda: world.lane.status().next_attempt_s)
    first = world.lane.status()
    assert first.next_attempt_s is not None
    assert 590.0 < first.next_attempt_s <= 600.0
    assert (first.failing_s, world.lane.resume(by_command=True)) == (pytest.approx(0.0, abs=1.0), False)
    world.lane._destination._failing_since_s -= 60.0
    assert world.lane.try_now() is True
    await world.sink.wait_for_attempts(2)
    await eventually(lambda: world.lane.status().next_attempt_s)
    failing_s = world.lane.status().failing_s
    assert failing_s is not None
    assert failing_s >= 60.0, "the second failure in a row is not the first"
    assert world.lane.try_now() is True
    await world.drained()
    last = world.lane.status()
    assert (last.failing_s, last.next_attempt_s, world.lane.try_now()) == (None, None, False)


async def test_the_pauses_after_a_restart_are_as_long_as_before(start: Start):
    world = await start(World(*[Retry("503")] * 50), 1)
    await world.sink.wait_for_attempts(5)
    world.sink.hold()
    await world.lane._retry_state.store()
    world = await restarted(start, world)
    await eventually(lambda: world.lane._backoff.attempts >= 5)
    assert len(world.attempts()) <= 7
