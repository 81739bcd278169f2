"""Reading a journal beside the daemon, and finding what is wrong with one."""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from listener.errors import JournalDamaged, JournalError
from listener.journal.sqlite import SqliteJournal, rows, views
from listener.journal.sqlite.database import PAGE_BYTES
from listener.journal.sqlite.store import open_store
from listener.model.event import DeadLetter, DeadLetterFilter, JournalBatch
from listener.testing import SAMPLE_MS, sample_event

NOT_SEALED = 77


@pytest.fixture
async def live(path):
    """A journal with ten events of two chats, owned and open."""
    journal = SqliteJournal(path=path)
    await journal.open()
    events = (sample_event(n, chat=f"chat-{n % 2}") for n in range(1, 11))
    await journal.append(JournalBatch(events=tuple(events)))
    letter = DeadLetter(sink="crm", sequence=2, event_id="event-2", reason="HTTP 422", attempts=1, at_ms=5)
    await journal.advance("crm", 4, [letter])
    yield journal
    await journal.close()


@pytest.fixture
async def closed(live, path):
    await live.close()
    return path


def tamper(path, statement):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


async def test_the_figures_are_those_of_the_owner(live, path):
    assert views.stats(path) == await live.stats()


async def test_letters_and_their_events_are_seen_while_the_owner_goes_on(live, path):
    assert views.dead_letters(path) == await live.dead_letters()
    assert [event.sequence for event in views.dead_letter_events(path, DeadLetterFilter(event_ids=("event-2",)))] == [2]
    assert views.dead_letters(path, DeadLetterFilter(sink="audit")) == []
    await live.drop_dead_letters(DeadLetterFilter())
    assert views.dead_letters(path) == []


async def test_it_sees_what_is_committed_while_the_owner_goes_on(live, path):
    assert len(views.show(path, limit=100)) == 10
    await live.append(JournalBatch(events=(sample_event(11),)))
    assert views.show(path, limit=100)[-1].id == "event-11"
    assert views.verify(path) == []


async def test_an_owner_can_come_while_somebody_reads(closed):
    lines = views.export(closed)
    first = next(lines)
    journal = SqliteJournal(path=closed)
    await journal.open()
    assert await journal.append(JournalBatch(events=(sample_event(11),))) == 11
    assert len([first, *lines]) >= 10
    await journal.close()


VIEWS = [
    views.stats,
    views.verify,
    lambda path: views.show(path, limit=5),
    lambda path: list(views.export(path)),
]


@pytest.mark.parametrize("view", VIEWS, ids=["stats", "verify", "show", "export"])
def test_reading_a_journal_at_rest_leaves_nothing_beside_it(closed, view):
    before = sorted(file.name for file in closed.parent.iterdir())
    assert view(closed) is not None
    assert sorted(file.name for file in closed.parent.iterdir()) == before == ["journal.db", "journal.db.lock"]


def add_cursor(connection, sink):
    connection.execute("INSERT INTO sink_cursor VALUES (?, 1)", (sink,))


def sinks(connection):
    return sorted(rows.select_cursors(connection))


@pytest.mark.parametrize("torn", [False, True], ids=["stale", "torn"])
def test_what_an_owner_changes_during_a_read_is_read_again(closed, torn):
    seen = []

    def work(connection):
        seen.append(sinks(connection))
        if len(seen) == 1:
            owner = open_store(closed)
            add_cursor(owner.write, "new")
            owner.close()
            if torn:
                raise sqlite3.DatabaseError("database disk image is malformed")
        return seen[-1]

    with closing(views._Reader(closed)) as reader:
        assert reader.read(work) == ["crm", "new"]
    assert seen == [["crm"], ["crm", "new"]]


def test_an_owner_who_stays_is_read_beside(closed):
    with closing(views._Reader(closed)) as reader:
        assert reader.read(sinks) == ["crm"]
        owner = open_store(closed)
        add_cursor(owner.write, "in_file")
        owner.write.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        add_cursor(owner.write, "logged")
        assert reader.read(sinks) == ["crm", "in_file", "logged"]
        owner.close()


def test_a_journal_that_is_removed_during_a_read_is_named(closed):
    with (
        closing(views._Reader(closed)) as reader,
        pytest.raises(JournalError, match=r"journal\.db: no such file"),
    ):
        reader.read(lambda _: closed.unlink())


SEALED = """
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && ! touch "$1/probe" 2>/dev/null || exit 77
for view in stats verify show export; do "$2" -m listener journal $view --path "$1/journal.db" || exit 1; done
"""


def read_sealed(folder):
    """Every view of the journal in `folder` from a process for which the folder is on a read-only file system."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare here")
    command = [unshare, "--mount", "--map-root-user", "sh", "-c", SEALED, "sh", str(folder), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == NOT_SEALED or "unshare failed" in done.stderr:
        pytest.skip("no mounts for this user")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_journal_at_rest_can_be_read_where_nothing_can_be_written(closed):
    assert "ok: 10 events" in read_sealed(closed.parent)


async def test_a_journal_in_use_can_be_read_where_nothing_can_be_written(live, path):
    loop = asyncio.get_running_loop()
    assert "ok: 10 events" in await loop.run_in_executor(None, read_sealed, path.parent)


def test_show_goes_by_sequence_chat_and_limit(closed):
    assert [event.sequence for event in views.show(closed, after=3, limit=2)] == [4, 5]
    assert [event.sequence for event in views.show(closed, after=3, chat="chat-1", limit=2)] == [5, 7]
    assert views.show(closed, chat="unknown", limit=10) == []


async def test_export_gives_every_event_as_a_line_of_cloudevents(live, path):
    await live.append(JournalBatch(events=tuple(sample_event(n) for n in range(11, 2501))))
    lines = list(views.export(path))
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    documents = [msgspec.json.decode(line) for line in lines]
    assert [document["sequence"] for document in documents] == [str(n) for n in range(1, 2501)]
    assert documents[0]["data"]["chatId"] == "chat-1"


def test_a_sound_journal_has_nothing_to_report(closed):
    assert views.verify(closed) == []


async def test_a_journal_after_retention_is_sound(live, path):
    await live.advance("crm", 10)
    await live.retain(before_ms=SAMPLE_MS + 1, keep_for=("crm",))
    assert views.verify(path) == []
    assert views.stats(path).events == 0


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("DELETE FROM event WHERE sequence BETWEEN 4 AND 6", "event 7 follows on 3: 3 missing"),
        ("UPDATE event SET data = '{' WHERE sequence = 3", "event 3: data is not a JSON object"),
        ("UPDATE event SET data = X'5B5D' WHERE sequence = 3", "event 3: data is not a JSON object"),
        ("UPDATE event SET data = 5 WHERE sequence = 3", "event 3: data is not a JSON object"),
        ("UPDATE event SET kind = 'other' WHERE sequence = 3", "event 3: unknown kind 'other'"),
        ("UPDATE event SET change = 'other' WHERE sequence = 3", "event 3: unknown change 'other'"),
        ("UPDATE event SET origin = 'other' WHERE sequence = 3", "event 3: unknown origin 'other'"),
        ("UPDATE event SET account = 'agent2' WHERE sequence = 3", "event 3: its checksum is wrong"),
        ("UPDATE event SET crc = 7 WHERE sequence = 3", "event 3: its checksum is wrong"),
        ("UPDATE sink_cursor SET sequence = 11", "cursor of sink crm: 11 is outside 0 to 10"),
        ("UPDATE sink_cursor SET sequence = -1", "cursor of sink crm: -1 is outside 0 to 10"),
        ("UPDATE dead_letter SET sequence = 11", "dead letter of sink crm: 11 is outside 1 to 10"),
    ],
)
def test_verify_finds(closed, statement, finding):
    tamper(closed, statement)
    found = views.verify(closed)
    assert len(found) == 1
    assert found[0].startswith(finding)


async def test_verify_finds_a_damaged_page(live, path):
    await live.append(JournalBatch(events=tuple(sample_event(n, data_bytes=600) for n in range(500))))
    await live.close()
    with path.open("r+b") as file:
        file.seek(PAGE_BYTES * 20)
        file.write(b"\xff" * PAGE_BYTES)
    assert any("integrity" in line or "reading stopped" in line for line in views.verify(path))


@pytest.mark.parametrize("view", [views.stats, views.verify, lambda path: list(views.export(path))])
def test_a_journal_that_cannot_be_looked_at_is_told(view):
    """As one below a folder that may not be entered."""
    with pytest.raises(JournalError, match="File name too long"):
        view(Path(*["x" * 250] * 20, "journal.db"))


@pytest.mark.parametrize("view", [views.stats, views.verify, lambda path: list(views.export(path))])
def test_what_is_no_journal_is_named(tmp_path, view):
    with pytest.raises(JournalError, match=r"missing\.db: no such file"):
        view(tmp_path / "missing.db")
    assert not (tmp_path / "missing.db").exists()
    (tmp_path / "text.db").write_text("hello " * 1000)
    with pytest.raises(JournalDamaged, match=r"text\.db: file is not a database"):
        view(tmp_path / "text.db")
    (tmp_path / "empty.db").touch()
    with pytest.raises(JournalError, match=r"empty\.db: schema version 0"):
        view(tmp_path / "empty.db")
    tamper(tmp_path / "other.db", "CREATE TABLE customers (name)")
    with pytest.raises(JournalError, match=r"other\.db: this SQLite file is no journal"):
        view(tmp_path / "other.db")


def test_a_journal_of_another_version_is_named(path):
    open_store(path).close()
    tamper(path, "PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="schema version 99"):
        views.stats(path)


async def test_an_event_that_cannot_be_read_is_an_error_that_names_the_file(closed):
    tamper(closed, "UPDATE event SET kind = 'other', crc = NULL")
    with pytest.raises(JournalError, match=r"journal\.db: .*other"):
        views.show(closed, limit=1)


def test_an_event_that_is_not_what_was_stored_is_not_shown(closed):
    tamper(closed, "UPDATE event SET account = 'agent2' WHERE sequence = 3")
    with pytest.raises(JournalDamaged, match=r"journal\.db: event 3 is not what was stored"):
        views.show(closed, limit=5)
    assert len(views.show(closed, after=3, limit=5)) == 5


async def test_a_gap_is_shown_like_any_event(live, path):
    await live.append(JournalBatch(events=(replace(sample_event(11), change=None),)))
    assert views.show(path, after=10, limit=1)[0].change is None


def test_an_export_of_a_damaged_journal_gives_what_can_be_read_and_leaves_the_file_alone(tmp_path):
    path = tmp_path / "journal.db"
    store = open_store(path)
    events = [replace(sample_event(n, data_bytes=900), sequence=n) for n in range(1, 200)]
    rows.insert_events(store.write, rows.event_parameters(events))
    whole = list(views.export(path))
    store.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))
    before, told = path.read_bytes(), []
    kept = list(views.export(path, on_damage=told.append))
    assert len(told) == 1
    assert 150 < len(kept) < len(whole)
    assert set(kept) < set(whole)
    assert kept == sorted(kept, key=whole.index)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir() if "damaged" in file.name or "salvaged" in file.name] == []


LEAVER = """
import os, sys
from pathlib import Path
from msgspec.structs import replace
from listener.journal.sqlite import rows
from listener.journal.sqlite.store import open_store
from listener.testing import sample_event
store = open_store(Path(sys.argv[1]))
for number in range(1, 51):
    rows.insert_events(store.write, rows.event_parameters([replace(sample_event(number), sequence=number)]))
os._exit(0)
"""


def test_a_log_that_lost_commits_is_told_and_what_is_behind_the_loss_is_exported(path):
    subprocess.run([sys.executable, "-c", LEAVER, path], check=True, timeout=60)
    assert views.verify(path) == []
    log = path.with_name("journal.db-wal")
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    told = []
    kept = list(views.export(path, on_damage=told.append))
    assert len(kept) == 50
    assert len(told) == 1
    (fault,) = views.verify(path)
    assert fault.startswith("log: its log holds")
    with pytest.raises(JournalDamaged, match="its log holds"):
        list(views.export(path))
    assert log.read_bytes() == content
