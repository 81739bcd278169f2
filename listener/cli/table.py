"""Rows under a heading: fitted to the terminal, or in plain columns elsewhere; and lengths of time in words."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from listener.cli.readable import printable

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def write(heading: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table. Columns of `numbers` are set to the right; where it is too wide, the last column is wrapped."""
    clean = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(heading, clean, numbers)
        return
    widths = [max(len(row[column]) for row in (heading, *clean)) for column in range(len(heading))]
    for row in (heading, *clean):
        cells = [
            cell.rjust(width) if name in numbers else cell.ljust(width)
            for name, cell, width in zip(heading, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _draw(heading: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> None:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for name in heading:
        last = name == heading[-1]
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=not last, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)


def duration(ms: int) -> str:
    """A length of time in its two largest units: `3 d 4 h`, `12 s`."""
    left = max(0, ms) // 1000
    parts = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
