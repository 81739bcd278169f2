"""Reading lines: of compressed, truncated or damaged files; from either end; and across all that logrotate does."""

import gzip
import os
from hashlib import sha256
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audit import reading
from listener.audit.reading import AuditFile, CutShort, Follower, lines_of
from listener.errors import StartError
from support.trail import trail

LINES, _ = trail(5)


def test_lines_come_from_plain_and_compressed_files_alike(tmp_path):
    (tmp_path / "a").write_bytes(b"".join(LINES))
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"".join(LINES)))
    assert list(lines_of(tmp_path / "a")) == list(lines_of(tmp_path / "a.gz")) == LINES
    assert last_line(tmp_path / "a") == LINES[-1][:-1]


def test_a_compressed_file_that_is_cut_is_told(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"".join(LINES))[:-20])
    with pytest.raises(OSError, match="truncated or damaged"):
        list(lines_of(tmp_path / "a.gz"))


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
    monkeypatch.setattr(reading, "LINE_BYTES", 8)
    path.write_bytes(b"x" * 50 + b"\nabc\n1234567\n" + b"y" * 8)
    with AuditFile(path) as file:
        assert list(file.lines()) == [b"x" * 8, b"abc\n", b"1234567\n", b"y" * 8]


@given(st.lists(st.binary(max_size=9) | st.just(b"\n"), max_size=9), st.integers(1, 12))
def test_lines_are_the_same_in_whatever_pieces_they_come(pieces, longest):
    whole = b"".join(pieces).split(b"\n")
    expected = [line + b"\n" for line in whole[:-1]] + [line for line in whole[-1:] if line]
    assert list(reading._with_ends(reading._split(piece for piece in pieces if piece))) == expected
    short = [piece[at : at + longest] for piece in pieces for at in range(0, len(piece), longest)]
    cut = [line if len(line.rstrip(b"\n")) < longest else line[:longest] for line in expected]
    blocks = list(reading._split(short, longest))
    assert list(reading._with_ends(blocks)) == cut
    assert all(len(line) <= longest for block in blocks for line in block.lines)
    too_long = [line.rstrip(b"\n") for line in expected if len(line.rstrip(b"\n")) >= longest]
    assert [block.whole for block in blocks if block.whole] == [sha256(line).digest() for line in too_long]
    assert all(block.ended for block in blocks[:-1])
    assert not blocks or blocks[-1].ended == expected[-1].endswith(b"\n")


def test_what_cannot_be_read_twice_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StartError, match="pipe: it is not a regular file"):
        AuditFile(tmp_path / "pipe")
    with pytest.raises(StartError, match="none: No such file"):
        AuditFile(tmp_path / "none")


def test_a_file_knows_itself_by_any_name(path, tmp_path):
    path.write_bytes(b"")
    (tmp_path / "other").symlink_to(path)
    with AuditFile(path) as file:
        assert (file.is_same(tmp_path / "other"), file.is_same(tmp_path / "none")) == (True, False)


def read(content, tmp_path_factory, block):
    path = tmp_path_factory.mktemp("reading") / "file"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    before, reading._BLOCK_BYTES = reading._BLOCK_BYTES, block
    try:
        return list(reading.lines_from(fd, 0)), list(reading.lines_backwards(fd)), reading.end_of_lines(fd)
    finally:
        reading._BLOCK_BYTES = before
        os.close(fd)


@given(
    st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.binary(max_size=9), st.integers(1, 9)
)
def test_whole_lines_are_found_from_both_ends_with_their_places(tmp_path_factory, lines, rest, block):
    rest = rest.replace(b"\n", b"")
    whole = [line + b"\n" for line in lines]
    forwards, backwards, end = read(b"".join(whole) + rest, tmp_path_factory, block)
    assert [line for _, line in forwards] == whole
    assert [line for _, line in reversed(backwards)] == whole
    ends = [sum(map(len, whole[: number + 1])) for number in range(len(whole))]
    assert [end for end, _ in forwards] == ends
    assert end == sum(map(len, whole))
    assert [start for start, _ in reversed(backwards)] == [0, *ends[:-1]][: len(whole)]


@pytest.mark.parametrize("content", [b"", b"no end"])
def test_without_a_whole_line_there_is_none(tmp_path_factory, content):
    assert read(content, tmp_path_factory, 4) == ([], [], 0)


def last_line(path):
    with path.open("rb") as file:
        return next((line for _, line in reading.lines_backwards(file.fileno())), b"").removesuffix(b"\n")


@pytest.mark.parametrize(
    ("content", "last"),
    [
        (b"", b""),
        (b"cut", b""),
        (b"a\n", b"a"),
        (b"a\nb\n", b"b"),
        (b"a\nb\ncut", b"b"),
        (b"a\n" + b"x" * 200_000, b"a"),
    ],
)
def test_the_last_whole_line_is_found_from_the_end(tmp_path, content, last):
    (tmp_path / "a").write_bytes(content)
    assert last_line(tmp_path / "a") == last


def test_a_long_last_line_is_found_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"first\n" + b"y" * 300_000 + b"\n")
    assert last_line(tmp_path / "a") == b"y" * 300_000


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(reading, "_BLOCK_BYTES", 4)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"no end", []),
        (b"\n", [b""]),
        (b"one\n", [b"one"]),
        (b"one\ntwo\nrest", [b"two", b"one"]),
        (b"a long first line\n\nb\n", [b"b", b"", b"a long first line"]),
    ],
)
def test_whole_lines_come_from_the_last_to_the_first(path, content, lines):
    path.write_bytes(content)
    with path.open("rb") as file:
        assert [line for _, line in reading.lines_backwards(file.fileno())] == [line + b"\n" for line in lines]


@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.binary(max_size=5))
def test_reading_backwards_is_reading_reversed(tmp_path_factory, lines, rest):
    rest = rest.replace(b"\n", b"")
    whole = [line + b"\n" for line in lines]
    forwards, backwards, end = read(b"".join(whole) + rest, tmp_path_factory, 3)
    assert [line for _, line in backwards] == [line for _, line in reversed(forwards)] == whole[::-1]
    assert end == len(b"".join(whole))


class Script:
    """What happens to the file each time that the follower has nothing to read."""

    def __init__(self, *steps):
        self._steps = iter(steps)

    def __call__(self):
        next(self._steps)()


def follow(path, *steps, offset=0, count):
    """The next lines and the notices, with `steps` taken whenever the follower waits."""
    notices = []
    follower = Follower(path=path, wait=Script(*steps), notice=notices.append)
    try:
        return list(islice(follower.lines(offset), count)), notices
    finally:
        follower.close()


def adding(path, data):
    def step():
        with path.open("ab") as file:
            file.write(data)

    return step


def test_lines_are_followed_as_they_are_added_and_a_half_one_is_waited_for(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one\n")
    steps = [adding(path, b"tw"), adding(path, b"o\nthree\n")]
    assert follow(path, *steps, count=3) == ([b"one", b"two", b"three"], [])


def test_following_begins_at_the_offset(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one\ntwo\n")
    assert follow(path, offset=4, count=1) == ([b"two"], [])


def test_a_rename_is_followed_and_the_end_of_the_old_file_is_not_lost(tmp_path):
    path, moved = tmp_path / "a", tmp_path / "a.1"
    path.write_bytes(b"one\n")
    steps = [
        lambda: path.rename(moved),
        adding(moved, b"two\n"),  # the writer has not noticed yet
        lambda: (adding(moved, b"three\n")(), path.write_bytes(b"four\n")),
    ]
    lines, notices = follow(path, *steps, count=4)
    assert lines == [b"one", b"two", b"three", b"four"]
    assert notices == [f"{path} is a new file"]


def test_a_truncated_file_is_read_from_its_start(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one\ntwo")
    steps = [lambda: path.write_bytes(b""), adding(path, b"three\n")]
    lines, notices = follow(path, *steps, count=2)
    assert lines == [b"one", b"three"]
    assert notices == [f"{path} was truncated; 3 bytes before it are not a whole line"]


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path):
    path = tmp_path / "a"
    assert follow(path, lambda: None, adding(path, b"one\n"), offset=None, count=1) == ([b"one"], [])


@pytest.mark.usefixtures("small_blocks")
def test_a_line_longer_than_a_block_is_one_line(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"a very long line\nb\n")
    assert follow(path, count=2)[0] == [b"a very long line", b"b"]
