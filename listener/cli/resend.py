"""`resend`: deliver again what a sink got."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from listener.cli import control
from listener.cli.options import ConfigOption, PathOption, place_of, sink_names, time_ms
from listener.cli.shared import Shared
from listener.daemon.control import Resend, ResendEvents
from listener.daemon.resending import require_possible
from listener.errors import NoDaemon
from listener.model.event import rfc3339
from listener.sinks import registry

SinkOption = Annotated[str, typer.Option("--sink", metavar="NAME", help="The sink.", autocompletion=sink_names)]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="What was recorded since: 2026-11-22T09:39:00Z, or 2h, 3d ago."),
]
ToOption = Annotated[str | None, typer.Option("--to", metavar="TIME", help="And until: as --from, or now.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show how many events that would be.")]
CancelOption = Annotated[bool, typer.Option("--cancel", help="Deliver nothing again any more, instead.")]


def resend(
    sink: SinkOption,
    config: ConfigOption = None,
    path: PathOption = None,
    since: FromOption = None,
    until: ToOption = None,
    dry_run: DryRunOption = False,
    cancel: CancelOption = False,
) -> None:
    """Deliver again what a sink got, with the same ids and sequences, in the order of the journal.

    New events do not wait for it. What the sink's settings leave out is left out again, and so are its dead letters,
    which `dead-letters replay` delivers. `sinks list` shows how many are left; a restart goes on with them.

    Examples:
        disposition-listener resend --sink crm --from 3h --to 1h --dry-run
        disposition-listener resend --sink crm --from 3h --to 1h
        disposition-listener resend --sink crm --cancel
    """
    place = place_of(config, path)
    if cancel:
        if since or until or dry_run:
            raise typer.BadParameter("--cancel goes with --sink alone")
        left = control.cancel_resend(place.journal, sink).left
        print(
            f"{_events(left)} less to be delivered to {sink} again" if left else f"nothing was being resent to {sink}"
        )
        return
    now = datetime.now(UTC)
    from_ms, to_ms = time_ms(since, "--from", now), time_ms(until, "--to", now)
    if from_ms is None or to_ms is None:
        raise typer.BadParameter("give --from and --to")
    if from_ms > to_ms:
        raise typer.BadParameter("--from is later than --to")
    kind = None if place.kinds is None else place.kinds.get(sink)
    if kind is not None:
        require_possible(sink, holds_once=registry.holds_once(sink, kind), left=0)
    elif place.kinds is None and not isinstance(place.journal, Shared) and control.lanes(place.journal) is None:
        raise NoDaemon("no daemon is running: give --config, which tells what kind of sink it is")
    done, by_daemon = control.resend(
        place.journal, ResendEvents(name=sink, from_ms=from_ms, to_ms=to_ms, dry_run=dry_run)
    )
    _tell(done, dry_run=dry_run, by_daemon=by_daemon)


def _tell(done: Resend, *, dry_run: bool, by_daemon: bool) -> None:
    if done.oldest_ms is not None:
        print(f"the journal has events since {rfc3339(done.oldest_ms)}: those before are deleted")
    if done.waiting:
        have = "has" if done.waiting == 1 else "have"
        print(f"{_events(done.waiting)} of that time {have} not come to {done.sink} yet, and will in their turn")
    if not done.events:
        print(f"{done.sink} got no events that were recorded then")
        return
    what = f"{_events(done.events)}, sequences {done.after + 1} to {done.through},"
    if dry_run:
        print(f"{what} would be delivered to {done.sink} again")
        return
    who = "" if by_daemon else ": no daemon is running, the next one delivers them"
    if done.ordered is not None:
        who = f" by replica {done.ordered}" if done.ordered else " as soon as a replica has it"
    print(f"{what} will be delivered to {done.sink} again{who}")


def _events(count: int) -> str:
    return f"{count} event{'' if count == 1 else 's'}"
