"""`lane`: where the lanes to the sinks stand, and letting those go on that wait for a person."""

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
import typer

from listener.cli import control
from listener.cli.options import ConfigOption, PathOption, place_of
from listener.cli.readable import NOTHING, write_table
from listener.errors import NoDaemon
from listener.journal.views import stats
from listener.model.event import JournalStats, LaneState, LaneStatus, rfc3339

_HEADING = ("sink", "kind", "at", "to go", "dead", "state")
_NUMBERS = ("at", "to go", "dead")

NameArgument = Annotated[str | None, typer.Argument(metavar="NAME", help="The sink.")]
AllOption = Annotated[bool, typer.Option("--all", help="Every lane that stands still.")]
LanesJsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a lane and line; needs the daemon.")]


def list_lanes(config: ConfigOption = None, path: PathOption = None, as_json: LanesJsonOption = False) -> None:
    """Show how far each sink has come, and what is in its way."""
    place = place_of(config, path)
    found = stats(place.journal)
    lanes = control.lanes(place.journal)
    if as_json:
        if lanes is None:
            raise NoDaemon("--json: no daemon runs; `journal stats --json` has what the last one left")
        for lane in lanes:
            print(msgspec.json.encode(lane).decode())
        return
    rows = _stored(found, place.kinds or {}) if lanes is None else _running(lanes, found)
    write_table(_HEADING, list(rows), numbers=_NUMBERS)
    if lanes is None:
        print("no daemon runs; this is how the last one left them")


def _running(lanes: list[LaneStatus], found: JournalStats) -> Iterator[tuple[str, ...]]:
    for lane in lanes:
        dead = found.dead_letters.get(lane.sink, 0)
        state = _state(lane, found.lanes.get(lane.sink))
        yield lane.sink, lane.kind, str(lane.cursor), str(lane.lag), str(dead), state


def _state(lane: LaneStatus, stored: LaneState | None) -> str:
    if lane.parked is not None:
        since = f" since {rfc3339(stored.parked_ms)}" if stored is not None and stored.parked is not None else ""
        return f"parked{since}: {lane.parked}"
    if lane.quiet_s:
        return f"told to wait for {lane.quiet_s:.0f} s more: {lane.last_error}"
    return f"failing: {lane.last_error}" if lane.last_error is not None else "running"


def _stored(found: JournalStats, kinds: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """The sinks that the journal or the configuration knows."""
    for sink in sorted({*found.cursors, *found.lanes, *kinds}):
        cursor = found.cursors.get(sink, 0)
        dead = found.dead_letters.get(sink, 0)
        state = _left(found.lanes.get(sink), cursor)
        yield sink, kinds.get(sink, NOTHING), str(cursor), str(found.last_sequence - cursor), str(dead), state


def _left(state: LaneState | None, cursor: int) -> str:
    """What was in a lane's way when its daemon ended."""
    if state is not None and state.parked is not None:
        return f"parked since {rfc3339(state.parked_ms)}: {state.parked}"
    if state is not None and state.sequence > cursor:
        return f"failing: {state.last_error}"
    return NOTHING


def resume_lane(
    name: NameArgument = None, config: ConfigOption = None, path: PathOption = None, every: AllOption = False
) -> None:
    """Let a lane go on that is parked or was told to wait, once what was wrong is mended."""
    if (name is None) != every:
        raise typer.BadParameter("give either NAME or --all")
    done, by_daemon = control.resume(place_of(config, path).journal, name)
    for sink in done.resumed:
        print(f"{sink} goes on" + ("" if by_daemon else " when the daemon runs"))
    if name is not None:
        for sink in done.running:
            print(f"{sink} was not parked")
    elif not done.resumed:
        print("no lane was parked")


COMMANDS: dict[str, Callable[..., Any]] = {"list": list_lanes, "resume": resume_lane}
