"""`status`: what is well and what is not, once or as a view that follows."""

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from listener.cli.options import ConfigOption, PathOption, Place, place_of
from listener.cli.shared import Shared
from listener.cli.standing import lines
from listener.config.loading import default_file
from listener.daemon import at_rest
from listener.daemon.control import Summarize, ask_twice
from listener.errors import ListenerError, NoDaemon
from listener.model.alike import alike
from listener.web.summary import Summary

_EVERY_S = 1.0
_NOT_WELL = 1
_NO_DAEMON = 69  # EX_UNAVAILABLE of sysexits.h

WatchOption = Annotated[bool, typer.Option("--watch", "-w", help="Follow it; q ends that.")]
StatusJsonOption = Annotated[bool, typer.Option("--json", help="One JSON object, as GET /summary.json answers.")]


def status(
    config: ConfigOption = None, path: PathOption = None, watch: WatchOption = False, as_json: StatusJsonOption = False
) -> None:
    """Show what is well and what is not: since when, and the command that helps.

    It asks the running daemon; HTTP is not needed. Without a daemon it shows how the last one left its journal. With
    --watch it draws anew every second on a terminal; elsewhere it prints again whenever something has changed.

    Examples:
        disposition-listener status
        disposition-listener status --watch
        # For a script: is anything wrong, and what?
        disposition-listener status --json | jq -r '.health[].what'

    Exit status:
        0: All is well; or --watch was ended with q.
        1: Something is not well, or it could not be found out.
        69: No daemon is running.
    """
    place = place_of(config, path)
    given = None if path is not None or config == default_file(os.environ) else config

    def look() -> tuple[Summary, bool]:
        return summary_of(place)

    if watch:
        follow(look, given, as_json=as_json)
        return
    summary, is_running = look()
    if as_json:
        print(msgspec.json.encode(summary).decode())
    else:
        console = Console(highlight=False, soft_wrap=True)
        for line in lines(summary, is_running=is_running, config=given):
            show(console, line)
    if not is_running:
        raise typer.Exit(_NO_DAEMON)
    if summary.health:
        raise typer.Exit(_NOT_WELL)


def summary_of(place: Place) -> tuple[Summary, bool]:
    """What is well and what is not, and whether a daemon runs; without one, what it has left.

    Raises ControlError if a daemon does not answer, JournalError if there is no journal.
    """
    journal, kinds = place.journal, place.kinds or {}
    if isinstance(journal, Shared):
        return journal.ask(lambda database: at_rest.of_database(database, kinds))
    try:
        return ask_twice(journal, Summarize(), Summary), True
    except NoDaemon:
        return at_rest.of_file(journal, kinds, place.accounts), False


def show(console: Console, line: Text) -> None:
    """One line: in colour on a terminal, where it is wrapped; as it is elsewhere."""
    if console.is_terminal and not console.is_dumb_terminal:
        console.print(line, soft_wrap=False)
    else:
        print(line.plain, flush=True)


def follow(look: Callable[[], tuple[Summary, bool]], config: Path | None, *, as_json: bool) -> None:
    """Show it until q or Ctrl-C: drawn in place on a terminal, elsewhere a block whenever something has changed."""
    console = Console(highlight=False)
    if as_json or not console.is_terminal or console.is_dumb_terminal:
        _print_changes(look, config, as_json=as_json)
    else:
        _draw(look, config, console)


def _print_changes(look: Callable[[], tuple[Summary, bool]], config: Path | None, *, as_json: bool) -> None:
    before: Hashable = None
    while True:
        try:
            summary, is_running = look()
        except ListenerError as exc:
            now: Hashable = str(exc)
            block = [f"error: {exc}"]
        else:
            now = is_running, what_matters(summary)
            block = [msgspec.json.encode(summary).decode()]
            if not as_json:
                told = lines(summary, is_running=is_running, config=config)
                block = [summary.at, *(line.plain for line in told), ""]
        if now != before:
            print("\n".join(block), file=sys.stderr if block[0].startswith("error") else None, flush=True)
        before = now
        time.sleep(_EVERY_S)


def what_matters(summary: Summary) -> Hashable:
    """What a reader of blocks wants to hear of: not that a figure has moved."""
    return (
        tuple((one.kind, alike(one.what)) for one in summary.health),
        (summary.accounts.total, summary.accounts.subscribed),
        tuple((one.sink, one.replica, one.parked, one.last_error and alike(one.last_error)) for one in summary.sinks),
        summary.open_gaps.count,
        summary.gaps.count,
    )


def _draw(look: Callable[[], tuple[Summary, bool]], config: Path | None, console: Console) -> None:
    with ExitStack() as stack:
        wait = stack.enter_context(_keys())
        live = stack.enter_context(Live(console=console, screen=True, auto_refresh=False, vertical_overflow="ellipsis"))
        key = ""
        while key not in ("q", "Q"):
            try:
                summary, is_running = look()
            except ListenerError as exc:
                drawn = [Text(f"error: {exc}", "red")]
            else:
                drawn = list(lines(summary, is_running=is_running, config=config, width=console.width))
            live.update(_screen(drawn, console), refresh=True)
            key = wait(_EVERY_S)


def _screen(drawn: list[Text], console: Console) -> Text:
    """What fits, and how it is ended."""
    width, height = console.size
    wrapped = [part for line in drawn for part in (line.wrap(console, width) if line else [Text()])]
    room = max(1, height - 2)
    if len(wrapped) > room:
        wrapped = [*wrapped[: room - 1], Text(f"… {len(wrapped) - room + 1} more lines", "dim")]
    padding = [Text()] * (room - len(wrapped))
    return Text("\n").join([*wrapped, *padding, Text("q quits", "dim")])


@contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A function that waits so many seconds, or until a key is pressed or the window gets another size.

    It returns the key; the window's size is read when it is drawn anew.
    """
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    keyboard = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = None if keyboard is None else termios.tcgetattr(keyboard)
    old_handler = signal.signal(signal.SIGWINCH, lambda *_: None)
    old_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    if keyboard is not None:
        tty.setcbreak(keyboard)
    watched = [reading] if keyboard is None else [reading, keyboard]

    def wait(seconds: float) -> str:
        ready, _, _ = select.select(watched, [], [], seconds)
        if reading in ready:
            with suppress(BlockingIOError):
                os.read(reading, 4096)
        return os.read(keyboard, 1).decode(errors="replace") if keyboard in ready and keyboard is not None else ""

    try:
        yield wait
    finally:
        signal.set_wakeup_fd(old_fd)
        signal.signal(signal.SIGWINCH, old_handler)
        if keyboard is not None and before is not None:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        os.close(reading)
        os.close(writing)
