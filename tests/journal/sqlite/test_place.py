"""What happens to an open journal whose files are removed, replaced or moved."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from listener.errors import JournalDamaged, JournalError, JournalFull
from listener.journal.sqlite import SqliteJournal, damage, place, views
from listener.journal.sqlite.store import open_store
from listener.journal.tail import Tail
from listener.model.event import JournalBatch, LastValue
from listener.testing import sample_event


@pytest.fixture
def path(tmp_path):
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "journal.db"


@pytest.fixture
async def journal(path):
    journal = SqliteJournal(path=path)
    journal.rescued = []
    journal._on_rescue = lambda: journal.rescued.append(1)
    await journal.open()
    await append(journal, *range(1, 31))
    yield journal
    await journal.close()


async def append(journal, *numbers):
    value = LastValue(chat_id="c", key="k", value="x", account="a", server_time_ms=None, received_ms=1)
    events = tuple(sample_event(number, data_bytes=600) for number in numbers)
    return await journal.append(JournalBatch(events=events, values=(value,)))


def remove(path, *suffixes):
    for suffix in suffixes:
        path.with_name(f"{path.name}{suffix}").unlink()


def replace_by_an_older_one(path):
    with closing(sqlite3.connect(path.with_name("older.db"))) as older:
        older.execute("CREATE TABLE customers (name)")
    path.with_name("older.db").rename(path)


def let_somebody_look(path):
    """Who opens the file that lost its log makes a new one, and removes it again."""
    remove(path, "-wal", "-shm")
    look = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM sqlite_master').fetchall()"
    subprocess.run([sys.executable, "-c", look, path], check=True)


def leave_a_strangers_log(path):
    remove(path, "-wal", "-shm")
    path.with_name(f"{path.name}-wal").write_bytes(b"somebody's")


WAYS = {
    "the log": lambda path: remove(path, "-wal", "-shm"),
    "the log, of which another program makes a new one": let_somebody_look,
    "the log, and something else lies there": leave_a_strangers_log,
    "the log's index": lambda path: remove(path, "-shm"),
    "the file": lambda path: remove(path, ""),
    "all": lambda path: remove(path, "", "-wal", "-shm", ".lock"),
    "the lock": lambda path: remove(path, ".lock"),
    "the file, for another one": replace_by_an_older_one,
    "the file, to another name": lambda path: path.rename(path.with_name("away.db")),
    "the folder, which is made again": lambda path: (shutil.rmtree(path.parent), path.parent.mkdir()),
}


def held_after_a_kill(path, folder):
    """The ids in the journal as a process finds it that starts after this one was killed."""
    folder.mkdir()
    for file in path.parent.glob("journal.db*"):
        if not file.name.endswith((".lock", "-shm")):
            shutil.copy(file, folder)
    open_store(folder / path.name).close()
    assert views.verify(folder / path.name) == []
    return [event.id for event in views.show(folder / path.name, limit=1000)]


@pytest.mark.parametrize("take", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("asks_the_folder", [False, True], ids=["looks at all", "asks the folder"])
async def test_nothing_that_was_acknowledged_is_lost_with_its_files(
    path, journal, tmp_path, monkeypatch, take, asks_the_folder
):
    if asks_the_folder:  # as it does once the folder has not changed for a while
        monkeypatch.setattr(place, "_COARSEST_NS", 0)
        await asyncio.sleep(0.02)  # some ticks of the file system's clock
    await append(journal, 31)
    await append(journal, 32)
    assert (journal._part.store.handle._place._unchanged is not None) is asks_the_folder
    take(path)
    with capture_logs() as logs:
        await append(journal, 33)
    told = ["journal_taken_away", "journal_rescued"] if take is not WAYS["the lock"] else ["journal_taken_away"]
    assert [line["event"] for line in logs] == told
    assert len(journal.rescued) == len(told) - 1
    assert journal.trouble is None
    assert held_after_a_kill(path, tmp_path / "killed") == [f"event-{n}" for n in range(1, 34)]
    await append(journal, 34)
    journal._tail = Tail(last_sequence=journal.last_sequence)
    assert [event.sequence for event in await journal.read(0, 100)] == list(range(1, 35))
    assert [value.value for value in await journal.last_values(["c"])] == ["x"]
    await journal.close()
    assert len(views.show(path, limit=100)) == 34
    assert not path.with_name("journal.db-wal").exists()


@pytest.mark.parametrize("way", ["the log", "all", "the file, for another one"])
async def test_an_orderly_end_loses_nothing_either(path, journal, way):
    WAYS[way](path)
    await journal.close()
    assert [event.sequence for event in views.show(path, limit=100)] == list(range(1, 31))
    assert views.verify(path) == []


async def test_a_look_finds_it_while_nothing_comes(path, journal):
    remove(path, "", "-wal", "-shm")
    await journal.ping()
    assert journal.rescued == [1]


async def test_what_is_set_aside_is_named_and_kept(path, journal):
    replace_by_an_older_one(path)
    with capture_logs() as logs:
        await journal.ping()
    (aside,) = [line["set_aside"] for line in logs if line["event"] == "journal_rescued"]
    with closing(sqlite3.connect(path.with_name(aside))) as theirs:
        assert theirs.execute("SELECT count(*) FROM customers").fetchone() == (0,)
    (found,) = (await journal.stats()).damages
    assert (found.set_aside, found.stretches) == (aside, ())
    assert await journal.pending_damages() == []


async def test_nothing_is_acknowledged_while_the_folder_is_somewhere_else(path, journal):
    """Its files have names there: they are safe, and a second journal would hide them."""
    elsewhere = path.parent.rename(path.parent.with_name("elsewhere"))
    with capture_logs() as logs:
        for _ in range(3):
            with pytest.raises(JournalError, match="its folder was moved or unmounted"):
                await append(journal, 31)
        assert (
            journal.trouble == "the journal's files were taken away:"
            " removed, replaced or moved: journal.db, journal.db-wal, journal.db-shm, journal.db.lock"
        )
        path.parent.mkdir()
        with pytest.raises(JournalError, match="its folder was moved or unmounted"):
            await append(journal, 31)
        assert list(path.parent.iterdir()) == []
        path.parent.rmdir()
        elsewhere.rename(path.parent)
        assert await append(journal, 31) == 31
    told = [line["event"] for line in logs if line["event"] != "journal_commit_failed"]
    assert told == ["journal_taken_away", "journal_back_in_place"]
    assert journal.trouble is None


async def test_a_disk_without_room_for_the_copy_delays_it(path, journal, monkeypatch):
    remove(path, "", "-wal", "-shm")
    full = SimpleNamespace(f_bavail=1, f_frsize=4096)
    monkeypatch.setattr("listener.journal.sqlite.place.os.statvfs", lambda _: full)
    with pytest.raises(JournalFull, match="no room for a copy"):
        await append(journal, 31)
    assert not path.exists()
    monkeypatch.undo()
    assert await append(journal, 31) == 31


async def test_a_journal_that_another_process_made_meanwhile_is_its_own(path, journal):
    remove(path, "", "-wal", "-shm", ".lock")
    with closing(open_store(path)) as other:
        for _ in range(2):
            with pytest.raises(JournalDamaged, match=r"its lock was taken away, and .* is in use by another process"):
                await append(journal, 31)
        assert other.handle.ready() is other.write
        assert other.last_sequence == 0
        await journal.close()
    assert views.show(path, limit=10) == []


@pytest.mark.parametrize("step", [1, 2, 3])
async def test_a_process_that_dies_in_the_middle_leaves_the_old_or_the_new_one_whole(path, journal, monkeypatch, step):
    """Of the three times that the folder is synced, it does not come to the end of one."""
    left = iter(range(1, step + 1))

    def sync_folder(folder):
        if next(left) == step:
            raise OSError("killed")

    remove(path, "-wal", "-shm")
    monkeypatch.setattr(damage, "sync_folder", sync_folder)
    await journal.ping()
    monkeypatch.undo()
    journal._part.store.handle._place._lock.release()  # as the end of the process does
    journal._part.store.handle._place._lock._descriptor = os.open(os.devnull, os.O_RDONLY)
    with closing(open_store(path)) as store:
        assert store.last_sequence == 30
        assert len(store.query(lambda read: read.execute("SELECT sequence FROM event").fetchall())) == 30
