"""`init` from the first question to a configuration with which `check` is content."""

import asyncio
import stat

import pytest
from typer.testing import CliRunner

from listener.cli import init as module
from listener.cli.app import build
from listener.config.loading import load
from listener.daemon.probes import Survey
from listener.errors import Problem
from listener.simulator import Simulator, SimulatorOptions
from support.authority import Authority

SECRET = "secret"  # of every agent of the simulator
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
async def sim():
    async with Simulator(SimulatorOptions(ack=True, disposition_key="Outcome")) as running:
        yield running


@pytest.fixture
def init(invoke):
    """Run `init` with answers; the console is off, for its port may be taken."""

    def run(*arguments, answers=()):
        words = [str(word) for word in ("init", *arguments)]
        if "--listen" not in words:
            words += ["--listen", ""]
        return CliRunner().invoke(build(rich=False), words, input="".join(f"{line}\n" for line in answers))

    return run


@pytest.fixture
def team(tmp_path):
    path = tmp_path / "agents.csv"
    path.write_text("username,password\n" + "".join(f"agent{number},{SECRET}\n" for number in (1, 2)))
    path.chmod(0o600)
    return path


async def test_questions_lead_to_a_configuration_and_tell_what_the_server_says(init, sim, tmp_path):
    answers = ["not a url", f"{sim.url}/api/v2", sim.url, "", "agent1", SECRET, "", "state", ""]
    result = await asyncio.to_thread(init, answers=answers)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "should be a URL" in result.stdout
    assert "leave out /api/v2" in result.stdout
    for told in ("version   8.5.202.96", "login     agent1: granted", "ack       offered", "key       Outcome"):
        assert f"  {told}\n" in result.stdout
    settings = load(tmp_path / "listener.toml", environ={})
    assert (settings.server.url, settings.disposition.keys) == (sim.url, ("Outcome",))
    assert [account.secret(tmp_path) for account in settings.accounts] == [SECRET]
    assert stat.S_IMODE((tmp_path / "agent1.secret").stat().st_mode) == 0o600
    assert (tmp_path / "state").is_dir()
    assert SECRET not in (tmp_path / "listener.toml").read_text().replace("agent1.secret", "")
    assert SECRET not in result.stdout
    assert "disposition-listener check --connect  #" in result.stdout


async def test_a_team_needs_no_question(init, invoke, sim, team, tmp_path):
    given = (
        "-y",
        "--server",
        sim.url,
        "--accounts-file",
        team,
        "--folder",
        "var",
        "--webhook",
        "https://crm.example.com",
    )
    result = await asyncio.to_thread(init, tmp_path / "etc" / "north.toml", *given)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"tail -f --config {tmp_path}/etc/north.toml" in result.stdout
    checked = await asyncio.to_thread(invoke, "check", "--connect", "-c", "etc/north.toml")
    assert (checked.exit_code, "all logged in" in checked.stdout) == (78, False), "there is no such receiver"
    assert [line.partition(": ")[0] for line in checked.stderr.splitlines()] == ["error"]
    settings = load(tmp_path / "etc" / "north.toml", environ={})
    assert len(settings.accounts) == 2
    assert settings.path(settings.journal.path) == tmp_path / "var" / "journal.db"


def test_without_a_network_it_is_written_all_the_same(init, team, tmp_path):
    result = init("-y", "--server", NOWHERE, "--accounts-file", team)
    assert result.exit_code == 0
    assert "written: listener.toml (nothing is known of the server yet)" in result.stdout
    assert "connect" in result.stdout, "the reason"
    (tmp_path / "listener.toml").unlink()
    result = init("--no-probe", "-y", "--server", NOWHERE, "--accounts-file", team, "--key", "A", "--key", "B")
    assert "looking at" not in result.stdout
    assert load(tmp_path / "listener.toml", environ={}).disposition.keys == ("A", "B")


async def test_a_refused_login_is_told_before_anything_is_written(init, sim, tmp_path):
    result = await asyncio.to_thread(init, answers=[sim.url, "", "agent1", "wrong", "n"])
    assert result.exit_code == 1
    assert "login of 'agent1' refused" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_no_file_is_replaced_unless_that_is_wanted(init, team, tmp_path):
    (tmp_path / "listener.toml").write_text("mine")
    result = init("-y", "--no-probe", "--server", NOWHERE, "--accounts-file", team)
    assert (result.exit_code, (tmp_path / "listener.toml").read_text()) == (1, "mine")
    assert result.stderr.startswith("error: listener.toml is there already")
    assert init("-y", "--no-probe", "--force", "--server", NOWHERE, "--accounts-file", team).exit_code == 0
    (tmp_path / "agent1.secret").write_text("mine")
    team.unlink()
    answers = [NOWHERE, "", "agent1", SECRET, "", "", ""]
    result = init("other.toml", "--no-probe", answers=answers)
    assert (result.exit_code, (tmp_path / "agent1.secret").read_text()) == (1, "mine")
    assert not (tmp_path / "other.toml").exists()


@pytest.mark.parametrize(
    ("given", "option", "text"),
    [
        ([], "--server", "is needed where nothing is asked"),
        (["--server", "gws"], "--server", "should be a URL"),
        (["--server", NOWHERE, "--username", "a"], "--password-file", "is needed where nothing is asked"),
        (["--server", NOWHERE, "--accounts-file", "gone.csv"], "--accounts-file", "cannot read"),
        (["--server", NOWHERE, "--accounts-file", "empty.csv"], "--accounts-file", "holds no account"),
        (["--server", NOWHERE, "--accounts-file", "agents.csv", "--key", 'a"'], "--key", "a userData key must not"),
        (["--server", NOWHERE, "--accounts-file", "agents.csv", "--webhook", "x"], "--webhook", "should be a URL"),
        (["--server", NOWHERE, "--accounts-file", "agents.csv", "--listen", "x"], "--listen", "should be HOST:PORT"),
    ],
)
def test_what_will_not_do_is_named_by_its_option(init, team, tmp_path, given, option, text):
    (tmp_path / "empty.csv").write_text("username,password\n")
    result = init("-y", "--no-probe", *given)
    assert result.exit_code == 2
    assert option in result.stderr
    assert text in " ".join(result.stderr.split())
    assert not (tmp_path / "listener.toml").exists()


def test_a_file_of_a_team_that_is_there_is_what_is_meant(init, team, tmp_path):
    assert init("-y", "--no-probe", "--server", NOWHERE).exit_code == 0
    assert len(load(tmp_path / "listener.toml", environ={}).accounts) == 2
    team.unlink()
    result = init("-y", "--no-probe", "--force", "--server", NOWHERE)
    assert (result.exit_code, "--accounts-file" in result.stderr) == (2, True)
    answers = [NOWHERE, "gone.csv", "", "agent1", SECRET, "", "", ""]
    result = init("--no-probe", "--force", answers=answers)
    assert (result.exit_code, "cannot read" in result.stdout) == (0, True)


def test_an_authority_that_is_missing_is_asked_for(init, team, tmp_path, monkeypatch):
    asked = []

    async def survey(settings):
        asked.append(settings.server.ca_file)
        untrusted = Problem("server.ca_file", "the certificate of https://gws is not trusted")
        return Survey(problems=(untrusted,)) if settings.server.ca_file is None else Survey(key="Outcome")

    monkeypatch.setattr(module, "survey", survey)
    Authority(tmp_path)  # writes ca.pem
    result = init(answers=["https://gws", "agents.csv", "ca.pem", "", "", ""])
    assert (result.exit_code, asked) == (0, [None, tmp_path / "ca.pem"])
    settings = load(tmp_path / "listener.toml", environ={})
    assert (settings.server.ca_file, settings.disposition.keys) == (tmp_path / "ca.pem", ("Outcome",))
    result = init("--force", answers=["https://gws", "agents.csv", "", "n"])
    assert (result.exit_code, "is not trusted" in result.stdout) == (1, True)


def test_what_check_has_against_it_is_told(init, tmp_path):
    (tmp_path / "agents.csv").write_text("username,password,password_file\na,x,\nb,,gone.secret\n")
    result = init("-y", "--no-probe", "--server", NOWHERE, "--accounts-file", "agents.csv")
    assert result.exit_code == 78
    assert result.stderr.startswith("error: agents.csv:3: password_file: cannot read")
