"""SQLite's write-ahead log as bytes: which of its frames hold, and whether commits in it were lost."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from listener.journal.walindex import IndexHeader, read_header

# https://www.sqlite.org/walformat.html, section 1: a header, then frames of a header and a page each.
_HEADER = struct.Struct(">II I I8s8s")
_FRAME = struct.Struct(">II8s8s")
_MAGIC = 0x377F0682


class Frame(NamedTuple):
    """A page in the log: its number, and its content."""

    page: int
    content: bytes


class Log(NamedTuple):
    """The frames of the log to go by, oldest first, and what is wrong with it, None where nothing is."""

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
    index = read_header(_read(journal.with_name(f"{journal.name}-shm")))
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
    if order is None or page_bytes < 512:  # noqa: PLR2004 - the least that SQLite knows
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
