"""Lines of an open file, from either end."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audit import reading


def read(content, tmp_path_factory, block):
    path = tmp_path_factory.mktemp("reading") / "file"
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    before, reading._BLOCK_BYTES = reading._BLOCK_BYTES, block
    try:
        return list(reading.lines_from(fd, 0)), list(reading.lines_backwards(fd))
    finally:
        reading._BLOCK_BYTES = before
        os.close(fd)


@given(
    st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.binary(max_size=9), st.integers(1, 9)
)
def test_whole_lines_are_found_from_both_ends_with_their_places(tmp_path_factory, lines, rest, block):
    rest = rest.replace(b"\n", b"")
    whole = [line + b"\n" for line in lines]
    forwards, backwards = read(b"".join(whole) + rest, tmp_path_factory, block)
    assert [line for _, line in forwards] == whole
    assert [line for _, line in reversed(backwards)] == whole
    ends = [sum(map(len, whole[: number + 1])) for number in range(len(whole))]
    assert [end for end, _ in forwards] == ends
    assert [start for start, _ in reversed(backwards)] == [0, *ends[:-1]][: len(whole)]


@pytest.mark.parametrize("content", [b"", b"no end"])
def test_without_a_whole_line_there_is_none(tmp_path_factory, content):
    assert read(content, tmp_path_factory, 4) == ([], [])
