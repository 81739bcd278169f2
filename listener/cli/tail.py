"""`tail`: the audit file, readable."""

import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from listener.audit.reading import Follower, end_of_lines, lines_backwards
from listener.cli.options import ChatOption, ConfigOption, JsonOption, naming_instead
from listener.cli.readable import Line, Writer, parse, row_of
from listener.config.loading import load, parts_of
from listener.errors import ConfigError, Problem, StartError
from listener.runtime.owned import open_to_read

_LOOK_EVERY_S = 0.2
_SHOWN_BYTES = 60

FileArgument = Annotated[Path | None, typer.Argument(metavar="FILE", help="A file that a sink of type file writes.")]
FollowOption = Annotated[
    bool, typer.Option("-f", "--follow", help="Follow added lines across rotation and truncation, until Ctrl-C.")
]
ChangesOption = Annotated[bool, typer.Option("--changes", help="Omit notifications that repeat the known value.")]
LinesOption = Annotated[
    int, typer.Option("-n", "--lines", min=0, metavar="N", help="How many of the last events to show first.")
]


def tail(
    file: FileArgument = None,
    config: ConfigOption = None,
    follow: FollowOption = False,
    chat: ChatOption = None,
    changes: ChangesOption = False,
    as_json: JsonOption = False,
    lines: LinesOption = 10,
) -> None:
    """Show the events of an audit file.

    FILE, or the file of the first sink of type file in --config.

    Examples:
        disposition-listener tail --config listener.toml -f
        # The changes of one chat, for a program:
        disposition-listener tail dispositions.jsonl --chat 00T1 --changes --json

    Exit status:
        0: Done, or ended with Ctrl-C.
        130: Not used: Ctrl-C ends it with 0.
    """
    if (file is None) == (config is None):
        raise typer.BadParameter("give either FILE or --config")
    path = file if file is not None else _path_of_sink(config)
    reader = _Reader(path=path, chat=chat, changes=changes, as_json=as_json)
    try:
        reader.show(lines, follow=follow)
    except KeyboardInterrupt:
        return  # the way to end it
    except OSError as exc:
        if isinstance(exc, BrokenPipeError):
            raise
        raise StartError(f"{path}: {exc.strerror}") from exc


def _path_of_sink(config: Path | None) -> Path:
    with naming_instead(config, "tail FILE, which names the audit file"):
        parts = parts_of(config, find_files=False)
        paths = {name: lane.options.get("path") for name, lane in parts.sinks.items() if lane.type == "file"}
        name, path = next(iter(paths.items()), ("", None))
        if not isinstance(path, str) or "${" in path:
            load(config)  # tells what is wrong
    if not paths:
        raise ConfigError([Problem("sinks", "there is no sink of type file")])
    if not isinstance(path, str):
        raise ConfigError([Problem(f"sinks.{name}.path", "should be a text in quotes")])
    return parts.base / path


class _Reader:
    """Selects events of a file and prints them."""

    def __init__(self, *, path: Path, chat: str | None, changes: bool, as_json: bool) -> None:
        self._path = path
        self._chat = chat
        self._changes = changes
        self._as_json = as_json
        self._writer = Writer()

    def show(self, count: int, *, follow: bool) -> None:
        """The last `count` events, then those that come. Raises OSError."""
        offset = None
        if not follow or self._path.exists():
            offset = self._last(count)
        else:
            _say(f"waiting for {self._path}")
        if follow:
            self._follow(offset)

    def _last(self, count: int) -> int:
        """Write the last `count` wanted lines; returns the offset behind them."""
        with open_to_read(self._path) as file:
            fd = file.fileno()
            offset = end_of_lines(fd)
            last = list(islice(self._wanted(line[:-1] for _, line in lines_backwards(fd)), count))
        for line, event in reversed(last):
            self._write(line, event)
        return offset

    def _follow(self, offset: int | None) -> None:
        follower = Follower(path=self._path, wait=lambda: time.sleep(_LOOK_EVERY_S), notice=_say)
        try:
            for line, event in self._wanted(follower.lines(offset)):
                self._write(line, event)
        finally:
            follower.close()

    def _wanted(self, lines: Iterator[bytes]) -> Iterator[tuple[bytes, Line]]:
        for line in lines:
            if not line.strip():
                continue
            try:
                event = parse(line)
            except ValueError as exc:
                _say(f"skipped a line that is not an event ({exc}): {line[:_SHOWN_BYTES]!r}")
                continue
            other_chat = self._chat is not None and event.subject != self._chat
            if not other_chat and not (self._changes and event.change == "unchanged"):
                yield line, event

    def _write(self, line: bytes, event: Line) -> None:
        if self._as_json:
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()
        else:
            self._writer.write(row_of(event))


def _say(text: str) -> None:
    print(f"tail: {text}", file=sys.stderr, flush=True)
