"""The index beside the log, as SQLite writes it."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from listener.journal.sqlite.wal import WalIndex, read_header, read_log


@pytest.fixture
def connection(path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("CREATE TABLE t (a)")
        yield connection


def content(path):
    return path.with_name("journal.db-shm").read_bytes()


def log(connection, mode="PASSIVE"):
    """How many pages the log holds, and how many of them are in the database, as SQLite says."""
    return connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[1:]


def test_it_tells_the_length_of_the_log(path, connection):
    with closing(WalIndex.open(path)) as index:
        for _ in range(5):
            connection.execute("INSERT INTO t VALUES (zeroblob(9000))")
        assert index.frames() == log(connection)[0] > 10


def test_a_header_holds_the_salts_of_the_log(path, connection):
    header = read_header(content(path))
    assert header.salts == path.with_name("journal.db-wal").read_bytes()[16:24]
    assert (header.frames, header.backfilled) == (2, 0)
    log(connection)
    assert read_header(content(path)).backfilled == 2


@pytest.mark.parametrize("at", range(0, 96, 5))
def test_a_header_that_is_not_whole_is_none(path, connection, at):
    changed = bytearray(content(path))
    changed[at] ^= 1
    assert read_header(bytes(changed)) is None
    assert read_header(bytes(changed[:at])) is None


def test_zeros_are_no_header():
    assert read_header(bytes(32768)) is None


def test_what_was_written_is_written_again_when_that_is_forgotten(path, connection):
    with closing(sqlite3.connect(path, isolation_level=None)) as reader, closing(WalIndex.open(path)) as index:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM t").fetchall()
        connection.execute("INSERT INTO t VALUES (1)")
        assert log(connection) == (3, 2)
        index.forget_backfill()
        assert read_header(content(path)).backfilled == 0
        reader.execute("ROLLBACK")
        assert log(connection) == (3, 3)


PAGE_BYTES = 4096
FRAME_BYTES = PAGE_BYTES + 24


@pytest.fixture
def killed(tmp_path):
    """A database as a killed process leaves it: all of it in the log, in five commits of a page after the first."""
    path = tmp_path / "open" / "journal.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in (f"page_size = {PAGE_BYTES}", "journal_mode = WAL", "wal_autocheckpoint = 0"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE t (a)")
        for number in range(5):
            connection.execute("INSERT INTO t VALUES (?)", (number,))
        shutil.copytree(path.parent, tmp_path / "killed")
    return tmp_path / "killed" / "journal.db"


def log_of(path):
    return path.with_name("journal.db-wal")


def index_of(path):
    return path.with_name("journal.db-shm")


def change(path, at, content=None):
    whole = bytearray(path.read_bytes())
    whole[at : at + len(content or b"x")] = content or bytes([whole[at] ^ 1])
    path.write_bytes(whole)


def rows_of(path):
    with closing(sqlite3.connect(path)) as connection:
        return [row for (row,) in connection.execute("SELECT a FROM t")]


def test_a_whole_log_is_used_to_its_end(killed):
    log = read_log(killed, PAGE_BYTES)
    assert log.fault is None
    assert [frame.page for frame in log.frames] == [1, 2, 2, 2, 2, 2, 2]
    assert log.frames[-1].content == log_of(killed).read_bytes()[-PAGE_BYTES:]


def test_no_log_and_no_index_is_no_fault(killed):
    log_of(killed).unlink()
    index_of(killed).unlink()
    assert read_log(killed, PAGE_BYTES) == ([], None)


@pytest.mark.parametrize("cut", [1, FRAME_BYTES - 1])
def test_a_log_that_ends_in_the_middle_is_used_up_to_the_commit_before_as_sqlite_does(killed, cut):
    index_of(killed).unlink()
    log_of(killed).write_bytes(log_of(killed).read_bytes()[:-cut])
    log = read_log(killed, PAGE_BYTES)
    assert (len(log.frames), log.fault) == (6, None)
    assert rows_of(killed) == [0, 1, 2, 3]


def test_what_the_index_counts_and_the_log_does_not_hold_is_a_fault(killed):
    log_of(killed).write_bytes(log_of(killed).read_bytes()[:-FRAME_BYTES])
    log = read_log(killed, PAGE_BYTES)
    assert (len(log.frames), log.fault) == (6, "its log holds 6 of 7 pages")


def test_an_index_of_another_generation_tells_nothing(killed):
    whole = bytearray(index_of(killed).read_bytes())
    whole[32] ^= 1
    index_of(killed).write_bytes(whole)
    log_of(killed).write_bytes(log_of(killed).read_bytes()[:-FRAME_BYTES])
    assert read_log(killed, PAGE_BYTES).fault is None


@pytest.mark.parametrize(("frame", "fault"), [(3, "its log holds for 3 pages, 4 commits follow"), (6, None)])
def test_a_bad_frame_is_a_fault_where_commits_follow_and_not_at_the_end(killed, frame, fault):
    index_of(killed).unlink()
    change(log_of(killed), 32 + frame * FRAME_BYTES + 500)
    log = read_log(killed, PAGE_BYTES)
    assert log.fault == fault
    assert len(log.frames) == (7 if fault else 6)


def test_a_log_without_a_header_is_a_fault_and_gives_its_frames(killed):
    index_of(killed).unlink()
    change(log_of(killed), 0, b"garbage")
    log = read_log(killed, PAGE_BYTES)
    assert (len(log.frames), log.fault) == (7, "its log has no header")


def test_a_log_that_is_gone_is_a_fault_where_pages_were_only_there(killed):
    log_of(killed).unlink()
    assert read_log(killed, PAGE_BYTES).fault == "its log has no header, 7 pages were only there"


def test_a_log_that_is_gone_after_everything_was_checkpointed_is_none(tmp_path):
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a)")
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        (tmp_path / "killed").mkdir()
        for name in ("journal.db", "journal.db-shm"):
            shutil.copy(tmp_path / name, tmp_path / "killed")
    assert read_log(tmp_path / "killed" / "journal.db", PAGE_BYTES) == ([], None)


def test_what_an_older_generation_left_behind_the_end_is_not_used(tmp_path):
    path = tmp_path / "open" / "journal.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(9)])
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        connection.execute("INSERT INTO t VALUES (9)")
        shutil.copytree(path.parent, tmp_path / "killed")
    log = read_log(tmp_path / "killed" / "journal.db", PAGE_BYTES)
    assert (len(log.frames), log.fault) == (1, None)


def test_a_transaction_that_did_not_commit_is_not_used(tmp_path):
    path = tmp_path / "open" / "journal.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a)")
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t VALUES (zeroblob(4000))", [() for _ in range(50)])
        shutil.copytree(path.parent, tmp_path / "killed")
        connection.execute("ROLLBACK")
    log = read_log(tmp_path / "killed" / "journal.db", PAGE_BYTES)
    assert (len(log.frames), log.fault) == (2, None)
    assert log_of(tmp_path / "killed" / "journal.db").stat().st_size > 32 + 2 * FRAME_BYTES, "nothing spilled"
