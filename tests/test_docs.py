"""The documents against the code: what a reader copies out of them works."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from listener.daemon.assembly import load_checked
from listener.runtime.metrics import PREFIX, TABLE
from listener.web.openapi import description
from support.commands import commands
from support.logged import events

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
METRICS = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
HTTP = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_readmes_configuration_passes_the_check(tmp_path: Path):
    (snippet,) = blocks(README, "toml")
    (tmp_path / "agent1.secret").write_text("not a real one\n", encoding="utf-8")
    config = tmp_path / "listener.toml"
    config.write_text(snippet, encoding="utf-8")
    settings = load_checked(config, environ={})
    assert sorted(settings.sinks) == ["audit", "crm"]


def test_every_command_of_the_readme_exists():
    known = {words[0] for words in commands()}
    used = set(re.findall(r"disposition-listener ([a-z][a-z-]+)", README))
    assert used >= {"run", "check", "demo", "simulate", "set-disposition", "tail"}
    assert used - known == set()


def test_ci_runs_what_the_readme_says():
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    demo, test = (block for block in blocks(README, "sh") if "venv" in block)
    assert len(demo.strip().splitlines()) == len(test.strip().splitlines()) == 1
    for words in ("disposition-listener demo",):
        assert words in demo
        assert words in ci
    for words in ("'.[test]'", "python -m pytest"):
        assert words in test
        assert words.replace("python -m", 'python" -m') in ci


def rows(text: str) -> list[list[str]]:
    """The tables of a document, cell by cell, without their heads."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [[cell.replace("`", "").strip() for cell in line] for line in lines]


def test_every_metric_is_documented_and_every_documented_metric_is_one():
    documented = {row[0]: row[1:] for row in rows(METRICS) if row[0].startswith(PREFIX) and len(row) == 4}
    table = {PREFIX + row.name: [row.kind.__name__.lower(), ", ".join(row.labels) or "-", row.help] for row in TABLE}
    assert documented == table


def test_the_alerts_and_texts_of_the_documents_name_metrics_that_are():
    known = {PREFIX + row.name for row in TABLE} | {row.name for row in TABLE}
    named = set(re.findall(rf"{PREFIX}\w+", METRICS)) | set(re.findall(r"`(\w+_(?:total|seconds))`", METRICS + HTTP))
    assert len(named) > len(TABLE)
    assert named - known == set()


def test_every_path_is_documented_and_every_documented_path_is_one():
    described = description(secured=True)["paths"]
    paths = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    assert {row[0] for row in rows(HTTP)} == paths


UNITS = ("disposition-listener.service", "disposition-listener@.service")


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit_and_little_that_it_may_do(tmp_path: Path, unit: str):
    text = (ROOT / "deploy/systemd" / unit).read_text(encoding="utf-8")
    installed = tmp_path / unit.replace("@.", "@north.")
    installed.write_text(text.replace("/opt/disposition-listener/bin/disposition-listener", "/bin/true"), "utf-8")
    for words in (["verify"], ["security", "--offline=yes", "--threshold=11"]):  # an exposure of 1.1 at most
        done = subprocess.run(["systemd-analyze", *words, installed], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_units_differ_only_where_they_have_to():
    one, template = ((ROOT / "deploy/systemd" / unit).read_text(encoding="utf-8").splitlines() for unit in UNITS)
    own = [line for line in template if line not in one and not line.startswith("#")]
    assert [line.partition("=")[0] for line in own if "%i" not in line] == ["SocketBindAllow"]
    assert len([line for line in one if line not in template and not line.startswith("#")]) == len(own) - 1  # User=


def test_the_services_configuration_passes_the_check_where_its_credentials_are(tmp_path: Path):
    (snippet,) = blocks((ROOT / "deploy/systemd/README.md").read_text(encoding="utf-8"), "toml")
    config = tmp_path / "listener.toml"
    config.write_text(snippet.replace("/var/lib/disposition-listener", str(tmp_path)), encoding="utf-8")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "secrets_agent1.secret").write_text("not a real one\n", encoding="utf-8")
    assert load_checked(config, environ={"CREDENTIALS_DIRECTORY": str(credentials)}).accounts[0].username == "agent1"


# Event names that stand in no call of a logger in so many words.
BEYOND_CALLS = {"http_refused": ["error", "warning"], "library_log": ["critical", "error", "warning"]}


def test_every_event_of_the_log_is_documented_and_every_documented_one_is_logged():
    documented = {row[0]: row[1].split(", ") for row in rows((ROOT / "docs" / "logs.md").read_text(encoding="utf-8"))}
    assert documented == events() | BEYOND_CALLS
