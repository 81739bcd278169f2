"""What signatures cover: from the heads that keys have signed back along the chain, as far as it is unbroken.

A signed head proves the record that it names, that record proves the one whose hash it holds, and so on. Whatever else
stands in the files is not proven by it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from listener.audit.chain import Head
from listener.audit.verdict import Location, Proof, Span, Stretch


@dataclass(slots=True)
class Segment:
    """Lines of one file, one behind the other, that are records which follow each other, or none of the chain.

    Attributes:
        place: the first line.
        lines: how many.
        number: the index of the first record; -1 where they are no records.
        previous: the hash that the first record names; empty where no signature reaches further back.
        hash: that of the last record; empty where it is not known.
        heads: those in it that were looked for.
    """

    place: Location
    lines: int
    number: int = -1
    previous: bytes = b""
    hash: bytes = b""
    heads: list[Head] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How many records the chain has with its last one."""
        return self.number + self.lines

    def parted(self, number: int) -> tuple["Segment", "Segment"]:
        """Its records before this one, and from it on, which do not follow those."""
        before = [head for head in self.heads if head.size <= number]
        behind = [head for head in self.heads if head.size > number]
        lines = number - self.number
        return (
            Segment(self.place, lines, self.number, self.previous, b"", before),
            Segment(self.at(number), self.lines - lines, number, b"", self.hash, behind),
        )

    def at(self, number: int) -> Location:
        """Where a record of it stands."""
        return self.place._replace(line=self.place.line + number - self.number)


class Segments:
    """Collects the lines of a trail in the order in which they are read."""

    def __init__(self) -> None:
        self._found: list[Segment] = []
        self._heads: list[Head] = []
        self._parts: set[int] = set()

    def __iter__(self) -> Iterator[Segment]:
        """They end where the chain is parted."""
        parts = sorted(self._parts)
        for segment in self._found:
            rest = segment
            within = slice(bisect_right(parts, segment.number), bisect_left(parts, segment.size))
            for number in parts[within] if segment.number >= 0 else ():
                first, rest = rest.parted(number)
                yield first
            if rest.number in self._parts:
                rest = replace(rest, previous=b"")
            yield rest

    def part_at(self, number: int) -> None:
        """No signature reaches back from this record to the one before."""
        self._parts.add(number)

    def note(self, head: Head) -> None:
        """A head that is looked for stands in what is added next."""
        self._heads.append(head)

    def add(self, place: Location, head: Head, previous: bytes, lines: int = 1) -> None:
        """Records that follow each other, which end in this head."""
        number, last = head.size - lines, self._found[-1] if self._found else None
        if last is None or (last.size, last.hash, _behind(last)) != (number, previous, place) or last.number < 0:
            last = Segment(place, 0, number, previous)
            self._found.append(last)
        last.lines += lines
        last.hash = head.hash
        last.heads += self._heads
        self._heads.clear()

    def strange(self, place: Location) -> None:
        """A line that is no record."""
        last = self._found[-1] if self._found else None
        if last is None or last.number >= 0 or _behind(last) != place:
            last = Segment(place, 0)
            self._found.append(last)
        last.lines += 1


def stretches(segments: Iterable[Segment], signed: Mapping[str, Collection[Head]]) -> tuple[Stretch, ...]:
    """Every line with its proof. A record that comes again, or too late, is proven only where it came first.

    Args:
        segments: the lines.
        signed: by key, the heads that it has signed.
    """
    found = [segment for segment in segments if segment.lines]
    reach = {key: _reach(found, heads) for key, heads in signed.items()}
    made: list[Stretch] = []
    highest = -1
    for place, segment in enumerate(found):
        for one in _pieces(segment, {key: sizes[place] for key, sizes in reach.items()}, highest):
            highest = max(highest, one.records.last) if one.proof is Proof.SIGNED and one.records else highest
            _append(made, one)
    return tuple(made)


def _reach(segments: Sequence[Segment], heads: Collection[Head]) -> list[int]:
    """Up to how many records of the chain each segment is covered; 0 for none of it."""
    reach = [max((head.size for head in segment.heads if head in heads), default=0) for segment in segments]
    before: dict[Head, list[int]] = {}
    for place, segment in enumerate(segments):
        if segment.hash:
            before.setdefault(Head(segment.size, segment.hash), []).append(place)
    waiting = [place for place, size in enumerate(reach) if size]
    while waiting:
        first = segments[waiting.pop()]
        for place in before.get(Head(first.number, first.previous), ()):
            if reach[place] < segments[place].size:
                if not reach[place]:
                    waiting.append(place)
                reach[place] = segments[place].size
    return reach


def _pieces(segment: Segment, reach: Mapping[str, int], highest: int) -> Iterator[Stretch]:
    """A segment, cut where another key begins to cover it, or where the first record is that has not come before."""
    if segment.number < 0:
        yield Stretch(Proof.NONE, segment.place, _last(segment), segment.lines)
        return
    cuts = {segment.number, segment.size, *reach.values(), highest + 1}
    ends = sorted(cut for cut in cuts if segment.number <= cut <= segment.size)
    for first, end in pairwise(ends):
        keys = tuple(key for key, size in reach.items() if size >= end)
        proof = Proof.CHAINED if not keys else Proof.SIGNED if first > highest else Proof.NONE
        yield Stretch(
            proof,
            segment.at(first),
            segment.at(end - 1),
            end - first,
            Span(first, end - 1),
            keys if proof is Proof.SIGNED else (),
        )


def _append(made: list[Stretch], one: Stretch) -> None:
    """Put it behind the others; it prolongs the last one where that has the same proof and it follows."""
    last = made[-1] if made else None
    if last is None or (last.proof, last.keys) != (one.proof, one.keys) or not _follows(last.records, one.records):
        made.append(one)
        return
    records = Span(last.records.first, one.records.last) if last.records and one.records else None
    made[-1] = last._replace(last=one.last, lines=last.lines + one.lines, records=records)


def _follows(before: Span | None, behind: Span | None) -> bool:
    if before is None or behind is None:
        return before is behind
    return behind.first == before.last + 1


def _last(segment: Segment) -> Location:
    return segment.place._replace(line=segment.place.line + segment.lines - 1)


def _behind(segment: Segment) -> Location:
    return segment.place._replace(line=segment.place.line + segment.lines)


def marks(segments: Iterable[Segment]) -> dict[int, list[tuple[Head, Location]]]:
    """By size, the heads that were found, and where the last record of each stands."""
    found: dict[int, list[tuple[Head, Location]]] = {}
    for segment in segments:
        for head in segment.heads:
            found.setdefault(head.size, []).append((head, segment.at(head.size - 1)))
    return found
