"""SQLite's write-ahead log and its index as bytes: which frames hold, how many there are, whether commits were lost."""

import os
import struct
import sys
from collections.abc import Iterator
from mmap import PROT_READ, mmap
from pathlib import Path
from typing import NamedTuple, Self

from listener.runtime.durable import require_sound
from listener.runtime.owned import open_owned

# https://www.sqlite.org/walformat.html, section 2: two copies of a header of 48 bytes, then the checkpoint's state.
_INDEX_HEADER = struct.Struct("=IIIBBHII8s8s8s")
_BACKFILLED_AT = 2 * _INDEX_HEADER.size
_FRAMES_AT = slice(16, 20)

# https://www.sqlite.org/walformat.html, section 1: a header, then frames of a header and a page each.
_HEADER = struct.Struct(">II I I8s8s")
_FRAME = struct.Struct(">II8s8s")
_MAGIC = 0x377F0682
LEAST_PAGE_BYTES = 512


class IndexHeader(NamedTuple):
    """What the index says of the log: its valid frames, and the salts of its generation as they stand in the file."""

    frames: int
    salts: bytes
    backfilled: int


def read_header(content: bytes) -> IndexHeader | None:
    """The header in an index file's content; None if it was not written whole, or is no index."""
    if (
        len(content) < _BACKFILLED_AT + 4
        or content[: _INDEX_HEADER.size] != content[_INDEX_HEADER.size : _BACKFILLED_AT]
    ):
        return None
    *_, is_set, _big_endian, _page, frames, _pages, _last_sums, salts, checksum = _INDEX_HEADER.unpack_from(content)
    if not is_set or struct.pack("=II", *_sums(content[: _INDEX_HEADER.size - 8], "=", (0, 0))) != checksum:
        return None
    (backfilled,) = struct.unpack_from("=I", content, _BACKFILLED_AT)
    return IndexHeader(frames, salts, backfilled)


def read_index(journal: Path) -> IndexHeader | None:
    """What the index beside a journal says; None for none. Raises OSError."""
    return read_header(_read(journal.with_name(f"{journal.name}-shm")))


class WalIndex:
    """The index of a journal that this process has open.

    Close it after the last connection: closing any descriptor of the file drops the locks that SQLite holds on it.
    """

    def __init__(self, *, descriptor: int) -> None:
        self._descriptor = descriptor
        self._header = mmap(descriptor, _BACKFILLED_AT, prot=PROT_READ)  # as SQLite reads it

    @classmethod
    def open(cls, journal: Path) -> Self:
        """Open the index of a journal that a connection of this process has read. Raises OSError."""
        return cls(descriptor=open_owned(Path(f"{journal}-shm"), os.O_RDWR))

    def require_sound(self) -> None:
        """See `durable.require_sound`, of the file system that the journal is on."""
        require_sound(self._descriptor)

    def frames(self) -> int:
        """How many pages the log holds that are committed."""
        return int.from_bytes(self._header[_FRAMES_AT], sys.byteorder)

    def has_a_name(self) -> bool:
        """Whether the file was not removed, wherever its name leads from. Raises OSError."""
        return os.fstat(self._descriptor).st_nlink > 0

    def forget_backfill(self) -> None:
        """Let the next checkpoint write every page of the log into the database, also what an earlier one wrote.

        A checkpoint beside a reader may write pages without a sync, and SQLite takes them for written. The sync that
        fails later loses them too, and the next would not know. Less than what was written is always a true number.
        """
        os.pwrite(self._descriptor, bytes(4), _BACKFILLED_AT)

    def close(self) -> None:
        """Drops the locks of the connections that are still open."""
        self._header.close()
        os.close(self._descriptor)


class Frame(NamedTuple):
    """A page in the log: its number, and its content."""

    page: int
    content: bytes


class Log(NamedTuple):
    """The frames of the log to go by, oldest first, and what is wrong with it, None if nothing is."""

    frames: list[Frame]
    fault: str | None


class _Found(NamedTuple):
    """A frame as it lies in the file, and whether it ends a commit and continues the sums from the start."""

    frame: Frame
    salts: bytes
    commits: bool
    holds: bool


def read_log(journal: Path, page_bytes: int) -> Log:
    """What the log beside `journal` holds; neither is open in this process. Raises OSError.

    A crash leaves a log that ends in the middle of a transaction, and behind that what is left of an older one: no
    fault, and nothing of it is used. A fault is what must have been committed and does not hold: the index beside
    the log counts more frames, or more than one commit follows on a frame that does not hold (the last commit may have
    been under way). With a fault every frame of the same generation up to its last commit is given, for who can judge
    contents by themselves.
    """
    content = _read(journal.with_name(f"{journal.name}-wal"))
    index = read_index(journal)
    header = _header(content)
    if header is None:
        fault = _headless(content, index)
        return Log(_up_to_last_commit(list(_frames(content, page_bytes, None))) if fault else [], fault)
    found = [one for one in _frames(content, header.page_bytes, header) if one.salts == header.salts]
    held = [one for one in found if one.holds]
    sound = _up_to_last_commit(held)
    fault = _fault(header, found, held, len(sound), index)
    return Log(_up_to_last_commit(found) if fault else sound, fault)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


class _Header(NamedTuple):
    order: str
    page_bytes: int
    salts: bytes
    sums: tuple[int, int]


def _header(content: bytes) -> _Header | None:
    if len(content) < _HEADER.size:
        return None
    magic, _version, page_bytes, _number, salts, sums = _HEADER.unpack_from(content)
    order = {_MAGIC: "<", _MAGIC | 1: ">"}.get(magic)
    if order is None or page_bytes < LEAST_PAGE_BYTES:
        return None
    own = _sums(content[: _HEADER.size - 8], order, (0, 0))
    return _Header(order, page_bytes, salts, own) if own == struct.unpack(">II", sums) else None


def _sums(content: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    """The running checksum: two sums over pairs of words. The masks are put off, Python's numbers have room."""
    first, second = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second


def _frames(content: bytes, page_bytes: int, header: _Header | None) -> Iterator[_Found]:
    """Every whole frame. Without a header none holds, and the salts are those of the first."""
    sums = header.sums if header else (0, 0)
    holds = header is not None
    for at in range(_HEADER.size, len(content) - page_bytes - _FRAME.size + 1, page_bytes + _FRAME.size):
        page, pages, salts, stored = _FRAME.unpack_from(content, at)
        body = content[at + _FRAME.size : at + _FRAME.size + page_bytes]
        if header is not None and holds:
            sums = _sums(content[at : at + 8] + body, header.order, sums)
            holds = salts == header.salts and struct.pack(">II", *sums) == stored
        yield _Found(Frame(page, body), salts, pages > 0, holds)


def _up_to_last_commit(found: list[_Found]) -> list[Frame]:
    last = max((at for at, one in enumerate(found, 1) if one.commits), default=0)
    return [one.frame for one in found[:last]]


def _headless(content: bytes, index: IndexHeader | None) -> str | None:
    if index is not None:
        lost = index.frames - index.backfilled
        return f"its log has no header, {lost} pages were only there" if lost > 0 else None
    return "its log has no header" if len(content) > _HEADER.size else None


def _fault(
    header: _Header, found: list[_Found], held: list[_Found], sound: int, index: IndexHeader | None
) -> str | None:
    if index is not None and index.salts == header.salts and index.frames > sound:
        return f"its log holds {sound} of {index.frames} pages"
    later = sum(one.commits for one in found[len(held) :])
    return f"its log holds for {len(held)} pages, {later} commits follow" if later > 1 else None
