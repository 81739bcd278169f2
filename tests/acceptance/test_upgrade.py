"""A restart for an upgrade: the session is left standing, the next process goes on with it, nothing is missed."""

import asyncio
import itertools
import shutil
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from support.eventually import eventually
from support.listening import Listening, numbers, without_repeats
from support.params import some_of
from support.publishing import Site
from support.receiver import Answer, Receiver

Install = Callable[..., Awaitable[Listening]]
SITES = ("cometd with ack", "cometd without ack", "simulator with ack", "simulator without ack")


async def test_an_upgrade_costs_no_handshake_no_gap_and_no_event(site: Site, install: Install):
    listening = await install(site)
    await listening.start()
    await site.publish(1, 5)
    await listening.heard(range(1, 6))
    assert await listening.stop() == 0, listening.daemon.output()
    await site.publish(6, 20)
    await listening.start()
    await listening.heard(range(6, 26))
    await site.publish(26, 5)
    await listening.heard(range(26, 31))
    assert listening.numbers == list(range(1, 31))
    assert listening.gaps == []
    assert await site.handshakes() == 1
    metrics = await listening.metrics()
    assert (metrics.total("handshakes_total"), metrics.total("resumes_total")) == (0, 1)


@pytest.mark.parametrize("site", some_of(SITES, "simulator without ack"), indirect=True)
async def test_upgrades_in_the_middle_of_a_stream_cost_nothing(site: Site, install: Install):
    """The stop falls where it falls: into a held poll, into a batch on its way, into a commit."""
    listening = await install(site)
    await listening.start()
    stopping = asyncio.Event()

    async def stream() -> int:
        for first in itertools.count(1, 5):
            await site.publish(first, 5)
            if stopping.is_set():
                return first + 4
            await asyncio.sleep(0.005)
        raise AssertionError

    streaming = asyncio.create_task(stream(), name="stream")
    try:
        for seen in (50, 100, 150):
            await eventually(lambda seen=seen: len(listening.numbers) >= seen, interval_s=0.005)
            assert await listening.stop() == 0, listening.daemon.output()
            await listening.start()
    finally:
        stopping.set()
        last = await streaming
    await listening.heard(range(1, last + 1))
    assert listening.numbers == list(range(1, last + 1))
    assert listening.gaps == []
    assert await site.handshakes() == 1


@pytest.mark.parametrize(
    "site", some_of(("cometd with ack", "simulator without ack"), "cometd with ack"), indirect=True
)
async def test_a_session_that_is_not_wanted_any_more_is_ended(site: Site, install: Install):
    listening = await install(site, disconnect_on_stop=True)
    await listening.start()
    await site.publish(1)
    await listening.heard([1])
    assert await site.sessions() == 1
    assert await listening.stop() == 0, listening.daemon.output()
    assert await site.sessions() == 0
    await listening.start()
    await site.publish(2)
    await listening.heard([2])
    assert await site.handshakes() == 2
    assert [gap["reason"] for gap in listening.gaps] == ["restart"]


@pytest.mark.parametrize("site", ["simulator without ack"], indirect=True)
async def test_a_stop_drains_what_a_slow_sink_has_not_got_yet(site: Site, install: Install, receiver: Receiver):
    receiver.answers = Answer(delay_s=0.02)
    listening = await install(site, webhook=receiver.url)
    await listening.start()
    await site.publish(1, 60)
    await receiver.received(5)
    assert len(receiver.posts) < 60
    assert await listening.stop() == 0, listening.daemon.output()
    assert numbers([post.json for post in receiver.posts]) == list(range(1, 61))


@pytest.mark.parametrize("site", ["simulator without ack"], indirect=True)
async def test_what_a_stop_has_no_time_to_drain_waits_for_the_next_start(
    site: Site, install: Install, receiver: Receiver, tmp_path: Path
):
    receiver.answers = Answer(delay_s=0.05)
    listening = await install(site, webhook=receiver.url, shutdown_timeout_s=0.5)
    await listening.start()
    await site.publish(1, 100)
    await receiver.received(3)
    assert await listening.stop() == 0, listening.daemon.output()
    left = (await listening.daemon.logged("not_drained"))["left_in_the_journal"]
    assert left["crm"] > 0
    assert len(receiver.posts) < 100
    receiver.answers = Answer()
    await listening.start()
    await eventually(lambda: len(without_repeats([post.json for post in receiver.posts])) == 100)
    delivered = without_repeats([post.json for post in receiver.posts])
    assert numbers(delivered) == list(range(1, 101))
    assert listening.numbers == list(range(1, 101))


@pytest.mark.long
@pytest.mark.parametrize("site", ["simulator with ack"], indirect=True)
async def test_a_newer_journal_is_refused_untouched_and_its_older_copy_goes_on_with_the_loss_on_record(
    site: Site, install: Install, receiver: Receiver, start_command
):
    """docs/upgrading.md, going back: lock and audit trail are still there, so no --restore is needed."""
    listening = await install(site, webhook=receiver.url)
    journal = listening.folder / "journal.db"
    await listening.start()
    await site.publish(1, 5)
    await listening.heard(range(1, 6))
    assert await listening.stop() == 0
    shutil.copy2(journal, journal.with_name("before.db"))
    await listening.start()
    await site.publish(6, 5)
    await listening.heard(range(6, 11))
    assert await listening.stop() == 0
    delivered = [post.json for post in receiver.posts]
    with closing(sqlite3.connect(journal)) as connection:
        connection.execute("PRAGMA user_version = 99")

    newer = journal.read_bytes()
    for words in (("run",), ("journal", "stats"), ("journal", "verify"), ("dead-letters", "list")):
        command = await start_command(*words, "--config", listening.folder / "listener.toml")
        assert await command.wait() == 1, command.output()
        assert "schema version 99" in command.output()
        assert journal.read_bytes() == newer

    journal.rename(journal.with_name("after.db"))
    journal.with_name("before.db").rename(journal)
    await listening.start()
    await site.publish(11, 5)
    await listening.heard(range(11, 16))
    assert await listening.stop() == 0
    assert {gap["reason"] for gap in listening.gaps} >= {"journal_lost"}
    fresh = [post.json for post in receiver.posts][len(delivered) :]
    assert min(int(event["sequence"]) for event in fresh) > 1_000_000 + max(int(e["sequence"]) for e in delivered)
    assert numbers([event for event in fresh if event["type"].endswith(".disposition")]) == list(range(11, 16))
