"""The file's sides of a copy: who may not be disturbed, what a copy that ends early leaves behind, and a restore."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from listener.errors import JournalError, JournalLocked
from listener.journal.copying import copy
from listener.journal.sqlite import SqliteJournal
from listener.journal.sqlite.copying import opened_source, opened_target
from listener.journal.sqlite.views import verify
from listener.model.event import JournalBatch, SessionState
from listener.runtime.clock import SYSTEM_CLOCK
from support.copies import holds, make_rich_journal
from support.events import disposition_event


@pytest.fixture
async def rich(tmp_path):
    await make_rich_journal(tmp_path / "rich.db")
    return tmp_path / "rich.db"


async def test_a_copy_is_a_journal_that_goes_on_where_the_source_ended(rich, tmp_path):
    target = tmp_path / "copy.db"
    async with opened_source(rich) as given, opened_target(target) as made:
        await copy(given, made)
    assert target.stat().st_mode & 0o777 == 0o600
    journal = SqliteJournal(path=target)
    await journal.open()
    assert await journal.append(JournalBatch(events=(disposition_event(0),))) == 41
    assert [event.id for event in await journal.replays("crm", 10)] == ["event-6"]
    await journal.close()


async def test_a_copy_is_sound(rich, tmp_path):
    async with opened_source(rich) as given, opened_target(tmp_path / "copy.db") as made:
        await copy(given, made)
    assert verify(tmp_path / "copy.db") == []


async def test_a_journal_that_a_daemon_owns_is_neither_side(rich, tmp_path):
    owner = SqliteJournal(path=rich)
    await owner.open()
    with pytest.raises(JournalLocked, match="in use by another process"):
        async with opened_source(rich):
            pytest.fail("it is owned")
    with pytest.raises(JournalLocked, match="in use by another process"):
        async with opened_target(rich):
            pytest.fail("it is owned")
    await owner.close()


async def test_nobody_can_own_either_side_while_it_is_copied(rich, tmp_path):
    async with opened_source(rich), opened_target(tmp_path / "copy.db"):
        for path in (rich, tmp_path / "copy.db"):
            with pytest.raises(JournalLocked):
                await SqliteJournal(path=path).open()


async def test_a_file_that_is_there_is_no_target(rich, tmp_path):
    before = rich.read_bytes()
    with pytest.raises(JournalError, match=r"rich\.db is there already"):
        async with opened_target(rich):
            pytest.fail("it is there")
    assert rich.read_bytes() == before


async def test_a_journal_that_is_not_there_is_no_source_and_is_not_made(tmp_path):
    with pytest.raises(JournalError, match="no such file"):
        async with opened_source(tmp_path / "none.db"):
            pytest.fail("it is not there")
    assert list(tmp_path.iterdir()) == []


async def test_gaps_that_are_not_on_record_yet_are_not_left_behind(rich, tmp_path):
    content = bytearray(rich.read_bytes())
    content[:4096] = b"x" * 4096
    rich.write_bytes(content)
    with pytest.raises(JournalError, match="run the daemon on it once"):
        async with opened_source(rich):
            pytest.fail("its gaps are not on record")


async def test_what_an_attempt_that_was_killed_has_left_is_no_hindrance(rich, tmp_path):
    target = tmp_path / "copy.db"
    target.with_name("copy.db.part").write_bytes(b"half of it")
    async with opened_source(rich) as given, opened_target(target) as made:
        await copy(given, made)
    assert holds(target) == holds(rich)
    assert not target.with_name("copy.db.part").exists()


async def test_an_empty_journal_with_a_past_is_copied_with_its_last_sequence(tmp_path):
    journal = SqliteJournal(path=tmp_path / "old.db")
    await journal.open()
    await journal.append(JournalBatch(events=(disposition_event(0),)))
    await journal.retain(before_ms=2**53, keep_for=())
    await journal.close()
    async with opened_source(tmp_path / "old.db") as given, opened_target(tmp_path / "copy.db") as made:
        assert (await copy(given, made)).last_sequence == 1
    with closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        assert connection.execute("SELECT * FROM meta").fetchall() == [(1, 1, 1)]


async def restored(source: Path, target: Path) -> None:
    async with opened_source(source) as given, opened_target(target, restored=True) as made:
        await copy(given, made)


async def test_a_restored_journal_holds_the_source_and_its_loss_since_the_last_event(rich, tmp_path):
    began_ms = SYSTEM_CLOCK.now_ms()
    await restored(rich, tmp_path / "new.db")
    before, after = holds(rich), holds(tmp_path / "new.db")
    assert {name for name in before if before[name] != after[name]} == {"hole", "session", "last_sequence"}
    journal = SqliteJournal(path=tmp_path / "new.db")
    await journal.open()
    (newest,) = await journal.read(29, 1)
    (damage,) = await journal.pending_damages()
    assert (damage.set_aside, damage.stretches) == ("", ((newest.received_ms, damage.at_ms),))
    assert began_ms <= damage.at_ms <= SYSTEM_CLOCK.now_ms()
    assert {session.clean for session in (await journal.sessions()).values()} == {False}
    last = await journal.append(JournalBatch(events=(disposition_event(1),)))
    assert last > began_ms
    held = (await journal.stats()).events
    assert journal.events_between(0, last) == held == 24
    await journal.close()


@pytest.mark.parametrize("seen_ms", [None, 1_700_000_000_000])
async def test_a_restored_journal_without_an_event_has_its_loss_since_its_sessions_were_seen(tmp_path, seen_ms):
    source = SqliteJournal(path=tmp_path / "journal.db")
    await source.open()
    if seen_ms is not None:
        session = SessionState(
            account="agent1",
            url="https://gws.example.com",
            topic="/v2/me/chats",
            client_id="client",
            connection_type="long-polling",
            ack=None,
            seen_ms=seen_ms,
        )
        await source.append(JournalBatch(sessions=(session,)))
    await source.close()
    await restored(tmp_path / "journal.db", tmp_path / "new.db")
    journal = SqliteJournal(path=tmp_path / "new.db")
    await journal.open()
    (damage,) = await journal.pending_damages()
    since_ms = damage.at_ms if seen_ms is None else seen_ms
    assert damage.stretches == ((since_ms, damage.at_ms),)
    await journal.close()


async def test_sequences_of_a_restored_journal_go_on_above_those_of_a_restore_before(rich, tmp_path):
    await restored(rich, tmp_path / "first.db")
    first = SqliteJournal(path=tmp_path / "first.db")
    await first.open()
    seen = await first.append(JournalBatch(events=(disposition_event(1),)))
    await first.settle_damages(await first.pending_damages())
    await first.close()
    await asyncio.sleep(0.01)
    await restored(rich, tmp_path / "second.db")
    second = SqliteJournal(path=tmp_path / "second.db")
    await second.open()
    assert await second.append(JournalBatch(events=(disposition_event(1),))) > seen
    await second.close()
