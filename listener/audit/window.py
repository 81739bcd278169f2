"""The dedup window: a delivery repeated after a crash or a failure adds no second line."""

import os
from collections.abc import Callable, Iterable, Sequence

from listener.audit.reading import lines_backwards, lines_from
from listener.model.event import Event

WINDOW = 20_000
"""At least this many lines are remembered, at eight bytes each plus Python's overhead: 2 MB."""

_STEP = WINDOW // 4
_ID, _SEQUENCE = b',"id":"', b',"sequence":"'
_MOST_DIGITS = 18  # a journal's numbers have 63 bits


def key_of(line: bytes) -> int | None:
    """What tells events apart: a hash of id and sequence as they are written; None for what is no event.

    Before the two stand texts alone, in which no quotation mark is without its backslash.
    """
    start = line.find(_ID)
    place = line.find(_SEQUENCE, start)
    if start < 0 or place < 0:
        return None
    end = line.find(b'","', start + len(_ID))
    digits = place + len(_SEQUENCE)
    return hash((line[start:end], line[digits : line.find(b'"', digits)]))


def sequence_of(line: bytes) -> int:
    """0 if there is none, or one that no journal can have."""
    _, _, rest = line.partition(_SEQUENCE)
    digits = rest[: rest.find(b'"')]
    return int(digits) if digits.isdigit() and len(digits) <= _MOST_DIGITS else 0


class DedupWindow:
    """The keys of a stretch of the file, mostly its end; read from the file, and only when an event may be there.

    An event above every sequence at the file's end is new: nothing is looked up. Another one is looked for among the
    remembered lines, then in what was appended since they were read, and then, once, in the whole file from its end:
    where nothing of a batch is found by that, nothing older will be. Never by sequence alone: a new journal begins at
    1 again, and replayed events come late.
    """

    def __init__(self) -> None:
        self._keys: dict[int, None] = {}
        self._offset = 0
        self._highest = 0
        self._searched = False

    @property
    def remembered(self) -> int:
        """How many lines."""
        return len(self._keys)

    @property
    def highest(self) -> int:
        """The highest sequence that was seen."""
        return self._highest

    def start(self, fd: int, before: Callable[[int], Iterable[bytes]] = lambda _count: ()) -> None:
        """Read the end of the file that was opened.

        Args:
            fd: the file.
            before: gives so many of the last lines of the file before it; asked where this one is short.
        """
        self._keys.clear()
        self._searched, self._offset, self._highest = False, 0, 0
        lines = 0
        for start, _ in lines_backwards(fd):
            lines, self._offset = lines + 1, start
            if lines == WINDOW:
                break
        if lines < WINDOW:
            self._remember(before(WINDOW - lines))
        while self._read_on(fd):
            pass

    def note(self, sequence: int) -> None:
        """An event with this sequence has been appended."""
        self._highest = max(self._highest, sequence)

    def leave(self, fd: int) -> None:
        """The file will be left: remember its end, and begin at the start of the next one."""
        while self._read_on(fd):
            pass
        self._offset = 0

    def fresh(self, events: Sequence[Event], texts: Sequence[bytes], current: Callable[[], int]) -> Sequence[int]:
        """The indexes of the events that do not stand in the file. A test event, which has no sequence, never does.

        Args:
            events: in journal order. Where the first is above all that is there, so are the others.
            texts: how each of them begins in the file, at least up to its sequence.
            current: opens the file, which has to be read only where that is not so.
        """
        highest = self._highest
        if events[0].sequence > highest:
            return range(len(events))
        doubtful = [index for index, event in enumerate(events) if 0 < event.sequence <= highest]
        if not doubtful:
            return list(range(len(events)))
        fd = current()
        if os.fstat(fd).st_size < self._offset:
            self._offset = 0
        missing = {key_of(texts[index]): index for index in doubtful}
        self._drop_found(missing, fd)
        if missing and not self._searched:
            self._search(missing, fd)
        new = set(missing.values())
        return [index for index, event in enumerate(events) if index in new or not 0 < event.sequence <= highest]

    def _drop_found(self, missing: dict[int | None, int], fd: int) -> None:
        """Take what is found out of `missing`, reading on as long as something is left."""
        while True:
            for key in missing.keys() & self._keys.keys():
                del missing[key]
            if not missing or not self._read_on(fd):
                return

    def _search(self, missing: dict[int | None, int], fd: int) -> None:
        """Look through the whole file, from its end; remember from there on where something is found."""
        left, first = set(missing), None
        for start, line in lines_backwards(fd):
            key = key_of(line)
            if key in left:
                left.discard(key)
                first = start
                if not left:
                    break
        if first is None:
            self._searched = True
            return
        self._keys.clear()
        self._offset = first
        self._drop_found(missing, fd)

    def _read_on(self, fd: int) -> bool:
        """Remember the next lines; tells whether there were any."""
        lines = []
        for offset, line in lines_from(fd, self._offset):
            lines.append(line)
            self._offset = offset
            if len(lines) == _STEP:
                break
        self._remember(lines)
        return bool(lines)

    def _remember(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            key = key_of(line)
            if key is not None:
                self._keys[key] = None
                self._highest = max(self._highest, sequence_of(line))
        for key in list(self._keys)[: max(0, len(self._keys) - WINDOW)]:
            del self._keys[key]
