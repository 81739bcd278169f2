"""Output for people: events as rows, tables, durations, states of sinks; in colour on a terminal."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from listener.errors import UNDECODABLE
from listener.model.condition import SinkReport
from listener.model.escaping import printable

STYLES = {"set": "green", "changed": "yellow", "cleared": "magenta", "unchanged": "dim", "gap": "bold red"}
RUNNING = "running"
NOTHING = "-"
MINUTE_S = 60
_USUAL_KEY = "DispositionCode"
_APART = 2
_INDENT = 4
_ROOM = 32  # less is no room for a sentence
_BLOCK = 500
_UNITS = ((86_400, "d"), (3600, "h"), (MINUTE_S, "min"), (1, "s"))


class Line(msgspec.Struct, frozen=True):
    """The fields of an event that a reader needs; unknown ones are ignored."""

    type: str
    time: str
    subject: str
    data: dict[str, Any]
    id: str = ""
    sequence: str = ""

    @property
    def change(self) -> str:
        """`set`, `changed`, `unchanged` or `cleared`; for other events their kind, such as `gap`."""
        kind = self.type.rpartition(".chat.")[2]
        return _text(self.data.get("change"), kind) if kind == "disposition" else kind


class Row(NamedTuple):
    """An event's columns; `what` is what happened, in words."""

    time: str
    chat: str
    account: str
    change: str
    what: str

    @property
    def style(self) -> str:
        """How its change looks on a terminal."""
        return STYLES.get(self.change, "")


_DECODER = msgspec.json.Decoder(Line)


def parse(line: bytes) -> Line:
    """One line of an audit file. Raises ValueError: it is no event."""
    try:
        return _DECODER.decode(line)
    except UNDECODABLE as exc:
        raise ValueError(str(exc)) from exc


def row_of(line: Line) -> Row:
    """The row of an event, without any control characters from outside."""
    is_gap = line.change == "gap"
    what = _gap(line.data) if is_gap else _disposition(line.change, line.data)
    account = _text(line.data.get("account"))
    return Row(*map(printable, (line.time, NOTHING if is_gap else line.subject, account, line.change, what)))


def _disposition(change: str, data: dict[str, Any]) -> str:
    value = _text(data.get("disposition"))
    key = _text(data.get("key"), _USUAL_KEY)
    text = value if change == "unchanged" else f"{_text(data.get('previous'))} -> {value}"
    named = text if key == _USUAL_KEY else f"{key}: {text}"
    return named + ("  (found by re-reading)" if data.get("origin") == "reconciled" else "")


def _gap(data: dict[str, Any]) -> str:
    """A stretch in which something could have been missed."""
    start, end = _text(data.get("from")), _text(data.get("to"))
    of_what = f" of {data['mediaType']}" if "mediaType" in data else ""
    return f"{start} to {end}: {_text(data.get('reason'))}{of_what}, closed by {_text(data.get('closedBy'))}"


def _text(value: Any, missing: str = NOTHING) -> str:
    return missing if value is None else str(value)


class Writer:
    """Writes rows to standard output: in colour on a terminal, in plain columns elsewhere."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True) if sys.stdout.isatty() else None

    def write(self, row: Row) -> None:
        """One line, at once."""
        plain = f"{row.time:<24}  {row.chat:<16}  {row.account:<8}  {row.change:<9}  {row.what}"
        if self._console is None:
            print(plain, flush=True)
            return
        start = len(plain) - len(row.what) - len(f"{row.change:<9}") - 2
        text = Text(plain)
        text.stylize("dim", 0, 24)
        text.stylize(row.style, start)
        self._console.print(text)

    def write_all(self, rows: Iterable[Row]) -> None:
        """One line each."""
        for row in rows:
            self.write(row)


class Columns:
    """Writes columns to standard output; they only grow wider from one block to the next.

    Args:
        heading: the names of the columns, written above the first row.
    """

    def __init__(self, heading: Sequence[str]) -> None:
        self._console = Console(highlight=False, soft_wrap=True) if sys.stdout.isatty() else None
        self._rows: list[tuple[Sequence[str], str]] = [(heading, "bold")]
        self._widths = [0] * len(heading)

    def add(self, rows: Sequence[Sequence[str]], styles: Sequence[str]) -> None:
        """Add rows, each in its style for the terminal; their control characters are escaped."""
        if not "".join(chain.from_iterable(rows)).isprintable():
            rows = [[printable(cell) for cell in cells] for cells in rows]
        self._rows += zip(rows, styles, strict=True)
        while len(self._rows) >= _BLOCK:
            self._write(_BLOCK)

    def end(self) -> None:
        """Write what is held back."""
        self._write(len(self._rows))

    def _write(self, count: int) -> None:
        these, self._rows = self._rows[:count], self._rows[count:]
        cells = [row for row, _ in these]
        columns = zip(self._widths, zip(*cells, strict=True), strict=False)
        self._widths = [max(width, *map(len, column)) for width, column in columns] or self._widths
        form = (" " * _APART).join(f"%-{width}s" for width in self._widths)
        lines = [(form % tuple(row)).rstrip() for row in cells]
        if self._console is None:
            sys.stdout.write("".join([f"{line}\n" for line in lines]))
        else:
            for line, (_, style) in zip(lines, these, strict=True):
                self._console.print(Text(line, style))


def write_table(heading: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table. Columns of `numbers` are set to the right.

    On a narrow terminal the last column is wrapped; if little room is left, it gets lines of its own.
    """
    clean = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(heading, clean, numbers)
    else:
        for line in _lines(heading, clean, numbers):
            print(line)


def _lines(heading: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> Iterator[str]:
    """The heading and the rows in columns that are as wide as they need to be."""
    widths, right = _widths(heading, rows), [name in numbers for name in heading]
    for row in (heading, *rows):
        yield _fitted(row, widths, right)


def _widths(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(heading, *rows, strict=True)]


def _fitted(row: Sequence[str], widths: Sequence[int], right: Iterable[bool] = repeat(False)) -> str:
    cells = zip(row, widths, right, strict=False)
    return (" " * _APART).join([f"{cell:{'>' if end else '<'}{width}}" for cell, width, end in cells]).rstrip()


def _draw(heading: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> None:
    console = Console(highlight=False)
    *widths, last = _widths(heading, rows)
    if sum(widths) + _APART * len(widths) + min(last, _ROOM) <= console.width:
        console.print(_grid(heading, rows, numbers))
        return
    lines = _lines(heading[:-1], [row[:-1] for row in rows], numbers)
    for line, row, style in zip(lines, (heading, *rows), chain(["bold"], repeat("")), strict=False):
        console.print(Text(line, style), Text(f"{'':{_INDENT}}{row[-1]}", style), sep="\n", soft_wrap=True)


def _grid(heading: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, _APART, 0, 0), pad_edge=False)
    for name in heading:
        last = name == heading[-1]
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=not last, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def duration(ms: int) -> str:
    """A duration in its two largest units: `3 d 4 h`, `12 s`."""
    left = max(0, ms) // 1000
    parts = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def sink_state(sink: SinkReport) -> str:
    """What a sink does, in a few words."""
    if sink.parked is not None:
        return f"parked: {sink.parked}"
    if sink.quiet_seconds:
        return f"paused for {sink.quiet_seconds:.0f} s more, as its destination asked: {sink.last_error}"
    if sink.last_error is not None:
        wait_s = sink.next_attempt_seconds
        state = f"failing{'' if wait_s is None else f', next attempt in {wait_s:.0f} s'}: {sink.last_error}"
    else:
        state = RUNNING
    return f"{state}; {sink.resend_left} to be delivered again" if sink.resend_left else state
