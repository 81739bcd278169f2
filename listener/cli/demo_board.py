"""What a demo shows while it runs, and how it compares what was published with what was stored."""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from statistics import median
from typing import Any, NamedTuple, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from listener.cli.readable import STYLES, Line, Row, Writer, parse, row_of
from listener.model.event import Event
from listener.simulator import Published

_REFRESH_S = 0.1
_LOOK_S = 0.01
_MOST_ROWS = 14
_OTHER_LINES = 9  # of the live view, and room for the shell's prompt
_RATE_OVER_S = 2.0


async def until(ready: Callable[[], bool], *, within_s: float) -> bool:
    """Wait until something is so; returns whether it was in time."""
    deadline = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK_S)
    return True


class View(Protocol):
    """How the demo is watched."""

    def take(self, events: Sequence[Event]) -> None:
        """Events that have become durable."""

    async def show(self) -> None:
        """Draw until cancelled."""


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
        now_s = time.time()
        stamped = [datetime.fromisoformat(line.time).timestamp() for line in lines if line.change != "gap"]
        self.latencies_ms += [max(0.0, now_s - stamp_s) * 1000 for stamp_s in stamped]
        self._more.set()
        return rows

    @property
    def dispositions(self) -> int:
        """How many events, without gaps."""
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
        """The time from the server's stamp to the disk, in words."""
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


Heard = tuple[str, str]
"""An account and a chat."""


class Tally(NamedTuple):
    """The comparison: how many notifications should have become events, and what is wrong with the events.

    Attributes:
        published: notifications with a disposition that reached a session, one for each session.
        events: disposition events in the file, duplicates not counted.
        missing: published, and not in the file.
        unexpected: in the file, and not published.
        duplicates: lines that brought an event of the journal again.
        out_of_order: chats of one account whose values stand in another order than they were published in.
        gaps: periods in which a disposition could have been missed.
    """

    published: int
    events: int
    missing: int
    unexpected: int
    duplicates: int
    out_of_order: int
    gaps: int

    @property
    def good(self) -> bool:
        """Everything is there, once, in order."""
        return not (self.missing or self.unexpected or self.duplicates or self.out_of_order)


def expected(ledger: Iterable[Published]) -> int:
    """How many events the published notifications have to become."""
    return sum(len(entry.heard_by) for entry in ledger if entry.key is not None)


def compare(ledger: Iterable[Published], lines: Sequence[Line]) -> Tally:
    """Hold the lines of the file against the simulator's ledger."""
    once = {(line.sequence, line.id): line for line in lines}
    dispositions = [line for line in once.values() if line.change != "gap"]
    wanted: dict[Heard, list[Any]] = defaultdict(list)
    found: dict[Heard, list[Any]] = defaultdict(list)
    for entry in ledger:
        for account in entry.heard_by if entry.key is not None else ():
            wanted[account, entry.chat_id].append(entry.value or None)  # empty is cleared
    for line in dispositions:
        found[str(line.data.get("account")), line.subject].append(line.data.get("disposition"))
    missing = unexpected = out_of_order = 0
    for place in wanted.keys() | found.keys():
        lost = (Counter(wanted[place]) - Counter(found[place])).total()
        added = (Counter(found[place]) - Counter(wanted[place])).total()
        missing, unexpected = missing + lost, unexpected + added
        out_of_order += not lost and not added and wanted[place] != found[place]
    return Tally(
        published=sum(map(len, wanted.values())),
        events=len(dispositions),
        missing=missing,
        unexpected=unexpected,
        duplicates=len(lines) - len(once),
        out_of_order=out_of_order,
        gaps=len(once) - len(dispositions),
    )


def faults(tally: Tally, *, place: str) -> Iterator[Text]:
    """Faults, of which a good run has none; the last two are shown only if there are any."""
    told = (
        ("missing", tally.missing, f"published, and not in the {place}"),
        ("duplicates", tally.duplicates, f"in the {place} more than once"),
        ("gaps", tally.gaps, "periods in which a disposition could have been missed"),
    )
    if_any = (
        ("unexpected", tally.unexpected, f"in the {place}, and never published"),
        ("misordered", tally.out_of_order, "chats whose events are out of order"),
    )
    for name, count, note in (*told, *(fault for fault in if_any if fault[1])):
        yield Text(f"  {name:<10}{count:>5}          {note}", style="bold red" if count else "")
