"""The sink of CONTRIBUTING.md, installed from a package of its own and found through its entry point."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.config import write_config
from support.process import SOURCE, Process, command_environment

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`(\S+)`\n\n```(?:python|toml)\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL))
CODE_LINES = 45  # that a reader has to take in; a kind is small


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the package is installed in."""
    package, site = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("site")
    for name in ("spool_sink.py", "pyproject.toml"):
        (package / name).write_text(FILES[name], encoding="utf-8")
    words = ["install", "-q", "--no-index", "--no-deps", "--no-build-isolation", "--target", site, package]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, capture_output=True, text=True)
    return site


@pytest.fixture
def run(installed, tmp_path, owned):
    """Run `python -m …` where the package is installed; gives exit status and lines."""

    async def start(*words):
        env = command_environment(tmp_path, {"PYTHONPATH": f"{installed}:{SOURCE}"})
        process = await owned.enter_async_context(Process([sys.executable, "-m", *words], env=env, cwd=tmp_path))
        return await process.wait(timeout_s=90.0), process.lines

    return start


@pytest.fixture
def config(tmp_path):
    (tmp_path / "spool").mkdir()
    account = {"username": "agent1", "password": "secret"}
    sinks = {"crm": {"type": "spool", "folder": "spool"}}
    return write_config(tmp_path, server={"url": "http://127.0.0.1:9"}, accounts=[account], sinks=sinks)


async def test_it_is_listed_with_where_it_comes_from_and_its_settings(run):
    status, lines = await run("listener", "sinks", "kinds")
    assert status == 0
    row = lines.index("spool        spool_sink, site-sinks 1.0")
    assert lines[row + 1] == "  folder  required"


async def test_its_configuration_is_checked_like_any_other(run, config):
    assert (await run("listener", "check", "--config", config))[0] == 0
    config.write_text(config.read_text(encoding="utf-8").replace('"folder"', '"foldr"'), encoding="utf-8")
    status, lines = await run("listener", "check", "--config", config)
    assert status == 78
    assert "error: sinks.crm.foldr: unknown key, did you mean 'folder'?" in lines


async def test_it_takes_events(run, config, tmp_path):
    status, lines = await run("listener", "sinks", "test", "crm", "--config", config)
    assert (status, lines[-1].partition(" accepted ")[0]) == (0, "crm")
    (file,) = (tmp_path / "spool").glob("*.jsonl")
    assert json.loads(file.read_bytes())["type"] == "disposition-listener.chat.test"


async def test_it_passes_the_contract_suite(run, tmp_path):
    (tmp_path / "test_spool.py").write_text(FILES["test_spool.py"], encoding="utf-8")
    status, lines = await run("pytest", "-q", "-p", "no:cacheprovider", "test_spool.py")
    assert status == 0, "\n".join(lines)
    assert re.match(r"1\d passed, 3 skipped", lines[-1])


def test_it_imports_nothing_of_ours_but_the_public_surface():
    ours = {
        name: set(re.findall(r"^(?:from|import) (listener\S*)", text, re.MULTILINE)) for name, text in FILES.items()
    }
    assert ours["spool_sink.py"] == {"listener.sinks.api"}
    assert ours["test_spool.py"] == {"listener.sinks.api", "listener.testing.contract"}


def test_it_is_small_enough_to_be_read():
    code = [
        line for line in FILES["spool_sink.py"].splitlines() if line.strip() and not line.startswith(("import", "from"))
    ]
    assert len(code) <= CODE_LINES
