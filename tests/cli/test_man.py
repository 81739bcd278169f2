"""`man`: a page of every command and option that man and mandoc can show."""

import re
import subprocess
from pathlib import Path

import pytest
from typer import Context

from listener.cli.explained import STATUSES
from listener.cli.man import _text
from support.commands import loaded
from support.tools import need

COMMANDS = {words: command for words, command in loaded().items() if not hasattr(command, "commands")}
UNDATED = 'WARNING: missing date, using ""'  # a page of a program is not of a day


@pytest.fixture
def page(invoke, tmp_path) -> Path:
    result = invoke("man")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.isascii()
    (tmp_path / "disposition-listener.1").write_text(result.stdout, encoding="ascii")
    return tmp_path / "disposition-listener.1"


def shown(command: list[str | Path]) -> str:
    """What a program makes of the page, its words with one blank between them; it has nothing to complain of."""
    env = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MANWIDTH": "200"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return " ".join(re.sub(".\x08", "", done.stdout).split())  # bold is printed twice


def test_man_shows_every_command_with_its_options_examples_and_statuses_without_a_warning(page: Path):
    text = shown([need("man", package="man-db"), "--warnings=w", "--no-hyphenation", "-l", page])
    for words, command in COMMANDS.items():
        name = " ".join(["disposition-listener", *words])
        part = text.partition(f"{name} {name} ")[2]
        assert part, name
        context = Context(command, info_name=name)
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context) if parameter.name != "help" else None
            if record is not None:
                names, meaning = re.sub(r" <[^|>]*>$", "", record[0]), " ".join(record[1].split())
                assert f"{names} {meaning}" in part, record
        for line in [*command.explanation.examples, *command.explanation.statuses.values()]:
            assert " ".join(line.split()) in part, line
    assert all(f"{status} {' '.join(meaning.split())}" in text for status, meaning in STATUSES.items())


def test_mandoc_has_nothing_to_complain_of(page: Path):
    done = subprocess.run(
        [need("mandoc", package="mandoc"), "-T", "lint", "-W", "warning", page],
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in done.stdout.splitlines() if UNDATED not in line] == []
    assert "--max-unsigned N" in shown([need("mandoc", package="mandoc"), "-T", "utf8", "-O", "width=200", page])


@pytest.mark.parametrize(
    ("text", "roff"), [(".hidden", r"\&.hidden"), ("'a' - \\", r"\(aqa\(aq \- \e"), ("…", r"\[u2026]")]
)
def test_a_text_means_nothing_to_roff(text: str, roff: str):
    assert _text(text) == roff
