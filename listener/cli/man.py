"""`man`: the manual page, made of what `--help` says."""

import re
from collections.abc import Iterator
from typing import Any

import typer

from listener import __version__
from listener.cli.explained import STATUSES, ExplainedCommand

_NAME = "disposition-listener"
_ESCAPES = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti"}
_TYPE = re.compile(r" <[^<>]*>$")  # typer's, behind an argument's name
_FILES = {
    "listener.toml, /etc/disposition-listener/listener.toml": "The configuration, where --config names no other.",
    "JOURNAL.lock, JOURNAL.control": "Beside the journal: which process owns it, and the socket to the daemon.",
}
_ENVIRONMENT = {
    "LISTENER_CONFIG": "The configuration, as --config.",
    "LISTENER_SERVER__URL, and so on": "Any setting, here url of [server]; it wins over the file.",
    "CREDENTIALS_DIRECTORY": "Where files of secrets are looked for that are named without a folder.",
}


def man(context: typer.Context) -> None:
    """Print the manual page.

    Examples:
        disposition-listener man | man -l -
        disposition-listener man > /usr/local/share/man/man1/disposition-listener.1
    """
    root = context.find_root()
    for line in page(type(root)(root.command, info_name=_NAME)):
        print(line)


def page(root: Any) -> Iterator[str]:
    """The lines of the page as roff (man(7)), for the context of the whole command line."""
    name, purpose = _text(_NAME), root.command.help.removesuffix(".")
    yield f'.TH {name.upper()} 1 "" "{name} {_text(__version__)}"'
    yield from (".SH NAME", rf"{name} \- {_text(purpose[0].lower() + purpose[1:])}")
    yield from (".SH SYNOPSIS", rf"\fB{name}\fR [\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGS\fR]")
    yield from (".SH OPTIONS", *_options(root.command, root))
    yield ".SH COMMANDS"
    for context in _contexts(root):
        yield from _command(context)
    for title, table in (("EXIT STATUS", STATUSES), ("FILES", _FILES), ("ENVIRONMENT", _ENVIRONMENT)):
        yield f".SH {title}"
        for term, meaning in table.items():
            yield from _term(rf"\fB{_text(term)}\fR", meaning)


def _contexts(parent: Any) -> Iterator[Any]:
    """Every command that the help shows, below groups too, in its order."""
    for name in parent.command.list_commands(parent):
        if parent.command.get_command(parent, name).hidden:
            continue
        _, command, _ = parent.command.resolve_command(parent, [name])
        context = type(parent)(command, info_name=name, parent=parent)
        if hasattr(command, "list_commands"):
            yield from _contexts(context)
        else:
            yield context


def _command(context: Any) -> Iterator[str]:
    command: ExplainedCommand = context.command
    yield f'.SS "{_text(context.command_path)}"'
    yield from (rf"\fB{_text(context.command_path)}\fR {_text(' '.join(command.collect_usage_pieces(context)))}", ".PP")
    yield from _paragraphs(command.explanation.text)
    yield from _options(command, context)
    if command.explanation.examples:
        yield from (".PP", "Examples:", ".PP", ".RS 4", ".EX", *map(_text, command.explanation.examples), ".EE", ".RE")
    for status, meaning in command.explanation.statuses.items():
        yield from _term(f"Exit status {_text(status)}", meaning)


def _options(command: Any, context: Any) -> Iterator[str]:
    """Arguments and options; every command has --help."""
    for parameter in command.get_params(context):
        if context.parent is not None and parameter.name == "help":
            continue
        if (record := parameter.get_help_record(context)) is not None:
            names, text = record
            named = _TYPE.sub("", names) if parameter.param_type_name == "argument" else names
            yield from _term(rf"\fB{_text(named)}\fR", text)


def _term(term: str, text: str) -> Iterator[str]:
    yield from (".TP", term, *_paragraphs(text))


def _paragraphs(text: str) -> Iterator[str]:
    """Each as one line, a blank one of roff between them."""
    for number, paragraph in enumerate(filter(None, text.split("\n\n"))):
        yield from (".PP",) if number else ()
        yield _text(" ".join(paragraph.split()))


def _text(text: str) -> str:
    """A text without a meaning to roff, in ASCII."""
    escaped = "".join(_ESCAPES.get(c, c if c.isascii() else rf"\[u{ord(c):04X}]") for c in text)
    return rf"\&{escaped}" if escaped.startswith(".") else escaped
