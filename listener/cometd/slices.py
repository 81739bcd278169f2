"""A response body as it arrives, cut between its messages, so that no more is held than a slice or one message."""

import re
from collections.abc import Iterator

import msgspec

from listener.cometd import messages as wire
from listener.errors import UNDECODABLE

SLICE_BYTES = 2**18
"""About how much is decoded, and stored, at a time."""

# A seam between two messages: behind it stands a key of Bayeux, section 3. Data may hold the like of it.
_SEAM = re.compile(rb'\}[ \t\r\n]*+,[ \t\r\n]*+(?=\{[ \t\r\n]*+"(?:channel|data|id|ext|clientId|successful|advice)")')
_LOOKS = 2000
_TRIES = 8
_JSON = msgspec.json.Decoder(list[msgspec.Raw])
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_STRUCTURE = re.compile(rb'["{}\[\]]')


class Slicer:
    """Takes a body piece by piece and gives it back in slices: JSON arrays of whole elements, in order. No I/O.

    A body smaller than a slice comes back as it is, from `rest`. Into which pieces a body is cut changes nothing of the
    messages that are found, also where it is damaged.

    `feed` costs little. Where it finds no end of a message, `is_at_a_loss` holds; then `search` reads bracket by
    bracket. Call it before the next `feed`, in a thread: it may take a second.

    Args:
        message_bytes: the largest message that is taken. A larger one is skipped, and counted in `refused`.
    """

    def __init__(self, *, message_bytes: int) -> None:
        self._message_bytes = message_bytes
        self._buffer = bytearray()
        self._search_at = SLICE_BYTES
        self._skipped: _Skipped | None = None
        self._too_large = 0
        self._may_search = wire.SEARCH_BYTES
        self._is_cut = False
        self.is_at_a_loss = False

    def feed(self, piece: bytes) -> bytes | None:
        """Add what came. Returns a slice if one is whole now."""
        self._buffer += piece
        if len(self._buffer) < self._search_at:
            return None
        if self._skipped is None:
            body = bytes(self._buffer)
            for end in _seams(body):
                if self._is_sound(whole := _array(body[:end])):
                    self._keep(body[end:])
                    return whole
        self.is_at_a_loss = True
        return None

    def end(self) -> None:
        """No more will come: `is_at_a_loss` says whether there is something to `search` yet, before the `rest`."""
        self.is_at_a_loss = len(self._buffer) > self._message_bytes or self._skipped is not None

    def search(self) -> list[bytes]:
        """The slices that are whole now."""
        self.is_at_a_loss = False
        body = bytes(self._buffer)
        if self._skipped is not None:
            ended = self._skipped.feed(body)
            if ended is None:
                self._buffer.clear()
                return []
            self._skipped, body = None, body[ended:]
        slices: list[bytes] = []
        begun = end = 0
        for start, end, fits in self._elements(body):
            if not fits:
                self._too_large += 1
                slices.append(body[begun:start])
            elif end - begun >= SLICE_BYTES:
                slices.append(body[begun:end])
            else:
                continue
            begun = end
        slices.append(body[begun:end])
        self._keep(b"" if self._skipped else body[end:])
        return [_array(one) for one in slices if one.strip(wire.BETWEEN)]

    def rest(self) -> bytes:
        """What has come and is in no slice: the end of a body, or all that there is of a cut one."""
        body = bytes(self._buffer)
        self._buffer.clear()
        if not self._is_cut:
            return body
        body = body.lstrip(wire.BETWEEN)
        return b"[" + body if body else b"[]"

    def refused(self) -> dict[str, int]:
        """How many messages were skipped since this was asked last, by reason."""
        refused = {"too_large": self._too_large} if self._too_large else {}
        self._too_large = 0
        return refused

    def _is_sound(self, array: bytes) -> bool:
        """Whether it is JSON. Then its last element ends where it was cut, since JSON has but one reading."""
        try:
            elements = _JSON.decode(array)
        except UNDECODABLE:
            return False
        return len(array) <= self._message_bytes or all(len(one) <= self._message_bytes for one in map(bytes, elements))

    def _keep(self, body: bytes) -> None:
        """Go on with this. The next look waits until there is twice as much: all of them together are linear."""
        self._is_cut = self._is_cut or len(body) < len(self._buffer)
        self._buffer = bytearray(body)
        self._search_at = max(SLICE_BYTES, min(2 * len(body), self._message_bytes + 1))

    def _elements(self, body: bytes) -> Iterator[tuple[int, int, bool]]:
        """From where to where each whole element goes, and whether it fits. What is broken goes with the next."""
        end = 0
        while (start := body.find(b"{", end)) >= 0:
            end, ended = wire.end_of_object(body, start)
            if ended and wire.fault_of(body[start:end]) != "malformed_json":
                yield start, end, end - start <= self._message_bytes
                continue
            is_open, held = not ended and end == len(body), len(body) - start
            if is_open and held <= self._message_bytes:
                return
            found = self._next_message(body, start)
            if found is None and held <= self._message_bytes:
                return
            if found is None and is_open:
                self._skip(body[start:])
                yield start, start, False
                return
            end = len(body) if found is None else found
            yield start, end, True
        if len(body) - end >= SLICE_BYTES:
            yield end, len(body), True

    def _skip(self, body: bytes) -> None:
        self._skipped = _Skipped()
        self._skipped.feed(body)

    def _next_message(self, body: bytes, broken: int) -> int | None:
        """Where the next message behind the broken object begins; None if none has come yet."""
        for begin in wire.BEGINS.finditer(body, broken + 1):
            start = begin.start()
            end, ended = wire.end_of_object(body, start)
            if ended and not wire.fault_of(body[start:end]):
                return start
            if not ended and end == len(body) and end - broken <= self._message_bytes:
                return None
            self._may_search -= end - start
            if self._may_search < 0:
                return None
        return None


class _Skipped:
    """Finds the end of an object that is held nowhere."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._before = b""  # a backslash, to which the next byte belongs

    def feed(self, piece: bytes) -> int | None:
        """Read on, from the opening brace. Returns where in the piece the object has ended; None if it has not."""
        body = self._before + piece
        carried, self._before = len(self._before), b""
        position = 0
        while position < len(body):
            if self._in_string:
                position = self._end_of_string(body, position)
                continue
            mark = _STRUCTURE.search(body, position)
            if mark is None:
                break
            position = mark.end()
            if mark[0] == b'"':
                self._in_string = True
            else:
                self._depth += 1 if mark[0] in b"{[" else -1
                if not self._depth:
                    return position - carried
        return None

    def _end_of_string(self, body: bytes, position: int) -> int:
        inside = _IN_STRING.match(body, position)
        end = inside.end() if inside else position
        if body[end : end + 1] == b'"':
            self._in_string = False
        else:
            self._before = body[end:]
        return end + 1


def _seams(body: bytes) -> Iterator[int]:
    """Where a message may end and another begin, the last first."""
    end, found = len(body), 0
    for _ in range(_LOOKS):
        end = body.rfind(b"}", 0, end)
        if end < 0 or found == _TRIES:
            return
        if _SEAM.match(body, end):
            found += 1
            yield end + 1


def _array(elements: bytes) -> bytes:
    return b"[" + elements.strip(wire.BETWEEN) + b"]"
