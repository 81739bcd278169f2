"""kill -9 in the middle of a stream, again and again: once the dust settles, every event is in the file."""

import asyncio
import contextlib
import itertools
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from listener.simulator import Simulator, SimulatorOptions
from support.eventually import eventually
from support.listening import CODE, Listening, numbers, without_repeats
from support.publishing import SimulatedSite, Site

Install = Callable[..., Awaitable[Listening]]
KILLS = 8
SITES_WITH_ACK = ["cometd with ack", "simulator with ack"]


@pytest.fixture
def dice() -> random.Random:
    """Seeded anew each time; the seed of a failed run stands in its output."""
    seed = time.time_ns()
    print(f"seed {seed}")
    return random.Random(seed)  # noqa: S311 - dice for a test


@contextlib.asynccontextmanager
async def streaming(publish: Callable[[int], Awaitable[None]]) -> AsyncIterator[list[int]]:
    """Publish one number after the other until the end of the block; gives the numbers so far."""
    sent: list[int] = []

    async def stream() -> None:
        for number in itertools.count(1):
            await publish(number)
            sent.append(number)
            await asyncio.sleep(0.003)

    task = asyncio.create_task(stream(), name="stream")
    try:
        yield sent
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def killed_at_random(listening: Listening, dice: random.Random) -> None:
    """Kill and start again `KILLS` times: every other time in its work, the rest at any moment of its life."""
    for kill in range(KILLS):
        if kill % 2:
            before = len(listening.events)
            await eventually(lambda before=before: len(listening.events) > before, interval_s=0.002)
            await asyncio.sleep(dice.uniform(0.0, 0.05))
        else:
            await asyncio.sleep(dice.uniform(0.0, 1.0))
        await listening.daemon.kill()
        await listening.start(subscribed=False)
    await listening.daemon.logged("subscribed")


@pytest.mark.parametrize("site", SITES_WITH_ACK, indirect=True)
async def test_every_event_is_in_the_file_after_many_kills(site: Site, install: Install, dice: random.Random):
    listening = await install(site)
    await listening.start()
    async with streaming(site.publish) as sent:
        await killed_at_random(listening, dice)
    last = sent[-1]
    await listening.heard(range(1, last + 1), timeout_s=30.0)
    events = without_repeats(listening.dispositions)
    assert [number for number in numbers(events) if number <= last] == list(range(1, last + 1))
    sequences = [int(event["sequence"]) for event in events]
    assert sequences == sorted(set(sequences)), "what stands once in the journal is one event"
    assert listening.gaps == []
    assert await site.handshakes() == 1


async def test_without_ack_what_a_kill_took_along_is_found_by_reading_the_chats(install: Install, dice: random.Random):
    """One chat an event. What was lost between the server's socket and the journal is still to be seen in its chat."""
    async with Simulator(SimulatorOptions(agents=1, timeout_ms=1000, max_interval_ms=20_000)) as simulator:
        listening = await install(SimulatedSite(simulator))
        await listening.start()

        async def publish(number: int) -> None:
            simulator.add_chat(f"chat-{number}")
            simulator.set_disposition("agent1", f"chat-{number}", f"{CODE}{number}")

        async with streaming(publish) as sent:
            await killed_at_random(listening, dice)
        await listening.heard(sent, timeout_s=30.0)
        events = without_repeats(listening.dispositions)
        assert sorted(set(numbers(events))) == list(range(1, len(simulator.ledger) + 1))
        # A chat may be found while its notification still waits on the server, which then brings nothing new.
        assert len([event for event in events if event["data"]["change"] == "set"]) == len(simulator.ledger)
        assert {gap["reason"] for gap in listening.gaps} == {"restart"}


@pytest.mark.parametrize("site", ["simulator with ack"], indirect=True)
async def test_an_event_that_a_kill_kept_from_the_cursor_comes_again_as_it_was(
    site: Site, install: Install, tmp_path: Path
):
    """Between a sink's write and its cursor a kill leaves an event that is delivered and does not count as such."""
    listening = await install(site)
    await listening.start()
    await site.publish(1, 20)
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as journal:
        await eventually(lambda: journal.execute("SELECT sequence FROM sink_cursor").fetchall() == [(20,)])
        await listening.daemon.kill()
        journal.execute("UPDATE sink_cursor SET sequence = 15")
    await listening.start()
    await eventually(lambda: len(listening.events) >= 25)
    assert listening.numbers == [*range(1, 21), *range(16, 21)]
    assert numbers(without_repeats(listening.events)) == list(range(1, 21))


@pytest.mark.parametrize("site", ["simulator with ack"], indirect=True)
async def test_a_line_that_a_kill_cut_in_two_is_made_whole(site: Site, install: Install, tmp_path: Path):
    listening = await install(site)
    await listening.start()
    await site.publish(1, 3)
    await listening.heard([1, 2, 3])
    await listening.daemon.kill()
    audit = tmp_path / "dispositions.jsonl"
    whole = audit.read_bytes()
    audit.write_bytes(whole + whole.splitlines()[-1][:100])
    await listening.start()
    await site.publish(4)
    await listening.heard([4])
    assert numbers(without_repeats(listening.events)) == [1, 2, 3, 4]
    assert audit.read_bytes().startswith(whole)
