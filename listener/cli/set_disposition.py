"""`set-disposition`: the SetDisposition operation of the Chat API, as one of the configured accounts."""

import json
from typing import Annotated

import typer

from listener.cli import running
from listener.cli.options import ConfigOption
from listener.config.loading import load
from listener.daemon import probes


def set_disposition(
    chat: Annotated[str, typer.Argument(metavar="CHAT", help="The chat's id.")],
    code: Annotated[str, typer.Argument(metavar="CODE", help="The disposition.")],
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="The userData key; the server's own by default.")
    ] = None,
    config: ConfigOption = None,
    account: Annotated[
        str | None, typer.Option("--account", metavar="NAME", help="Who sets it; the first account by default.")
    ] = None,
) -> None:
    """Set a chat's disposition.

    Prints the server's answer. Does not touch journal or sinks.

    Examples:
        disposition-listener set-disposition 0000Na9B26EF003M IssueResolved
        disposition-listener set-disposition 0000Na9B26EF003M Spam --key Outcome

    Exit status:
        1: The server refused it, or gave no answer: standard error says which.
    """
    settings = load(config)
    answer = running.run(
        probes.set_disposition(settings, chat_id=chat, disposition=code, key=key, username=account),
    )
    print(json.dumps(answer, ensure_ascii=False))
