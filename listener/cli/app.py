"""All commands under one name, and the one place that turns errors into lines and exit statuses."""

import functools
import gc
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, ParamSpec, TypeVar

import structlog
import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from listener import __version__
from listener.cli.explained import ExplainedCommand
from listener.errors import ConfigError, ListenerError, StartError

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED = 130


class _Entry(NamedTuple):
    """Where a command is: a function of a module, or the COMMANDS of modules as a group; and its line in the help.

    `commands` names the module of each command where a group has several: only the one that is needed is imported.
    """

    module: str = ""
    function: str = ""
    help: str = ""
    commands: Mapping[str, str] = {}
    hidden: bool = False


_SINKS = _Entry(
    help="Show, resume and test the sinks; list their kinds.",
    commands={"list": "lane", "resume": "lane", "test": "sinks", "kinds": "sinks"},
)
_ENTRIES = {
    "init": _Entry("init", "init", help="Write a first configuration."),
    "run": _Entry("run", "run", help="Run the daemon."),
    "check": _Entry("check", "check", help="Check a configuration and list every problem."),
    "status": _Entry("status", "status", help="Show what is well and what is not."),
    "demo": _Entry("demo", "demo", help="Show the listener at work."),
    "simulate": _Entry("simulate", "simulate", help="Run a simulated Web Services node, for tests."),
    "set-disposition": _Entry(
        "set_disposition", "set_disposition", help="Set the disposition of a chat, or of another medium."
    ),
    "tail": _Entry("tail", "tail", help="Show the events of an audit file."),
    "audit": _Entry("audit", help="Verify an audit trail, and report of it."),
    "journal": _Entry(
        help="Inspect the journal, or copy it.",
        commands=dict.fromkeys(("stats", "show", "verify", "export"), "journal") | {"copy": "journal_copy"},
    ),
    "dead-letters": _Entry("dead_letters", help="List, deliver again or delete what a sink did not take."),
    "resend": _Entry("resend", "resend", help="Deliver again what a sink got."),
    "sinks": _SINKS,
    "replicas": _Entry("replicas", help="Show the replicas that share a journal, or drain one."),
    "man": _Entry("man", "man", help="Print the manual page."),
    "lane": _SINKS._replace(hidden=True),  # the name before
}
_OWN_EXITS = (typer.Exit, typer.Abort, typer.BadParameter)

log = structlog.get_logger(__name__)


def build(*, rich: bool) -> typer.Typer:
    """The command line; with `rich`, help and usage errors are drawn for a terminal.

    A command is imported when it is asked for: most of them need neither HTTP nor the simulator, whose import takes
    longer than what they do.
    """

    class Commands(TyperGroup):
        """Every command."""

        def list_commands(self, _ctx: Any) -> list[str]:
            """In the order of the help."""
            return list(_ENTRIES)

        def get_command(self, _ctx: Any, cmd_name: str) -> Any:
            """A stand-in for the help, so that the command is not imported; None if there is no such command."""
            entry = _ENTRIES.get(cmd_name)
            return None if entry is None else TyperCommand(cmd_name, help=entry.help, hidden=entry.hidden)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            """The command that the arguments begin with, imported now."""
            name, _, rest = super().resolve_command(ctx, args)
            return name, typer.main.get_command(_loaded(str(name), *rest[:1], rich=rich)), rest

    app = _typer(
        rich=rich,
        completion=True,
        about="Receives dispositions from Genesys Web Services and delivers them durably.",
    )
    app.info.cls = Commands
    app.callback()(_options)
    return app


def _loaded(name: str, command: str = "", *, rich: bool) -> typer.Typer:
    """One command, or one group of them with at least this command of it."""
    entry = _ENTRIES[name]
    needed = entry.commands.get(command, entry.module)
    names = [needed] if needed else dict.fromkeys(entry.commands.values())
    modules = [importlib.import_module(f"listener.cli.{module}") for module in names]
    if entry.function:
        app = _typer(rich=rich)
        app.command(name, cls=ExplainedCommand)(guarded(getattr(modules[0], entry.function)))
        return app
    app = _typer(rich=rich, name=name, about=entry.help)
    app.callback()(lambda: None)  # with a single command it is a group too
    for module in modules:
        for known, function in module.COMMANDS.items():
            app.command(known, cls=ExplainedCommand)(guarded(function))
    return app


def _typer(
    *,
    rich: bool,
    completion: bool = False,
    name: str | None = None,
    about: str | None = None,
) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(
        name=name,
        help=about,
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,  # they show local variables, secrets among them
        rich_markup_mode="rich" if rich else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _show_version(asked: bool) -> None:
    if asked:
        print(f"disposition-listener {__version__}")
        raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command's name."""


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """The command, with errors printed on standard error and the exit status of their class."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        gc.enable()  # see `main`
        try:
            result = command(*args, **kwargs)
            sys.stdout.flush()
        except _OWN_EXITS:
            raise
        except BrokenPipeError:
            _drop_output()
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except ListenerError as exc:
            raise typer.Exit(_report(exc)) from None
        except Exception as exc:  # noqa: BLE001 - the last line of defence: a person gets one line, the log the rest
            raise typer.Exit(_report_unexpected(command.__name__, exc)) from None
        return result

    return wrapper


def _report(exc: ListenerError) -> int:
    lines = exc.problems or (exc,) if isinstance(exc, ConfigError | StartError) else (exc,)
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    return exc.exit_status


def _report_unexpected(command: str, exc: Exception) -> int:
    where = "".join(f" {note}" for note in getattr(exc, "__notes__", ()))
    log.critical("command_failed", command=command, error=type(exc).__name__, exc_info=exc)
    print(f"error: {command}: unexpected {type(exc).__name__}{where}: {exc} (the log has more)", file=sys.stderr)
    return 1


def _drop_output() -> None:
    """The reader of standard output is gone; what is still buffered must not fail again at exit."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
