"""Hearing of new events from the database."""

import asyncio
import time

import pytest

from listener.errors import JournalError
from listener.journal.postgres.ear import PAUSE_S
from listener.model.event import JournalBatch
from listener.testing import sample_event


async def writer(world):
    database = await world.opened()
    me = (await database.join("writer", version="1", lease_s=60.0)).incarnation
    number = 0

    async def write():
        nonlocal number
        number += 1
        return (await database.append(me, number, JournalBatch(events=(sample_event(1),)), {}, {})).last_sequence

    return write


async def listener_of(world):
    database = await world.opened()
    await database.join("listener", version="1", lease_s=60.0)
    return database


async def test_an_event_is_heard_of_sooner_than_it_would_be_asked_for(world):
    write, database = await writer(world), await listener_of(world)
    assert await database.heard(-1) == 0
    waits = []
    for _ in range(5):
        began = time.monotonic()
        hearing = asyncio.create_task(database.heard(database._ear._last))
        await asyncio.sleep(0.01)
        last = await write()
        assert await hearing == last
        waits.append(time.monotonic() - began)
    assert min(waits) < PAUSE_S / 2


async def test_without_news_it_returns_after_a_pause(world):
    database = await listener_of(world)
    began = time.monotonic()
    assert await database.heard(0) == 0
    assert time.monotonic() - began >= PAUSE_S


async def test_what_was_stored_while_the_connection_was_away_is_heard_of(world):
    write, database = await writer(world), await listener_of(world)
    assert await database.heard(-1) == 0
    await world.server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
    )
    await write()
    assert await database.heard(0) == 1


async def test_closing_ends_the_waiting(world):
    database = await listener_of(world)
    hearing = asyncio.create_task(database.heard(0))
    await asyncio.sleep(0.1)
    await database.close()
    with pytest.raises(JournalError, match="not open"):
        await hearing
