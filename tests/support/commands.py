"""Every command of the command line that the help shows, as what is imported when it is asked for."""

from typing import Any

import typer.main
from typer import Context

from listener.cli.app import build


def loaded() -> dict[tuple[str, ...], Any]:
    """By the words that name them: `("run",)`, a group `("journal",)` and its `("journal", "stats")`."""
    top = typer.main.get_group(build(rich=False))
    context = Context(top)
    known: dict[tuple[str, ...], Any] = {}
    for name in top.list_commands(context):
        if top.get_command(context, name).hidden:
            continue
        _, command, _ = top.resolve_command(context, [name])
        known[name,] = command
        known |= {(name, each): one for each, one in getattr(command, "commands", {}).items()}
    return known


def commands() -> dict[tuple[str, ...], set[str]]:
    """Their options, by the words that name them."""
    return {words: _options(command) for words, command in loaded().items()}


def _options(command: Any) -> set[str]:
    return {"--help", *(option for parameter in command.params for option in parameter.opts)}
