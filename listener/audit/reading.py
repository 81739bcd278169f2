"""Reading an open file of lines: forwards from an offset, and backwards from its end, whatever its position is."""

import os
from collections.abc import Iterator

_BLOCK_BYTES = 256 * 1024


def blocks(fd: int, start: int) -> Iterator[bytes]:
    """All bytes from an offset on."""
    while block := os.pread(fd, _BLOCK_BYTES, start):
        yield block
        start += len(block)


def lines_from(fd: int, start: int) -> Iterator[tuple[int, bytes]]:
    """The whole lines from an offset on, each with its end and with the offset behind it."""
    rest = b""
    for block in blocks(fd, start):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            start += len(line) + 1
            yield start, line + b"\n"


def lines_backwards(fd: int) -> Iterator[tuple[int, bytes]]:
    """The whole lines, the last one first, each with its end and with the offset where it begins."""
    position = os.fstat(fd).st_size
    rest, ended = b"", False
    while position:
        size = min(_BLOCK_BYTES, position)
        position -= size
        first, *others = (os.pread(fd, size, position) + rest).split(b"\n")
        offset = position + len(first) + 1
        if others:
            yield from _placed(others if ended else others[:-1], offset)
            ended = True
        rest = first
    if ended:
        yield 0, rest + b"\n"


def _placed(lines: list[bytes], offset: int) -> Iterator[tuple[int, bytes]]:
    starts = []
    for line in lines:
        starts.append(offset)
        offset += len(line) + 1
    for start, line in zip(reversed(starts), reversed(lines), strict=True):
        yield start, line + b"\n"
