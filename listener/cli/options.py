"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The configuration, TOML. Can be left out where LISTENER_ variables say everything.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="The events as they are, one JSON object a line.")]
ChatOption = Annotated[str | None, typer.Option("--chat", metavar="ID", help="Only this chat.")]
