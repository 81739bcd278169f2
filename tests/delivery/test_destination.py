"""A sink as its lane sees it: opened as often as it takes, halted where it needs a person, closed whatever happens."""

import asyncio
import math

import pytest
from structlog.testing import capture_logs

from listener.delivery import destination as module
from listener.delivery import outcome_of
from listener.delivery.attempts import Attempts
from listener.delivery.destination import Destination, error_text, hand_over, left_of, pause_after, refused
from listener.delivery.policy import LanePolicy
from listener.delivery.retry_state import RetryState
from listener.errors import JournalFenced, Park, Refusal, Reject, Retry, StartError
from listener.model.event import LaneState
from listener.runtime.backoff import Backoff
from listener.runtime.metrics import Metrics
from listener.testing import ManualClock, MemoryJournal, RecordingSink, sample_event
from support.eventually import eventually
from support.lanes import NO_PAUSE

FOUR = [sample_event(number) for number in range(4)]


def test_what_an_error_means_is_decided_in_one_place():
    park, retry, reject = Park("p"), Retry("r"), Reject(0, "x")
    assert [outcome_of(one, 1) for one in (park, retry, reject)] == [park, retry, reject]
    unexpected = outcome_of(ValueError("v"), 1)
    assert (type(unexpected), unexpected.reason) == (Retry, "the sink failed unexpectedly: ValueError: v")


async def test_a_batch_that_is_taken_has_no_outcome():
    park = Park("401")
    sink = RecordingSink([None, park])
    assert await hand_over(sink, FOUR) is None
    assert await hand_over(sink, FOUR) is park


def test_each_event_of_a_batch_is_delivered_refused_or_left():
    reject = Reject(2, "422", detail="no", rejected={0: Refusal("413", "too large")}, delivered=frozenset({1}))
    assert refused(FOUR, reject) == [(FOUR[0], Refusal("413", "too large")), (FOUR[2], Refusal("422", "no"))]
    assert left_of(FOUR, reject) == [FOUR[3]]
    retry = Retry("503", delivered=frozenset({0, 3}))
    assert (refused(FOUR, retry), left_of(FOUR, retry)) == ([], [FOUR[1], FOUR[2]])
    assert (refused(FOUR, None), left_of(FOUR, None)) == ([], [])


@pytest.mark.parametrize(
    ("outcome", "pause_s"),
    [
        (Retry("503"), 2.0),
        (Retry("503", after_s=1.0), 2.0),
        (Retry("503", after_s=86_400.0), 86_400.0),
        (Retry("503", after_s=math.inf), 2.0),
        (Retry("503", after_s=math.nan), 2.0),
        (Retry("503", after_s=-1.0), 2.0),
        (Park("401"), 0.0),
        (Reject(0, "422"), 0.0),
    ],
)
def test_the_pause_is_what_the_destination_names_in_full_and_no_less_than_the_backoff(outcome: Retry, pause_s: float):
    assert pause_after(outcome, Backoff(first_s=2.0, uniform=lambda _low, high: high)) == pause_s


def test_without_a_backoff_only_a_named_time_makes_a_pause():
    assert pause_after(Retry("503", after_s=9.0), None) == 9.0
    assert pause_after(Retry("503"), None) == 0.0


def test_the_last_words_of_a_destination_are_its_status_and_what_it_said():
    assert error_text(Retry("crm answered 500", detail="boom")) == "crm answered 500: boom"
    assert error_text(Retry("crm cannot be reached")) == "crm cannot be reached"


BATCH = [sample_event(1), sample_event(2)]


class World:
    """A destination and what it is made of."""

    def __init__(self, *outcomes: Park | Retry | Reject | None, sink: RecordingSink | None = None) -> None:
        clock = ManualClock()
        self.journal = MemoryJournal()
        self.sink = sink or RecordingSink(outcomes)
        self.metrics = Metrics()
        self.halts = 0
        self.attempts = Attempts(now_ms=clock.now_ms, monotonic=clock.monotonic_s)
        self.is_certain, self.fenced = asyncio.Event(), False
        self.is_certain.set()
        self.retry_state = RetryState(
            sink="crm", journal=self.journal, policy=LanePolicy(), now_ms=clock.now_ms, monotonic=clock.monotonic_s
        )
        self.destination = Destination(
            name="crm",
            sink=self.sink,
            retry_state=self.retry_state,
            metrics=self.metrics,
            on_park=self._halt,
            is_failing=lambda: False,
            policy=LanePolicy(),
            attempts=self.attempts,
            certainty=self._certainty,
        )

    async def _certainty(self) -> None:
        await self.is_certain.wait()
        if self.fenced:
            raise JournalFenced("others have its duties")

    def _halt(self) -> None:
        self.halts += 1

    async def stored_park(self) -> str | None:
        state = (await self.journal.lane_states()).get("crm")
        return state.parked if state is not None else None


@pytest.fixture
async def world() -> World:
    world = World()
    await world.journal.open()
    return world


async def test_attempts_and_failures_are_counted_by_outcome():
    world = World(None, Retry("503"), Retry("503"), Reject(0, "422"))
    outcomes = [await world.destination.hand_over(BATCH) for _ in range(4)]
    assert [type(outcome).__name__ for outcome in outcomes] == ["NoneType", "Retry", "Retry", "Reject"]
    assert world.metrics.value("sink_attempts_total", "crm") == 4
    assert world.metrics.value("sink_failures_total", "crm", "retry") == 2
    assert world.destination.failures == 3


async def test_nothing_is_tried_again_by_who_may_not_be_its_owner_any_more():
    world = World(Retry("503"), None)
    assert await world.destination.hand_over(BATCH) is not None
    world.is_certain.clear()
    again = asyncio.create_task(world.destination.hand_over(BATCH))
    await asyncio.sleep(0)
    assert world.metrics.value("sink_attempts_total", "crm") == 1
    world.is_certain.set()
    assert await again is None
    world.fenced = True
    with pytest.raises(JournalFenced):
        await world.destination.hand_over(BATCH)
    assert world.metrics.value("sink_attempts_total", "crm") == 2


async def test_a_sink_that_takes_its_batch_apart_takes_nothing_from_the_lane():
    class Consuming(RecordingSink):
        async def deliver(self, events):
            events.clear()
            raise Retry("503")

    batch = list(BATCH)
    await World(sink=Consuming()).destination.hand_over(batch)
    assert batch == BATCH


async def test_a_park_is_on_record_until_a_person_ends_it(world: World):
    waiting = asyncio.create_task(world.destination.wait_after(Park("401"), 0.0))
    await eventually(world.stored_park)
    assert (world.destination.parked, world.halts, world.metrics.value("sink_parked", "crm")) == ("401", 1, 1)
    assert await world.stored_park() == "401"
    assert world.destination.resume(by_command=False) is True
    async with asyncio.timeout(5):
        await waiting
    assert (world.destination.parked, world.metrics.value("sink_parked", "crm")) == (None, 0)
    assert await world.stored_park() is None
    assert world.destination.resume(by_command=True) is False


async def test_a_daemon_that_ends_leaves_the_park_on_record(world: World):
    """Who looks at the journal then finds why nothing moves; the next start tries."""
    waiting = asyncio.create_task(world.destination.wait_after(Park("401"), 0.0))
    await eventually(world.stored_park)
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert (world.destination.parked, await world.stored_park()) == (None, "401")


async def test_a_sink_that_opens_after_some_attempts_says_so_once(world: World):
    world.sink.open_error = Retry("connection refused")
    with capture_logs() as logs:
        opening = asyncio.create_task(world.destination.open(Backoff(**NO_PAUSE)))
        await eventually(lambda: world.sink.opened >= 3)
        assert world.destination.opening_error == "connection refused"
        world.sink.open_error = None
        await opening
    assert world.destination.opening_error is None
    assert [line["event"] for line in logs].count("delivery_recovered") == 1


async def test_a_host_that_refuses_is_an_end(world: World):
    world.sink.open_error = StartError("sinks.audit.path: not writable")
    with pytest.raises(StartError):
        await world.destination.open(Backoff(**NO_PAUSE))


async def test_a_sink_that_cannot_be_closed_holds_nobody_up(world: World, monkeypatch: pytest.MonkeyPatch):
    async def hang() -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(world.sink, "close", hang)
    monkeypatch.setattr(module, "_CLOSE_S", 0.01)
    with capture_logs() as logs:
        async with asyncio.timeout(5):
            await world.destination.close()
    assert [line["event"] for line in logs] == ["sink_not_closed"]


async def test_what_an_earlier_process_was_told_holds_before_the_sink_is_opened(world: World):
    await world.journal.store_lane_state(LaneState(sink="crm", parked="410", disabled=True))
    await world.retry_state.restore()
    waiting = asyncio.create_task(world.destination.wait_on())
    await eventually(lambda: world.destination.parked == "410")
    assert world.destination.resume(by_command=False) is False
    assert world.destination.resume(by_command=True) is True
    async with asyncio.timeout(5):
        await waiting
    assert await world.journal.lane_states() == {"crm": LaneState(sink="crm")}


async def test_where_nothing_was_told_nothing_is_waited_for(world: World):
    await world.retry_state.restore()
    async with asyncio.timeout(5):
        await world.destination.wait_on()


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Retry("429", after_s=1_795_904_246.0), "429 and asks for a pause of 2.08e+04 days, of which 24 h are kept"),
        (Retry("429", after_s=1e12), "429 and asks for a pause of more than a century, of which 24 h are kept"),
        (Reject(0, "422", after_s=1e12), "422"),
    ],
)
async def test_of_a_pause_that_cannot_be_meant_a_day_is_kept_and_told_once(outcome: Retry, reason: str):
    world = World(outcome, outcome, None, outcome)
    with capture_logs() as logs:
        bounded = [await world.destination.hand_over(BATCH) for _ in range(4)]
    assert [(one.after_s, one.reason) for one in bounded if one is not None] == [(86_400.0, reason)] * 3
    assert [line["event"] for line in logs] == ["pause_too_long"] * 2, "once, and once more after something was taken"


async def test_a_pause_that_a_version_before_has_stored_is_bounded_too(world: World, monkeypatch: pytest.MonkeyPatch):
    world.destination = Destination(
        name="crm",
        sink=world.sink,
        retry_state=world.retry_state,
        metrics=world.metrics,
        policy=LanePolicy(retry_horizon_s=0.01),
        on_park=world._halt,
        is_failing=lambda: False,
        attempts=world.attempts,
    )
    await world.retry_state.be_quiet(366 * 86_400.0)
    async with asyncio.timeout(5):
        await world.destination.wait_on()


async def test_a_short_time_that_is_named_is_not_worth_a_commit(world: World):
    await world.destination.wait_after(Retry("429", after_s=0.01), 0.01)
    assert await world.journal.lane_states() == {}
