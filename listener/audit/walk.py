"""Going through a trail record by record, and naming what does not follow.

A record that does not follow tells little: the next ones tell whether it was changed, moved or put in. So a verdict may
wait for them.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from listener.audit.chain import GENESIS, OPENING, Head, hash_of, link_of, written
from listener.audit.files import lines_of
from listener.audit.findings import Kind, Location, Verdict
from listener.audit.spans import Span, Spans


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


class Walk:
    """Reads files in the order in which they were written.

    Args:
        verdict: where findings go.
        signed: by size, the hash of the last record that was signed, and where that is written.

    Attributes:
        first_place: where the first record stands.
        last_place: where the last line stands.
    """

    def __init__(self, verdict: Verdict, signed: Mapping[int, tuple[Location, bytes]]) -> None:
        self._verdict = verdict
        self._signed = signed
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

    def read(self, path: Path) -> None:
        """Every line of a file. Raises OSError."""
        lines = enumerate(lines_of(path), start=1)
        number, line = 0, b"\n"
        self._older = Older()
        while True:
            stopped = self._run(path, lines) if self._plain else next(lines, None)
            if stopped is None:
                break
            number, line = stopped
            self._take(Location(path, number), line.removesuffix(b"\n"))
        if self._last is not None and self._last.place.file == path and self._last.place.line > number:
            number, line = self._last.place.line, b"\n"
        if not line.endswith(b"\n"):
            self._verdict.find(Kind.CUT, Location(path, number), "the last line has no end")
        self.last_place = Location(path, number) if number else self.last_place

    def _run(self, path: Path, lines: Iterator[tuple[int, bytes]]) -> tuple[int, bytes] | None:
        """Go on while each record follows the one before; returns the line that does not, None at the end.

        The hot path: a line that follows costs two searches and a hash. One without its end is left to `_take`.
        """
        last = self._last
        assert last is not None  # noqa: S101 - what `_plain` says
        size, mark, signed, began = last.number + 1, last.hash, self._signed, last.number
        stopped, reached = None, last.place.line
        expected = written(Head(size, mark))
        for number, line in lines:
            at = line.find(OPENING)
            if at < 0 or not line.startswith(expected, at) or not line.endswith(b"\n"):
                stopped = (number, line)
                break
            before, mark = mark, sha256(line[:-1]).digest()
            size, reached = size + 1, number
            expected = written(Head(size, mark))
            if size in signed:
                self._compare(Record(size - 1, before, mark, Location(path, number)))
        if size - 1 > began:
            self._last = Record(size - 1, before, mark, Location(path, reached))
            self._verdict.records += size - 1 - began
        return stopped

    def _take(self, place: Location, text: bytes) -> None:
        """A line that did not simply follow."""
        link = link_of(text)
        if link is None:
            self._strange(place, text)
            return
        record = Record(link.number, link.previous, hash_of(text), place)
        self._judge(record)
        self._verdict.records += 1
        if record.number + 1 in self._signed:
            self._compare(record)

    def end(self) -> None:
        """What is known only once everything was read."""
        if self._changed is not None:
            text = "this line or the next is not as it was written: the next one does not follow it"
            self._verdict.find(Kind.EDITED, self._changed.place, text)
        self._settle_twin(None)
        self._report_strange()
        for span in self._missing:
            self._verdict.find(Kind.DELETED, self._place_of(span), f"{_records(span)} missing before this line")
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
            self._verdict.find(Kind.EDITED, record.place, f"it follows record {last.number} and names another place")
            record = record._replace(number=last.number + 1)
        elif record.number == last.number and record.hash != last.hash:
            self._twin, self._top, self._plain = record, top, False
            return
        elif record.number > top.number:
            self._leave_out(record, top)
        elif record.number in self._missing:
            self._verdict.find(
                Kind.REORDERED, record.place, f"record {record.number} stands behind record {last.number}"
            )
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

    def _judge_older(self, record: Record) -> None:
        """Before the first record its file holds what stood there when the chain began, mostly nothing."""
        older = self._older
        if record.previous == older.hash or (record.number and not older.lines):
            return
        if older.first is not None and (record.number or record.previous == GENESIS):
            self._verdict.unchained -= older.lines
            text = f"lines before record {record.number} that are no records of the chain: {older.lines}"
            self._verdict.find(Kind.INSERTED, older.first, text)
        else:
            text = "what stands before record 0 in its file is not what stood there when it was written"
            self._verdict.find(Kind.EDITED, record.place, text)

    def _follow(self, record: Record, before: Record, *, settled: bool) -> None:
        """The right place; another predecessor means that this line or the one before was changed."""
        if record.previous != before.hash and not settled:
            self._changed = before

    def _settle_changed(self, before: Record, doubtful: Record, record: Record) -> None:
        """`doubtful` did not follow `before`; who of them was changed shows in whether `record` follows it."""
        if record.previous == doubtful.hash:
            self._verdict.find(
                Kind.EDITED, before.place, f"it is not the line that record {doubtful.number} was written behind"
            )
        else:
            self._verdict.find(Kind.EDITED, doubtful.place, "it fits neither the line before nor the one behind")

    def _settle_twin(self, record: Record | None) -> Record | None:
        """Two records of one place: the true one is the one that is followed. Returns it where it is the second."""
        first, second, self._twin = self._last, self._twin, None
        if first is None or second is None:
            return None
        true_one = second if record is not None and record.previous == second.hash else first
        other = first if true_one is second else second
        self._verdict.find(Kind.INSERTED, other.place, f"record {other.number} stands in {true_one.place} as well")
        self._last = true_one
        return true_one if true_one is second else None

    def _leave_out(self, record: Record, top: Record) -> None:
        """Records are missing; where as many strange lines stand, they are what became of them."""
        span = Span(top.number + 1, record.number - 1)
        strange, self._foreign = self._foreign, []
        if len(strange) == span.last - span.first + 1:
            for place in strange:
                self._verdict.find(Kind.EDITED, place, "it is no record any more, where one is missing")
            return
        self._foreign = strange
        self._missing.add(*span)
        self._missed_at.append((span, record.place))

    def _again(self, record: Record) -> None:
        """A record of a place that is taken. Several that follow each other are a second history."""
        side, self._side = self._side, record
        if side is not None and (record.number, record.previous) == (side.number + 1, side.hash):
            self._verdict.find(Kind.FORKED, record.place, f"a second history goes on with record {record.number}")
        else:
            self._verdict.find(Kind.INSERTED, record.place, f"record {record.number} stands before this line as well")

    def _strange(self, place: Location, text: bytes) -> None:
        if self._last is None:
            self._verdict.unchained += 1
            self._older.take(place, text)
        else:
            self._foreign.append(place)
            self._plain, self._top = False, self._highest()

    def _report_strange(self) -> None:
        for place in self._foreign:
            self._verdict.find(Kind.INSERTED, place, "the line is no record of the chain")
        self._foreign = []

    def _compare(self, record: Record) -> None:
        place, mark = self._signed[record.number + 1]
        if mark != record.hash:
            text = f"another record {record.number} was signed in {place}"
            self._verdict.find(Kind.FORKED, record.place, text)

    def _place_of(self, missing: Span) -> Location:
        return next(place for span, place in self._missed_at if span.first <= missing.first <= span.last)


def _records(span: Span) -> str:
    return f"record {span.first} is" if span.first == span.last else f"records {span.first} to {span.last} are"
