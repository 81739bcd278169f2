"""Rows as CSV for spreadsheets, in which no field becomes a formula."""

import csv
from collections.abc import Sequence
from typing import Protocol

from listener.audit.groups import GroupRow
from listener.audit.report import GapRow, Row
from listener.model.event import Change

LIST_HEADING = (
    *("time", "chat", "agents", "account", "key", "previous", "disposition", "change", "origin", "near_gap"),
    *("reference_id", "gap_from", "gap_to", "gap_reason", "sequence", "id"),
)
GROUP_HEADING = ("by", "group", "key", "code", "events", *map(str, Change), "first", "last")

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 - spreadsheets take the wide forms, too
_QUOTE = "'"


class Text(Protocol):
    """Where text can be written."""

    def write(self, text: str, /) -> object: ...  # noqa: D102 - told above


class Sheet:
    """Writes RFC 4180 with a heading, and lines that end in LF alone; a row is always one line.

    Args:
        file: where to.
        heading: `LIST_HEADING`, or `GROUP_HEADING` for groups.
    """

    def __init__(self, file: Text, heading: Sequence[str]) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(heading)

    def add(self, row: Row | GapRow | GroupRow) -> None:
        """Write a row."""
        self._writer.writerow([defused(cell) for cell in _cells(row)])


def defused(text: str) -> str:
    """The text as a field that a spreadsheet takes for nothing but text.

    What begins with one of = + - @, their full-width forms, a tab or a line end would be run as a formula (OWASP, CSV
    Injection): it gets a ' in front. So does what has only ' before such a sign: leaving one ' out gives the text back
    in every case. Other control characters become their escapes.
    """
    if text.lstrip(_QUOTE).startswith(_FORMULA):
        text = _QUOTE + text
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _cells(row: Row | GapRow | GroupRow) -> tuple[str, ...]:
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
