"""What commands say of themselves: examples that can be copied, exit statuses that are so."""

import re
import shlex
from pathlib import Path

import pytest
from typer import Context

from listener import errors
from listener.cli.app import INTERRUPTED
from listener.cli.explained import STATUSES, Explanation, explanation
from support.commands import loaded

COMMANDS = {words: command for words, command in loaded().items() if not hasattr(command, "commands")}
OPERATIONS = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
WIDTH = 80

each_command = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


def shown(command) -> list[list[str]]:
    """The examples of a command as words, without the program's name; what a pipe leads to is not ours."""
    lines = [line for line in command.explanation.examples if not line.startswith("#")]
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


@each_command
def test_a_commands_help_fits_a_terminal_and_is_whole(invoke, words):
    lines = invoke(*words, "--help").stdout.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert [line for line in lines if line.endswith("...") and not line.startswith("Usage:")] == []
    assert "Exit status:" in lines


def test_every_exit_status_of_an_error_is_explained():
    statuses = {str(value.exit_status) for value in vars(errors).values() if hasattr(value, "exit_status")}
    assert statuses == {"1", "78"}
    assert {"0", "2", str(INTERRUPTED), *statuses} == set(STATUSES)


def test_the_documents_say_the_same_of_exit_statuses():
    assert dict(re.findall(r"^\| (\d+) \| (.+) \|$", OPERATIONS, re.MULTILINE)) == STATUSES
