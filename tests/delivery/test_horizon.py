"""A lane with a horizon, by a clock that moves an hour an attempt: what is given up, and what never is."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from listener.delivery import Lane, LanePolicy
from listener.errors import Park, Retry
from listener.model.event import JournalBatch
from listener.runtime.backoff import Backoff
from listener.runtime.metrics import Metrics
from listener.testing import MemoryJournal, RecordingSink, sample_event
from support.eventually import eventually
from support.lanes import HOUR_S, Ailing, World

Start = Callable[..., Awaitable[World]]
FIVE_HOURS = {"retry_horizon_s": 5 * HOUR_S}


async def test_an_event_that_fails_for_the_whole_horizon_becomes_a_dead_letter_and_the_lane_goes_on(start: Start):
    with capture_logs() as logs:
        world = await start(World(sink=Ailing(fails_for={"event-2"}), **FIVE_HOURS), 1, 2, 3)
        await world.drained()
    (letter,) = await world.letters()
    assert (letter.event_id, letter.reason, letter.answer) == ("event-2", "not taken within 5 h", "500: boom")
    assert world.attempts() == [[1, 2, 3], *[[2]] * 7]
    assert letter.attempts == 8
    assert world.delivered() == [1, 3]
    (line,) = (line for line in logs if line["event"] == "events_given_up")
    assert (line["sequences"], line["reason"]) == ([2], "500")
    assert world.count("sink_dead_letters_total") == 1
    await world.number(4)
    await world.drained()
    assert world.delivered() == [1, 3, 4]


async def test_in_an_outage_each_event_is_tried_for_the_horizon_and_once_more_alone(start: Start):
    world = await start(World(sink=Ailing(), **FIVE_HOURS), 1, 2, 3)
    await world.drained()
    assert world.attempts() == [*[[1, 2, 3]] * 6, [1], [2], [3]]
    assert [(letter.sequence, letter.attempts) for letter in await world.letters()] == [(1, 7), (2, 7), (3, 7)]
    assert await world.cursor() == 3


async def test_who_only_stood_behind_the_event_that_fails_is_not_given_up_with_it(start: Start):
    """A webhook holds the chat of an event that fails: what follows in it was never sent."""

    class Holding(Ailing):
        async def deliver(self, events):
            failing = next((i for i, event in enumerate(events) if event.id == "event-1"), None)
            if failing is None:
                await super().deliver(events)
                return
            self.advance(HOUR_S)
            self.attempts.append(tuple(events))
            raise Retry("500")

    world = await start(World(sink=Holding(fails_for=()), **FIVE_HOURS), 1, 2, 3)
    await world.drained()
    assert [letter.event_id for letter in await world.letters()] == ["event-1"]
    assert world.delivered() == [2, 3]


async def test_an_outage_that_ends_at_the_last_attempt_costs_nothing(start: Start):
    class Mended(Ailing):
        async def deliver(self, events):
            self.fails_for = () if len(events) == 1 else None
            await super().deliver(events)

    world = await start(World(sink=Mended(), **FIVE_HOURS), 1, 2)
    await world.drained()
    assert (world.delivered(), await world.letters()) == ([1, 2], [])


async def test_a_destination_that_takes_a_little_now_and_then_is_never_given_up(start: Start):
    class Slow(Ailing):
        async def deliver(self, events):
            self.advance(HOUR_S)
            await super().deliver(events)

    world = World(sink=Slow(fails_for=()), **FIVE_HOURS)
    for _ in range(99):
        world.sink.then(Retry("429"), Retry("429", delivered=frozenset({0})))
    await start(world, *range(100))
    await world.drained()
    assert (world.delivered(), await world.letters()) == (list(range(100)), [])


async def test_without_a_horizon_it_is_tried_for_ever(start: Start):
    world = await start(World(sink=Ailing(takes_s=1000 * HOUR_S)), 1)
    await world.sink.wait_for_attempts(200)
    assert await world.letters() == []


async def test_parked_time_does_not_count(start: Start):
    world = await start(World(Retry("503"), Park("401"), sink=Ailing(fails_for=()), **FIVE_HOURS), 1)
    await eventually(lambda: world.lane.status().parked)
    world.clock.advance(1000 * HOUR_S)
    world.sink.then(Retry("503"), Retry("503"))
    world.lane.resume()
    await world.sink.wait_for_events(1)
    assert (world.delivered(), await world.letters()) == ([1], [])


async def test_attempts_and_time_survive_a_restart_and_the_time_of_being_down_does_not_count(start: Start):
    first = await start(World(sink=Ailing(), **FIVE_HOURS), 1, 2)
    await first.sink.wait_for_attempts(4)
    first.sink.hold()
    made = len(first.sink.attempts)
    first.task.cancel()
    await asyncio.wait((first.task,))
    state = (await first.journal.lane_states())["crm"]
    assert (state.sequence, state.last_error) == (1, "500")
    assert state.failing_ms == (state.attempts - 1) * HOUR_S * 1000
    await first.journal.close()
    first.clock.advance(1000 * HOUR_S)
    first.sink.release()
    second = await start(World(after=first, **FIVE_HOURS))
    await second.drained()
    letters = await second.letters()
    assert [letter.sequence for letter in letters] == [1, 2]
    assert letters[0].attempts >= 8, "the one before the restart that came to no end is none"
    assert len(second.sink.attempts) - made >= 5 - state.failing_ms / HOUR_S / 1000


def test_a_time_that_the_destination_names_is_waited_for_also_at_the_end():
    began: list[float] = []

    class Ticking(Ailing):
        async def deliver(self, events):
            began.append(asyncio.get_running_loop().time())
            self.advance(began[-1] - world.clock.monotonic_s())
            await super().deliver(events)

    world = World(*[Retry("503", after_s=1.0)] * 4, sink=Ticking(fails_for=(), takes_s=0.0), retry_horizon_s=1.6)

    async def play() -> list[int]:
        await world.journal.open()
        await world.number(1, 2)
        world.task = asyncio.create_task(world.lane.run(), name="lane under test")
        await world.drained()
        letters = await world.letters()
        with suppress(asyncio.CancelledError):
            await world.end()
        return [letter.sequence for letter in letters]

    with asyncio.Runner(loop_factory=HurriedLoop) as runner:
        letters = runner.run(play())
    assert len(began) > 4
    assert all(after - before >= 1.0 for before, after in pairwise(began[:5]))
    assert 1 in letters


class Hurrying(selectors.SelectSelector):
    """Instead of waiting, lets the clock of its loop run ahead."""

    ahead_s = 0.0

    def select(self, timeout=None):
        self.ahead_s += timeout or 0.0
        return super().select(0)


class HurriedLoop(asyncio.SelectorEventLoop):
    """An event loop in which every pause is over at once, and its clock tells how long it would have taken."""

    def __init__(self) -> None:
        self._hurrying = Hurrying()
        super().__init__(self._hurrying)

    def time(self) -> float:
        return self._hurrying.ahead_s


@pytest.mark.parametrize("limit_s", [60.0, 86_400.0], ids=["a minute between attempts", "a day between attempts"])
@pytest.mark.parametrize("named_s", [None, 7 * 86_400.0], ids=["of our own", "named by the destination"])
@pytest.mark.parametrize("restarts", [0, 3])
def test_over_75_hours_an_event_is_tried_ten_times_and_more_whatever_restarts(limit_s, named_s, restarts):
    """The schedule that Standard Webhooks proposes: ten attempts within 75 hours and a half."""
    at_h: list[float] = []

    async def play() -> None:
        loop = asyncio.get_running_loop()
        journal = MemoryJournal()
        await journal.open()
        await journal.append(JournalBatch(events=(sample_event(1),)))

        class Down(RecordingSink):
            async def deliver(self, events):
                at_h.append(loop.time() / HOUR_S)
                raise Retry("503", after_s=named_s)

        async def run() -> None:
            lane = Lane(
                name="crm",
                kind="webhook",
                sink=Down(),
                journal=journal,
                policy=LanePolicy(retry_horizon_s=75 * HOUR_S),
                metrics=Metrics(),
                now_ms=lambda: round(loop.time() * 1000),
                backoff=Backoff(first_s=0.5, limit_s=limit_s),
                monotonic=loop.time,
            )
            await lane.run()

        for number in range(restarts):
            task = asyncio.create_task(run())
            await asyncio.sleep((1 + 5 * number) * HOUR_S)
            task.cancel()
            await asyncio.wait((task,))
            assert await journal.dead_letters() == []
        task = asyncio.create_task(run())
        await eventually(journal.dead_letters, timeout_s=60, interval_s=600)
        task.cancel()
        await asyncio.wait((task,))
        (letter,) = await journal.dead_letters()
        assert len(at_h) - restarts <= letter.attempts <= len(at_h), "a stop may lose the one before it"

    with capture_logs(), asyncio.Runner(loop_factory=HurriedLoop) as runner:
        runner.run(play())
    assert len(at_h) > 10
    assert at_h[-1] - at_h[0] >= 75.0
    waits_h = [later - earlier for earlier, later in pairwise(at_h)]
    if named_s is not None:
        assert min(waits_h) >= 24, "no more than a day is kept of what is named"


# --- a single event that fails while others are taken -----------------------------------------------------------------

AN_EVENT = {"retry_event_after_s": 2 * HOUR_S, "retry_horizon_s": 75 * HOUR_S}


class Together(Ailing):
    """A destination that takes a batch whole or not at all."""

    async def deliver(self, events):
        if any(event.id in self.fails_for for event in events):
            self.advance(self.takes_s)
            self.then(Retry("500", detail="boom"))
            await RecordingSink.deliver(self, events)
        else:
            await super().deliver(events)


def in_chats(numbers, chats):
    return [sample_event(number, chat=f"chat-{number % chats}") for number in numbers]


async def played(start: Start, world: World, events) -> World:
    await start(world)
    await world.store(*events)
    await world.drained()
    return world


@pytest.mark.parametrize("kind", [Ailing, Together])
async def test_an_event_that_fails_while_others_are_taken_is_set_aside_long_before_the_horizon(start: Start, kind):
    with capture_logs() as logs:
        world = World(sink=kind(fails_for={"event-7"}), batch=10, **AN_EVENT)
        await played(start, world, in_chats(range(1, 31), chats=3))
    (letter,) = await world.letters()
    assert (letter.event_id, letter.reason) == ("event-7", "not taken within 2 h, while others were")
    assert letter.answer == "500: boom"
    assert sorted(world.delivered()) == [number for number in range(1, 31) if number != 7]
    assert len(world.delivered()) == len({*world.delivered()}), "what was brought to find out is not brought again"
    for chat in range(3):
        own = [number for number in world.delivered() if number % 3 == chat]
        assert own == sorted(own)
    assert world.clock.monotonic_s() < 20 * HOUR_S
    (line,) = (line for line in logs if line["event"] == "events_given_up")
    assert line["events"] == 1


@pytest.mark.parametrize("kind", [Ailing, Together])
async def test_a_destination_that_is_down_for_all_is_waited_for_until_the_horizon(start: Start, kind):
    class Down(kind):
        async def deliver(self, events):
            self.fails_for = () if len(self.attempts) > 40 else [event.id for event in events]
            await super().deliver(events)

    world = await played(start, World(sink=Down(fails_for=()), batch=4, **AN_EVENT), in_chats(range(1, 10), chats=3))
    assert await world.letters() == []
    assert sorted(world.delivered()) == list(range(1, 10))


async def test_an_event_that_is_the_only_one_is_waited_for_until_another_comes(start: Start):
    world = World(sink=Ailing(fails_for={"event-1"}), **AN_EVENT)
    await start(world)
    await world.store(*in_chats([1, 3], chats=2))
    await world.sink.wait_for_attempts(20)
    assert await world.letters() == [], "its own chat is no other"
    await world.store(*in_chats([2], chats=2))
    await world.drained()
    assert [letter.event_id for letter in await world.letters()] == ["event-1"]
    assert sorted(world.delivered()) == [2, 3]
