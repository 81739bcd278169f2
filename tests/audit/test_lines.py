"""Reading files that may be compressed, cut, damaged, and rotated away meanwhile."""

import gzip
import os

import pytest

from listener.audit import lines
from listener.audit.lines import AuditFile, CutShort, Faults
from listener.errors import StartError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_lines_come_with_their_ends_as_often_as_asked(path, pack):
    path.write_bytes(pack(b"one\ntwo\nthree"))
    with AuditFile(path) as file:
        assert list(file.lines()) == list(file.lines()) == [b"one\n", b"two\n", b"three"]


def test_a_file_that_is_rotated_away_is_read_all_the_same(path):
    path.write_bytes(b"one\n")
    with AuditFile(path) as file:
        path.unlink()
        path.write_bytes(b"another\n")
        assert list(file.lines()) == [b"one\n"]


def test_what_is_added_meanwhile_is_left_to_the_next_time(path):
    path.write_bytes(b"one\ntw")
    with AuditFile(path) as file, path.open("ab") as more:
        more.write(b"o\nthree\n")
        more.flush()
        assert list(file.lines()) == [b"one\n", b"two\n"], "the line that had begun is whole"


def test_a_file_that_becomes_shorter_is_no_whole_file(path):
    path.write_bytes(b"one\n" * 200_000)  # more than is read at once
    with AuditFile(path) as file:
        os.truncate(path, 4)
        with pytest.raises(CutShort, match=r"\d bytes shorter"):
            list(file.lines())


@pytest.mark.parametrize("harm", [lambda packed: packed[:-20], lambda packed: packed[:40] + b"\0" * 9 + packed[49:]])
def test_a_damaged_archive_is_read_as_far_as_it_goes(path, harm):
    path.write_bytes(harm(gzip.compress(b"".join(b"line %d\n" % n for n in range(99)))))
    with AuditFile(path) as file, pytest.raises(CutShort, match="cannot be read further"):
        list(file.lines())


def test_a_line_without_an_end_takes_no_more_than_its_bound(path, monkeypatch):
    monkeypatch.setattr(lines, "LINE_BYTES", 8)
    path.write_bytes(b"x" * 50 + b"\nabc\n1234567\n" + b"y" * 8)
    with AuditFile(path) as file:
        assert list(file.lines()) == [b"x" * 8, b"abc\n", b"1234567\n", b"y" * 8]


def test_what_cannot_be_read_twice_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    keeper = os.open(tmp_path / "pipe", os.O_RDWR)
    with pytest.raises(StartError, match="pipe: is not a regular file"):
        AuditFile(tmp_path / "pipe")
    os.close(keeper)
    with pytest.raises(StartError, match="none: No such file"):
        AuditFile(tmp_path / "none")


def test_a_file_knows_itself_by_any_name(path, tmp_path):
    path.write_bytes(b"")
    (tmp_path / "other").symlink_to(path)
    with AuditFile(path) as file:
        assert (file.is_same(tmp_path / "other"), file.is_same(tmp_path / "none")) == (True, False)


def test_faults_that_follow_one_another_are_told_together_and_all_are_counted():
    told = []
    faults = Faults(told.append)
    for name, number in [("a", 3), ("a", 4), ("a", 5), ("a", 9), ("b", 10)]:
        faults.add(name, number, "is bad")
    faults.end()
    faults.end()
    assert (faults.count, told) == (5, ["a:3-5: is bad", "a:9: is bad", "b:10: is bad"])
