"""Reads a trail record by record, each against its neighbours, and finds what was done to it.

A record that does not follow tells little: the next ones tell whether it was changed, moved or put in. So a judgement
may wait for them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain, compress, count, repeat, takewhile
from pathlib import Path
from typing import NamedTuple

from listener.audit.chain import GENESIS, LINK, OPENING, Head, link_of
from listener.audit.coverage import Segments
from listener.audit.notices import NOTICE, unconfirmed_in
from listener.audit.reading import Block
from listener.audit.verdict import Kind, Location, Span, Verdict


class Record(NamedTuple):
    """A record as it was read: what it says of itself, its own hash, and where it stands."""

    number: int
    previous: bytes
    hash: bytes
    place: Location


class Older:
    """The lines of a file before the first record: what record 0 names.

    Attributes:
        lines: how many.
        first: where the first one stands.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.first: Location | None = None
        self._hash = sha256()

    def take(self, place: Location, text: bytes) -> None:
        """One more, without its line end."""
        self.lines += 1
        self.first = self.first or place
        self._hash.update(text + b"\n")

    @property
    def hash(self) -> bytes:
        """Of all of them."""
        return self._hash.digest() if self.lines else GENESIS


class Spans:
    """Stretches of numbers; to be added in rising order, and taken out one by one."""

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __contains__(self, number: int) -> bool:
        return self._at(number) is not None

    def add(self, first: int, last: int) -> None:
        """Add a stretch above all that are there."""
        if self._spans and self._spans[-1].last >= first:
            raise ValueError(f"{first} is not above {self._spans[-1]}")
        self._spans.append(Span(first, last))

    def discard(self, number: int) -> None:
        """Take a number out; one that is not there is fine."""
        position = self._at(number)
        if position is None:
            return
        first, last = self._spans[position]
        rest = [Span(first, number - 1), Span(number + 1, last)]
        self._spans[position : position + 1] = [span for span in rest if span.first <= span.last]

    def _at(self, number: int) -> int | None:
        position = bisect_right(self._spans, Span(number, number)) - 1
        for near in (position, position + 1):
            if 0 <= near < len(self._spans) and self._spans[near].first <= number <= self._spans[near].last:
                return near
        return None


class Walk:
    """Reads files in the order in which they were written.

    Args:
        verdict: where findings go.
        sizes: those of the heads that are looked for.

    Attributes:
        segments: all lines.
        first_place: where the first record stands.
        last_place: where the last line stands.
    """

    def __init__(self, verdict: Verdict, sizes: Iterable[int]) -> None:
        self._verdict = verdict
        self._sizes = sorted(set(sizes))
        self.segments = Segments()
        self._last: Record | None = None
        self._top: Record | None = None
        self._changed: Record | None = None
        self._twin: Record | None = None
        self._foreign: list[Location] = []
        self._missing = Spans()
        self._missed_at: list[tuple[Span, Location]] = []
        self._side: Record | None = None
        self._plain = False
        self._older = Older()
        self.first_place: Location | None = None
        self.last_place: Location | None = None

    def read(self, path: Path, blocks: Iterable[Block]) -> None:
        """Every line of a file, as `reading.blocks_of` gives them. Raises what that raises."""
        number, is_cut = 0, False
        self._forget_older()
        for lines, ended, whole in blocks:
            is_cut = not ended
            at, marks = 0, [sha256(line).hexdigest() for line in lines] if whole is None else [whole.hex()]
            while at < len(lines):
                if self._plain and self._last is not None:
                    at += self._run(Location(path, number + at + 1), lines[at:], marks[at:], self._last)
                if at < len(lines):
                    self._take(Location(path, number + at + 1), lines[at], bytes.fromhex(marks[at]))
                    at += 1
            number += len(lines)
        if is_cut:
            self._verdict.find(Kind.CUT, Location(path, number), "the last line has no end")
        self.last_place = Location(path, number) if number else self.last_place

    def _run(self, place: Location, lines: Sequence[bytes], marks: Sequence[str], last: Record) -> int:
        """Go on from `last` with the lines from `place` on, while each follows the one before; returns how many do.

        The hot path, hence without a loop of Python's own: `marks` are the hashes of the lines, in hexadecimal.
        """
        first = last.number + 1
        links = map(str.encode, map(LINK.__mod__, zip(count(first), chain((last.hash.hex(),), marks), strict=False)))
        follow = map(bytes.startswith, lines, links, map(bytes.find, lines, repeat(OPENING)))
        found = sum(takewhile(bool, follow))
        if not found:
            return 0
        for line in compress(lines[:found], map(bytes.startswith, lines, repeat(NOTICE))):
            self._heed(line)
        for size in self._sizes[bisect_right(self._sizes, first) : bisect_right(self._sizes, first + found)]:
            self.segments.note(Head(size, bytes.fromhex(marks[size - first - 1])))
        head = Head(first + found, bytes.fromhex(marks[found - 1]))
        before = bytes.fromhex(marks[found - 2]) if found > 1 else last.hash
        self._last = Record(head.size - 1, before, head.hash, place._replace(line=place.line + found - 1))
        self._verdict.records += found
        self.segments.add(place, head, last.hash, found)
        return found

    def _take(self, place: Location, text: bytes, mark: bytes) -> None:
        """A line that did not simply follow, and its hash."""
        link = link_of(text)
        if link is None:
            self._strange(place, text)
            return
        self._heed(text)
        record = Record(link.number, link.previous, mark, place)
        head = Head(record.number + 1, record.hash)
        if head.size in self._sizes:
            self.segments.note(head)
        self.segments.add(place, head, record.previous)
        self._judge(record)
        self._verdict.records += 1

    def _heed(self, line: bytes) -> None:
        """A notice may say that no signature behind it covers some records."""
        told = unconfirmed_in(line)
        if told is not None:
            self.segments.part_at(told.last_record + 1)

    def end(self) -> None:
        """What is known only once everything was read."""
        self._forget_older()
        if self._changed is not None:
            text = "this line or the next is not as it was written: the next one does not follow it"
            self._verdict.find(Kind.EDITED, self._changed.place, text)
        self._settle_twin(None)
        self._report_strange()
        for span in self._missing:
            at = bisect_right(self._missed_at, span.first, key=lambda missed: missed[0].first) - 1
            place = self._missed_at[at][1]
            self._verdict.find(Kind.DELETED, place, f"{_records(span)} missing before this line")
        top = self._highest()
        if top is not None:
            self._verdict.head = Head(top.number + 1, top.hash)

    def _judge(self, record: Record) -> None:
        """The first record, one that does not simply follow, or any while something is in doubt."""
        last, top = self._last, self._highest()
        if last is None or top is None:
            self._begin(record)
            return
        before, self._changed = self._changed, None
        if before is not None:
            self._settle_changed(before, last, record)
        if self._twin is not None:
            last = self._settle_twin(record) or last
            top = last if top.number == last.number else top
        if record.number == last.number + 1 or record.number == top.number + 1:
            self._follow(record, last if record.number == last.number + 1 else top, settled=before is not None)
        elif record.previous == last.hash:
            self._verdict.find(Kind.EDITED, record.place, f"it follows record {last.number} and has another number")
            record = record._replace(number=last.number + 1)
        elif record.number == last.number and record.hash != last.hash:
            self._twin, self._top, self._plain = record, top, False
            return
        elif record.number > top.number:
            self._leave_out(record, top)
        elif record.number in self._missing:
            self._verdict.find(Kind.REORDERED, record.place, f"record {record.number} comes after record {last.number}")
        else:
            self._again(record)
            return
        self._accept(record, top)

    def _accept(self, record: Record, top: Record) -> None:
        self._report_strange()
        self._missing.discard(record.number)
        self._top = record if record.number > top.number else top
        self._last, self._side = record, None
        self._plain = self._changed is None and not self._missing and self._top is record

    def _highest(self) -> Record | None:
        """The record with the highest place: while all is plain, the last one."""
        return self._last if self._plain else self._top

    def _begin(self, record: Record) -> None:
        self._judge_older(record)
        self._verdict.first, self.first_place = record.number, record.place
        self._last = self._top = record
        self._plain = True

    def _forget_older(self) -> None:
        """A file without any record, before the first one: nothing says that it belongs to the trail."""
        older, self._older = self._older, Older()
        if older.first is not None and self._last is None:
            self._verdict.unchained -= older.lines
            text = f"no line of this file is a record of the chain: {older.lines}"
            self._verdict.find(Kind.INSERTED, older.first, text)

    def _judge_older(self, record: Record) -> None:
        """Before the first record its file holds what stood there when the chain began, mostly nothing."""
        older = self._older
        if record.previous == older.hash or (record.number and not older.lines):
            return
        if older.first is not None and (record.number or record.previous == GENESIS):
            self._verdict.unchained -= older.lines
            text = f"lines before record {record.number} that are not records of the chain: {older.lines}"
            self._verdict.find(Kind.INSERTED, older.first, text)
        else:
            text = "the lines before record 0 in its file have changed since it was written"
            self._verdict.find(Kind.EDITED, record.place, text)

    def _follow(self, record: Record, before: Record, *, settled: bool) -> None:
        """The right place; another predecessor means that this line or the one before was changed."""
        if record.previous != before.hash and not settled:
            self._changed = before

    def _settle_changed(self, before: Record, doubtful: Record, record: Record) -> None:
        """`doubtful` did not follow `before`; who of them was changed shows in whether `record` follows it."""
        if record.previous == doubtful.hash:
            self._verdict.find(Kind.EDITED, before.place, f"it is not the line that preceded record {doubtful.number}")
        else:
            self._verdict.find(Kind.EDITED, doubtful.place, "it matches neither the line before nor the line after")

    def _settle_twin(self, record: Record | None) -> Record | None:
        """Two records of one place: the true one is the one that is followed. Returns it where it is the second."""
        first, second, self._twin = self._last, self._twin, None
        if first is None or second is None:
            return None
        true_one = second if record is not None and record.previous == second.hash else first
        other = first if true_one is second else second
        self._verdict.find(Kind.INSERTED, other.place, f"record {other.number} is in {true_one.place} as well")
        self._last = true_one
        return true_one if true_one is second else None

    def _leave_out(self, record: Record, top: Record) -> None:
        """Records are missing; if there are as many unknown lines, they replaced them."""
        span = Span(top.number + 1, record.number - 1)
        strange, self._foreign = self._foreign, []
        if len(strange) == span.last - span.first + 1:
            for place in strange:
                self._verdict.find(Kind.EDITED, place, "it is not a record any more, where one is missing")
            return
        self._foreign = strange
        self._missing.add(*span)
        self._missed_at.append((span, record.place))

    def _again(self, record: Record) -> None:
        """A record of a place that is taken. Several that follow each other are a second history."""
        side, self._side = self._side, record
        if side is not None and (record.number, record.previous) == (side.number + 1, side.hash):
            self._verdict.find(Kind.FORKED, record.place, f"a second history continues with record {record.number}")
        else:
            self._verdict.find(Kind.INSERTED, record.place, f"record {record.number} comes before this line as well")

    def _strange(self, place: Location, text: bytes) -> None:
        self.segments.strange(place)
        if self._last is None:
            self._verdict.unchained += 1
            self._older.take(place, text)
        else:
            self._foreign.append(place)
            self._plain, self._top = False, self._highest()

    def _report_strange(self) -> None:
        for place in self._foreign:
            self._verdict.find(Kind.INSERTED, place, "the line is not a record of the chain")
        self._foreign = []


def _records(span: Span) -> str:
    return f"record {span.first} is" if span.first == span.last else f"records {span.first} to {span.last} are"
