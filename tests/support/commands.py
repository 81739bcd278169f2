"""Every command of the command line, as what is imported when it is asked for."""

import typer.main
from typer import Context

from listener.cli.app import build


def commands() -> set[tuple[str, ...]]:
    """The words that name them: `("run",)`, and a group's `("lane",)` with its `("lane", "resume")`."""
    top = typer.main.get_group(build(rich=False))
    context = Context(top)
    known: set[tuple[str, ...]] = set()
    for name in top.list_commands(context):
        known.add((name,))
        known |= {(name, each) for each in getattr(top.get_command(context, name), "commands", ())}
    return known
