"""`sinks list` and `sinks resume`: how far each sink has come, and resuming one that is parked or failing."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import typer
from msgspec.structs import replace

from listener.cli import control, shared
from listener.cli.looks import stats
from listener.cli.options import ConfigOption, PathOption, place_of, sink_names
from listener.cli.readable import NOTHING, sink_state, write_table
from listener.cli.shared import Shared
from listener.errors import NoDaemon
from listener.model.condition import SinkReport
from listener.model.event import JournalStats, LaneState, LaneStatus, rfc3339
from listener.model.holes import Holes, events_between

_HEADING = ("sink", "kind", "at", "to go", "dead", "state")
_NUMBERS = ("at", "to go", "dead")

NameArgument = Annotated[str | None, typer.Argument(metavar="NAME", help="The sink.", autocompletion=sink_names)]
AllOption = Annotated[bool, typer.Option("--all", help="All sinks that are parked, paused or failing.")]
SinksJsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per sink and line; needs the daemon.")]


def list_sinks(config: ConfigOption = None, path: PathOption = None, as_json: SinksJsonOption = False) -> None:
    """Show how far each sink has come, and the command that helps.

    Examples:
        disposition-listener sinks list --config listener.toml
    """
    place = place_of(config, path)
    found = stats(place.journal)
    if isinstance(place.journal, Shared):
        _list_shared(place.journal, place.kinds or {}, found, as_json=as_json)
        return
    lanes = control.lanes(place.journal)
    if as_json:
        if lanes is None:
            raise NoDaemon("--json: no daemon is running; `journal stats --json` shows what the last one left")
        for lane in lanes:
            print(msgspec.json.encode(SinkReport.of(lane, found.dead_letters.get(lane.sink, 0))).decode())
        return
    rows = _stored(found, place.kinds or {}) if lanes is None else _running(lanes, found)
    write_table(_HEADING, list(rows), numbers=_NUMBERS)
    _help(lanes or (), found)
    if lanes is None:
        print("no daemon is running; this is how the last one left them")


def _help(lanes: Sequence[LaneStatus], found: JournalStats) -> None:
    """For each sink that is not well the command that helps, or shows more."""
    halted = {sink for sink, state in found.lanes.items() if state.parked is not None}
    halted |= {lane.sink for lane in lanes if lane.parked is not None or lane.quiet_s}
    failing = {lane.sink for lane in lanes if lane.last_error is not None} - halted
    dead = {sink for sink, letters in found.dead_letters.items() if letters} - halted - failing
    if commands := {
        **{sink: f"sinks resume {sink}" for sink in halted},
        **{sink: f"sinks test {sink}" for sink in failing},
        **{sink: f"dead-letters list --sink {sink}" for sink in dead},
    }:
        print("\nwhat helps:")
    for sink in sorted(commands):
        print(f"  disposition-listener {commands[sink]}")


def _list_shared(journal: Shared, kinds: Mapping[str, str], found: JournalStats, *, as_json: bool) -> None:
    """Also the sinks that no replica has, and who has the others."""
    lanes = shared.owned_lanes(journal)
    if as_json:
        for sink, (owner, lane) in lanes.items():
            if lane is not None:
                report = SinkReport.of(lane, found.dead_letters.get(sink, 0))
                print(msgspec.json.encode(replace(report, replica=owner)).decode())
        return
    told = {lane.sink: lane for _, lane in lanes.values() if lane is not None}
    rows = {row[0]: row for row in (*_stored(found, kinds), *_running(list(told.values()), found))}
    owners = {sink: owner or NOTHING for sink, (owner, _) in lanes.items()}
    heading = (*_HEADING[:-1], "replica", _HEADING[-1])
    by_name = [rows[sink] for sink in sorted(rows)]
    write_table(heading, [(*row[:-1], owners.get(row[0], NOTHING), row[-1]) for row in by_name], numbers=_NUMBERS)
    _help(list(told.values()), found)


def _running(lanes: list[LaneStatus], found: JournalStats) -> Iterator[tuple[str, ...]]:
    for lane in lanes:
        dead = found.dead_letters.get(lane.sink, 0)
        state = _state(lane, found.lanes.get(lane.sink))
        yield lane.sink, lane.kind, str(lane.cursor), str(lane.lag), str(dead), state


def _state(lane: LaneStatus, stored: LaneState | None) -> str:
    if lane.parked is not None:
        since = f" since {rfc3339(stored.parked_ms)}" if stored is not None and stored.parked is not None else ""
        return f"parked{since}: {lane.parked}"
    return sink_state(SinkReport.of(lane, None))


def _stored(found: JournalStats, kinds: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """The sinks that the journal or the configuration knows."""
    for sink in sorted({*found.cursors, *found.lanes, *kinds}):
        cursor = found.cursors.get(sink, 0)
        dead = found.dead_letters.get(sink, 0)
        state, lag = found.lanes.get(sink), events_between(cursor, found.last_sequence, found.holes)
        yield sink, kinds.get(sink, NOTHING), str(cursor), str(lag), str(dead), _left(state, cursor, found.holes)


def _left(state: LaneState | None, cursor: int, holes: Holes) -> str:
    """What held a sink up when its daemon ended."""
    if state is not None and state.parked is not None:
        return f"parked since {rfc3339(state.parked_ms)}: {state.parked}"
    if state is not None and state.sequence > cursor:
        return f"failing: {state.last_error}"
    left = 0 if state is None else events_between(state.resend_after, state.resend_through, holes)
    return f"{left} to be delivered again" if left else NOTHING


def resume_sink(
    name: NameArgument = None, config: ConfigOption = None, path: PathOption = None, every: AllOption = False
) -> None:
    """Resume a sink that is parked, once the cause is fixed.

    Or one that pauses at its destination's request. One that is failing makes its next attempt at once.

    Examples:
        disposition-listener sinks resume crm --config listener.toml
        disposition-listener sinks resume --all
    """
    if (name is None) != every:
        raise typer.BadParameter("give either NAME or --all")
    done, by_daemon = control.resume(place_of(config, path).journal, name)
    for sink in done.resumed:
        print(f"{sink} resumed" if by_daemon else f"{sink} will resume when the daemon runs")
    for sink in done.trying:
        print(f"{sink} tries again at once")
    if name is not None:
        for sink in done.running:
            print(f"{sink} was not parked")
    elif not done.resumed and not done.trying:
        print("no sink was parked")


COMMANDS: dict[str, Callable[..., Any]] = {"list": list_sinks, "resume": resume_sink}
