"""What commands say of themselves: examples that can be copied, exit statuses that are so."""

import asyncio
import re
import shlex
import shutil
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from typer import Context

from listener import errors
from listener.audit.notes import checkpoint_text, written
from listener.audit.signer import load_or_create
from listener.cli.app import INTERRUPTED
from listener.cli.explained import STATUSES, Explanation, explanation
from listener.simulator import Simulator, SimulatorOptions
from support.commands import loaded
from support.config import AUDIT, write_config
from support.receiver import Receiver
from support.trail import trail

LOADED = loaded()
COMMANDS = {words: command for words, command in LOADED.items() if not hasattr(command, "commands")}
OPERATIONS = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
WIDTH = 80

each_command = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


def shown(command) -> list[list[str]]:
    """The examples of a command as words, without the program's name; what a pipe leads to is not ours."""
    text = "\n".join(line for line in command.explanation.examples if not line.startswith("#"))
    lines = text.replace("\\\n", "").splitlines()
    return [shlex.split(re.split(r" [|>] ", line)[0]) for line in lines]


def test_a_docstring_is_parted_into_text_examples_and_statuses():
    parts = explanation(
        "Do it.\n\nMore.\n\nExamples:\n    do it\n    # Twice:\n    do it | cat\n\n"
        "Exit status:\n    0: It is\n       done.\n    128 + n: Not.\n\nThe end."
    )
    statuses = {"0": "It is done.", "128 + n": "Not."}
    assert parts == Explanation("Do it.\n\nMore.\n\nThe end.", ["do it", "# Twice:", "do it | cat"], statuses)


def test_a_docstring_without_sections_is_text():
    assert explanation("Examples: none.\n\nMore.") == Explanation("Examples: none.\n\nMore.", [], {})


@each_command
def test_an_example_is_a_command_that_can_be_given(words):
    for line in shown(COMMANDS[words]):
        assert line[: len(words) + 1] == ["disposition-listener", *words]
        COMMANDS[words].make_context(words[-1], line[len(words) + 1 :], Context(COMMANDS[words]))


LONG = {
    "run": "until it is stopped",
    "init": "asks, and probes a server",
    "demo": "seconds",
    "simulate": "until it is stopped",
    "replicas": "PostgreSQL",
    "status": "asks a daemon, and follows it until q",
}
STANDS_FOR = {
    f"{AUDIT}*": [AUDIT, f"{AUDIT}.checkpoints", f"{AUDIT}.key", f"{AUDIT}.pub"],
    "be0f6d27": ["event-1"],
    "ca911878": ["event-2"],
}
TO_RUN = [
    " ".join(line[1:])
    for words, command in COMMANDS.items()
    for line in shown(command)
    if words[0] not in LONG and "-f" not in line and "shared.toml" not in line
]


@pytest.fixture
async def place(tmp_path: Path, letters, receiver: Receiver, owned: AsyncExitStack) -> Path:
    """A folder with what the examples name, and no daemon."""
    simulator = await owned.enter_async_context(Simulator(SimulatorOptions(agents=2)))
    simulator.add_chat("000XJaBEC1HH000P", medium="email")
    accounts = [{"username": f"agent{number}", "password": simulator.options.password} for number in (1, 2)]
    sinks = {"bi": {"type": "file", "path": tmp_path / "bi.jsonl", "format": "data"}}
    write_config(tmp_path, server={"url": simulator.url}, accounts=accounts, webhook=receiver.url, sinks=sinks)
    lines, head = trail(5)
    (tmp_path / AUDIT).write_bytes(b"".join(lines))
    keys = load_or_create(tmp_path / f"{AUDIT}.key", name="host/audit", public=tmp_path / f"{AUDIT}.pub")
    note = keys.signing.sign(checkpoint_text("host/audit", head, "2026-11-22T09:39:00.123Z"))
    (tmp_path / f"{AUDIT}.checkpoints").write_text(written([note]), encoding="utf-8")
    shutil.copy(tmp_path / f"{AUDIT}.pub", tmp_path / "kept.pub")
    return tmp_path


async def test_the_examples_do_what_they_say_one_after_the_other(invoke, place: Path):
    failed = {}
    for line in TO_RUN:
        if "backup.db" in line:
            (place / "journal.db").rename(place / "backup.db")
        words = [found for word in line.split() for found in STANDS_FOR.get(word, [word])]
        result = await asyncio.to_thread(invoke, *words)
        if result.exit_code:
            failed[line] = result.output
    assert failed == {}


@each_command
def test_a_command_shows_examples_and_says_what_its_statuses_mean(invoke, words):
    lines = invoke(*words, "--help").stdout.splitlines()
    assert lines.count("Examples:") == lines.count("Exit status:") == 1
    assert shown(COMMANDS[words])
    assert set(COMMANDS[words].explanation.statuses) <= {*STATUSES, "69", "128 + n"}


@pytest.mark.parametrize("words", [(), *LOADED], ids=lambda words: " ".join(words) or "all")
def test_help_fits_a_terminal_and_is_whole(invoke, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    lines = invoke(*words, "--help").stdout.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert [line for line in lines if line.endswith("...") and not line.startswith("Usage:")] == []


def test_every_exit_status_of_an_error_is_explained():
    statuses = {str(value.exit_status) for value in vars(errors).values() if hasattr(value, "exit_status")}
    assert statuses == {"1", "78"}
    assert {"0", "2", str(INTERRUPTED), *statuses} == set(STATUSES)


def test_the_documents_say_the_same_of_exit_statuses():
    assert dict(re.findall(r"^\| (\d+) \| (.+) \|$", OPERATIONS, re.MULTILINE)) == STATUSES
