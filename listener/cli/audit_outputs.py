"""What `audit report` writes: rows as they come, and in the end what was read and what qualifies it."""

import sys
from collections.abc import Iterator
from typing import Protocol, TextIO

import msgspec

from listener.audit.groups import By, GroupRow
from listener.audit.page import MOST_ROWS
from listener.audit.report import GapRow, Row, Summary
from listener.audit.sheet import Sheet
from listener.cli import table
from listener.cli.columns import Columns
from listener.cli.readable import NOTHING, STYLES, printable
from listener.cli.table import duration
from listener.model.event import Change

AnyRow = Row | GapRow | GroupRow

_LISTED = ("when (UTC)", "chat", "agent", "account", "key", "change", "disposition", "notes")
_COUNTED = ("events", *map(str, Change))


class Output(Protocol):
    """Takes every row, then the summary."""

    def add(self, row: AnyRow) -> None: ...  # noqa: D102 - told above

    def end(self, summary: Summary) -> None: ...  # noqa: D102 - told above


class Listing:
    """A line each, as they come, on standard output."""

    def __init__(self) -> None:
        self._columns = Columns(_LISTED)

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
    """A table of groups on standard output."""

    def __init__(self, by: By) -> None:
        self._by = by
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
        table.write((*names, *_COUNTED, "first (UTC)", "last (UTC)"), self._rows, numbers=_COUNTED)
        print()
        write_summary(summary, sys.stdout)


class JsonLines:
    """One JSON object a row on standard output, the summary last."""

    def add(self, row: AnyRow | Summary) -> None:
        """See `Output`."""
        sys.stdout.buffer.write(msgspec.json.encode(row) + b"\n")

    def end(self, summary: Summary) -> None:
        """See `Output`."""
        self.add(summary)


class SheetRows:
    """A sheet; the summary is for somebody else."""

    def __init__(self, sheet: Sheet) -> None:
        self.add = sheet.add

    def end(self, summary: Summary) -> None:
        """See `Output`."""


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
    """What was read, and what qualifies the rows, line by line."""
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
        yield "gaps", "none: no stretch is on record in which a disposition could have been missed"
        return
    yield "gaps", f"{count}, in which dispositions of these accounts could have been missed:"
    for one in summary.gaps:
        length = f"{one.seconds:.3f} s" + (f" ({duration(int(one.seconds * 1000))})" if one.seconds >= 60 else "")  # noqa: PLR2004 - a minute
        yield "", f"{one.account}: {one.gaps} of {length}"


def _or_nothing(value: str | None) -> str:
    return NOTHING if value is None else value
