"""What `audit report` writes: rows as they come, then a summary."""

import csv
import sys
from collections.abc import Iterator, Sequence
from typing import Protocol, TextIO

import msgspec

from listener.audit.page import MOST_ROWS
from listener.audit.report import By, GapRow, GroupRow, Row, Summary
from listener.cli.readable import MINUTE_S, NOTHING, STYLES, Columns, duration, write_table
from listener.model.escaping import defused, printable
from listener.model.event import Change

AnyRow = Row | GapRow | GroupRow

LIST_HEADING = (
    *("time", "chat", "agents", "account", "key", "previous", "disposition", "change", "origin", "near_gap"),
    *("reference_id", "gap_from", "gap_to", "gap_reason", "sequence", "id"),
)
GROUP_HEADING = ("by", "group", "key", "code", "events", *map(str, Change), "first", "last")

_LISTED = ("chat", "agents in the chat", "account", "key", "change", "disposition", "notes")
_COUNTED = ("events", *map(str, Change))


class Output(Protocol):
    """Takes every row, then the summary."""

    def add(self, row: AnyRow) -> None:
        """One more row."""

    def end(self, summary: Summary) -> None:
        """There are no more rows."""


class Listing:
    """One line per row, as it comes, on standard output; times are of the zone that is named."""

    def __init__(self, zone: str) -> None:
        self._columns = Columns((f"when ({zone})", *_LISTED))

    def add(self, row: AnyRow) -> None:
        """See `Output`."""
        match row:
            case Row():
                value = f"{_or_nothing(row.previous)} -> {_or_nothing(row.disposition)}"
                agents = ", ".join(row.agents) or NOTHING
                cells = (row.time, row.chat_id, agents, row.account, row.key, row.change, value, row.notes)
                self._columns.add(cells, STYLES.get(row.change, ""))
            case GapRow():
                told = f"{row.from_} to {row.to}: {row.reason}"
                cells = (row.time, NOTHING, NOTHING, row.account, NOTHING, "gap", told, "")
                self._columns.add(cells, STYLES["gap"])

    def end(self, summary: Summary) -> None:
        """See `Output`."""
        self._columns.end()
        print()
        write_summary(summary, sys.stdout)


class Counts:
    """A table of groups on standard output; times are of the zone that is named."""

    def __init__(self, by: By, zone: str) -> None:
        self._by, self._zone = by, zone
        self._rows: list[tuple[str, ...]] = []

    def add(self, row: AnyRow) -> None:
        """See `Output`."""
        if isinstance(row, GroupRow):
            names = (row.code, row.key) if row.by is By.CODE else (row.group, row.code, row.key)
            figures = (row.events, *(row.changes.get(change, 0) for change in Change))
            self._rows.append((*map(_or_nothing, names), *map(str, figures), row.first, row.last))

    def end(self, summary: Summary) -> None:
        """See `Output`."""
        names = ("code", "key") if self._by is By.CODE else (self._by, "code", "key")
        write_table((*names, *_COUNTED, f"first ({self._zone})", f"last ({self._zone})"), self._rows, numbers=_COUNTED)
        print()
        write_summary(summary, sys.stdout)


class JsonLines:
    """One JSON object per row on standard output, the summary last."""

    def add(self, row: AnyRow | Summary) -> None:
        """See `Output`."""
        sys.stdout.buffer.write(msgspec.json.encode(row) + b"\n")

    def end(self, summary: Summary) -> None:
        """See `Output`."""
        self.add(summary)


class Sheet:
    """CSV (RFC 4180) with a heading, every field quoted, and lines that end in LF alone; a row is always one line.

    Args:
        file: where to.
        heading: `LIST_HEADING`, or `GROUP_HEADING` for groups.
    """

    def __init__(self, file: TextIO, heading: Sequence[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._writer.writerow(heading)

    def add(self, row: AnyRow) -> None:
        """See `Output`."""
        self._writer.writerow([defused(cell) for cell in _cells(row)])

    def end(self, summary: Summary) -> None:
        """The summary is for another output."""


def _cells(row: AnyRow) -> tuple[str, ...]:
    match row:
        case Row():
            return _disposition(row)
        case GapRow():
            unset = ("",) * 3
            before = (row.time, "", "", row.account, *unset, "gap", *unset)
            return (*before, row.from_, row.to, row.reason, row.sequence, row.id)
        case GroupRow():
            changes = (str(row.changes.get(change, 0)) for change in Change)
            return (row.by, row.group or "", row.key, row.code or "", str(row.events), *changes, row.first, row.last)


def _disposition(row: Row) -> tuple[str, ...]:
    return (
        row.time,
        row.chat_id,
        "; ".join(row.agents),
        row.account,
        row.key,
        row.previous or "",
        row.disposition or "",
        row.change,
        row.origin,
        "yes" if row.near_gap else "no",
        "" if row.reference_id is None else str(row.reference_id),
        *("", "", ""),
        row.sequence,
        row.id,
    )


class SummaryOnly:
    """The summary alone."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def add(self, row: AnyRow) -> None:
        """See `Output`."""

    def end(self, summary: Summary) -> None:
        """See `Output`."""
        write_summary(summary, self._file)


class FirstRows:
    """The rows that a page shows: the first ones, and how many there were."""

    def __init__(self) -> None:
        self.rows: list[AnyRow] = []
        self.total = 0

    def add(self, row: AnyRow) -> None:
        """See `Output`."""
        self.total += 1
        if self.total <= MOST_ROWS:
            self.rows.append(row)

    def end(self, summary: Summary) -> None:
        """See `Output`."""


def write_summary(summary: Summary, file: TextIO) -> None:
    """What was read, and what limits the answer, line by line."""
    for name, text in _figures(summary):
        print(f"{name:<12}  {printable(text)}", file=file)


def _figures(summary: Summary) -> Iterator[tuple[str, str]]:
    changes = ", ".join(f"{summary.changes[change]} {change}" for change in Change if change in summary.changes)
    yield "dispositions", f"{summary.dispositions}" + (f": {changes}" if changes else "")
    if summary.first is not None:
        yield "", f"first {summary.first}, last {summary.last}"
    yield "", f"{summary.reconciled} found by re-reading, {summary.near_gap} near a gap of their account"
    yield "left out", f"{summary.left_out} unchanged, {summary.repeated} repeated, {summary.tests} test events"
    for type_, count in sorted(summary.others.items()):
        yield "", f"{count} of an unknown type: {type_}"
    yield "read", f"{summary.lines} lines of {summary.files} files, {summary.unreadable} unreadable"
    yield from _gaps(summary)


def _gaps(summary: Summary) -> Iterator[tuple[str, str]]:
    count = sum(one.gaps for one in summary.gaps)
    if not count:
        yield "gaps", "none: no gap is on record"
        return
    yield "gaps", f"{count}, in which dispositions of these accounts could have been missed:"
    for one in summary.gaps:
        in_words = f" ({duration(int(one.seconds * 1000))})" if one.seconds >= MINUTE_S else ""
        yield "", f"{one.account}: {one.gaps} of {one.seconds:.3f} s{in_words}"


def _or_nothing(value: str | None) -> str:
    return NOTHING if value is None else value
