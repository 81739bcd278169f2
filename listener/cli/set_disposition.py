"""`set-disposition`: SetDisposition of the Chat API and what other media have in its place, as a configured account."""

import json
from typing import Annotated

import typer

from listener.cli import running
from listener.cli.options import ConfigOption
from listener.config.loading import load
from listener.daemon import probes
from listener.model.media import CHAT, MediaType
from listener.webservices.media import Target


def set_disposition(
    chat: Annotated[str, typer.Argument(metavar="CHAT", help="The chat's id, or the email's, session's or call's.")],
    code: Annotated[str, typer.Argument(metavar="CODE", help="The disposition.")],
    key: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="KEY", help="The userData key; the server's own by default. sms, openmedia: needed."
        ),
    ] = None,
    config: ConfigOption = None,
    account: Annotated[
        str | None, typer.Option("--account", metavar="NAME", help="Who sets it; the first account by default.")
    ] = None,
    media: Annotated[MediaType, typer.Option("--media", help="What it is set on.")] = CHAT,
    open_media_type: Annotated[
        str | None, typer.Option("--open-media-type", metavar="TYPE", help="openmedia: the site's name of its kind.")
    ] = None,
    call_uuid: Annotated[
        str | None, typer.Option("--call-uuid", metavar="UUID", help="voice: the call's UUID.")
    ] = None,
    call_uri: Annotated[str | None, typer.Option("--call-uri", metavar="URI", help="voice: the call's URI.")] = None,
) -> None:
    """Set the disposition of a chat, or of another medium.

    Prints the server's answer. Does not touch journal or sinks. A chat, an email and a Facebook session have
    SetDisposition, a call SetCallDisposition. Of sms and openmedia no such operation is documented: the key is set as
    user data. Once a call is released, nobody is notified of its code.

    Examples:
        disposition-listener set-disposition 0000Na9B26EF003M IssueResolved
        disposition-listener set-disposition 0000Na9B26EF003M Spam --key Outcome
        disposition-listener set-disposition 000XJaBEC1HH000P Sold --media email

    Exit status:
        1: The server refused it, or gave no answer: standard error says which.
    """
    target = Target(media_type=media, open_media_type=open_media_type, call_uuid=call_uuid, call_uri=call_uri)
    answer = running.run(
        probes.set_disposition(load(config), chat_id=chat, disposition=code, key=key, username=account, target=target),
    )
    print(json.dumps(answer, ensure_ascii=False))
