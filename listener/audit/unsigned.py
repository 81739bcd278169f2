"""The end of a trail that no checkpoint covers, compared with the journal before it is signed.

Whoever can write the file without having the key could have added to it while nobody wrote. Only what the journal
delivers is signed, in the bytes in which it is delivered.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from listener.audit.chain import DATA, GENESIS, Head, Link, hash_of, link_of, written
from listener.audit.files import last_lines, predecessors
from listener.audit.reading import blocks, lines_backwards
from listener.audit.window import WINDOW, key_of, sequence_of

MOST_LINES = 100_000
"""So many lines are compared, the last ones; it takes a file of checkpoints that is lost to need more."""


class Body(NamedTuple):
    """An event before it is chained, and how long the value of its `data` is."""

    event: bytes
    data_bytes: int


class Line(NamedTuple):
    """A line of the tail, without its end; `offset` is where it begins in the present file, None in an earlier one."""

    text: bytes
    link: Link | None
    offset: int | None

    @property
    def head(self) -> Head | None:
        """The chain's end if this is its last record."""
        return Head(self.link.number + 1, hash_of(self.text)) if self.link is not None else None

    @property
    def body(self) -> Body | None:
        """What was chained; None if that is no event."""
        opening = written(Head(self.link.number, self.link.previous)) if self.link is not None else DATA
        start, found, data = self.text.partition(opening)
        return Body(start + DATA + data, len(data) - 1) if found and data.endswith(b"}") else None


class Tail(NamedTuple):
    """What no checkpoint covers.

    Attributes:
        lines: the last ones of it.
        base: the head that the first one should follow.
        whole: whether nothing is missing between the last checkpoint and the first line.
        seen: the keys of lines before it, as `key_of` makes them.
        highest: the highest sequence before it.
        anchor: the last event before it; empty without.
    """

    lines: Sequence[Line]
    base: Head
    whole: bool = True
    seen: Collection[int] = ()
    highest: int = 0
    anchor: bytes = b""

    @property
    def sequences(self) -> list[int]:
        """Those that the journal is to be asked for, in rising order."""
        return sorted({sequence_of(text) for text in (self.anchor, *(line.text for line in self.lines))} - {0})

    @property
    def follows(self) -> bool:
        """Whether the first line follows what it should."""
        return bool(self.lines) and self.lines[0].link == (self.base.size, self.base.hash)


class Known(NamedTuple):
    """What the journal has of the events that were asked for, by sequence, and its highest sequence ever."""

    events: Mapping[int, Body]
    last: int


class Judgement(NamedTuple):
    """What is to become of a tail.

    Attributes:
        sound: so many of its first lines stay as they are.
        head: the end of the chain behind those.
        kept: what comes behind them, instead of the other lines.
        false: the lines that the journal does not deliver.
        unconfirmed: the indexes of records that could not be compared, as they will be.
    """

    sound: int
    head: Head
    kept: Sequence[Body]
    false: Sequence[Line]
    unconfirmed: Sequence[int]


def tail_of(path: Path, fd: int, signed: Head) -> Tail:
    """The lines of a file, and of those before it, that no checkpoint covers. Blocks. Raises OSError.

    Args:
        path: the file.
        fd: the same, open.
        signed: the head of the last checkpoint; `Head()` without any.
    """
    lines: list[Line] = []
    before: list[bytes] = []
    walk = lines_backwards(fd)
    for start, line in islice(walk, MOST_LINES):
        one = _line(line, start)
        if one.head == signed:
            before = [line, *(other for _, other in islice(walk, WINDOW))] if lines else []
            return _tail(lines[::-1], signed, before, whole=True)
        lines.append(one)
    covered, lines = lines, _uncovered(lines[::-1], signed)
    before = [one.text for one in covered[len(lines) :][:1]]
    whole, first = False, _first_link(lines)
    if first is None or first != (signed.size, signed.hash):
        earlier, signed_ones, whole = _earlier(path, signed, first)
        lines, before = [*earlier, *lines], signed_ones or before
        first = _first_link(lines)
    if not signed.size and first is not None and not first.number:
        return _tail(lines, Head(0, _digest(fd, lines[0].offset) or GENESIS), before, whole=True)
    return _tail(lines, signed, before, whole=whole or first is None or first.number <= signed.size)


def _tail(lines: Sequence[Line], base: Head, before: Sequence[bytes], *, whole: bool) -> Tail:
    """Where lines are missing before the first one, that one's own word is taken for what it follows.

    `before` has the last line first.
    """
    first = _first_link(lines)
    if not whole and first is not None:
        base = Head(first.number, first.previous)
    seen = frozenset(key for line in before if (key := key_of(line)) is not None)
    anchor = next((line for line in before if sequence_of(line)), b"")
    return Tail(lines, base, whole, seen, max(map(sequence_of, before), default=0), anchor)


def _uncovered(lines: Sequence[Line], signed: Head) -> list[Line]:
    """What is behind the last record that the checkpoint should cover; without any, from the first record on."""
    covered = (at + 1 for at in range(len(lines) - 1, -1, -1) if _number(lines[at]) < signed.size)
    first = next((at for at, line in enumerate(lines) if line.link is not None), len(lines))
    return list(lines[next(covered, first) :])


def _earlier(path: Path, signed: Head, wanted: Link | None) -> tuple[list[Line], list[bytes], bool]:
    """The same of earlier files, the youngest first, as far as each ends where the next one begins."""
    lines: list[Line] = []
    for place in predecessors(path):
        texts = last_lines(place, MOST_LINES)
        found = [_line(text, None) for text in texts]
        end = found[-1].head if found else None
        if end is None or end.size < signed.size or (wanted is not None and wanted != (end.size, end.hash)):
            continue
        for at in range(len(found) - 1, -1, -1):
            if found[at].head == signed:
                return [*found[at + 1 :], *lines], list(texts[max(0, at + 1 - WINDOW) : at + 1])[::-1], True
        lines = [*_uncovered(found, signed), *lines]
        wanted = _first_link(lines)
        if len(lines) >= MOST_LINES:
            break
    return lines, [], False


class _Kept(NamedTuple):
    """What stays of a line, or takes its place; `link` is None where it has to be chained anew."""

    sequence: int
    body: Body
    link: Link | None
    text: bytes
    doubtful: bool


def judge(tail: Tail, known: Known) -> Judgement:
    """Compare a tail with what the journal delivers.

    A line stays if the journal delivers it in these bytes. It also stays, unconfirmed, if the journal cannot have it:
    it is older than what is kept there, or the journal is older than the trail. Every other line is false; where the
    journal has an event of its id and sequence, that one takes its place. From the first line on that does not follow
    the one before, or comes too early, all are chained anew, in the order of the journal.
    """
    stay, false = _sorted_out(tail, known)
    lowest = [one.sequence for one in stay]  # from each on
    for at in range(len(stay) - 2, -1, -1):
        lowest[at] = min(lowest[at], lowest[at + 1])
    head, sound = tail.base, 0
    for one, least in zip(stay, lowest, strict=True):
        at_its_place = tail.lines[sound].text == one.text and one.sequence == least
        if not at_its_place or one.link != (head.size, head.hash):
            break
        sound, head = sound + 1, Head(head.size + 1, hash_of(one.text))
    kept = sorted(stay[sound:], key=lambda one: one.sequence)
    unconfirmed = [tail.base.size + at for at, one in enumerate([*stay[:sound], *kept]) if one.doubtful]
    return Judgement(sound, head, [one.body for one in kept], false, unconfirmed)


def _sorted_out(tail: Tail, known: Known) -> tuple[list[_Kept], list[Line]]:
    """What stays, and the lines that are false."""
    stay: list[_Kept] = []
    false: list[Line] = []
    seen = set(tail.seen)
    is_its_own = _is_its_own(tail, known)
    for line in tail.lines:
        key, sequence, body = key_of(line.text), sequence_of(line.text), line.body
        if body is None or key is None or key in seen or not sequence:
            false.append(line)
            continue
        event = known.events.get(sequence)
        doubtful = event != body and (not is_its_own or (event is None and sequence <= known.last))
        if event == body or doubtful:
            seen.add(key)
            stay.append(_Kept(sequence, body, line.link, line.text, doubtful))
            continue
        false.append(line)
        if event is not None and key_of(event.event) == key:
            seen.add(key)
            stay.append(_Kept(sequence, event, None, b"", doubtful=False))
    return stay, false


def _is_its_own(tail: Tail, known: Known) -> bool:
    """Whether the journal is the one that the trail was written from, and as young: it has, or had, what is signed."""
    signed = known.events.get(sequence_of(tail.anchor))
    if signed is not None:
        return key_of(signed.event) == key_of(tail.anchor)
    bodies = ((sequence_of(line.text), line.body) for line in tail.lines)
    return tail.highest <= known.last and (
        tail.highest > 0 or any(body is not None and known.events.get(sequence) == body for sequence, body in bodies)
    )


def ranges(missing: range, numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Some missing numbers, and others above them that rise, as stretches, both ends included.

    What is missing can be as many as a forged line likes.
    """
    made = [(missing.start, missing.stop - 1)] if missing else []
    for number in numbers:
        if made and made[-1][1] == number - 1:
            made[-1] = (made[-1][0], number)
        else:
            made.append((number, number))
    return made


def _line(line: bytes, offset: int | None) -> Line:
    text = line.removesuffix(b"\n")
    return Line(text, link_of(text), offset)


def _number(line: Line) -> float:
    return line.link.number if line.link is not None else float("inf")


def _first_link(lines: Sequence[Line]) -> Link | None:
    return next((line.link for line in lines if line.link is not None), None)


def _digest(fd: int, end: int | None) -> bytes | None:
    """The hash of the first `end` bytes of a file; None if that is nothing."""
    if not end:
        return None
    whole, left = hashlib.sha256(), end
    for block in blocks(fd, 0):
        whole.update(block[:left])
        left -= len(block)
        if left <= 0:
            break
    return whole.digest()
