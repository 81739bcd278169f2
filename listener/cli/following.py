"""Reading a file of lines from its end, and following it over renames and truncation, as `tail -F` does."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK_BYTES = 64 * 1024


def lines_backwards(file: BinaryIO) -> Iterator[bytes]:
    """The whole lines of a file without their ends, the last one first; one that has no end yet is left out."""
    position = file.seek(0, os.SEEK_END)
    rest, ended = b"", False
    while position:
        size = min(BLOCK_BYTES, position)
        position -= size
        file.seek(position)
        first, *others = (file.read(size) + rest).split(b"\n")
        if others:
            tail = others if ended else others[:-1]
            yield from reversed(tail)
            ended = True
        rest = first
    if ended:
        yield rest


def end_of_lines(file: BinaryIO) -> int:
    """The offset behind the last line end."""
    position = file.seek(0, os.SEEK_END)
    while position:
        size = min(BLOCK_BYTES, position)
        position -= size
        file.seek(position)
        found = file.read(size).rfind(b"\n")
        if found >= 0:
            return position + found + 1
    return 0


class Follower:
    """Lines as they are added to the file that has a name, whatever file that is at the time.

    Args:
        path: the file; it may be missing for a while.
        wait: called when there is nothing to read; returns when it is time to look again.
        notice: told when the file was exchanged for another or truncated, and what of the old one was no whole line.
    """

    def __init__(self, *, path: Path, wait: Callable[[], None], notice: Callable[[str], None]) -> None:
        self._path = path
        self._wait = wait
        self._notice = notice
        self._file: BinaryIO | None = None
        self._rest = b""

    def lines(self, offset: int | None) -> Iterator[bytes]:
        """Whole lines without their ends, for ever. `offset` is where to begin in the present file.

        None begins at the start of the file that comes.
        """
        self._open()
        if self._file is not None and offset is not None:
            self._file.seek(offset)
        while True:
            lines = self._read()
            yield from lines
            if lines or self._exchanged():
                continue
            self._wait()

    def close(self) -> None:
        """Let the file go. Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _open(self) -> bool:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            self._file = None
        return self._file is not None

    def _read(self) -> list[bytes]:
        """The whole lines that are there now, at most a block of them."""
        if self._file is None:
            return []
        block = self._file.read(BLOCK_BYTES)
        *lines, self._rest = (self._rest + block).split(b"\n")
        return lines if lines or not block else self._read()

    def _exchanged(self) -> bool:
        """Whether there is now another file, or an emptied one, to read from its start."""
        if self._file is None:
            return self._open()
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return False  # between a rename and the file that follows; the old one may still grow
        if not os.path.samestat(now, os.fstat(self._file.fileno())):
            return self._next_file()
        if now.st_size < self._file.tell():
            self._forget("was truncated")
            self._file.seek(0)
            return True
        return False

    def _next_file(self) -> bool:
        """Go to the new file, once the old one is read to its end."""
        assert self._file is not None  # noqa: S101 - `_exchanged` has looked
        if os.fstat(self._file.fileno()).st_size > self._file.tell():
            return True
        self._forget("is a new file")
        self.close()
        return self._open()

    def _forget(self, what: str) -> None:
        rest, self._rest = self._rest, b""
        self._notice(f"{self._path} {what}" + (f"; {len(rest)} bytes before it are no whole line" if rest else ""))
