"""Ownership: who may open, and what is left when nobody has it open."""

import os
import shutil
import sqlite3
import stat
from contextlib import closing

import pytest
import structlog

from listener.errors import JournalError, JournalLocked
from listener.journal.database import connect_reader
from listener.journal.store import open_store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


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
    (line,) = [line for line in logs if line["event"] == "journal_mode_narrowed"]
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


def test_closing_folds_the_log_into_the_file(tmp_path, path):
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
