"""`sinks`: the kinds that a sink's `type` can name here, and trying a configured sink out."""

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from listener.cli import running
from listener.cli.options import ConfigOption
from listener.config.settings import Settings
from listener.daemon.assembly import load_checked, sink_kinds
from listener.daemon.control import SendTestEvent, SinkTestResult, ask
from listener.daemon.probes import send_test_event
from listener.errors import ListenerError, NoDaemon

SinkArgument = Annotated[str, typer.Argument(metavar="NAME", help="The sink, as the configuration names it.")]


class NotTaken(ListenerError):
    """The sink did not take its test event."""


def sinks(context: typer.Context) -> None:
    """List the installed kinds of sink, each with its own settings and their defaults; try a sink out."""
    if context.invoked_subcommand is None:
        list_kinds()


def list_kinds() -> None:
    """List the installed kinds of sink, each with its own settings and their defaults."""
    for kind in sink_kinds():
        print(f"{kind.name:<12} {kind.origin}")
        if kind.problem is not None:
            print(f"  cannot be used: {kind.problem}")
        width = max((len(key) for key, _ in kind.settings), default=0)
        for key, default in kind.settings:
            print(f"  {key:<{width}}  {default}")


def try_sink(name: SinkArgument, config: ConfigOption = None) -> None:
    """Send one test event to a sink; its type ends in `.chat.test`, and it is of no chat.

    A running daemon sends it through the sink that it has open, past what waits for it, also where the lane is parked.
    Filters of the sink do not apply. Exit status 1 where the sink did not take it.
    """
    settings = load_checked(config)
    began_s = time.monotonic()
    tested, by_daemon = _tested(settings, name)
    if tested.verdict != "taken":
        raise NotTaken(f"{name} did not take {tested.event_id}: {_verdict(tested)}")
    sender = "the daemon" if by_daemon else "this command, since no daemon runs"
    print(f"{name} took {tested.event_id} after {time.monotonic() - began_s:.2f} s (sent by {sender})")


def _tested(settings: Settings, name: str) -> tuple[SinkTestResult, bool]:
    """What became of a test event, and whether a daemon sent it. Raises ControlError, or as `probes.try_out`."""
    try:
        return ask(settings.path(settings.journal.path), SendTestEvent(name=name), SinkTestResult), True
    except NoDaemon:
        return running.run(send_test_event(settings, name)), False


def _verdict(tested: SinkTestResult) -> str:
    what_follows = {
        "retry": "a lane would try it again",
        "park": "a lane would wait for a person",
        "reject": "a lane would make it a dead letter",
    }[tested.verdict]
    said = f" (it said: {tested.answer})" if tested.answer else ""
    return f"{tested.reason}{said}; {what_follows}"


COMMANDS: dict[str, Callable[..., Any]] = {"list": list_kinds, "test": try_sink}
