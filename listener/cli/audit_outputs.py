"""What `audit report` writes: rows as they come, then a summary."""

import csv
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, islice, repeat
from typing import Protocol, TextIO

import msgspec

from listener.audit.groups import By, GroupRow
from listener.audit.page import MOST_ROWS
from listener.audit.preface import Preface
from listener.audit.report import NOT_KNOWN, Coverage, Summary
from listener.audit.rows import GapRow, Row, Rows, heard_by, notes
from listener.cli.readable import MINUTE_S, NOTHING, STYLES, Columns, duration, write_table
from listener.model.escaping import cell, defused, is_plain, printable
from listener.model.event import Change

_ENCODER = msgspec.json.Encoder()

AnyRow = Row | GapRow | GroupRow
AnyRows = Rows | Sequence[GapRow] | Sequence[GroupRow]

LIST_HEADING = (
    *("time", "chat", "agents", "account", "key", "previous", "disposition", "change", "origin", "proof", "near_gap"),
    *("reference_id", "gap_from", "gap_to", "gap_reason", "sequence", "id", "agent"),
)
GROUP_HEADING = ("by", "group", "key", "code", "events", *map(str, Change), "first", "last")

_LISTED = ("chat", "agents in the chat", "account", "key", "change", "disposition", "notes")
_NO_GAP = (repeat(""), repeat(""), repeat(""))
_COUNTED = ("events", *map(str, Change))


class Output(Protocol):
    """Takes what a report begins with, then every row, then the summary."""

    def begin(self, preface: Preface) -> None:
        """Before the first row."""

    def add(self, rows: AnyRows) -> None:
        """More rows."""

    def end(self, summary: Summary) -> None:
        """There are no more rows."""


class Listing:
    """One line per row, as it comes, on standard output; times are of the zone that is named."""

    def __init__(self, zone: str) -> None:
        self._coverage = NOT_KNOWN
        self._columns = Columns((f"when ({zone})", *_LISTED))

    def begin(self, preface: Preface) -> None:
        """See `Output`."""
        self._coverage = preface.coverage
        write_preface(preface, sys.stdout)
        print()

    def add(self, rows: AnyRows) -> None:
        """See `Output`."""
        if isinstance(rows, Rows):
            self._columns.add(_listed(rows), [STYLES.get(change, "") for change in rows.changes])
            return
        for row in rows:
            if isinstance(row, GapRow):
                told = f"{row.from_} to {row.to}: {row.reason}"
                cells = (row.time, NOTHING, NOTHING, row.heard, NOTHING, "gap", told, row.notes)
                self._columns.add([cells], [STYLES["gap"]])

    def end(self, summary: Summary) -> None:
        """See `Output`."""
        self._columns.end()
        print()
        write_summary(summary, self._coverage, sys.stdout)


def _listed(rows: Rows) -> list[tuple[str, ...]]:
    """Their cells, a tuple each."""
    values = map(_told_value, rows.previous, rows.dispositions)
    agents = [", ".join(names) or NOTHING for names in rows.agents]
    told = {kind: notes(kind[0], kind[1], near_gap=kind[2]) for kind in set(rows.kinds())}
    noted = [told[kind] for kind in rows.kinds()]
    heard = list(map(heard_by, rows.accounts, rows.whose)) if any(rows.whose) else rows.accounts
    columns = (rows.times, rows.chat_ids, agents, heard, rows.keys, rows.changes, values, noted)
    return list(zip(*columns, strict=True))


@lru_cache(maxsize=1000)
def _told_value(previous: str | None, code: str | None) -> str:
    return f"{_or_nothing(previous)} -> {_or_nothing(code)}"


class Counts:
    """A table of groups on standard output; times are of the zone that is named."""

    def __init__(self, by: By, zone: str) -> None:
        self._by, self._zone = by, zone
        self._coverage = NOT_KNOWN
        self._rows: list[tuple[str, ...]] = []

    def begin(self, preface: Preface) -> None:
        """See `Output`."""
        self._coverage = preface.coverage
        write_preface(preface, sys.stdout)
        print()

    def add(self, rows: AnyRows) -> None:
        """See `Output`."""
        for row in rows:
            if isinstance(row, GroupRow):
                names = (row.code, row.key) if row.by is By.CODE else (row.group, row.code, row.key)
                figures = (row.events, *(row.changes.get(change, 0) for change in Change))
                self._rows.append((*map(_or_nothing, names), *map(str, figures), row.first, row.last))

    def end(self, summary: Summary) -> None:
        """See `Output`."""
        names = ("code", "key") if self._by is By.CODE else (self._by, "code", "key")
        write_table((*names, *_COUNTED, f"first ({self._zone})", f"last ({self._zone})"), self._rows, numbers=_COUNTED)
        print()
        write_summary(summary, self._coverage, sys.stdout)


class JsonLines:
    """One JSON object per row on standard output, verdict and coverage first, the summary last."""

    def begin(self, preface: Preface) -> None:
        """See `Output`."""
        verdict = {
            "row": "verdict",
            "proven": preface.is_proven,
            "reasons": preface.reasons,
            "signers": preface.signers,
            "older": preface.older,
        }
        self._write([verdict, preface.coverage])

    def add(self, rows: AnyRows) -> None:
        """See `Output`."""
        self._write(list(rows))

    def end(self, summary: Summary) -> None:
        """See `Output`."""
        self._write([summary])

    @staticmethod
    def _write(rows: Sequence[object]) -> None:
        sys.stdout.buffer.write(_ENCODER.encode_lines(rows))


class Sheet:
    """CSV (RFC 4180) with a heading, every field quoted, and lines that end in LF alone; a row is always one line.

    Before the heading stand lines that begin with `#`, as no row does: what is proven, and what is covered.

    Args:
        file: where to.
        heading: `LIST_HEADING`, or `GROUP_HEADING` for groups.
    """

    def __init__(self, file: TextIO, heading: Sequence[str]) -> None:
        self._file, self._heading = file, heading
        self._writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def begin(self, preface: Preface) -> None:
        """See `Output`."""
        for name, words in _opening(preface):
            print(f"# {name}: {defused(words)}" if name else f"# {defused(words)}", file=self._file)
        self._writer.writerow(self._heading)

    def add(self, rows: AnyRows) -> None:
        """See `Output`."""
        if isinstance(rows, Rows):
            self._file.write(_sheet_of(rows))
            return
        for row in rows:
            self._writer.writerow([defused(cell) for cell in _cells(row)])

    def end(self, summary: Summary) -> None:
        """The summary is for another output."""


def _cells(row: GapRow | GroupRow) -> tuple[str, ...]:
    match row:
        case GapRow():
            before = (row.time, "", "", row.account, "", "", "", "gap", "", row.proof, "", "")
            return (*before, row.from_, row.to, row.reason, row.sequence, row.id, row.agent or "")
        case GroupRow():
            changes = (str(row.changes.get(change, 0)) for change in Change)
            return (row.by, row.group or "", row.key, row.code or "", str(row.events), *changes, row.first, row.last)


def _sheet_of(rows: Rows) -> str:
    """Their lines. Only columns that are not plain are looked at cell by cell."""
    texts: list[Sequence[str]] = [
        rows.chat_ids,
        ["; ".join(names) for names in rows.agents],
        rows.accounts,
        rows.keys,
        [code or "" for code in rows.previous],
        [code or "" for code in rows.dispositions],
        rows.changes,
        rows.origins,
        ["" if number is None else str(number) for number in rows.reference_ids],
        rows.sequences,
        rows.ids,
        [agent or "" for agent in rows.whose],
    ]
    if not is_plain(chain.from_iterable(texts)):
        texts = [column if is_plain(column) else [_quoted(text) for text in column] for column in texts]
    near = ["yes" if near else "no" for near in rows.near_gap]
    *before, reference_ids, sequences, ids, whose = texts
    columns = (rows.times, *before, rows.proofs, near, reference_ids, *_NO_GAP, sequences, ids, whose)
    lines = map('","'.join, zip(*columns, strict=False))
    return '"' + '"\n"'.join(lines) + '"\n'


@lru_cache(maxsize=10_000)
def _quoted(text: str) -> str:
    """A cell without its quotes."""
    return cell(text)[1:-1]


class SummaryOnly:
    """The summary alone."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._coverage = NOT_KNOWN

    def begin(self, preface: Preface) -> None:
        """See `Output`."""
        self._coverage = preface.coverage
        write_preface(preface, self._file)
        print(file=self._file)

    def add(self, rows: AnyRows) -> None:
        """See `Output`."""

    def end(self, summary: Summary) -> None:
        """See `Output`."""
        write_summary(summary, self._coverage, self._file)


class FirstRows:
    """The rows that a page shows: the first ones, and how many there were."""

    def __init__(self) -> None:
        self.rows: list[AnyRow] = []
        self.total = 0

    def begin(self, preface: Preface) -> None:
        """See `Output`."""

    def add(self, rows: AnyRows) -> None:
        """See `Output`."""
        self.total += len(rows)
        self.rows += islice(rows, MOST_ROWS - len(self.rows))

    def end(self, summary: Summary) -> None:
        """See `Output`."""


def write_preface(preface: Preface, file: TextIO) -> None:
    """What is proven, and what is covered, line by line."""
    for name, words in _opening(preface):
        print(f"{name:<12}  {printable(words)}", file=file)


def _opening(preface: Preface) -> Iterator[tuple[str, str]]:
    yield "verdict", preface.verdict
    for number, words in enumerate(preface.known()):
        yield "" if number else "coverage", words


def write_summary(summary: Summary, coverage: Coverage, file: TextIO) -> None:
    """What was read, and what limits the answer, line by line."""
    for name, text in (*_figures(summary), *_gaps(summary, coverage)):
        print(f"{name:<12}  {printable(text)}", file=file)


def _figures(summary: Summary) -> Iterator[tuple[str, str]]:
    changes = ", ".join(f"{summary.changes[change]} {change}" for change in Change if change in summary.changes)
    yield "dispositions", f"{summary.dispositions}" + (f": {changes}" if changes else "")
    if summary.first is not None:
        yield "", f"first {summary.first}, last {summary.last}"
    yield "", f"{summary.reconciled} found by re-reading, {summary.near_gap} near a gap of their account"
    if summary.unproven:
        yield "", f"{summary.unproven} in lines that no key has signed"
    yield "left out", f"{summary.left_out} unchanged, {summary.repeated} repeated, {summary.tests} test events"
    for type_, count in sorted(summary.others.items()):
        yield "", f"{count} of an unknown type: {type_}"
    yield "read", f"{summary.lines} lines of {summary.files} files, {summary.unreadable} unreadable"


def _gaps(summary: Summary, coverage: Coverage) -> Iterator[tuple[str, str]]:
    count = sum(one.gaps for one in summary.gaps)
    if not count:
        yield "gaps", _without_gaps(coverage)
        return
    yield "gaps", f"{count}, in which dispositions of these accounts could have been missed:"
    for one in summary.gaps:
        in_words = f" ({duration(int(one.seconds * 1000))})" if one.seconds >= MINUTE_S else ""
        yield "", f"{one.account}: {one.gaps} of {one.seconds:.3f} s{in_words}"


def _without_gaps(coverage: Coverage) -> str:
    """What it means that no gap is on record: nothing where nothing is known."""
    if not coverage.accounts:
        return "not known: the files hold nothing about this period"
    return "none on record" if coverage.whole else "none on record in what is known"


def _or_nothing(value: str | None) -> str:
    return NOTHING if value is None else value
