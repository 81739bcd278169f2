"""The command line as a whole: errors become lines and exit statuses."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
import typer
from typer.testing import CliRunner

from listener import __version__
from listener.cli.app import build, guarded
from listener.errors import ConfigError, JournalFull, Problem, StartError
from support.config import write_config
from support.process import command_environment

COMMANDS = ("run", "check", "demo", "simulate", "set-disposition", "tail", "journal", "dead-letters", "sinks")


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


DAEMON = ["aiohttp", "cryptography", "listener.daemon.daemon", "listener.simulator"]
DRIVERS = ["aio_pika", "aiokafka", "asyncpg", "nats", "redis"]
UNUSED = [f"listener.sinks.{kind}" for kind in ("amqp", "kafka", "nats", "postgres", "redis", "syslog", "webhook")]
CONFIGURATION = """
server.url = "http://127.0.0.1:9"
accounts = [{ username = "agent1", password = "secret" }]
journal.path = "journal.db"
http.listen = "127.0.0.1:PORT"
sinks.audit = { type = "file", path = "audit.jsonl" }
"""


@pytest.mark.parametrize(
    ("words", "status", "needless"),
    [
        (["--version"], 0, ["pydantic", "rich.console", *DAEMON]),
        (["--help"], 0, ["pydantic", "rich.console", "listener.cli.run", "listener.cli.tail", *DAEMON]),
        (["tail", "--help"], 0, DAEMON),
        (["dead-letters", "list", "--help"], 0, DAEMON),
        (["sinks", "list", "--help"], 0, DAEMON),
        (["run", "--help"], 0, ["listener.simulator", "rich.console", *DRIVERS, *UNUSED]),
        (["check", "--config", "listener.toml"], 78, ["listener.simulator", "rich.console", *DRIVERS, *UNUSED]),
        (["run", "--config", "listener.toml"], 1, ["listener.simulator", "rich.console", *DRIVERS, *UNUSED]),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_a_command_imports_only_what_it_needs(tmp_path: Path, words: list[str], status: int, needless: list[str]):
    """Beside a daemon in trouble somebody types many of them, and waits for each. Port taken: `run` ends."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = CONFIGURATION.replace("PORT", str(taken.getsockname()[1]))
        (tmp_path / "listener.toml").write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "listener", *words],
            cwd=tmp_path,
            env=command_environment(tmp_path),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == status, done.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "listener.cli.app" in imported
    assert imported & {"rich.pretty", "pydantic_settings", *needless} == set()


def test_the_help_says_of_a_command_what_the_command_says_of_itself(invoke):
    lines = dict(line.split(None, 1) for line in invoke("--help").stdout.partition("Commands:")[2].splitlines() if line)
    told = {name: invoke(name, "--help").stdout for name in COMMANDS}
    assert all(line.removesuffix("...") in told[name] for name, line in lines.items() if name in told)


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


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", {"run", "check", "sinks", "man"}),
        ("sinks re", {"resume"}),
        ("sinks resume --", {"--config", "--path", "--all", "--help"}),
        ("sinks resume --config listener.toml ", {"audit", "crm"}),
        ("sinks test --config listener.toml c", {"crm"}),
        ("dead-letters list --config listener.toml --sink a", {"audit"}),
        ("sinks resume --config nowhere.toml ", set()),
    ],
)
def test_a_shell_completes_commands_options_and_sinks(tmp_path, monkeypatch, typed: str, offered: set[str]):
    write_config(tmp_path, server={"url": "http://127.0.0.1:9"}, webhook="http://127.0.0.1:9/")
    monkeypatch.chdir(tmp_path)
    words = ["disposition-listener", *typed.split(" ")]
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    env = asked | {"_DISPOSITION_LISTENER_COMPLETE": "complete_bash"}
    result = CliRunner().invoke(build(rich=False), [], prog_name="disposition-listener", env=env)
    found = set(result.stdout.split())
    assert found == offered if typed else offered < found
    assert result.stderr == ""


def test_help_is_drawn_for_a_terminal_only(invoke):
    drawn = CliRunner().invoke(build(rich=True), ["--help"]).stdout
    assert "╭" in drawn
    assert "╭" not in invoke("--help").stdout
