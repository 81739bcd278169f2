"""Rows in columns while they are still coming: fitted block by block, in colour on a terminal."""

import sys
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.text import Text

from listener.audit.escaping import printable

_BLOCK = 500
_APART = "  "


class Columns:
    """Writes to standard output under a heading; columns only ever grow wider, from one block to the next.

    Args:
        heading: the names of the columns, written above the first row.
    """

    def __init__(self, heading: Sequence[str]) -> None:
        self._console = Console(highlight=False, soft_wrap=True) if sys.stdout.isatty() else None
        self._rows: list[tuple[Sequence[str], str]] = [(heading, "bold")]
        self._widths = [0] * len(heading)

    def add(self, cells: Sequence[str], style: str = "") -> None:
        """A row, in a style for the terminal. What came from outside cannot drive it."""
        self._rows.append(([printable(cell) for cell in cells], style))
        if len(self._rows) >= _BLOCK:
            self.end()

    def end(self) -> None:
        """Write what is held back."""
        cells = [row for row, _ in self._rows]
        columns = zip(self._widths, zip(*cells, strict=True), strict=False)
        self._widths = [max(width, *map(len, column)) for width, column in columns] or self._widths
        if self._console is None:
            sys.stdout.write("".join(f"{line}\n" for line in self._lines()))
        else:
            for line, (_, style) in zip(self._lines(), self._rows, strict=True):
                self._console.print(Text(line, style))
        self._rows.clear()

    def _lines(self) -> Iterator[str]:
        for row, _ in self._rows:
            yield _APART.join([cell.ljust(width) for cell, width in zip(row, self._widths, strict=True)]).rstrip()
