"""`replicas`: who shares the journal, and letting one have nothing more."""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import typer

from listener.cli.options import ConfigOption, place_of
from listener.cli.readable import NOTHING, duration, write_table
from listener.cli.shared import Shared
from listener.daemon.replicas import status_of
from listener.errors import ConfigError, ControlError, Problem
from listener.web.status import ReplicaStatus

_HEADING = ("replica", "state", "last beat", "accounts", "sinks", "retention", "since", "version", "problems")
_NUMBERS = ("accounts", "sinks")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The replica.")]
ReplicasJsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per replica and line.")]


def list_replicas(config: ConfigOption = None, as_json: ReplicasJsonOption = False) -> None:
    """Show the replicas that share the journal, and what each has.

    Examples:
        disposition-listener replicas list --config listener.toml
    """
    place = _shared(config)
    found = [status_of(one) for one in place.ask(lambda database: database.replicas())]
    if as_json:
        for one in found:
            print(msgspec.json.encode(one).decode())
    elif found:
        write_table(_HEADING, [_row(one) for one in found], numbers=_NUMBERS)
    else:
        print("no replica is running")


def _row(one: ReplicaStatus) -> tuple[str, ...]:
    return (
        one.name,
        "not ready" if one.state == "alive" and one.ready is False else one.state,
        f"{duration(round(one.beat_age_seconds * 1000))} ago",
        str(one.accounts),
        str(one.sinks),
        "yes" if one.housekeeping else NOTHING,
        one.joined_at,
        one.version,
        "; ".join(one.problems) or NOTHING,
    )


def drain_replica(name: NameArgument, config: ConfigOption = None) -> None:
    """Let the others take over all that a replica has, in order.

    It stays, with nothing, until it is restarted.

    Examples:
        disposition-listener replicas drain node-a --config listener.toml
    """
    _drain(config, name, draining=True)
    print(f"{name} gives back what it has; `replicas list` shows how far it is, `replicas undrain {name}` ends that")


def undrain_replica(name: NameArgument, config: ConfigOption = None) -> None:
    """Let a replica that was drained have its share again.

    Examples:
        disposition-listener replicas undrain node-a --config listener.toml
    """
    _drain(config, name, draining=False)
    print(f"{name} gets its share again")


def _drain(config: ConfigOption, name: str, *, draining: bool) -> None:
    """Raises ControlError: there is no such replica."""
    place = _shared(config)
    if not place.ask(lambda database: database.drain(name, draining=draining)):
        known = ", ".join(one.name for one in place.ask(lambda database: database.replicas())) or "none"
        raise ControlError(f"there is no replica {name!r} (there are: {known})")


def _shared(config: ConfigOption) -> Shared:
    """Raises ConfigError: the journal is a file, which one process has."""
    place = place_of(config, None, instead=None)
    if not isinstance(place.journal, Shared):
        text = "is needed: the journal of this configuration is a file, which replicas cannot share"
        raise ConfigError([Problem("journal.url", text)])
    return place.journal


COMMANDS: dict[str, Callable[..., Any]] = {
    "list": list_replicas,
    "drain": drain_replica,
    "undrain": undrain_replica,
}
