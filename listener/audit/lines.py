"""The lines of audit files, plain or gzip, from files that may still grow and be rotated meanwhile."""

import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

from listener.errors import ListenerError, StartError

LINE_BYTES = 16 * 1024 * 1024
"""What is longer is no event of ours: the line is cut there, and the rest of it skipped."""

_GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, 2.3.1
_BUFFER_BYTES = 256 * 1024


class CutShort(ListenerError):
    """A file cannot be read to its end."""


class AuditFile:
    """One file, held open, so that it can be read twice whatever rotation does to its name. Every call blocks.

    Args:
        path: a regular file. Whether it is gzip is seen from how it begins.

    Raises:
        StartError: there is no such file, or it cannot be read twice.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self._file = path.open("rb", buffering=_BUFFER_BYTES)
        except OSError as exc:
            raise StartError(f"{path}: {exc.strerror}") from exc
        found = os.fstat(self._file.fileno())
        if not stat.S_ISREG(found.st_mode):
            self._file.close()
            raise StartError(f"{path}: is not a regular file, and it has to be read twice")
        self._size = found.st_size
        self._is_gzip = self._file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def is_same(self, path: Path) -> bool:
        """Whether the path leads to this very file."""
        try:
            return os.path.samestat(path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            return False

    def lines(self) -> Iterator[bytes]:
        """Every line that began before the file was opened, from the first one, with its line end.

        Raises:
            CutShort: behind the last line that can be read.
        """
        try:
            self._file.seek(0)
            if self._is_gzip:
                with gzip.GzipFile(fileobj=self._file) as plain:
                    yield from _lines(io.BufferedReader(plain, _BUFFER_BYTES))
            else:
                yield from self._grown_lines()
        except (OSError, EOFError, zlib.error) as exc:
            raise CutShort(f"cannot be read further: {getattr(exc, 'strerror', None) or exc}") from exc

    def _grown_lines(self) -> Iterator[bytes]:
        position = 0
        for line in _lines(self._file):
            position = position + len(line) if len(line) < LINE_BYTES else self._file.tell()
            yield line
            if position >= self._size:
                return
        if position < self._size:
            raise CutShort(f"became {self._size - position} bytes shorter while it was read")


def _lines(file: BinaryIO | io.BufferedReader) -> Iterator[bytes]:
    readline = file.readline
    while line := readline(LINE_BYTES):
        rest = line
        while len(rest) == LINE_BYTES and not rest.endswith(b"\n"):
            rest = readline(LINE_BYTES)
        yield line


class Faults:
    """Counts the lines that cannot be read, and tells of each: those that follow one another in one text.

    Args:
        tell: gets `FILE:LINE: what is wrong`, or `FILE:FIRST-LAST: …`.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._name, self._why = "", ""
        self._first = self._last = 0
        self.count = 0

    def add(self, name: str, number: int, why: str) -> None:
        """A line of the file `name`, counted from 1."""
        self.count += 1
        if (name, number) != (self._name, self._last + 1):
            self.end()
            self._name, self._first, self._why = name, number, why
        self._last = number

    def end(self) -> None:
        """Tell of what was not told yet."""
        if self._name:
            lines = f"{self._first}" if self._first == self._last else f"{self._first}-{self._last}"
            self._report(f"{self._name}:{lines}: {self._why}")
        self._name = ""
