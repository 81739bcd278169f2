"""The text of a first configuration says what was answered, whatever that is."""

from pathlib import Path

import pytest

from listener.cli.first_config import Answers, text_of
from listener.config.loading import load

TEAM = Answers(
    url="https://gws.example.com/base",
    ca_file=None,
    accounts_file=Path("agents.csv"),
    username=None,
    password_file=None,
    keys=("DispositionCode",),
    folder=Path(),
    webhook=None,
    listen=None,
)
ONE = TEAM._replace(accounts_file=None, username='O"Neil ${HOME} \\ é\x7f', password_file=Path("a b.secret"))


@pytest.fixture
def read(tmp_path):
    (tmp_path / "agents.csv").write_text("username,password\na,x\nb,y\n")
    (tmp_path / "a b.secret").write_text("z")
    (tmp_path / "ca.pem").write_text("")

    def read_text(text):
        (tmp_path / "listener.toml").write_text(text, encoding="utf-8")
        return load(tmp_path / "listener.toml", environ={})

    return read_text


def test_a_team(read):
    settings = read(text_of(TEAM))
    assert [account.username for account in settings.accounts] == ["a", "b"]
    assert (settings.server.url, settings.server.ca_file) == (TEAM.url, None)
    assert (str(settings.journal.path), settings.http, list(settings.sinks)) == ("journal.db", None, ["audit"])
    assert settings.sinks["audit"].options == {"path": "dispositions.jsonl"}


def test_a_single_agent_whose_name_would_be_more_than_a_name(read, tmp_path):
    (account,) = read(text_of(ONE)).accounts
    assert (account.username, account.password_file) == (ONE.username, tmp_path / "a b.secret")


def test_everything_else_that_can_be_answered(read, tmp_path):
    more = {"ca_file": Path("ca.pem"), "folder": Path("/srv/x"), "listen": "127.0.0.1:1"}
    settings = read(text_of(TEAM._replace(keys=("A", "B"), webhook="http://127.0.0.1:9/x", **more)))
    assert settings.disposition.keys == ("A", "B")
    assert settings.server.ca_file == tmp_path / "ca.pem"
    assert str(settings.journal.path) == "/srv/x/journal.db"
    assert settings.sinks["crm"].options == {"url": "http://127.0.0.1:9/x"}
    assert settings.http.listen == "127.0.0.1:1"


@pytest.mark.parametrize("answers", [TEAM, ONE])
def test_what_is_commented_out_is_right_as_well(read, answers):
    """Each line that is a setting behind a hash can be used as it stands."""
    lines = text_of(answers).splitlines()
    text = "\n".join(line.removeprefix("# ") if " = " in line or "[sinks" in line else line for line in lines)
    settings = read(text)
    assert settings.server.start_contact_center_session
    assert settings.sinks["crm"].events == "changes"
