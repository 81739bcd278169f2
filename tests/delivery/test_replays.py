"""Letters that are replayed go between the batches of the stream, and disturb neither its cursor nor its order."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence

import pytest

from listener.delivery import replays
from listener.errors import JournalError, Park, Refusal, Reject, Retry
from listener.model.event import DeadLetter, DeadLetterFilter, Event
from support.eventually import eventually
from support.lanes import HOUR_S, Ailing, World

Start = Callable[..., Awaitable[World]]
CRM = DeadLetterFilter(sink="crm")


async def with_letters(start: Start, world: World, count: int = 3) -> World:
    """A world in which the first events were rejected and what follows was delivered."""
    first = Reject(0, "422", rejected={index: Refusal("422") for index in range(1, count)}, detail="not yet")
    world.sink.then(first)
    await start(world, *range(1, count + 2))
    await world.drained()
    assert len(await world.letters()) == count
    return world


async def replayed(world: World, which: DeadLetterFilter = CRM) -> None:
    await world.journal.replay_dead_letters(which)
    world.lane.replay()


async def none_left(world: World) -> None:
    async def probe() -> bool:
        return not await world.letters()

    await eventually(probe)


async def test_a_letter_that_is_delivered_is_one_no_more_and_the_event_is_as_it_was(start: Start):
    world = await with_letters(start, World())
    stored = {event.sequence: event for event in await world.journal.read(0, 100)}
    await replayed(world)
    await none_left(world)
    assert world.delivered() == [4, 1, 2, 3]
    assert all(event == stored[event.sequence] for event in world.sink.events)
    assert world.count("sink_replayed_total") == 3
    assert (await world.cursor(), world.lane.status().lag) == (4, 0)
    assert world.count("sink_delivered_total") == 1, "the stream's own"


async def test_only_the_allowed_fields_leave_in_the_stream_and_in_a_replay(start: Start):
    world = await with_letters(start, World(fields=frozenset({"chatId", "disposition"})), count=1)
    await replayed(world)
    await none_left(world)
    assert world.delivered() == [2, 1]
    assert [list(json.loads(event.data)) for event in world.sink.events] == [["disposition", "chatId"]] * 2
    assert "account" in json.loads((await world.journal.read(0, 1))[0].data), "the journal keeps it whole"


async def test_only_what_is_marked_is_delivered_in_batches_of_the_lane(start: Start):
    world = await with_letters(start, World(batch=2), count=2)
    world.sink.then(Reject(0, "422", rejected={1: Refusal("422")}))
    await world.number(8, 9)
    await world.drained()
    await replayed(world, DeadLetterFilter(event_ids=("event-1", "event-8", "event-9")))
    await world.sink.wait_for_events(4)
    assert world.attempts()[-2:] == [[1, 8], [9]]
    assert [letter.event_id for letter in await world.letters()] == ["event-2"]


async def test_what_is_rejected_again_stays_with_its_attempts_added_up_and_the_latest_reason(start: Start):
    world = await with_letters(start, World())
    world.sink.then(Retry("503"), Reject(1, "410", detail="gone", delivered=frozenset({0})))
    await replayed(world)
    await eventually(lambda: len(world.delivered()) == 3)

    async def settled() -> list[tuple[object, ...]]:
        return [(one.event_id, one.reason, one.answer, one.attempts, one.replaying) for one in await world.letters()]

    assert await settled() == [("event-2", "410", "gone", 3, False)]
    assert world.delivered() == [4, 1, 3]
    assert world.count("sink_dead_letters_total") == 3, "it was counted when it became one"


async def test_a_retry_leaves_the_mark_and_the_stream_goes_on_meanwhile(start: Start):
    world = await with_letters(start, World(sink=Ailing(fails_for=(), takes_s=0.0)))
    world.sink.fails_for = {"event-2"}
    await replayed(world)
    await world.sink.wait_for_attempts(6)
    assert [letter.event_id for letter in await world.letters() if letter.replaying] == ["event-2"]
    await world.number(10, 11)
    await world.drained()
    assert world.delivered()[-2:] == [10, 11]
    assert world.lane.status().last_error == "500"
    world.sink.fails_for = ()
    await none_left(world)
    assert world.lane.status().last_error is None


async def test_letters_that_keep_failing_are_not_in_the_way_of_others(start: Start):
    ailing = Ailing(fails_for=(), takes_s=0.0)
    world = await with_letters(start, World(sink=ailing, park_after_refusals=0), count=120)
    world.sink.fails_for = {f"event-{number}" for number in range(1, 101)}
    await replayed(world)
    await world.sink.wait_for_events(21)
    assert world.delivered()[1:] == list(range(101, 121))
    assert max(len(batch) for batch in world.attempts()[1:]) == 50, "the stream does not wait for hundreds of them"
    world.sink.fails_for = ()
    await none_left(world)
    assert sorted(world.delivered()) == list(range(1, 122))
    assert world.lane.status().last_error is None


async def test_a_letter_that_is_dropped_is_not_tried_again(start: Start):
    world = await with_letters(start, World(sink=Ailing(fails_for=(), takes_s=0.0)))
    world.sink.fails_for = {"event-2"}
    await replayed(world)
    await world.sink.wait_for_attempts(6)
    await world.journal.drop_dead_letters(CRM)
    await eventually(lambda: world.lane.status().last_error is None)
    made = len(world.attempts())
    await asyncio.sleep(0.02)
    assert len(world.attempts()) == made


async def test_a_park_halts_the_stream_too_and_both_go_on_when_it_ends(start: Start):
    world = await with_letters(start, World())
    world.sink.then(Park("401"))
    await replayed(world)
    await eventually(lambda: world.lane.status().parked)
    await world.number(10)
    made = len(world.attempts())
    await asyncio.sleep(0.02)
    assert len(world.attempts()) == made
    world.lane.resume()
    await none_left(world)
    await world.drained()
    assert sorted(world.delivered()) == [1, 2, 3, 4, 10]


async def test_a_time_that_the_destination_names_holds_for_the_stream_too(start: Start):
    world = await with_letters(start, World())
    world.sink.then(Retry("429", after_s=0.2))
    loop = asyncio.get_running_loop()
    started = loop.time()
    made = len(world.attempts())
    await replayed(world)
    await world.sink.wait_for_attempts(made + 1)
    await world.number(10)
    await world.drained()
    assert loop.time() - started >= 0.2


async def test_what_an_earlier_process_left_is_delivered_without_being_told(start: Start):
    first = await with_letters(start, World())
    await first.journal.replay_dead_letters(CRM)
    first.task.cancel()
    await asyncio.wait((first.task,))
    await first.journal.close()
    second = await start(World(after=first))
    await none_left(second)
    assert second.delivered() == [4, 1, 2, 3]


async def test_two_deliveries_never_overlap(start: Start):
    class Single(Ailing):
        at_once = most = 0

        async def deliver(self, events: Sequence[Event]) -> None:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            try:
                await asyncio.sleep(0.001)
                await super().deliver(events)
            finally:
                self.at_once -= 1

    world = await with_letters(start, World(sink=Single(fails_for=(), takes_s=0.0), batch=5), count=5)
    await replayed(world)
    for number in range(100, 120):
        await world.number(number)
        await asyncio.sleep(0.001)
    await world.drained()
    await none_left(world)
    assert world.sink.most == 1


async def test_a_letter_whose_event_is_gone_from_the_journal_is_replayed_from_its_copy(start: Start):
    world = await with_letters(start, World())
    await world.journal.retain(before_ms=2**53, keep_for=["crm"])
    await replayed(world)
    await none_left(world)
    assert sorted(world.delivered()) == [1, 2, 3, 4]


async def test_a_journal_in_trouble_is_asked_again(start: Start, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(replays, "_JOURNAL_RETRY_S", 0.001)
    world = await with_letters(start, World())
    troubles = [JournalError("disk full")] * 3
    settle = world.journal.settle_replays

    async def settle_in_trouble(*arguments: object) -> None:
        if troubles:
            raise troubles.pop()
        await settle(*arguments)

    monkeypatch.setattr(world.journal, "settle_replays", settle_in_trouble)
    await replayed(world)
    await none_left(world)
    assert world.delivered() == [4, 1, 2, 3], "delivered once all the same"


async def test_a_replay_that_fails_for_the_whole_horizon_is_given_up_and_its_letter_stays(start: Start):
    ailing = Ailing(fails_for=())
    world = await with_letters(start, World(sink=ailing, retry_horizon_s=5 * HOUR_S))
    ailing.fails_for = {"event-2"}
    await replayed(world)
    await eventually(lambda: len(world.delivered()) == 3)
    (letter,) = await eventually(lambda: given_up(world))
    assert (letter.event_id, letter.reason, letter.answer) == ("event-2", "not taken within 5 h", "500: boom")
    assert letter.attempts >= 6


async def given_up(world: World) -> list[DeadLetter]:
    return [letter for letter in await world.letters() if not letter.replaying]
