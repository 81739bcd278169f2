"""A row of refusals parks the sink: nothing of it is dead then, and nothing is lost or out of order afterwards."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.delivery import replays
from listener.delivery.refusals import Refusals
from listener.errors import JournalError, Park, Refusal, Reject, Retry
from listener.model.event import DeadLetterFilter, Event
from listener.testing import RecordingSink, sample_event
from support.eventually import eventually
from support.lanes import World

Start = Callable[..., Awaitable[World]]


class Refusing(RecordingSink):
    """A receiver that refuses what it is told to; everything by default.

    Attributes:
        refuses: ids of the events that it refuses; None is all.
        answers: set while it does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refuses: set[str] | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    async def deliver(self, events: Sequence[Event]) -> None:
        await self.answers.wait()
        bad = [i for i, event in enumerate(events) if self.refuses is None or event.id in self.refuses]
        if bad:
            letters = {index: Refusal("422", "no such code") for index in bad}
            self.then(Reject(bad[0], "422", rejected=letters, delivered=frozenset(range(len(events))) - {*bad}))
        await super().deliver(events)


async def is_parked(world: World) -> str:
    return await eventually(lambda: world.lane.status().parked)


async def nothing_left(world: World) -> None:
    async def settled() -> bool:
        return not world.lane.status().lag and not any(letter.replaying for letter in await world.letters())

    await eventually(settled)


async def test_a_receiver_that_refuses_everything_parks_the_sink_and_no_event_is_dead(start: Start):
    world = await start(World(sink=Refusing()), *range(1, 846))
    words = "500 events in a row were refused, as by a receiver that is broken; the last time: 422"
    assert await is_parked(world) == words
    assert (await world.letters(), await world.cursor()) == ([], 0)
    assert world.count("sink_dead_letters_total") == 0
    world.sink.refuses = set()
    world.lane.resume(by_command=True)
    await nothing_left(world)
    assert (world.delivered(), await world.letters()) == (list(range(1, 846)), [])


@pytest.mark.parametrize("batch", [1, 500])
async def test_letters_of_a_slow_row_come_again_after_the_park_and_before_what_is_younger(start: Start, batch: int):
    world = await start(World(sink=Refusing(), batch=batch))
    for number in range(1, 21):
        await world.number(number)
        await world.drained()
    assert "20 events in a row" in await is_parked(world)
    assert [letter.sequence for letter in await world.letters()] == list(range(1, 20))
    await world.number(21, 22)
    world.sink.refuses = set()
    world.lane.resume(by_command=True)
    await nothing_left(world)
    assert (world.delivered(), await world.letters()) == (list(range(1, 23)), [])


@pytest.mark.parametrize("failures", [0, 2], ids=["", "and the journal cannot commit at first"])
async def test_so_do_they_where_a_resend_fills_the_row_and_the_stream_waits_for_it(
    start: Start, monkeypatch: pytest.MonkeyPatch, failures: int
):
    world = World(sink=Refusing())
    world.sink.refuses = {f"event-{number}" for number in range(31, 35)}
    await start(world, *range(1, 35))
    await world.drained()
    world.sink.refuses = None
    world.sink.answers.clear()
    await world.lane.resend(0, 30)
    await eventually(world.lane._destination.turn.locked)
    await world.number(35)
    await eventually(lambda: not world.lane._idle and world.lane._batch_end == 35)
    mark, left = world.journal.replay_dead_letters, [JournalError("no room")] * failures

    async def marking(which: DeadLetterFilter) -> int:
        if left:
            raise left.pop()
        return await mark(which)

    monkeypatch.setattr(replays, "_JOURNAL_RETRY_S", 0.0)
    monkeypatch.setattr(world.journal, "replay_dead_letters", marking)
    world.sink.answers.set()
    await is_parked(world)
    world.sink.refuses = set()
    world.lane.resume(by_command=True)
    await nothing_left(world)
    assert ([one for one in world.delivered() if one > 30], await world.letters()) == ([31, 32, 33, 34, 35], [])


async def test_so_do_they_after_a_restart(start: Start):
    first = await start(World(sink=Refusing()))
    for number in range(1, 21):
        await first.number(number)
        await first.drained()
    await is_parked(first)
    first.task.cancel()
    await first.journal.close()
    first.sink.refuses = set()
    second = await start(World(after=first))
    await nothing_left(second)
    assert (second.delivered(), await second.letters()) == (list(range(1, 21)), [])


async def test_what_is_refused_again_after_a_person_has_resumed_the_sink_is_dead_and_holds_nothing_up(start: Start):
    world = await start(World(sink=Refusing(), batch=30), *range(1, 41))
    await is_parked(world)
    world.sink.refuses = {f"event-{number}" for number in range(1, 31)}
    world.lane.resume(by_command=True)
    await nothing_left(world)
    assert world.delivered() == list(range(31, 41))
    assert [letter.sequence for letter in await world.letters()] == list(range(1, 31))


@pytest.mark.parametrize("count", [20, 40])
async def test_a_reload_makes_no_letters_of_a_row_that_is_refused_again(start: Start, count: int):
    world = await start(World(sink=Refusing(), batch=30))
    for number in range(1, count + 1):
        await world.number(number)
        await asyncio.sleep(0)
        await world.drained()
    for _ in range(3):
        await is_parked(world)
        made = len(world.attempts())
        world.lane.resume()
        await world.sink.wait_for_attempts(made + 1)
    await is_parked(world)
    world.sink.refuses = set()
    world.lane.resume()
    await nothing_left(world)
    assert (world.delivered(), await world.letters()) == (list(range(1, count + 1)), [])


async def test_refused_events_among_others_are_dead_however_many(start: Start):
    world = World(sink=Refusing(), batch=10)
    world.sink.refuses = {f"event-{number}" for number in range(1, 101) if number % 10}
    await start(world, *range(1, 101))
    await world.drained()
    assert world.delivered() == list(range(10, 101, 10))
    assert len(await world.letters()) == 90


async def test_what_was_refused_before_the_last_one_taken_is_dead_and_what_followed_is_not(start: Start):
    world = World(sink=Refusing())
    world.sink.refuses = {f"event-{number}" for number in range(1, 51) if number != 10}
    await start(world, *range(1, 51))
    assert "40 events in a row" in await is_parked(world)
    assert [letter.sequence for letter in await world.letters()] == list(range(1, 10))
    assert await world.cursor() == 10


async def test_zero_parks_never(start: Start):
    world = await start(World(sink=Refusing(), park_after_refusals=0), *range(1, 101))
    await world.drained()
    assert len(await world.letters()) == 100


STEPS = st.lists(st.sampled_from(["refused", "taken", "retry", "found unfit"]), max_size=80)


@given(steps=STEPS, limit=st.integers(1, 30))
def test_the_row_is_full_at_the_limit_and_never_before(steps: list[str], limit: int):
    refusals, row = Refusals(limit), 0
    for number, step in enumerate(steps):
        event = sample_event(number)
        outcome = {
            "refused": Reject(0, "422"),
            "taken": None,
            "retry": Retry("503"),
            "found unfit": Reject(0, "too large", in_a_row=frozenset()),
        }[step]
        judged = refusals.judge([event], outcome)
        row = 0 if step == "taken" else row + (step == "refused")
        if step == "refused" and row == limit:
            assert isinstance(judged, Park)
            assert refusals.revived() == tuple(refusals_before(steps, number, limit))
            return
        assert judged is outcome
        assert refusals.revived() == ()


def refusals_before(steps: list[str], number: int, limit: int) -> list[str]:
    """The ids of the refused events of the row that ends with this one, without itself."""
    refused = [place for place in range(number) if steps[place] == "refused"]
    return [sample_event(place).id for place in refused[len(refused) - limit + 1 :]]
