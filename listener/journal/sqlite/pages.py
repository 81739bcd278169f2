"""Finds events in the pages of a damaged file, without SQLite."""

import struct
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from listener.journal.sqlite import rows
from listener.journal.sqlite.database import PAGE_BYTES
from listener.journal.sqlite.wal import LEAST_PAGE_BYTES, Frame

# https://www.sqlite.org/fileformat2.html: section 1.3 the header, 1.6 b-tree pages, 2.1 records.
MAGIC = b"SQLite format 3\0"
HEADER_BYTES = 100
_TABLE_LEAF = 0x0D
_MORE = 0x80  # the bit of a number's byte that more follow on
_PAGE_HEADER_BYTES = 8
_EVENT_COLUMNS = (12, 13, 14)
_READ_COLUMNS = 13  # what an event defers is found by SQLite, or not at all
_MAX_PAYLOAD = 2**28

Row = tuple[Any, ...]


def page_bytes_of(header: bytes) -> int:
    """The page size that the header of a file names; that of our journals where it names none."""
    size = int.from_bytes(header[16:18], "big")
    sane = header.startswith(MAGIC) and size >= LEAST_PAGE_BYTES and size & (size - 1) == 0
    return size if sane else PAGE_BYTES


class Pages:
    """Every version of every page that a file and the frames of its log hold."""

    def __init__(self, *, file: BufferedReader, page_bytes: int, frames: list[Frame]) -> None:
        self._file = file
        self._logged: dict[int, list[bytes]] = {}
        for frame in frames:
            self._logged.setdefault(frame.page, []).insert(0, frame.content)
        self.page_bytes = page_bytes
        self._in_file = -(-file.seek(0, 2) // page_bytes)

    def numbers(self) -> Iterator[int]:
        """The numbers of all pages, a part of one at the end of the file included."""
        yield from range(1, self._in_file + 1)
        yield from sorted(number for number in self._logged if number > self._in_file)

    def versions(self, number: int) -> list[bytes]:
        """What there is of a page, the newest first, the file's last, filled up with zeros; empty for no such page."""
        found = list(self._logged.get(number, ()))
        if 0 < number <= self._in_file:
            self._file.seek((number - 1) * self.page_bytes)
            found.append(self._file.read(self.page_bytes).ljust(self.page_bytes, b"\0"))
        return found


def events(path: Path, frames: list[Frame]) -> Iterator[Row]:
    """Every event in the file and the frames as a row, `crc` last; some of them more than once, newer versions first.

    An event is what a leaf of a table lists, has the columns of one, and the checksum that stands in it; without a
    checksum (rows that are older) what can be read as one. What retention deleted may still be there. Raises OSError.
    """
    with path.open("rb") as file:
        pages = Pages(file=file, page_bytes=page_bytes_of(file.read(HEADER_BYTES)), frames=frames)
        for number in pages.numbers():
            for content in pages.versions(number):
                for row in _leaf(pages, number, content):
                    if rows.is_event(row):
                        yield row


def _leaf(pages: Pages, number: int, content: bytes) -> Iterator[Row]:
    """The rows of a page that have as many columns as an event."""
    start = HEADER_BYTES if number == 1 else 0
    if content[start] != _TABLE_LEAF:
        return
    (cells,) = struct.unpack_from(">H", content, start + 3)
    listed = content[start + _PAGE_HEADER_BYTES : start + _PAGE_HEADER_BYTES + 2 * cells]
    for (at,) in struct.iter_unpack(">H", listed[: len(listed) & ~1]):
        try:
            row = _cell(pages, content, at)
        except (IndexError, ValueError, struct.error):  # no cell
            continue
        if row is not None:
            yield row


def _cell(pages: Pages, content: bytes, at: int) -> Row | None:
    size, at = _varint(content, at)
    rowid, at = _varint(content, at)
    if size > _MAX_PAYLOAD:
        return None
    local = _local_bytes(size, pages.page_bytes)
    payload = content[at : at + local]
    columns = _serial_types(payload)
    if len(columns) not in _EVENT_COLUMNS:
        return None
    if local < size:
        payload += _overflow(pages, int.from_bytes(content[at + local : at + local + 4], "big"), size - local)
    return (rowid, *_values(payload, columns[:_READ_COLUMNS])[1:], *[None] * (_READ_COLUMNS - len(columns)))


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where the next thing begins."""
    value = 0
    for offset in range(8):
        byte = content[at + offset]
        value = value << 7 | byte & 0x7F
        if not byte & _MORE:
            return value, at + offset + 1
    return value << 8 | content[at + 8], at + 9


def _local_bytes(size: int, page_bytes: int) -> int:
    """How much of a payload lies in the leaf itself."""
    most = page_bytes - 35
    if size <= most:
        return size
    least = (page_bytes - 12) * 32 // 255 - 23
    fitting = least + (size - least) % (page_bytes - 4)
    return fitting if fitting <= most else least


def _overflow(pages: Pages, number: int, size: int) -> bytes:
    """The rest of a payload, from a chain of pages."""
    parts: list[bytes] = []
    step = pages.page_bytes - 4
    while size > 0:
        content = pages.versions(number)[0]  # IndexError: the chain is too short, or leads nowhere
        number = int.from_bytes(content[:4], "big")
        parts.append(content[4 : 4 + min(size, step)])
        size -= step
    return b"".join(parts)


def _serial_types(payload: bytes) -> list[int]:
    """What a record says of its columns."""
    end, at = _varint(payload, 0)
    found: list[int] = []
    while at < end:
        one, at = _varint(payload, at)
        found.append(one)
    return found


_INT_BYTES = (0, 1, 2, 3, 4, 6, 8)
_ONE = 9
_FIRST_BLOB = 12


def _values(payload: bytes, columns: list[int]) -> list[Any]:
    """The columns' values; a kind that no event holds raises."""
    at, _ = _varint(payload, 0)
    values: list[Any] = []
    for kind in columns:
        if kind >= _FIRST_BLOB:
            size = (kind - _FIRST_BLOB) // 2
            part = payload[at : at + size]
            values.append(part.decode() if kind & 1 else part)
        elif kind in (8, _ONE):
            size = 0
            values.append(kind - 8)
        else:
            size = _INT_BYTES[kind]
            values.append(int.from_bytes(payload[at : at + size], "big", signed=True) if size else None)
        at += size
    return values
