"""kill -9 in the middle of a stream, again and again: once the dust settles, every event is in the file."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from listener.simulator import Simulator, SimulatorOptions
from support.books import AuditBook
from support.config import AUDIT
from support.eventually import eventually
from support.listening import CODE, Listening, numbers, without_repeats
from support.process import Daemon
from support.publishing import SimulatedSite, Site
from support.receiver import Receiver
from support.stage import Stage

Install = Callable[..., Awaitable[Listening]]
Json = dict[str, Any]
KILLS = 4
MANY_KILLS = 200
SITES_WITH_ACK = ["cometd with ack", pytest.param("simulator with ack", marks=pytest.mark.long)]


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
    await listening.heard(range(1, last + 1))
    assert [number for number in listening.numbers if number <= last] == list(range(1, last + 1)), "each once"
    sequences = [int(event["sequence"]) for event in listening.events]
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
        await listening.heard(sent)
        events = without_repeats(listening.dispositions)
        assert sorted(set(numbers(events))) == list(range(1, len(simulator.ledger) + 1))
        # A chat may be found while its notification still waits on the server, which then brings nothing new.
        assert len([event for event in events if event["data"]["change"] == "set"]) == len(simulator.ledger)
        assert {gap["reason"] for gap in listening.gaps} == {"restart"}


@pytest.mark.parametrize("site", ["simulator with ack"], indirect=True)
async def test_an_event_that_a_kill_kept_from_the_cursor_comes_again_as_it_was_and_the_file_has_it_once(
    site: Site, install: Install, tmp_path: Path, receiver: Receiver
):
    """Between a sink's write and its cursor a kill leaves an event that is delivered and does not count as such."""
    listening = await install(site, webhook=receiver.url)
    await listening.start()
    await site.publish(1, 20)
    await receiver.received(20)
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db", isolation_level=None)) as journal:
        cursors = "SELECT sequence FROM sink_cursor"
        await eventually(lambda: journal.execute(cursors).fetchall() == [(20,), (20,)])
        await listening.daemon.kill()
        journal.execute("UPDATE sink_cursor SET sequence = 15")
        await listening.start()
        await receiver.received(25)
        await eventually(lambda: journal.execute(cursors).fetchall() == [(20,), (20,)])
    assert numbers(receiver.accepted()) == [*range(1, 21), *range(16, 21)]
    assert numbers(without_repeats(receiver.accepted())) == list(range(1, 21))
    assert listening.numbers == list(range(1, 21))


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


class Killer:
    """Kills one daemon after the other in every part of its life, and keeps what each wrote to standard output."""

    def __init__(self, listening: Listening, audit: AuditBook, dice: random.Random) -> None:
        self.kills: Counter[str] = Counter()
        self.printed: list[Json] = []
        self._listening = listening
        self._audit = audit
        self._dice = dice
        self._wal = listening.folder / "journal.db-wal"
        self._moments: dict[str, Callable[[Daemon], Awaitable[None]]] = {
            "start": self._in_its_start,
            "stream": self._in_the_stream,
            "commit": self._in_a_commit,
            "stop": self._in_its_stop,
        }

    async def kill(self, moment: str) -> None:
        """Wait for the moment, kill, and start again at once."""
        daemon = self._listening.daemon
        await self._moments[moment](daemon)
        assert daemon.exit_status is None or moment == "stop", daemon.output()
        await daemon.kill()
        self.kills[moment] += 1
        self.collect(daemon)
        await self._listening.start(subscribed=False)

    def collect(self, daemon: Daemon) -> None:
        """The events of a process that has ended. A kill may cut the last line, which then comes again."""
        for line in daemon.lines:
            if line.startswith('{"specversion"'):
                with contextlib.suppress(json.JSONDecodeError):
                    self.printed.append(json.loads(line))

    async def _in_its_start(self, _daemon: Daemon) -> None:
        await asyncio.sleep(self._dice.uniform(0.0, 0.5))

    async def _delivers(self) -> None:
        """Wait until this process has written to the audit file."""
        self._audit.read_on()
        await eventually(self._audit.read_on, interval_s=0.005, what=self._listening.daemon.output)

    async def _in_the_stream(self, _daemon: Daemon) -> None:
        await self._delivers()
        await asyncio.sleep(self._dice.uniform(0.0, 0.2))

    async def _in_a_commit(self, daemon: Daemon) -> None:
        """As soon as the log of the journal moves: its frames are written, and not yet flushed."""
        await self._delivers()
        await asyncio.to_thread(self._kill_when_the_log_moves, daemon.pid, self._dice.uniform(0.0, 0.0005))

    def _kill_when_the_log_moves(self, pid: int, delay_s: float) -> None:
        before = self._wal.stat().st_mtime_ns
        deadline = time.monotonic() + 5.0
        while self._wal.stat().st_mtime_ns == before and time.monotonic() < deadline:
            pass
        time.sleep(delay_s)
        os.kill(pid, signal.SIGKILL)

    async def _in_its_stop(self, daemon: Daemon) -> None:
        await self._delivers()
        daemon.send_signal(signal.SIGTERM)
        await asyncio.sleep(self._dice.uniform(0.0, 0.15))


def identities(lines: Sequence[Json]) -> dict[str, str]:
    """The id of each disposition."""
    return {line["data"]["disposition"]: line["id"] for line in lines}


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_two_hundred_kills_cost_no_sink_anything(
    owned: contextlib.AsyncExitStack, tmp_path: Path, receiver: Receiver, dice: random.Random
):
    """File, standard output and webhook, over one journal; the kills fall into starts, commits and stops as well."""
    async with Stage(chats=10, max_interval_ms=120_000) as stage:
        # A batch that takes longer than a process lives would be begun again and again.
        sinks = {"out": {"type": "stdout"}, "crm": {"retry_limit_s": 1.0, "batch": 50}}
        listening = await owned.enter_async_context(
            Listening(tmp_path, webhook=receiver.url, sinks=sinks, **stage.settings)
        )
        await listening.start()
        killer = Killer(listening, AuditBook(tmp_path / AUDIT), dice)
        moments = dice.choices(["start", "stream", "commit", "stop"], weights=[4, 3, 2, 1], k=MANY_KILLS)
        async with stage.publisher.streaming(pause_s=0.012):
            for moment in moments:
                await killer.kill(moment)
        print(f"{killer.kills}, {len(stage.ledger)} published")
        await stage.all_written(listening)
        await stage.arrived(receiver.accepted, timeout_s=300.0, what=listening.daemon.output)  # behind by a busy host
        assert await listening.stop() == 0
        killer.collect(listening.daemon)
    posted = receiver.accepted()
    assert stage.problems(listening.events) == ()
    assert stage.problems(killer.printed) == ()
    for chat in stage.chats:  # which the webhook serves side by side
        assert stage.problems(posted, chat=chat) == ()
    assert identities(listening.events) == identities(killer.printed) == identities(posted)
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as journal:
        assert journal.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
