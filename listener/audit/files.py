"""The files of an audit trail: lines of plain and compressed ones, and the order in which they were written."""

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from listener.audit.chain import link_of

_BLOCK_BYTES = 64 * 1024
_BESIDE = (".checkpoints", ".key", ".pub")


def of_the_trail(paths: Iterable[Path]) -> list[Path]:
    """The paths without what a sink keeps beside its file: a pattern such as `dispositions.jsonl*` fits that too."""
    return [path for path in paths if path.suffix not in _BESIDE]


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file, each with its line end if it has one; `.gz` is decompressed. Blocks.

    Raises:
        OSError: it cannot be read, or is compressed and damaged.
    """
    with _opened(path) as file:
        try:
            yield from file
        except (EOFError, zlib.error) as exc:
            raise OSError(f"{path}: the compressed data is cut or damaged") from exc


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]  # reads alike


def beginning(path: Path) -> int:
    """Roughly the number of the first record in a file, -1 where it holds none. Raises OSError.

    The one in the middle of the first three: one that was put there from elsewhere does not mislead.
    """
    links = (link for line in lines_of(path) if (link := link_of(line)) is not None)
    numbers = sorted(link.number for link in islice(links, 3))
    return numbers[len(numbers) // 2] if numbers else -1


def in_order(paths: Iterable[Path]) -> list[Path]:
    """The files as they were written, by their first records; those without any come first, as they are given."""
    return sorted(paths, key=beginning)


def last_line(path: Path) -> bytes:
    """The last whole line of a file, without its line end; empty where there is none. Raises OSError."""
    if path.suffix == ".gz":
        last = b""
        for line in lines_of(path):
            last = line if line.endswith(b"\n") else last
        return last.removesuffix(b"\n")
    with path.open("rb") as file:
        return _tail(file).rpartition(b"\n")[0].rpartition(b"\n")[2]


def _tail(file: BinaryIO) -> bytes:
    """The end of a file, back to before its last whole line."""
    start = file.seek(0, os.SEEK_END)
    tail = b""
    while start and tail.count(b"\n") < 2:  # noqa: PLR2004 - the end of the last line, and of the one before
        size = min(start, _BLOCK_BYTES)
        start -= size
        file.seek(start)
        tail = file.read(size) + tail
    return tail
