"""Reading backwards, and following a file through everything that logrotate does to it."""

import io
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.cli import following
from listener.cli.following import Follower, end_of_lines, lines_backwards


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(following, "BLOCK_BYTES", 4)


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
def test_whole_lines_come_from_the_last_to_the_first(content, lines):
    assert list(lines_backwards(io.BytesIO(content))) == lines


@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=8), st.binary(max_size=5))
def test_reading_backwards_is_reading_reversed(lines, rest):
    rest = rest.replace(b"\n", b"")
    content = b"".join(line + b"\n" for line in lines)
    size, following.BLOCK_BYTES = following.BLOCK_BYTES, 3
    try:
        assert list(lines_backwards(io.BytesIO(content + rest))) == lines[::-1]
        assert end_of_lines(io.BytesIO(content + rest)) == len(content)
    finally:
        following.BLOCK_BYTES = size


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
    assert notices == [f"{path} was truncated; 3 bytes before it are no whole line"]


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path):
    path = tmp_path / "a"
    assert follow(path, lambda: None, adding(path, b"one\n"), offset=None, count=1) == ([b"one"], [])


@pytest.mark.usefixtures("small_blocks")
def test_a_line_longer_than_a_block_is_one_line(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"a very long line\nb\n")
    assert follow(path, count=2)[0] == [b"a very long line", b"b"]
