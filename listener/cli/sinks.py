"""`sinks`: the kinds that a sink's `type` can name here."""

from listener.assembly import sink_kinds


def sinks() -> None:
    """List the installed kinds of sink."""
    for name, origin in sink_kinds():
        print(f"{name:<12} {origin}")
