"""The index beside the log, as SQLite writes it."""

import sqlite3
from contextlib import closing

import pytest

from listener.journal.walindex import WalIndex, read_header


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


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
