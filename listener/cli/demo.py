"""`demo`: a simulated contact center, the listener and a file sink in one process, over real loopback HTTP."""

import asyncio
import json
import shlex
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from listener.cli import running
from listener.cli.demo_board import Board, LiveView, PlainView, Tally, View, compare, expected, faults, until
from listener.cli.demo_replicas import ReplicasDemo
from listener.cli.readable import STYLES, parse
from listener.cli.simulate import MediaOption, media_of
from listener.daemon.assembly import load_checked
from listener.daemon.daemon import Daemon
from listener.errors import ListenerError, StartError
from listener.runtime import logs
from listener.simulator import Simulator, SimulatorOptions, Summary, WorkingDay, play

AUDIT, JOURNAL, LOG, CONFIG = "dispositions.jsonl", "journal.db", "listener.log", "listener.toml"
_START_S = 20.0
_SETTLE_S = 10.0
_SEED = 11

AgentsOption = Annotated[int, typer.Option(min=1, max=500, metavar="N", help="How many agents work.")]
EventsOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="How many dispositions they set, correct and withdraw.")
]
ReplicasOption = Annotated[
    int,
    typer.Option(
        min=1, max=9, metavar="N", help="How many processes share the work; several need PostgreSQL's programs."
    ),
]
DirOption = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="Where the files go; a new temporary folder by default.")
]
PaceOption = Annotated[
    float, typer.Option(min=0.0, metavar="SECONDS", help="Seconds between two steps of their day, on average.")
]


class Incomplete(ListenerError):
    """The demo has shown that something is not as promised."""


def demo(
    agents: AgentsOption = 3,
    events: EventsOption = 30,
    replicas: ReplicasOption = 1,
    folder: DirOption = None,
    pace: PaceOption = 0.03,
    media: MediaOption = "chat",
) -> None:
    """Show the listener at work.

    A simulated contact center, the listener and a file, in one process; needs no configuration. With --replicas several
    processes share the work and a PostgreSQL of the demo's own, and one of them is killed.

    Examples:
        disposition-listener demo
        disposition-listener demo --agents 20 --events 200 --dir trial

    Exit status:
        0: All is as promised, or it was stopped with Ctrl-C.
        1: It is not, or the demo could not be played.
        130: Not used: Ctrl-C ends it with 0.
    """
    wanted = media_of(media)
    home = _prepare(folder)
    # Stays open to the end of the process: the log outlives this function.
    logs.configure(level="info", style="json", stream=(home / LOG).open("a", encoding="utf-8"))
    options, day = (
        SimulatorOptions(agents=agents, ack=replicas > 1),
        WorkingDay(events=events, pace_s=pace, media=wanted),
    )
    show: _Demo | ReplicasDemo = _Demo(home=home, options=options, day=day)
    if replicas > 1:
        show = ReplicasDemo(home=home, count=replicas, options=options, day=day)
    if not running.run(running.until_request(show.run())):
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in show.summary():
        print(line.plain) if not console.is_terminal else console.print(line)
    if not show.good:
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
        self._tally: Tally

    @property
    def good(self) -> bool:
        """Everything is there, once, in order."""
        return self._tally.good

    async def run(self) -> None:
        """Raises ListenerError if the listener cannot start, or stops unexpectedly."""
        async with Simulator(self._options) as sim:
            config = self._home / CONFIG
            config.write_text(_config(sim.url, self._options, self._day.media), encoding="utf-8")
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
            self._tally = compare(sim.ledger, [parse(line) for line in lines])

    async def _act(self, sim: Simulator, daemon: Daemon) -> None:
        """Wait for the listener, play, wait until everything has arrived, and stop the listener."""

        def is_ready() -> bool:
            heard = all(sim.subscribed(agent, self._day.media) for agent in sim.center.agents)
            return heard and not daemon.not_ready()

        if not await until(is_ready, within_s=_START_S):
            raise StartError(f"demo: the listener was not ready within {_START_S:.0f} s")
        started = time.monotonic()
        day = self._day
        self._played = await play(sim, events=day.events, pace=day.pace_s, seed=_SEED, media=day.media)
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
            tally=self._tally,
            latency=self._board.latency(),
            audit=self._home / AUDIT,
            config=self._home / CONFIG,
        )


def _config(url: str, options: SimulatorOptions, media: Sequence[str]) -> str:
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
            f"[disposition]\nmedia = {json.dumps(media)}\n",
            f'[journal]\npath = "{JOURNAL}"\n',
            f'[sinks.audit]\ntype = "file"\npath = "{AUDIT}"\n',
        )
    )


def summarise(
    *, day: Summary, played_s: float, counts: Counter[str], tally: Tally, latency: str, audit: Path, config: Path
) -> Iterator[Text]:
    """Line by line: what was played, what arrived, and where it is now."""
    yield Text(f"\n{day.came}, {day.conferences} of them with two agents, in {played_s:.1f} s\n", style="bold")
    for change, published in (("set", day.set), ("changed", day.changed), ("cleared", day.cleared)):
        yield _counted(change, counts[change], published)
    repeated = tally.published - day.changes
    yield _counted("unchanged", counts["unchanged"], repeated, "repeated by the server, or heard by a second agent too")
    if (counts["set"], counts["changed"], counts["cleared"]) != (day.set, day.changed, day.cleared):
        yield Text("  (two changes in one millisecond cannot be told from the echoes of a second agent)", style="dim")
    if day.unheard:
        yield Text(f"  {day.unheard} codes of calls that were released: Web Services notifies nobody of these", "dim")
    yield Text()
    yield from faults(tally, place="file")
    yield Text(f"  {'rate':<12}{tally.events / played_s:.1f} events a second, at this pace")
    yield Text(f"  {'latency':<12}{latency}, from the server's stamp to the disk\n")
    if tally.good:
        yield Text("Everything that was published is on the disk, once and in order.\n", style="green")
    else:
        yield Text("Something is wrong.\n", style="bold red")
    yield Text(f"The events, one JSON object a line, are in\n  {audit}\nTo read them:")
    yield Text(f"  {running.program()} tail {shlex.quote(str(audit))}")
    yield Text(f"  {running.program()} journal stats --config {shlex.quote(str(config))}")


def _counted(change: str, heard: int, published: int, note: str = "") -> Text:
    figures = f"{heard:>5} of {published:<5} {note}".rstrip()
    return Text.assemble("  ", (f"{change:<10}", STYLES[change]), figures)
