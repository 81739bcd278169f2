"""SQLite's shared index of the write-ahead log: how long that is, and how much of it is in the database."""

import os
import struct
import sys
from pathlib import Path
from typing import NamedTuple, Self

from listener.runtime.durable import require_sound

# https://www.sqlite.org/walformat.html, section 2: two copies of a header of 48 bytes, then the checkpoint's state.
_HEADER = struct.Struct("=IIIBBHII8s8s8s")
_BACKFILLED_AT = 2 * _HEADER.size


class IndexHeader(NamedTuple):
    """What the index says of the log: its valid frames, and the salts of its generation as they stand in the file."""

    frames: int
    salts: bytes
    backfilled: int


def read_header(content: bytes) -> IndexHeader | None:
    """The header in an index file's content; None where it was not written whole, or is no index."""
    if len(content) < _BACKFILLED_AT + 4 or content[: _HEADER.size] != content[_HEADER.size : _BACKFILLED_AT]:
        return None
    *_, is_set, _big_endian, _page, frames, _pages, _sums, salts, checksum = _HEADER.unpack_from(content)
    if not is_set or _checksum(content[: _HEADER.size - 8]) != checksum:
        return None
    (backfilled,) = struct.unpack_from("=I", content, _BACKFILLED_AT)
    return IndexHeader(frames, salts, backfilled)


def _checksum(content: bytes) -> bytes:
    first = second = 0
    for one, other in struct.iter_unpack("=II", content):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return struct.pack("=II", first, second)


class WalIndex:
    """The index of a journal that this process has open.

    Close it after the last connection: closing any descriptor of the file drops the locks that SQLite holds on it.
    """

    def __init__(self, *, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls, journal: Path) -> Self:
        """Open the index of a journal that a connection of this process has read. Raises OSError."""
        return cls(descriptor=os.open(f"{journal}-shm", os.O_RDWR | os.O_CLOEXEC))

    def require_sound(self) -> None:
        """See `durable.require_sound`, of the file system that the journal is on."""
        require_sound(self._descriptor)

    def frames(self) -> int:
        """How many pages the log holds that are committed."""
        return int.from_bytes(os.pread(self._descriptor, 4, 16), sys.byteorder)

    def forget_backfill(self) -> None:
        """Let the next checkpoint write every page of the log into the database, also what an earlier one wrote.

        A checkpoint beside a reader may write pages without a sync, and SQLite takes them for written. The sync that
        fails later loses them too, and the next would not know. Less than what was written is always a true number.
        """
        os.pwrite(self._descriptor, bytes(4), _BACKFILLED_AT)

    def close(self) -> None:
        """Drops the locks of the connections that are still open."""
        os.close(self._descriptor)
