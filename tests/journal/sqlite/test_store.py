"""Ownership: who may open, and what is left when nobody has it open."""

import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest
import structlog
from msgspec.structs import replace

from listener.errors import JournalError, JournalLocked
from listener.journal.sqlite import damage_marker, dead_letters, rows, views
from listener.journal.sqlite.database import PAGE_BYTES, WAL_LIMIT_BYTES, connect_reader, connect_writer
from listener.journal.sqlite.journal import wal_bytes
from listener.journal.sqlite.lock import Known
from listener.journal.sqlite.store import CHECKPOINT_PAGES, MAX_LOG_PAGES, open_store
from listener.journal.sqlite.wal import read_header
from listener.model.event import Damage
from listener.model.holes import JUMP
from listener.testing import SAMPLE_MS, sample_event

APPENDERS = 4
EACH = 60


PERSISTENT = f"""
import asyncio, sys
from pathlib import Path
from listener.errors import JournalError
from listener.journal.sqlite import SqliteJournal
from listener.model.event import JournalBatch
from listener.testing import sample_event

async def append(journal, number):
    batch = JournalBatch(events=(sample_event(number, data_bytes=50_000),))
    for attempt in range(100):
        try:
            return await journal.append(batch)
        except JournalError:
            await asyncio.sleep(0.01)
    raise SystemExit("it does not go on")

async def appender(journal, first):
    for number in range(first, first + {EACH}):
        await append(journal, number)

async def main():
    journal = SqliteJournal(path=Path(sys.argv[1]))
    await journal.open()
    await asyncio.gather(*(appender(journal, n * {EACH}) for n in range({APPENDERS})))
    await journal.close()

asyncio.run(main())
"""

FAULTS = {
    "a sync of the log": ("-wal", "fdatasync:error=EIO:when=5"),
    "many syncs of the log": ("-wal", "fdatasync:error=EIO:when=5+7"),
    "a row of syncs of the log": ("-wal", "fdatasync:error=EIO:when=5..9"),
    "a sync of the file": ("", "fdatasync:error=EIO:when=1"),
    "a row of syncs of the file": ("", "fdatasync:error=EIO:when=1..4"),
    "a write to the log": ("-wal", "pwrite64:error=EIO:when=40..42"),
    "a write to the file": ("", "pwrite64:error=EIO:when=9"),
    "a full quota": ("-wal", "pwrite64:error=EDQUOT:when=40..60"),
    "a file system that is read-only for a while": ("-wal", "pwrite64:error=EROFS:when=40..60"),
}


def run_with_fault(path, suffix, fault):
    """Run PERSISTENT with the fault in the calls that concern one file; the log lines and the trace."""
    open_store(path).close()
    trace = path.with_name("trace")
    calls = "trace=openat,close,fdatasync,fsync,pwrite64"
    strace = ["strace", "-f", "-y", "-o", trace, "-P", f"{path}{suffix}", "-e", calls, "-e", f"inject={fault}"]
    command = [*strace, sys.executable, "-c", PERSISTENT, path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, trace.read_text()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(("suffix", "fault"), FAULTS.values(), ids=FAULTS)
def test_nothing_is_lost_or_stored_twice_when_the_disk_fails_and_it_goes_on_by_itself(path, suffix, fault):
    log, trace = run_with_fault(path, suffix, fault)
    assert "INJECTED" in trace
    assert "journal_reopened" in log
    ids = [event.id for event in views.show(path, limit=10_000)]
    assert len(ids) == len(set(ids))
    assert set(ids) == {f"event-{n}" for n in range(APPENDERS * EACH)}
    assert views.verify(path) == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_log_that_cannot_be_read_is_repaired_by_the_next_open_before_it_grows_for_ever(path):
    open_store(path).close()
    log = path.with_name("journal.db-wal")
    reads = ["-e", "trace=pread64", "-e", "inject=pread64:error=EIO:when=3+"]
    strace = ["strace", "-f", "-o", path.with_name("trace"), "-P", log, *reads]
    program = PERSISTENT.replace("await journal.close()", "pass").replace(f"{EACH})", "10_000)")
    command = [*strace, sys.executable, "-c", program, path]
    done = subprocess.run(command, capture_output=True, timeout=100, check=False)
    assert b"JournalDamaged" in done.stderr
    assert log.stat().st_size < 2 * MAX_LOG_PAGES * PAGE_BYTES
    assert damage_marker.exists(path)
    store = open_store(path)
    assert store.last_sequence > CHECKPOINT_PAGES / 7
    store.close()
    assert views.verify(path) == []


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_log_is_synced_through_a_new_descriptor_after_a_failed_sync(path):
    _, trace = run_with_fault(path, "-wal", "fdatasync:error=EIO:when=5")
    calls = re.findall(r"^\d+ +(\w+)\((?:AT_FDCWD[^,]*, )?(\d+)?.*?= (-?\d+)", trace, re.MULTILINE)
    failed = next(at for at, line in enumerate(calls) if line[0] == "fdatasync" and line[2] == "-1")
    after = calls[failed + 1 :]
    opened = next(at for at, line in enumerate(after) if line[0] == "openat")
    synced = next(at for at, line in enumerate(after) if line[0] == "fdatasync")
    assert opened < synced
    assert after[synced][1] == after[opened][2] != calls[failed][1]


DOUBTFUL = """
import asyncio, sys
from pathlib import Path
from listener.errors import JournalError
from listener.journal.sqlite import SqliteJournal
from listener.model.event import JournalBatch
from listener.testing import sample_event

async def main():
    journal = SqliteJournal(path=Path(sys.argv[1]))
    await journal.open()
    for number in range(5):
        try:
            print("durable", await journal.append(JournalBatch(events=(sample_event(number),))))
        except JournalError as error:
            print("doubtful", journal.last_sequence, error)
    await journal.close()

asyncio.run(main())
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_commit_is_not_believed_where_the_file_system_gave_up_meanwhile(path):
    """Its sync may have succeeded all the same; a new start finds out what is there."""
    open_store(path).close()
    fault = ["-e", "trace=pwrite64", "-e", "inject=pwrite64:error=EROFS:when=3"]
    strace = ["strace", "-f", "-o", path.with_name("trace"), "-P", path.with_name("journal.db-shm"), *fault]
    command = [*strace, sys.executable, "-c", DOUBTFUL, path]
    with closing(connect_writer(path)) as another:  # while it is there, SQLite need not write that file itself
        another.execute("SELECT count(*) FROM event").fetchone()
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(("durable", "doubtful"))]
    assert lines[:2] == ["durable 1", "durable 2"]
    assert lines[2].startswith("doubtful 2 ")
    assert "Read-only file system" in lines[2]
    assert all(line.startswith("doubtful 2 ") for line in lines[3:])
    assert done.returncode == 0, done.stderr
    store = open_store(path)
    assert store.last_sequence in (2, 3)
    store.close()
    assert views.verify(path) == []


def io_error():
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
    return error


def insert(store, first, count):
    events = [replace(sample_event(n, data_bytes=7000), sequence=n) for n in range(first, first + count)]
    store.write.execute("BEGIN")
    rows.insert_events(store.write, rows.event_parameters(events))
    store.write.execute("COMMIT")
    store.handle.committed(first + count - 1)


def test_a_page_that_an_earlier_checkpoint_wrote_and_the_disk_lost_is_written_again(path):
    """The checkpoint beside a reader syncs no page, and the index counts them as written."""
    store = open_store(path)
    insert(store, 1, 40)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        insert(store, 41, 40)
        store.write.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        reader.execute("ROLLBACK")
    before = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(PAGE_BYTES * 20)
        file.write(bytes(PAGE_BYTES))
    store.handle.failed(io_error())
    with structlog.testing.capture_logs() as logs:
        store.handle.ready()
    assert [(line["event"], line["error"]) for line in logs] == [("journal_reopened", "SQLITE_IOERR_FSYNC")]
    assert path.read_bytes()[: len(before)][PAGE_BYTES * 20 :][:PAGE_BYTES] == before[PAGE_BYTES * 20 :][:PAGE_BYTES]
    store.close()
    assert views.verify(path) == []


def test_a_disk_that_fails_every_commit_is_told_of_once(path):
    store = open_store(path)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            store.handle.failed(io_error())
            store.handle.ready()
        insert(store, 1, 1)
        store.handle.failed(io_error())
        store.handle.ready()
    assert [line["last_sequence"] for line in logs] == [0, 1]
    store.close()


def test_an_error_that_is_none_of_the_disk_changes_nothing(path):
    store = open_store(path)
    first = store.write
    for error in (sqlite3.OperationalError("database is locked"), ValueError("nonsense"), JournalError("so")):
        store.handle.failed(error)
    assert store.handle.ready() is first
    store.close()


def test_what_is_not_where_it_was_is_an_error_and_tried_again(path):
    store = open_store(path)
    store.handle.committed(7)
    store.handle.failed(io_error())
    for _ in range(2):
        with pytest.raises(JournalError, match="ends at 0 after SQLITE_IOERR_FSYNC, not at 7"):
            store.handle.ready()
    assert store.handle.had_io_error
    with structlog.testing.capture_logs() as logs:
        store.close()
    assert [line["event"] for line in logs] == ["journal_not_checkpointed"]


def test_a_log_that_could_not_be_made_sure_is_left_to_the_next_open(path, monkeypatch):
    def refused():
        raise OSError("no such device")

    store = open_store(path)
    insert(store, 1, 3)
    monkeypatch.setattr(store.handle, "_connect", refused)
    store.handle.failed(io_error())
    store.close()
    assert path.with_name("journal.db-wal").stat().st_size > 0
    store = open_store(path)
    assert store.last_sequence == 3
    store.close()


def test_a_reader_that_keeps_the_log_only_delays_it(path, monkeypatch):
    def impatient():
        connection = connect_writer(path)
        connection.execute("PRAGMA busy_timeout = 0")
        return connection

    store = open_store(path)
    monkeypatch.setattr(store.handle, "_connect", impatient)
    insert(store, 1, 3)
    store.handle.failed(io_error())
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        with pytest.raises(JournalError, match="another process keeps its log"):
            store.handle.ready()
    store.handle.ready()
    assert not store.handle.had_io_error
    store.close()


def test_the_log_is_checkpointed_when_it_is_long_and_not_before(path):
    store = open_store(path)
    index = path.with_name("journal.db-shm")
    insert(store, 1, CHECKPOINT_PAGES // 2)
    assert read_header(index.read_bytes()).backfilled == 0
    insert(store, CHECKPOINT_PAGES, CHECKPOINT_PAGES)
    header = read_header(index.read_bytes())
    assert header.backfilled == header.frames > CHECKPOINT_PAGES
    store.close()


def test_a_reader_that_never_ends_is_told_of_once_and_so_is_its_end(path, monkeypatch):
    monkeypatch.setattr("listener.journal.sqlite.store.MAX_LOG_PAGES", 2 * CHECKPOINT_PAGES)
    store = open_store(path)
    insert(store, 1, 1)
    with structlog.testing.capture_logs() as logs, closing(sqlite3.connect(path, isolation_level=None)) as reader:
        insert(store, 2, 2 * CHECKPOINT_PAGES)  # one large commit blocks nothing
        insert(store, 10_002, 1)
        assert logs == []
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        for number in range(20_000, 80_000, 10_000):
            insert(store, number, 200)
        reader.execute("ROLLBACK")
        insert(store, 80_000, 1)
        insert(store, 90_000, 1)
        assert wal_bytes(path) <= WAL_LIMIT_BYTES
    assert [line["event"] for line in logs] == ["journal_checkpoint_blocked", "journal_checkpoint_unblocked"]
    store.close()


def test_a_first_page_that_is_in_the_log_alone_is_no_damage(path):
    """A checkpoint beside a reader writes other pages, and none of the first one's that changed since."""
    store = open_store(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        insert(store, 1, 20)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        insert(store, 21, CHECKPOINT_PAGES)
        for suffix in ("", "-wal", "-shm"):
            shutil.copy(f"{path}{suffix}", f"{path}.copy{suffix}")
    store.close()
    with structlog.testing.capture_logs() as logs, closing(open_store(path.with_name(f"{path.name}.copy"))) as store:
        assert (store.last_sequence, logs) == (20 + CHECKPOINT_PAGES, [])


@pytest.mark.parametrize("hurt", [False, True])
def test_a_long_log_is_counted_and_not_read_page_by_page(path, tmp_path, monkeypatch, hurt):
    monkeypatch.setattr("listener.journal.sqlite.inspection.LONG_LOG_BYTES", 1000)
    store = open_store(path)
    insert(store, 1, 100)
    insert(store, 101, 100)
    left = in_a_new_place(path, tmp_path / "left", "", "-wal", "-shm")
    store.close()
    if hurt:
        with left.with_name("journal.db-wal").open("r+b") as log:
            log.seek(60 * PAGE_BYTES)
            log.write(bytes(100))
    else:
        monkeypatch.setattr("listener.journal.sqlite.inspection.read_log", None)
    with structlog.testing.capture_logs() as logs, closing(open_store(left)) as found:
        kept = found.read.execute("SELECT count(*) FROM event").fetchone()[0]
    damaged = [line["error"] for line in logs if line["event"] == "journal_damaged"]
    if hurt:
        assert len(damaged) == 1
        assert re.fullmatch(r"its log holds \d+ of \d+ pages", damaged[0])
        assert 190 <= kept < 200, "all but what stood in the page"
    else:
        assert (kept, logs) == (200, [])


def test_a_crash_before_the_schema_leaves_a_file_that_opens(path):
    path.touch()
    open_store(path).close()
    with closing(connect_reader(path)) as connection:
        assert connection.execute("SELECT last_sequence FROM meta").fetchall() == [(0,)]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_every_file_is_the_owners_alone_whatever_the_umask(tmp_path, path, mask):
    before = os.umask(mask)
    try:
        store = open_store(path)
    finally:
        os.umask(before)
    names = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    store.close()
    assert names == dict.fromkeys(["journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"], 0o600)


def killed(folder, original):
    """The files of a journal as a killed process leaves them, under the same name in `folder`."""
    store = open_store(original)
    store.write.execute("INSERT INTO sink_cursor VALUES ('crm', 7)")
    folder.mkdir()
    for file in original.parent.glob("journal.db*"):
        if not file.name.endswith(".lock"):
            shutil.copy(file, folder)
    store.close()
    return folder / original.name


def test_a_journal_that_others_can_read_becomes_its_owners_alone(tmp_path, path):
    path = killed(tmp_path / "killed", path)
    names = ["journal.db", "journal.db-wal", "journal.db-shm"]
    for name in names:
        path.with_name(name).chmod(0o644)
    with structlog.testing.capture_logs() as logs:
        store = open_store(path)
    assert {name: stat.S_IMODE(path.with_name(name).stat().st_mode) for name in names} == dict.fromkeys(names, 0o600)
    (line,) = [line for line in logs if line["event"] == "journal_permissions_narrowed"]
    assert (line["path"], line["files"]) == (str(path), names)
    assert store.read.execute("SELECT sequence FROM sink_cursor").fetchall() == [(7,)]
    store.close()
    with structlog.testing.capture_logs() as logs:
        open_store(path).close()
    assert logs == []


def test_another_programs_database_keeps_its_mode(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE customers (name)")
    path.chmod(0o644)
    with pytest.raises(JournalError, match="no journal"):
        open_store(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_closing_checkpoints_the_log_into_the_file(tmp_path, path):
    open_store(path).close()
    assert {file.name for file in tmp_path.iterdir()} == {"journal.db", "journal.db.lock"}


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(JournalError, match="nowhere"):
        open_store(tmp_path / "nowhere" / "journal.db")


def test_a_folder_in_the_files_place_is_an_error_of_the_journal(path):
    path.mkdir()
    with pytest.raises(JournalError, match=r"journal\.db"):
        open_store(path)


def test_a_failed_opening_leaves_no_lock(path):
    path.mkdir()
    with pytest.raises(JournalError):
        open_store(path)
    path.rmdir()
    open_store(path).close()


def test_a_store_has_one_owner(path):
    store = open_store(path)
    with pytest.raises(JournalLocked):
        open_store(path)
    store.close()


BESIDE = ["", "-wal", "-shm", ".lock", ".part", ".repaired"]


@pytest.mark.parametrize("suffix", BESIDE)
def test_a_link_in_the_place_of_a_file_of_the_journal_is_refused_and_what_it_leads_to_is_left_alone(path, suffix):
    victim = path.with_name("victim")
    victim.write_bytes(b"precious")
    path.with_name(f"{path.name}{suffix}").symlink_to(victim)
    with pytest.raises(JournalError, match=rf"it is a symbolic link: '.*journal\.db{suffix}'"):
        open_store(path)
    assert victim.read_bytes() == b"precious"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("suffix", ["", ".lock"])
def test_a_journal_that_another_user_has_made_is_refused(path, suffix):
    open_store(path).close()
    os.chown(path.with_name(f"{path.name}{suffix}"), 12_345, -1)
    with pytest.raises(JournalError, match=r"it belongs to another user \(uid 12345\)"):
        open_store(path)


def in_a_new_place(path, folder, *suffixes):
    """These files of an open journal, as who was killed has left them."""
    folder.mkdir()
    for suffix in suffixes:
        shutil.copy(f"{path}{suffix}", folder)
    return folder / path.name


NOW_MS = SAMPLE_MS + 1_000_000
LOST = {
    "the log": (("", ".lock"), 0),
    "the log, but for what was checkpointed": (("", ".lock"), 30),
    "everything": ((".lock",), 0),
    "nothing": (("", "-wal", "-shm", ".lock"), None),
}


@pytest.mark.parametrize(("kept", "checkpointed"), LOST.values(), ids=LOST)
def test_what_was_removed_after_a_kill_is_on_record(path, tmp_path, kept, checkpointed):
    store = open_store(path, now_ms=lambda: SAMPLE_MS)
    insert(store, 1, 30)
    if checkpointed:
        store.write.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    insert(store, 31, 20)
    newest = 50
    left = in_a_new_place(path, tmp_path / "left", *kept)
    store.close()
    with structlog.testing.capture_logs() as logs, closing(open_store(left, now_ms=lambda: NOW_MS)) as found:
        assert found.last_sequence == (newest if checkpointed is None else newest + JUMP)
        damages = dead_letters.select_damages(found.read, pending=True)
        holes = rows.select_holes(found.read)
    lost = [line for line in logs if line["event"] == "journal_lost"]
    if checkpointed is None:
        assert (lost, damages, holes) == ([], [], [])
        return
    since_ms = sample_event(checkpointed).received_ms if checkpointed else SAMPLE_MS
    assert [(line["last_event"], line["known"]) for line in lost] == [(checkpointed, newest)]
    assert damages == [Damage(at_ms=NOW_MS, set_aside="", kept=checkpointed, stretches=((since_ms, NOW_MS),))]
    assert holes == ([(checkpointed, newest + JUMP + 1)] if checkpointed else [])
    with structlog.testing.capture_logs() as logs, closing(open_store(left)) as again:
        assert again.last_sequence == newest + JUMP
    assert logs == []
    assert [fault for fault in views.verify(left) if "missing" in fault] == []


def test_a_journal_that_ends_before_what_is_known_elsewhere_goes_on_above(path):
    with closing(open_store(path)) as store:
        insert(store, 1, 5)
    for known, expected in ((5, 5), (26, 26 + JUMP), (26, 26 + JUMP)):
        with closing(open_store(path, known=lambda known=known: Known(known, 7))) as store:
            assert store.last_sequence == expected
            stretches = [one.stretches[0][0] for one in dead_letters.select_damages(store.read)]
            assert stretches == ([sample_event(5).received_ms] if expected > JUMP else [])
