"""A journal damaged while the daemon was down: it starts by itself, keeps what it can, and says what it lost."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from support.eventually import eventually
from support.listening import Listening, numbers, without_repeats
from support.publishing import Site
from support.receiver import Answer, Receiver

Install = Callable[..., Awaitable[Listening]]
PAGE = 8192


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(path.stat().st_size))


def zeroed(path: Path) -> None:
    """All pages but the first, as a power cut on some file systems leaves them."""
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(bytes(path.stat().st_size - PAGE))


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 + 100)


def content(name: str) -> bytes:
    return Path(name).read_bytes()


@pytest.mark.parametrize(
    "damage",
    [garbage, pytest.param(zeroed, marks=pytest.mark.long), pytest.param(truncated, marks=pytest.mark.long)],
    ids=["garbage", "zeroed", "truncated"],
)
@pytest.mark.parametrize("site", ["simulator with ack"], indirect=True)
async def test_a_damaged_journal_needs_no_hand(
    site: Site, install: Install, tmp_path: Path, damage: Callable[[Path], None]
):
    listening = await install(site)
    await listening.start()
    await site.publish(1, 60)
    await listening.heard(range(1, 61))
    assert await listening.stop() == 0
    journal = tmp_path / "journal.db"
    damage(journal)
    damaged = journal.read_bytes()
    await site.publish(61, 5)

    await listening.start()
    told = await listening.daemon.logged("journal_damaged", level="error")
    assert content(told["set_aside"]) == damaged
    await site.publish(66, 5)
    await listening.heard(range(66, 71))
    # The account's one chat went through 61 to 65 on the way: heard in the session that goes on, or in a gap on record.
    await eventually(lambda: "journal_damaged" in {gap["reason"] for gap in listening.gaps})
    events = without_repeats(listening.dispositions)
    assert set(numbers(events)) >= {*range(1, 61), *range(66, 71)}
    sequences = [int(event["sequence"]) for event in events]
    assert len(set(sequences)) == len(sequences), "a sequence was used twice"
    first_new = next(int(event["sequence"]) for event in events if numbers([event]) == [66])
    assert first_new > max(int(event["sequence"]) for event in events if numbers([event])[0] <= 60)

    assert await listening.stop() == 0
    before = len(listening.events)
    await listening.start()
    await site.publish(71)
    await listening.heard([71])
    assert [line["event"] for line in listening.daemon.log if line["event"] == "journal_damaged"] == []
    assert len(listening.events) == before + 1, "what was repaired once stays so"


@pytest.mark.long
@pytest.mark.parametrize("suffixes", [("-wal", "-shm"), ("", "-wal", "-shm", ".lock")], ids=["log", "all"])
@pytest.mark.parametrize("site", ["simulator with ack"], indirect=True)
async def test_files_that_are_removed_beneath_it_cost_nothing_within_seconds_though_it_is_killed_then(
    site: Site, install: Install, tmp_path: Path, receiver: Receiver, suffixes: tuple[str, ...]
):
    receiver.answers = Answer(status=503)
    listening = await install(site, webhook=receiver.url)
    await listening.start()
    await site.publish(1, 300)
    await listening.heard(range(1, 301))
    for suffix in suffixes:
        (tmp_path / f"journal.db{suffix}").unlink()
    await listening.daemon.logged("journal_rescued", timeout_s=5.0)
    await listening.daemon.kill()
    receiver.mend()
    await listening.start()
    await eventually(lambda: len({event["id"] for event in receiver.accepted()}) == 300, timeout_s=60.0)
    assert listening.gaps == []
