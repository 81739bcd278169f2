"""Options that several commands share, and the journal that they lead to."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from listener.config.settings import load

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The configuration, TOML. Can be left out where LISTENER_ variables say everything.",
    ),
]
PathOption = Annotated[Path | None, typer.Option("--path", metavar="FILE", help="The journal, instead of --config.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The events as they are, one JSON object a line.")]
ChatOption = Annotated[str | None, typer.Option("--chat", metavar="ID", help="Only this chat.")]


class Place(NamedTuple):
    """A journal, and the kinds of the configured sinks by name; None where no configuration was read."""

    journal: Path
    kinds: Mapping[str, str] | None


def place_of(config: Path | None, path: Path | None) -> Place:
    """What --config or --path names. Raises BadParameter where it is both or none, ConfigError as `settings.load`."""
    if (config is None) == (path is None):
        raise typer.BadParameter("give either --config or --path")
    if path is not None:
        return Place(path, None)
    settings = load(config)
    kinds = {name: lane.type for name, lane in settings.sinks.items()}
    return Place(settings.path(settings.journal.path), kinds)
