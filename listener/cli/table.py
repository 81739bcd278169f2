"""Rows under a heading: fitted to the terminal, or in plain columns elsewhere; and lengths of time in words."""

import sys
from collections.abc import Iterator, Sequence
from itertools import chain, repeat

from rich.console import Console
from rich.table import Table
from rich.text import Text

from listener.audit.escaping import printable

_APART = 2
_INDENT = 4
_ROOM = 32  # less is no room for a sentence
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def write(heading: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table. Columns of `numbers` are set to the right.

    Where a terminal is too narrow the last column, which tells why, is wrapped; with little room left for that, it
    stands in lines of its own.
    """
    clean = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(heading, clean, numbers)
    else:
        for line in _lines(heading, clean, numbers):
            print(line)


def _lines(heading: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> Iterator[str]:
    """The heading and the rows in columns that are as wide as they need to be."""
    widths = _widths(heading, rows)
    for row in (heading, *rows):
        cells = [
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(heading, row, widths, strict=True)
        ]
        yield (" " * _APART).join(cells).rstrip()


def _widths(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(heading, *rows, strict=True)]


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
    """A length of time in its two largest units: `3 d 4 h`, `12 s`."""
    left = max(0, ms) // 1000
    parts = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
