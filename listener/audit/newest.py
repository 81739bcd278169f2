"""The last event of a trail, wherever its files were rotated to."""

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import msgspec

from listener.audit.events import epoch_ms
from listener.audit.files import predecessors
from listener.audit.reading import lines_backwards, lines_of
from listener.audit.window import sequence_of
from listener.errors import UNDECODABLE
from listener.runtime.owned import open_to_read

_UNLIKELY = 10**16  # an event a millisecond for 300,000 years; the numbers of a journal end at 9 * 10**18
_ENOUGH = 1000  # lines at the end: those of replayed dead letters have lower sequences than the ones before


class _Times(msgspec.Struct, rename="camel"):
    """When an event of ours came: a disposition at `received_at`, a gap when it ended."""

    received_at: str | None = None
    to: str | None = None


class _Line(msgspec.Struct):
    time: str
    data: _Times


def newest_event(path: Path) -> tuple[int, int] | None:
    """The highest sequence near the end of a trail, and when its event came (epoch milliseconds). Blocks.

    Looks into closed files where the present one has none. None for no event, and where nothing can be read: who writes
    to the file will say so.
    """
    with suppress(OSError):
        for lines in (_end(path), *map(_end_of_closed, predecessors(path))):
            newest = max(lines, key=_likely, default=b"")
            if _likely(newest):
                return sequence_of(newest), _came_ms(newest) or int(path.stat().st_mtime * 1000)
    return None


def _likely(line: bytes) -> int:
    """The sequence of a line; 0 for one that no journal comes to: to go on above it could use up its numbers."""
    sequence = sequence_of(line)
    return sequence if sequence < _UNLIKELY else 0


def _end(path: Path) -> Iterable[bytes]:
    try:
        with open_to_read(path) as file:
            return [line for _, line in islice(lines_backwards(file.fileno()), _ENOUGH)]
    except FileNotFoundError:
        return []


def _end_of_closed(path: Path) -> Iterable[bytes]:
    return deque(lines_of(path), maxlen=_ENOUGH)


def _came_ms(line: bytes) -> int | None:
    """None where the line does not tell."""
    try:
        found = msgspec.json.decode(line, type=_Line)
        return epoch_ms(found.data.received_at or found.data.to or found.time)
    except (*UNDECODABLE, ValueError):
        return None
