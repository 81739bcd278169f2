"""Reading audit files: whole ones, plain or gzip; open ones from either end; and growing ones over rotation."""

import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, Self

from listener.errors import ListenerError, StartError
from listener.runtime.owned import open_to_read

LINE_BYTES = 16 * 1024 * 1024
"""Longer lines are not ours: `AuditFile` cuts the line there, and skips the rest of it."""

_BLOCK_BYTES = 256 * 1024
_GZIP_MAGIC = b"\x1f\x8b"  # RFC 1952, 2.3.1


class CutShort(ListenerError):
    """A file cannot be read to its end."""


class Block(NamedTuple):
    """Lines that stand one behind the other, without their ends. `ended` tells whether the last one has its end.

    A line that is too long stands alone, and is cut; `whole` is the SHA-256 of all of it then.
    """

    lines: list[bytes]
    ended: bool = True
    whole: bytes | None = None


def blocks_of(path: Path) -> Iterator[Block]:
    """The lines of a file, plain or gzip, some hundreds at a time; those of `LINE_BYTES` and more are cut. Blocks.

    Raises:
        OSError: it cannot be read, or is compressed and damaged.
    """
    yield from _blocks(path, LINE_BYTES)


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file, whole, each with its line end if it has one. Blocks. Raises OSError, as `blocks_of` does."""
    return _with_ends(_blocks(path, None))


def _blocks(path: Path, longest: int | None) -> Iterator[Block]:
    try:
        with _opened(path) as file:
            yield from _split(_pieces(_plain(file), min(_BLOCK_BYTES, LINE_BYTES)), longest)
    except (EOFError, gzip.BadGzipFile, zlib.error) as exc:
        raise OSError(f"{path}: the compressed data is truncated or damaged") from exc


def _opened(path: Path) -> io.BufferedReader:
    return io.BufferedReader(open_to_read(path), _BLOCK_BYTES)


def _plain(file: io.BufferedReader) -> io.BufferedReader:
    """What is in a file, decompressed if it begins as gzip does."""
    if not file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC):
        return file
    return io.BufferedReader(gzip.GzipFile(fileobj=file), _BLOCK_BYTES)


def _pieces(file: io.BufferedReader, most: int) -> Iterator[bytes]:
    """What is left of a file, in pieces of so many bytes at most; an error comes behind what could be read."""
    while piece := file.read1(most):
        yield piece


def _split(pieces: Iterable[bytes], longest: int | None = None) -> Iterator[Block]:
    """The lines in pieces, none of which is longer than `longest`. A line of so many bytes or more is cut there."""
    begun = _Begun(longest)
    for piece in pieces:
        lines = piece.split(b"\n")
        rest = lines.pop()
        if lines:
            begun.add(lines.pop(0))
            first = begun.block(ended=True)
            if first.whole is not None:
                yield first
            else:
                lines[:0] = first.lines
            if lines:
                yield Block(lines)
            begun = _Begun(longest)
        begun.add(rest)
    if begun.size:
        yield begun.block(ended=False)


class _Begun:
    """A line whose end has not come; once it is too long, its first bytes and the hash of all that has come."""

    def __init__(self, longest: int | None) -> None:
        self._longest = longest
        self._pieces: list[bytes] = []
        self._hash: Any = None
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Its next bytes."""
        self.size += len(piece)
        if self._hash is not None:
            self._hash.update(piece)
            return
        self._pieces.append(piece)
        if self._longest is not None and self.size >= self._longest:
            whole = b"".join(self._pieces)
            self._hash, self._pieces = sha256(whole), [whole[: self._longest]]

    def block(self, *, ended: bool) -> Block:
        """The line, as far as it has come."""
        whole = None if self._hash is None else self._hash.digest()
        return Block([b"".join(self._pieces)], ended, whole)


def _with_ends(blocks: Iterable[Block]) -> Iterator[bytes]:
    for lines, ended, whole in blocks:
        *before, last = lines
        yield from [line + b"\n" for line in before]
        yield last + b"\n" if ended and whole is None else last


class AuditFile:
    """One file, held open, so that it can be read twice whatever rotation does to its name. Every call blocks.

    Args:
        path: a regular file, plain or gzip.

    Raises:
        StartError: there is no such file, or it is none: a pipe cannot be read twice.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self._file = _opened(path)
        except OSError as exc:
            raise StartError(f"{path}: {exc.strerror}") from exc
        self._size = os.fstat(self._file.fileno()).st_size

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

    def blocks(self) -> Iterator[Block]:
        """Every line that began before the file was opened, from the first one; those of `LINE_BYTES` and more are cut.

        Raises:
            CutShort: behind the last line that can be read.
        """
        try:
            self._file.seek(0)
            plain = _plain(self._file)
            pieces = _pieces(plain, min(_BLOCK_BYTES, LINE_BYTES))
            yield from _split(self._as_opened(pieces) if plain is self._file else pieces, LINE_BYTES)
        except (OSError, EOFError, zlib.error) as exc:
            raise CutShort(f"cannot be read further: {getattr(exc, 'strerror', None) or exc}") from exc

    def lines(self) -> Iterator[bytes]:
        """The same lines, each with its line end if it has one and was not cut. Raises CutShort, as `blocks` does."""
        return _with_ends(self.blocks())

    def _as_opened(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """The pieces as far as the end of the line that was the last one when the file was opened."""
        position = 0
        for piece in pieces:
            last = self._size - 1 - position
            position += len(piece)
            end = piece.find(b"\n", max(0, last)) + 1 if last < len(piece) else 0
            yield piece[:end] if end else piece
            if end:
                return
        if position < self._size:
            raise CutShort(f"became {self._size - position} bytes shorter while it was read")


def blocks(fd: int, start: int) -> Iterator[bytes]:
    """All bytes of an open file from an offset on, whatever its position is."""
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
    position = start = end_of_lines(fd)
    rest = b""
    while position:
        size = min(_BLOCK_BYTES, position)
        position -= size
        block = os.pread(fd, size, position)
        if len(block) < size:
            return  # truncated meanwhile
        first, *lines, _ = (block + rest).split(b"\n")
        for line in reversed(lines):
            start -= len(line) + 1
            yield start, line + b"\n"
        rest = first + b"\n"
    if rest:
        yield 0, rest


def end_of_lines(fd: int) -> int:
    """The offset behind the last line end."""
    position = os.fstat(fd).st_size
    while position:
        size = min(_BLOCK_BYTES, position)
        position -= size
        found = os.pread(fd, size, position).rfind(b"\n")
        if found >= 0:
            return position + found + 1
    return 0


class Follower:
    """Lines as they are added to the file that has a name, whatever file that is at the time, as `tail -F` reads them.

    Args:
        path: the file; it may be missing for a while.
        wait: called when there is nothing to read; returns when it is time to look again.
        notice: told when the file was exchanged for another or truncated, and what of the old one was no whole line.
    """

    def __init__(self, *, path: Path, wait: Callable[[], None], notice: Callable[[str], None]) -> None:
        self._path = path
        self._wait = wait
        self._notice = notice
        self._file: io.BufferedReader | None = None
        self._offset = 0  # behind the last whole line
        self._size = 0  # at least so long it was

    def lines(self, offset: int | None) -> Iterator[bytes]:
        """Whole lines without their ends, for ever. `offset` is where to begin in the present file.

        None begins at the start of the file that comes.
        """
        if self._open() and offset is not None:
            self._offset = offset
        while True:
            before = self._offset
            yield from self._read()
            if self._offset == before and not self._exchanged():
                self._wait()

    def close(self) -> None:
        """Let the file go. Idempotent."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _open(self) -> bool:
        self._offset = self._size = 0
        try:
            self._file = _opened(self._path)
        except FileNotFoundError:
            self._file = None
        return self._file is not None

    def _read(self) -> Iterator[bytes]:
        """The whole lines that are there now."""
        if self._file is not None:
            fd = self._file.fileno()
            self._size = max(self._size, os.fstat(fd).st_size)
            for offset, line in lines_from(fd, self._offset):
                self._offset = offset
                yield line[:-1]

    def _exchanged(self) -> bool:
        """Whether there is now another file, or an emptied one, to read from its start."""
        if self._file is None:
            return self._open()
        try:
            named = self._path.stat()
        except FileNotFoundError:
            return False  # between a rename and the file that follows; the old one may still grow
        held = os.fstat(self._file.fileno())
        rest = max(0, self._size - self._offset)
        if not os.path.samestat(named, held):
            if held.st_size > self._size:
                return True  # the old one is read to its end first
            self._report("is a new file", rest)
            self.close()
            return self._open()
        if named.st_size < max(self._size, self._offset):
            self._report("was truncated", rest)
            self._offset = self._size = 0
            return True
        return False

    def _report(self, what: str, rest: int) -> None:
        self._notice(f"{self._path} {what}" + (f"; {rest} bytes before it are not a whole line" if rest else ""))
