"""The lock file."""

import os
import stat
import subprocess
import sys

import pytest

from listener.errors import JournalLocked
from listener.journal.sqlite.lock import FileLock, Known, may_be_owned


def test_a_second_owner_is_told_the_setting_the_file_and_the_owner(tmp_path):
    held = FileLock.acquire(tmp_path / "journal.db")
    with pytest.raises(JournalLocked) as refused:
        FileLock.acquire(tmp_path / "journal.db")
    text = f"journal.path: {tmp_path}/journal.db is in use by another process (pid {os.getpid()})"
    assert str(refused.value) == text
    held.release()


def test_an_owner_that_has_not_written_its_pid_yet_is_not_guessed(tmp_path):
    held = FileLock.acquire(tmp_path / "journal.db")
    os.truncate(tmp_path / "journal.db.lock", 0)
    with pytest.raises(JournalLocked, match=r"in use by another process$"):
        FileLock.acquire(tmp_path / "journal.db")
    held.release()


def test_a_released_lock_can_be_taken_again_though_its_file_stays(tmp_path):
    FileLock.acquire(tmp_path / "journal.db").release()
    assert (tmp_path / "journal.db.lock").exists()
    FileLock.acquire(tmp_path / "journal.db").release()


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o777])
def test_the_lock_file_is_the_owners_alone_whatever_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        FileLock.acquire(tmp_path / "journal.db").release()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "journal.db.lock").stat().st_mode) == 0o600


def test_a_dead_owner_is_none_and_a_living_one_may_be(tmp_path):
    path = tmp_path / "journal.db"
    assert not may_be_owned(path)
    lock = FileLock.acquire(path)
    assert may_be_owned(path)
    lock.release()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for content, expected in ((f"{ended.pid}\n", False), ("", False), ("x", False), ("1\n", True), ("9" * 40, True)):
        path.with_name("journal.db.lock").write_text(content)
        assert may_be_owned(path) is expected


def test_what_was_committed_is_told_to_the_next_owner(tmp_path):
    path = tmp_path / "journal.db"
    lock = FileLock.acquire(path)
    assert lock.left is None
    lock.note(Known(1_000_000, 5))
    lock.note(Known(7, 5))
    lock.release()
    for _ in range(2):
        again = FileLock.acquire(path)
        assert again.left == (7, 5)
        again.release()


def test_a_file_that_somebody_truncates_costs_neither_the_process_nor_the_next_word(tmp_path):
    path = tmp_path / "journal.db"
    lock = FileLock.acquire(path)
    lock.note(Known(6, 5))
    os.truncate(path.with_name("journal.db.lock"), 0)
    lock.note(Known(7, 5))
    lock.release()
    again = FileLock.acquire(path)
    assert again.left == (7, 5)
    again.release()


@pytest.mark.parametrize("content", ["", "1\n", "1\n7", "1\n7 x\n", "1\n-7 5\n", "1\n\xff 5\n", "1\n7 5 3\n"])
def test_what_a_crash_has_cut_is_nothing(tmp_path, content):
    (tmp_path / "journal.db.lock").write_bytes(content.encode("latin-1"))
    lock = FileLock.acquire(tmp_path / "journal.db")
    assert lock.left is None
    lock.release()


def test_a_lock_whose_file_was_taken_away_is_taken_again(tmp_path):
    path = tmp_path / "journal.db"
    lock = FileLock.acquire(path)
    assert lock.is_in_place()
    path.with_name("journal.db.lock").unlink()
    assert not lock.is_in_place()
    lock.renew()
    assert lock.is_in_place()
    with pytest.raises(JournalLocked):
        FileLock.acquire(path)
    path.with_name("journal.db.lock").unlink()
    other = FileLock.acquire(path)
    with pytest.raises(JournalLocked):
        lock.renew()
    assert not lock.is_in_place()
    other.release()
    lock.release()
