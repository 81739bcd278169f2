"""The demo while it runs: what was heard so far, as a live table on a terminal or as plain lines elsewhere."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from datetime import datetime
from statistics import median

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from listener.cli.readable import STYLES, Line, Row, Writer, parse, row_of
from listener.model.event import Event

_REFRESH_S = 0.1
_MOST_ROWS = 14
_OTHER_LINES = 9  # of the live view, and room for the shell's prompt
_RATE_OVER_S = 2.0


class Board:
    """Takes every group of events as it becomes durable."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.recent: deque[Row] = deque(maxlen=_MOST_ROWS)
        self.latencies_ms: list[float] = []
        self._moments: deque[float] = deque(maxlen=1000)
        self._more = asyncio.Event()

    def take(self, events: Sequence[Event]) -> list[Row]:
        """Count the events; returns their rows."""
        lines = [parse(event.to_json()) for event in events]
        rows = [row_of(line) for line in lines]
        self.counts.update(row.change for row in rows)
        self.recent.extend(rows)
        self._moments.extend([time.monotonic()] * len(rows))
        self.latencies_ms += [_age_ms(line) for line in lines if line.change != "gap"]
        self._more.set()
        return rows

    @property
    def dispositions(self) -> int:
        """How many events were heard that are no gaps."""
        return self.counts.total() - self.counts["gap"]

    async def heard(self, count: int) -> None:
        """Return once there are that many dispositions."""
        while self.dispositions < count:
            self._more.clear()
            await self._more.wait()

    def rate(self) -> float:
        """Events a second, over the last two seconds."""
        since = time.monotonic() - _RATE_OVER_S
        return sum(moment > since for moment in self._moments) / _RATE_OVER_S

    def latency(self) -> str:
        """From the server's stamp to the moment at which the event was on the disk, in words."""
        if not self.latencies_ms:
            return "unknown"
        return f"{median(self.latencies_ms):.0f} ms median, {max(self.latencies_ms):.0f} ms at most"


class PlainView:
    """One line an event."""

    def __init__(self, *, board: Board) -> None:
        self._board = board
        self._writer = Writer()

    def take(self, events: Sequence[Event]) -> None:
        """Write them."""
        self._writer.write_all(self._board.take(events))

    async def show(self) -> None:
        """Nothing beside the lines."""


class LiveView:
    """A table of the newest events below the counters, drawn anew ten times a second.

    Args:
        board: what was heard.
        console: the terminal.
        wanted: how many dispositions will be set.
        title: what stands above.
    """

    def __init__(self, *, board: Board, console: Console, wanted: int, title: str) -> None:
        self._board = board
        self._console = console
        self._wanted = wanted
        self._title = title

    def take(self, events: Sequence[Event]) -> None:
        """Show them with the next drawing."""
        self._board.take(events)

    async def show(self) -> None:
        """Draw until cancelled; the last drawing stays on the terminal."""
        with Live(self._draw(), console=self._console, auto_refresh=False) as live:
            try:
                while True:
                    live.update(self._draw(), refresh=True)
                    await asyncio.sleep(_REFRESH_S)
            finally:
                live.update(self._draw(), refresh=True)

    def _draw(self) -> Panel:
        return Panel(Group(self._counters(), Text(), self._table()), title=self._title, title_align="left")

    def _counters(self) -> Text:
        counts = self._board.counts
        changes = sum(counts[change] for change in ("set", "changed", "cleared"))
        parts = [Text(f"{changes} of {self._wanted} dispositions", style="bold")]
        parts += [Text(f"{counts[change]} {change}", style=STYLES[change]) for change in STYLES if counts[change]]
        return Text("   ").join([*parts, Text(f"{self._board.rate():.1f}/s")])

    def _table(self) -> Table:
        """As many rows as the terminal has room for, the newest last."""
        rows = max(1, min(_MOST_ROWS, self._console.height - _OTHER_LINES))
        table = Table(box=None, expand=True, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("time (UTC)", "chat", "agent", "change"):
            table.add_column(name, no_wrap=True)
        table.add_column("disposition", ratio=1, no_wrap=True, overflow="ellipsis")
        recent = list(self._board.recent)[-rows:]
        for row in recent:
            clock = Text(row.time[11:23], style="dim")
            table.add_row(clock, row.chat, row.account, Text(row.change, row.style), Text(row.what, row.style))
        for _ in range(rows - len(recent)):
            table.add_row()
        return table


def _age_ms(line: Line) -> float:
    """How long ago the server stamped the event."""
    return max(0.0, time.time() - datetime.fromisoformat(line.time).timestamp()) * 1000
