"""All commands under one name, and the one place that turns errors into lines and exit statuses."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any, ParamSpec, TypeVar

import structlog
import typer

from listener import __version__
from listener.cli import audit, check, dead_letters, demo, journal, lane, set_disposition, simulate, sinks, tail
from listener.cli import run as run_command
from listener.errors import ConfigError, ListenerError

P = ParamSpec("P")
R = TypeVar("R")

INTERRUPTED = 130
_GROUPS = {
    "audit": ("Prove an audit trail, and tell who set what when.", audit.COMMANDS),
    "journal": ("Look into the journal.", journal.COMMANDS),
    "dead-letters": ("Look at what a sink did not take, deliver it once more, or drop it.", dead_letters.COMMANDS),
    "lane": ("See how far the sinks are, and let go on what waits for a person.", lane.COMMANDS),
    "sinks": ("List the kinds of sink that can be named, and try out a sink that is configured.", sinks.COMMANDS),
}
_ALONE: dict[str, Callable[..., Any]] = {"sinks": sinks.sinks}
_OWN_EXITS = (typer.Exit, typer.Abort, typer.BadParameter)

log = structlog.get_logger(__name__)


def build(*, rich: bool) -> typer.Typer:
    """The command line; with `rich`, help and usage errors are drawn for a terminal."""
    app = _typer(rich=rich, help="Hears chat dispositions of Genesys Web Services and delivers them, durably.")
    app.callback()(_options)
    app.command("run")(guarded(run_command.run))
    app.command("check")(guarded(check.check))
    app.command("demo")(guarded(demo.demo))
    app.command("simulate")(guarded(simulate.simulate))
    app.command("set-disposition")(guarded(set_disposition.set_disposition))
    app.command("tail")(guarded(tail.tail))
    for name, (help_text, commands) in _GROUPS.items():
        group = _typer(rich=rich, help=help_text, alone=_ALONE.get(name))
        for command, function in commands.items():
            group.command(command)(guarded(function))
        app.add_typer(group, name=name)
    return app


def _typer(
    *,
    rich: bool,
    help: str,  # noqa: A002 - typer's own name for it
    alone: Callable[..., Any] | None = None,
) -> typer.Typer:
    """A group of commands; `alone` is what its name does without one of them."""
    return typer.Typer(
        help=help,
        invoke_without_command=alone is not None,
        callback=guarded(alone) if alone is not None else None,
        no_args_is_help=alone is None,
        add_completion=False,
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
    """The command with its errors as lines on standard error and its exit status as the class of error says."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
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
            raise typer.Exit(_tell(exc)) from None
        except Exception as exc:  # noqa: BLE001 - the last line of defence: a person reads one line, the log the rest
            raise typer.Exit(_tell_unexpected(command.__name__, exc)) from None
        return result

    return wrapper


def _tell(exc: ListenerError) -> int:
    lines = exc.problems if isinstance(exc, ConfigError) else (exc,)
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    return exc.exit_status


def _tell_unexpected(command: str, exc: Exception) -> int:
    where = "".join(f" {note}" for note in getattr(exc, "__notes__", ()))
    log.critical("command_failed", command=command, error=type(exc).__name__, exc_info=exc)
    print(f"error: {command}: unexpected {type(exc).__name__}{where}: {exc} (the log has more)", file=sys.stderr)
    return 1


def _drop_output() -> None:
    """Whoever read standard output is gone; what is still buffered must not fail again at exit."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
