"""`demo`: a simulated contact center, the listener and a file sink in one process, over real loopback HTTP."""

import asyncio
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple, Protocol

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from listener.cli import running
from listener.cli.readable import STYLES, Line, Row, Writer, parse, row_of
from listener.daemon.assembly import load_checked
from listener.daemon.daemon import Daemon
from listener.errors import ListenerError, StartError
from listener.model.event import Event
from listener.runtime import logs
from listener.simulator import Published, Simulator, SimulatorOptions, Summary, WorkingDay, play

AUDIT, JOURNAL, LOG, CONFIG = "dispositions.jsonl", "journal.db", "listener.log", "listener.toml"
_START_S = 20.0
_SETTLE_S = 10.0
_SEED = 11
_REFRESH_S = 0.1
_MOST_ROWS = 14
_OTHER_LINES = 9  # of the live view, and room for the shell's prompt
_RATE_OVER_S = 2.0
_NAME = "disposition-listener"

AgentsOption = Annotated[int, typer.Option(min=1, max=500, help="How many agents work.")]
EventsOption = Annotated[int, typer.Option(min=1, help="How many dispositions they set, correct and withdraw.")]
DirOption = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="Where the files go; a new temporary folder by default.")
]
PaceOption = Annotated[float, typer.Option(min=0.0, help="Seconds between two steps of their day, on average.")]


class Incomplete(ListenerError):
    """The demo has shown that something is not as promised."""


class View(Protocol):
    """How the demo is watched."""

    def take(self, events: Sequence[Event]) -> None:
        """Events that have become durable."""

    async def show(self) -> None:
        """Draw until cancelled."""


def demo(
    agents: AgentsOption = 3, events: EventsOption = 30, folder: DirOption = None, pace: PaceOption = 0.03
) -> None:
    """Show the listener at work.

    A simulated contact center, the listener and a file, in one process; needs no configuration.
    """
    home = _prepare(folder)
    # Stays open to the end of the process: the log outlives this function.
    logs.configure(level="info", style="json", stream=(home / LOG).open("a", encoding="utf-8"))
    show = _Demo(home=home, options=SimulatorOptions(agents=agents), day=WorkingDay(events=events, pace_s=pace))
    if not running.run(running.until_request(show.run())):
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in show.summary():
        print(line.plain) if not console.is_terminal else console.print(line)
    if not show.tally.good:
        raise Incomplete(f"demo: not everything is as promised, see above and {home / LOG}")


def _prepare(folder: Path | None) -> Path:
    """The folder for the demo's files. Raises StartError: it cannot be used, or an earlier demo has."""
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="disposition-demo-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StartError(f"--dir: cannot create {folder}: {exc.strerror}") from exc
    used = next((name for name in (AUDIT, JOURNAL, CONFIG) if (folder / name).exists()), None)
    if used is not None:
        raise StartError(f"--dir: {folder} holds {used} of an earlier run, name another folder")
    return folder.absolute()


class _Demo:
    """One run: the parts, the play, the comparison."""

    def __init__(self, *, home: Path, options: SimulatorOptions, day: WorkingDay) -> None:
        self._home = home
        self._options = options
        self._day = day
        self._board = Board()
        self._view: View = PlainView(board=self._board)
        console = Console()
        if console.is_terminal:
            title = f"{options.agents} agents on a simulated server, one listener"
            self._view = LiveView(board=self._board, console=console, wanted=day.events, title=title)
        self._played_s = 0.0
        self._played: Summary
        self.tally: Tally

    async def run(self) -> None:
        """Raises ListenerError if the listener cannot start, or stops unexpectedly."""
        async with Simulator(self._options) as sim:
            config = self._home / CONFIG
            config.write_text(_config(sim.url, self._options), encoding="utf-8")
            daemon = Daemon(load_checked(config, environ={}), on_record=self._view.take)
            try:
                async with asyncio.TaskGroup() as tasks:
                    listening = tasks.create_task(daemon.run(), name="daemon")
                    watching = tasks.create_task(self._view.show(), name="view")
                    await self._act(sim, daemon)
                    await listening
                    watching.cancel()
            except ExceptionGroup as group:
                raise group.exceptions[0] from group
            lines = (self._home / AUDIT).read_bytes().splitlines()
            self.tally = compare(sim.ledger, [parse(line) for line in lines])

    async def _act(self, sim: Simulator, daemon: Daemon) -> None:
        """Wait for the listener, play, wait until everything has arrived, and stop the listener."""
        await _within(_START_S, lambda: all(map(sim.subscribed, sim.center.agents)) and not daemon.not_ready())
        started = time.monotonic()
        rng = random.Random(_SEED)  # noqa: S311 - dice of a play, nothing secret
        self._played = await play(sim, events=self._day.events, pace=self._day.pace_s, rng=rng)
        self._played_s = time.monotonic() - started
        with suppress(TimeoutError):  # the comparison will tell what is missing
            await asyncio.wait_for(self._board.heard(expected(sim.ledger)), _SETTLE_S)
        daemon.stop()

    def summary(self) -> Iterator[Text]:
        """What was played, what arrived, and where it is."""
        return summarise(
            day=self._played,
            played_s=self._played_s,
            counts=self._board.counts,
            tally=self.tally,
            latency=self._board.latency(),
            audit=self._home / AUDIT,
            config=self._home / CONFIG,
        )


async def _within(limit_s: float, ready: Callable[[], bool]) -> None:
    """Raises StartError when the listener is not ready in time."""
    deadline = time.monotonic() + limit_s
    while not ready():
        if time.monotonic() > deadline:
            raise StartError(f"demo: the listener was not ready within {limit_s:.0f} s")
        await asyncio.sleep(0.01)


def _config(url: str, options: SimulatorOptions) -> str:
    """The configuration that a user would write; `journal` and `tail` accept it afterwards."""
    accounts = [
        f'[[accounts]]\nusername = "agent{number}"\npassword = "{options.password}"\n'
        for number in range(1, options.agents + 1)
    ]
    return "\n".join(
        (
            "# Written by `disposition-listener demo`. The simulated server ended with it.",
            f'[server]\nurl = "{url}"\n',
            *accounts,
            f'[journal]\npath = "{JOURNAL}"\n',
            f'[sinks.audit]\ntype = "file"\npath = "{AUDIT}"\n',
        )
    )


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


def summarise(
    *, day: Summary, played_s: float, counts: Counter[str], tally: Tally, latency: str, audit: Path, config: Path
) -> Iterator[Text]:
    """Line by line: what was played, what arrived, and where it is now."""
    yield Text(f"\n{day.chats} chats, {day.conferences} of them with two agents, in {played_s:.1f} s\n", style="bold")
    for change, published in (("set", day.set), ("changed", day.changed), ("cleared", day.cleared)):
        yield _counted(change, counts[change], published)
    repeated = tally.published - day.changes
    yield _counted("unchanged", counts["unchanged"], repeated, "repeated by the server, or heard by a second agent too")
    if (counts["set"], counts["changed"], counts["cleared"]) != (day.set, day.changed, day.cleared):
        yield Text("  (two changes in one millisecond cannot be told from the echoes of a second agent)", style="dim")
    yield Text()
    yield from _faults(tally)
    yield Text(f"  {'rate':<12}{tally.events / played_s:.1f} events a second, at this pace")
    yield Text(f"  {'latency':<12}{latency}, from the server's stamp to the disk\n")
    if tally.good:
        yield Text("Everything that was published is on the disk, once and in order.\n", style="green")
    else:
        yield Text("Something is wrong.\n", style="bold red")
    yield Text(f"The events, one JSON object a line, are in\n  {audit}\nTo read them:")
    yield Text(f"  {_program()} tail {shlex.quote(str(audit))}")
    yield Text(f"  {_program()} journal stats --config {shlex.quote(str(config))}")


def _program() -> str:
    """What a shell knows this command by: its name, or the file that was called where no folder of PATH holds it."""
    called = sys.argv[0]
    return shlex.quote(called) if Path(called).name == _NAME and shutil.which(_NAME) is None else _NAME


def _counted(change: str, heard: int, published: int, note: str = "") -> Text:
    figures = f"{heard:>5} of {published:<5} {note}".rstrip()
    return Text.assemble("  ", (f"{change:<10}", STYLES[change]), figures)


def _faults(tally: Tally) -> Iterator[Text]:
    """Faults, of which a good run has none; the last two are shown only if there are any."""
    told = (
        ("missing", tally.missing, "published, and not in the file"),
        ("duplicates", tally.duplicates, "in the file more than once"),
        ("gaps", tally.gaps, "periods in which a disposition could have been missed"),
    )
    if_any = (
        ("unexpected", tally.unexpected, "in the file, and never published"),
        ("misordered", tally.out_of_order, "chats whose events are out of order"),
    )
    for name, count, note in (*told, *(fault for fault in if_any if fault[1])):
        yield Text(f"  {name:<10}{count:>5}          {note}", style="bold red" if count else "")
