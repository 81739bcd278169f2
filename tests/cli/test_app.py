"""The command line as a whole: errors become lines and exit statuses."""

import subprocess
import sys

import pytest
import structlog
import typer
from typer.testing import CliRunner

from listener import __version__
from listener.cli.app import build, guarded
from listener.errors import ConfigError, JournalFull, Problem, StartError

COMMANDS = ("run", "check", "demo", "simulate", "set-disposition", "tail", "journal", "dead-letters", "lane", "sinks")


def outcome(raised):
    """What a command that raises this does."""
    app = typer.Typer()

    @app.command()
    @guarded
    def command():
        print("so far")
        raise raised

    return CliRunner().invoke(app)


def test_every_command_is_in_the_help(invoke):
    result = invoke("--help")
    assert result.exit_code == 0
    assert all(f"  {name} " in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(invoke, command):
    result = invoke(command, "-h")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Usage:" in result.stdout


def test_the_version_is_told(invoke):
    assert invoke("--version").stdout == f"disposition-listener {__version__}\n"


@pytest.mark.parametrize(
    ("words", "needless"),
    [
        (["--version"], ["aiohttp", "pydantic", "listener.simulator", "listener.daemon.daemon"]),
        (["dead-letters", "list", "--help"], ["aiohttp", "listener.simulator", "listener.daemon.daemon"]),
        (["lane", "list", "--help"], ["aiohttp", "listener.simulator", "listener.daemon.daemon"]),
        (["run", "--help"], ["listener.simulator"]),
    ],
)
def test_a_command_imports_only_what_it_needs(words: list[str], needless: list[str]):
    """Beside a daemon in trouble somebody types many of them, and waits for each."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "listener", *words], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "listener.cli.app" in imported
    assert imported.isdisjoint(needless)


@pytest.mark.parametrize("arguments", [("rum",), ("run", "--konfig", "x"), ("tail", "-n", "many"), ("simulate", "80")])
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(invoke, arguments):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert arguments[1 if len(arguments) > 1 else 0].lstrip("-n") in result.stderr or "many" in result.stderr
    assert "Traceback" not in result.stderr


def test_every_problem_of_the_configuration_is_a_line_and_the_status_is_78():
    result = outcome(ConfigError([Problem("server.url", "is required"), Problem("", "more")]))
    assert result.exit_code == 78
    assert result.stderr == "error: server.url: is required\nerror: more\n"


@pytest.mark.parametrize("error", [StartError("http.listen: in use"), JournalFull("http.listen: in use")])
def test_an_error_of_ours_is_one_line_and_the_status_is_1(error):
    result = outcome(error)
    assert (result.exit_code, result.stderr, result.stdout) == (1, "error: http.listen: in use\n", "so far\n")


def test_an_unexpected_error_is_one_line_that_names_the_task_and_the_log_has_the_traceback():
    error = ZeroDivisionError("division by zero")
    error.add_note("in lane audit")
    with structlog.testing.capture_logs() as logged:
        result = outcome(error)
    assert result.exit_code == 1
    assert result.stderr == (
        "error: command: unexpected ZeroDivisionError in lane audit: division by zero (the log has more)\n"
    )
    (entry,) = logged
    assert (entry["event"], entry["log_level"], entry["exc_info"]) == ("command_failed", "critical", error)


def test_an_interrupt_is_quiet_and_has_the_status_of_one():
    result = outcome(KeyboardInterrupt())
    assert (result.exit_code, result.stderr) == (130, "")


def test_help_is_drawn_for_a_terminal_only(invoke):
    drawn = CliRunner().invoke(build(rich=True), ["--help"]).stdout
    assert "╭" in drawn
    assert "╭" not in invoke("--help").stdout
