"""`journal`: statistics, events, verification and export. Only reads, also while the daemon runs."""

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from listener.cli import shared
from listener.cli.looks import Journal, export, show, stats, verify
from listener.cli.options import ChatOption, ConfigOption, JsonOption, PathOption, nameable, place_of, replacing
from listener.cli.readable import Writer, duration, parse, row_of
from listener.cli.shared import Shared
from listener.errors import ListenerError
from listener.model.escaping import printable
from listener.model.event import Event, JournalStats, LaneState, rfc3339
from listener.model.holes import events_between

_PAGE = 1000

AfterOption = Annotated[
    int | None, typer.Option("--after", min=0, metavar="SEQUENCE", help="The first events after this one.")
]
LinesOption = Annotated[int, typer.Option("-n", "--lines", min=1, metavar="N", help="At most this many events.")]
OutputOption = Annotated[
    Path | None,
    typer.Option("--output", metavar="FILE", callback=nameable, help="The file to write; it appears when complete."),
]
StatsJsonOption = Annotated[bool, typer.Option("--json", help="As one JSON object.")]


class Damaged(ListenerError):
    """The journal is damaged."""


def journal_stats(config: ConfigOption = None, path: PathOption = None, as_json: StatsJsonOption = False) -> None:
    """Show how much the journal holds and how far each sink has come.

    Examples:
        disposition-listener journal stats --config listener.toml
        disposition-listener journal stats --path journal.db --json
    """
    found = stats(place_of(config, path).journal)
    if as_json:
        print(json.dumps(_as_json(found)))
        return
    for name, text in _figures(found):
        print(f"{name:<13} {printable(text)}")


def _as_json(found: JournalStats) -> dict[str, Any]:
    """Named as in `/status.json`."""
    return {
        "events": found.events,
        "firstSequence": found.first_sequence,
        "lastSequence": found.last_sequence,
        "oldestAt": None if found.oldest_ms is None else rfc3339(found.oldest_ms),
        "bytes": found.bytes,
        "sinks": [_sink_as_json(sink, found) for sink in sorted({*found.cursors, *found.lanes, *found.dead_letters})],
        "damages": [
            {
                "at": rfc3339(damage.at_ms),
                "setAside": damage.set_aside,
                "kept": damage.kept,
                "missing": [{"from": rfc3339(start), "to": rfc3339(end)} for start, end in damage.stretches],
            }
            for damage in found.damages
        ],
    }


def _sink_as_json(sink: str, found: JournalStats) -> dict[str, Any]:
    cursor, state = found.cursors.get(sink, 0), found.lanes.get(sink, LaneState(sink=sink))
    return {
        "sink": sink,
        "cursor": cursor,
        "lagEvents": events_between(cursor, found.last_sequence, found.holes),
        "deadLetters": found.dead_letters.get(sink, 0),
        "parked": state.parked,
        "parkedAt": None if state.parked is None else rfc3339(state.parked_ms),
        "disabled": state.disabled,
        "attempts": state.attempts,
        "failingSeconds": state.failing_ms / 1000,
        "lastError": state.last_error,
    }


def _figures(found: JournalStats) -> Iterator[tuple[str, str]]:
    span = f", {found.first_sequence} to {found.last_sequence}" if found.events else ""
    yield "events", f"{found.events}{span}"
    yield "last sequence", str(found.last_sequence)
    yield "oldest", "no event stored" if found.oldest_ms is None else rfc3339(found.oldest_ms)
    yield "size", f"{found.bytes / 2**20:.1f} MiB"
    for sink in sorted({*found.cursors, *found.lanes}):
        yield from _sink(sink, found)
    for damage in found.damages:
        what, aside = ("damaged", f", set aside as {damage.set_aside}") if damage.set_aside else ("lost", "")
        yield what, f"{rfc3339(damage.at_ms)}, {damage.kept} events kept{aside}"
        for from_ms, to_ms in damage.stretches:
            yield "", f"events received from {rfc3339(from_ms)} to {rfc3339(to_ms)} are missing"


def _sink(sink: str, found: JournalStats) -> Iterator[tuple[str, str]]:
    """How far a sink has come; further lines say what holds it up."""
    cursor, dead = found.cursors.get(sink, 0), found.dead_letters.get(sink, 0)
    lag = events_between(cursor, found.last_sequence, found.holes)
    yield f"sink {sink}", f"at {cursor}, {lag} to go" + (f", {dead} dead" if dead else "")
    state = found.lanes.get(sink)
    if state is not None and state.parked is not None:
        yield "", f"parked since {rfc3339(state.parked_ms)}: {state.parked}"
    elif state is not None and state.sequence > cursor:
        tried = f"{state.attempts} attempt{'' if state.attempts == 1 else 's'} in {duration(state.failing_ms)}"
        yield "", f"failing at {state.sequence}; when that was last stored, {tried}: {state.last_error}"


def journal_show(
    config: ConfigOption = None,
    path: PathOption = None,
    after: AfterOption = None,
    chat: ChatOption = None,
    lines: LinesOption = 20,
    as_json: JsonOption = False,
) -> None:
    """Show the newest events, or with --after the next ones.

    Examples:
        disposition-listener journal show --config listener.toml -n 50
        disposition-listener journal show --path journal.db --after 1000 --json
    """
    journal = place_of(config, path).journal
    events = _newest(journal, chat, lines) if after is None else show(journal, after=after, chat=chat, limit=lines)
    if as_json:
        _write_bytes(event.to_json() + b"\n" for event in events)
    else:
        Writer().write_all(row_of(parse(event.to_json())) for event in events)


def _newest(journal: Journal, chat: str | None, count: int) -> list[Event]:
    """The last `count` events. Those of one chat can be anywhere in a file, so every page is read."""
    if isinstance(journal, Shared):
        return shared.newest(journal, chat, count)
    if chat is None:
        last = stats(journal).last_sequence
        return show(journal, after=max(0, last - count), limit=count)
    newest: deque[Event] = deque(maxlen=count)
    after = 0
    while page := show(journal, after=after, chat=chat, limit=_PAGE):
        newest.extend(page)
        after = page[-1].sequence
    return list(newest)


def journal_verify(config: ConfigOption = None, path: PathOption = None) -> None:
    """Verify that the journal is sound, and print one line per fault.

    Examples:
        disposition-listener journal verify --config listener.toml

    Exit status:
        0: It is sound.
        1: It is not, or it cannot be read.
    """
    journal = place_of(config, path).journal
    faults = verify(journal)
    for fault in faults:
        print(fault)
    if faults:
        raise Damaged(f"journal {journal}: {len(faults)} faults")
    found = stats(journal)
    print(f"ok: {found.events} events, last sequence {found.last_sequence}")


def journal_export(config: ConfigOption = None, path: PathOption = None, output: OutputOption = None) -> None:
    """Write every event as a line of CloudEvents JSON, oldest first.

    Of a damaged journal it writes every event that can be read.

    Examples:
        disposition-listener journal export --config listener.toml | gzip > all.gz
        disposition-listener journal export --path journal.db --output all.jsonl

    Exit status:
        1: The journal is damaged; what can be read was written.
    """
    journal = place_of(config, path).journal
    damage: list[str] = []
    events = export(journal, on_damage=damage.append)
    if output is None:
        _write_bytes(events)
    else:
        with replacing(output, "--output", mode=0o666) as file:
            file.buffer.writelines(events)
    if damage:
        raise Damaged(f"{damage[0]}; every readable event was written")


def _write_bytes(lines: Iterator[bytes]) -> None:
    sys.stdout.buffer.writelines(lines)
    sys.stdout.buffer.flush()


COMMANDS: dict[str, Callable[..., Any]] = {
    "stats": journal_stats,
    "show": journal_show,
    "verify": journal_verify,
    "export": journal_export,
}
