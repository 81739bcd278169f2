"""Completion and the manual page, installed as docs/operations.md says, in the shells themselves."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.config import write_config
from support.process import command_environment
from support.tools import need

PAGE = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("## Completion and the manual page\n")[2].partition("\n## ")[0]
TYPED = "disposition-listener sinks resume --config listener.toml "

pytestmark = pytest.mark.long


@pytest.fixture
def run(tmp_path: Path):
    """Run a program in a folder with a configuration; what it prints."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "disposition-listener"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m listener "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    write_config(tmp_path, server={"url": "http://127.0.0.1:9"}, webhook="http://127.0.0.1:9/")
    env = command_environment(tmp_path, {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "LC_ALL": "C.UTF-8"})

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def installed(run, tmp_path: Path) -> Path:
    """Where the commands of the page have put everything."""
    (commands,) = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
    run("bash", "-ec", commands.replace(" /usr/", f" {tmp_path}/usr/"))
    return tmp_path


def test_bash_offers_the_sinks_of_the_configuration(installed: Path, run):
    script = installed / "usr/share/bash-completion/completions/disposition-listener"
    words = " ".join(f"'{word}'" for word in TYPED.split(" "))
    ask = f"COMP_WORDS=({words}); COMP_CWORD=5; _disposition_listener_completion disposition-listener"
    assert run("bash", "-ec", f"source {script}; {ask}; echo ${{COMPREPLY[@]}}").split() == ["audit", "crm"]


def test_fish_offers_the_sinks_of_the_configuration(installed: Path, run):
    script = installed / "usr/share/fish/vendor_completions.d/disposition-listener.fish"
    found = run(need("fish", package="fish"), "-c", f"source {script}; complete -C '{TYPED}'")
    assert found.split() == ["audit", "crm"]


def test_zsh_finds_the_function_and_takes_what_is_offered(installed: Path, run):
    zsh = need("zsh", package="zsh")
    folder = installed / "usr/share/zsh/vendor-completions"
    run(zsh, "-n", str(folder / "_disposition-listener"))
    setup = f"fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -d {installed}/dump"
    offer = "_arguments() { print -r -- $*; }; words=(disposition-listener sinks re); CURRENT=3"
    found = run(zsh, "-fc", f"{setup}; {offer}; print $_comps[disposition-listener]; _disposition-listener")
    assert found.split()[0] == "_disposition-listener"
    assert '"resume"' in found
    assert "kinds" not in found


def test_man_finds_the_page(installed: Path, run):
    need("man", package="man-db")
    assert shutil.which("man")
    text = run("man", "-M", str(installed / "usr/local/share/man"), "disposition-listener")
    assert "DISPOSITION-LISTENER(1)" in text
