"""What became a dead letter stays one, whenever the lane ends: neither forgotten, nor brought behind younger ones."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from msgspec.structs import replace

from listener.delivery import lane
from listener.errors import JournalError, Park, Reject, Retry
from support.eventually import eventually
from support.lanes import World

Start = Callable[..., Awaitable[World]]

NEVER_S = 3600.0


async def end(world: World) -> None:
    with suppress(asyncio.CancelledError):
        await world.end()


async def test_a_letter_takes_the_cursor_along(start: Start, monkeypatch: pytest.MonkeyPatch):
    """Else the event would come again at the next start, behind those that were delivered meanwhile."""
    monkeypatch.setattr(lane, "_CURSOR_LAG_S", NEVER_S)
    world = await start(World(Reject(0, "no")), 1)
    await eventually(world.letters)
    assert await world.cursor() == 1
    await world.number(2)
    await world.sink.wait_for_events(1)
    await end(world)
    again = await start(World(after=world))
    await again.sink.wait_for_events(2)
    assert again.attempts() == [[1], [2], [2]]


async def test_what_died_in_a_batch_whose_head_still_fails_does_not_come_again(start: Start):
    """The destination takes 3 before 1, of another chat; 2 is of the chat of 3, and would come behind it."""
    world = await start(World(Reject(1, "no"), Retry("busy", delivered=frozenset({1})), Park("401")), 1, 2, 3)
    await eventually(lambda: world.lane.status().parked)
    assert await world.cursor() == 0
    await end(world)
    again = await start(World(after=world), 4)
    await again.drained()
    assert again.attempts() == [[1, 2, 3], [1, 3], [1], [1, 3, 4]]
    assert [letter.sequence for letter in await again.letters()] == [2]
    assert again.lane.status().delivered == 3


async def test_a_batch_of_nothing_but_letters_is_done_with(start: Start):
    world = await start(World(Reject(1, "no"), Park("401"), batch=2), 1, 2)
    await eventually(lambda: world.lane.status().parked)
    (letter,) = await world.letters()
    await world.journal.advance("crm", 0, [replace(letter, sequence=1, event_id="event-1")])
    await end(world)
    again = await start(World(after=world, batch=2), 3)
    await again.drained()
    assert again.delivered() == [3]
    assert await again.cursor() == 3


async def test_only_the_very_event_of_a_letter_is_left_out(start: Start):
    """A restored journal may have given its sequence to another."""
    world = await start(World(Reject(1, "no"), Park("401")), 1, 2)
    await eventually(lambda: world.lane.status().parked)
    (letter,) = await world.letters()
    await world.journal.advance("crm", 0, [replace(letter, event_id="event-7")])
    await end(world)
    again = await start(World(after=world))
    await again.drained()
    assert again.delivered() == [1, 2]


async def test_the_cursor_never_overtakes_a_letter_that_cannot_be_stored(start: Start, monkeypatch: pytest.MonkeyPatch):
    """A crash between the two would lose the event; the journal of the test looks at every move of the cursor."""
    monkeypatch.setattr(lane, "_JOURNAL_RETRY_S", 0.001)
    monkeypatch.setattr(lane, "_CURSOR_LAG_S", 0.0)
    world = World(None, Reject(0, "no"), batch=2)
    world.journal.letter_errors = [JournalError("disk full")] * 50
    await start(world, 1, 2, 3, 4)
    await world.drained()
    assert world.delivered() == [1, 2, 4]
    assert [letter.sequence for letter in await world.letters()] == [3]
