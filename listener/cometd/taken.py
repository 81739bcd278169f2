"""What of an answer is taken although its acknowledgement has to wait for the rest: that comes again after a cut."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from listener.cometd.messages import Message

PART_EVENTS = 500
"""So many events are stored at a time: decoding and classifying them takes some 10 ms of the event loop."""

_MOST_PARTS = 4096
_DIGEST_BYTES = 8


class Part(NamedTuple):
    """Events that were taken together: how many, of how many bytes, and their digest in hexadecimal digits."""

    events: int
    size: int
    digest: str


class Taken:
    """The parts of an unacknowledged answer that are taken, in order.

    A server with the acknowledge extension keeps its queue until it is acknowledged, and sends it again in the same
    order (CometD reference, "Message Acknowledgement Extension"). So the answer after a cut begins with the events that
    were taken before, alike to the letter, and nothing else of it was there before: two events that look alike are two.

    Args:
        parts: what an earlier process took, each as a `Part`.
    """

    __slots__ = ("_held", "_seen", "parts")

    def __init__(self, parts: Iterable[tuple[int, int, str]] = ()) -> None:
        self.parts = tuple(Part(*part) for part in parts)
        self._seen = 0
        self._held: list[Message] = []

    def begin(self) -> None:
        """An answer is asked for: what was taken comes again at its beginning."""
        self._seen = 0
        self._held = []

    def clear(self) -> None:
        """The answer is acknowledged, or its session is over."""
        self.parts = ()
        self.begin()

    def new(self, events: list[Message], *, last: bool) -> tuple[list[Message], int]:
        """Which of an answer's next events are new, and how many were taken before.

        Events that may turn out to be old are held back until there are enough to tell, or no more come (`last`).
        """
        if self._seen == len(self.parts):
            return events, 0
        events, self._held = self._held + events, []
        known = 0
        for part in self.parts[self._seen :]:
            those = events[known : known + part.events]
            if len(those) < part.events and not last and _size(those) <= part.size:
                self._held = events[known:]
                return [], known
            if _part(those) != part:
                self.parts = self.parts[: self._seen]
                break
            known += part.events
            self._seen += 1
        return events[known:], known

    def add(self, events: Sequence[Message]) -> None:
        """These are taken too. Beyond some gigabyte no more is noted, and what comes again is taken again."""
        if self._seen == len(self.parts) < _MOST_PARTS:
            self.parts = (*self.parts, _part(events))
            self._seen += 1


def _size(events: Sequence[Message]) -> int:
    return sum(memoryview(event.data).nbytes for event in events)


def _part(events: Sequence[Message]) -> Part:
    digest = blake2b(digest_size=_DIGEST_BYTES)
    size = 0
    for event in events:
        data = bytes(event.data)
        digest.update(f"{len(data)} {event.channel}\n".encode(errors="surrogatepass") + data)
        size += len(data)
    return Part(len(events), size, digest.hexdigest())
