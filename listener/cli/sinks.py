"""`sinks kinds` and `sinks test`: the kinds that a sink's `type` can name, and a test event for a configured sink."""

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from listener.cli import running
from listener.cli.options import ConfigOption, sink_names
from listener.config.settings import Settings
from listener.daemon.assembly import load_checked, sink_kinds
from listener.daemon.control import SendTestEvent, SinkTestResult, ask
from listener.daemon.probes import send_test_event
from listener.errors import ListenerError, NoDaemon
from listener.model.escaping import printable

SinkArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The sink, as the configuration names it.", autocompletion=sink_names)
]


class NotTaken(ListenerError):
    """The sink did not accept its test event."""


def list_kinds() -> None:
    """List the kinds of sink that are installed, with their settings.

    Examples:
        disposition-listener sinks kinds
    """
    for kind in sink_kinds():
        print(f"{kind.name:<12} {kind.origin}")
        if kind.problem is not None:
            print(f"  cannot be used: {kind.problem}")
        width = max((len(key) for key, _ in kind.settings), default=0)
        for key, default in kind.settings:
            print(f"  {key:<{width}}  {default}")


def send_test(name: SinkArgument, config: ConfigOption = None) -> None:
    """Send one test event to a sink.

    Its type ends in `.chat.test`, and it belongs to no chat. A running daemon sends it through the sink that it has
    open, ahead of all events that wait, even if the sink is parked. The sink's filters do not apply. Of a
    webhook it shows the request and the answer without secrets: neither the path of the URL nor a signature.

    Examples:
        disposition-listener sinks test crm --config listener.toml

    Exit status:
        0: The sink took it.
        1: It did not; standard error says what it said, and what would follow.
    """
    settings = load_checked(config)
    began_s = time.monotonic()
    tested, by_daemon = _tested(settings, name)
    for exchange in tested.exchanges:
        _show(">", exchange.request)
        _show("<", exchange.answer)
    if tested.verdict != "taken":
        raise NotTaken(f"{name} did not accept {tested.event_id}: {_verdict(tested)}")
    alone = "this command" if settings.journal.url is not None else "this command, since no daemon is running"
    sender = "the daemon" if by_daemon else alone
    print(f"{name} accepted {tested.event_id} after {time.monotonic() - began_s:.2f} s (sent by {sender})")


def _show(mark: str, text: str) -> None:
    for line in text.split("\n"):
        print(f"{mark} {printable(line)}".rstrip())


def _tested(settings: Settings, name: str) -> tuple[SinkTestResult, bool]:
    """The outcome of a test event, and whether a daemon sent it. Raises ControlError, or as `send_test_event`."""
    if settings.journal.url is not None:  # replicas have no socket
        return running.run(send_test_event(settings, name)), False
    try:
        return ask(settings.path(settings.journal.path), SendTestEvent(name=name), SinkTestResult), True
    except NoDaemon:
        return running.run(send_test_event(settings, name)), False


def _verdict(tested: SinkTestResult) -> str:
    what_follows = {
        "retry": "the daemon would retry it",
        "park": "the daemon would park the sink",
        "reject": "the daemon would make it a dead letter",
    }[tested.verdict]
    said = f" (it said: {tested.answer})" if tested.answer else ""
    return f"{tested.reason}{said}; {what_follows}"


COMMANDS: dict[str, Callable[..., Any]] = {"test": send_test, "kinds": list_kinds}
