"""`sinks`: the kinds that a sink's `type` can name here."""

from listener.assembly import sink_kinds


def sinks() -> None:
    """List the installed kinds of sink, each with its own settings and their defaults."""
    for kind in sink_kinds():
        print(f"{kind.name:<12} {kind.origin}")
        if kind.problem is not None:
            print(f"  cannot be used: {kind.problem}")
        width = max((len(key) for key, _ in kind.settings), default=0)
        for key, default in kind.settings:
            print(f"  {key:<{width}}  {default}")
