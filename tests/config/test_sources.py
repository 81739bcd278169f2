"""A configuration of several files, and variables in their values."""

import os

import pytest

from listener.config.loading import load, parts_of
from listener.errors import ConfigError, Problem
from support.config import GOOD, SECRET, toml


@pytest.fixture
def files(tmp_path):
    """Write files below `conf.d`, by name, each a table or a text."""

    def write(**contents):
        folder = tmp_path / "conf.d"
        folder.mkdir(exist_ok=True)
        for name, table in contents.items():
            text = table if isinstance(table, str) else toml(table)
            (folder / f"{name}.toml").write_text(text, encoding="utf-8")

    return write


WITH_MORE = {"include": ["conf.d/*.toml"], **GOOD}


def test_included_files_add_tables_keys_and_entries_of_lists(loaded, files, tmp_path):
    files(
        b={"accounts": [{"username": "b", "password_file": "b.secret"}], "sinks": {"audit": {"batch": 7}}},
        a={"accounts": [{"username": "a", "password": "x"}], "sinks": {"crm": {"type": "webhook", "url": "http://c"}}},
    )
    (tmp_path / "b.secret").write_text("beside the main file")
    (tmp_path / "other.secret").write_text("likewise")
    (tmp_path / "conf.d" / ".hidden.toml").write_text("not TOML")
    settings = loaded(WITH_MORE, {"LISTENER_ACCOUNTS__2__PASSWORD_FILE": "other.secret"})
    assert [account.username for account in settings.accounts] == ["agent1", "a", "b"]
    assert settings.accounts[2].password_file == tmp_path / "other.secret"
    assert settings.sinks["audit"].batch == 7
    assert settings.sinks["crm"].options == {"url": "http://c"}


def test_a_whole_folder_can_be_included_and_no_file_counts_twice(loaded, files, tmp_path):
    files(a={"log": {"level": "debug"}})
    table = {**GOOD, "include": ["conf.d/*", "*.toml", str(tmp_path / "conf.d" / "a.toml")]}
    assert loaded(table).log.level == "debug"


def test_problems_name_the_file_and_its_own_key(problems, files):
    files(
        a={"accounts": [{"username": "agent1", "password": SECRET}], "http": {"listen": "x"}, "sinks": {"crm": {}}},
        b={"accounts": [{"user": "b"}], "log": {"level": "loud"}, "servr": {}, "include": ["c.toml"]},
        c={"server": {"url": "http://elsewhere", "ack": True}, "log": {"level": "info"}, "accounts": "none"},
    )
    found = problems(WITH_MORE)
    assert found.pop("conf.d/a.toml: http.listen").startswith("should be HOST:PORT")
    assert found.pop("conf.d/b.toml: log.level").startswith("should be 'debug'")
    assert found == {
        "conf.d/a.toml: accounts[0].username": "'agent1' is given more than once, first at accounts[0]",
        "conf.d/a.toml: sinks.crm.type": "is required",
        "conf.d/b.toml: accounts[0].username": "is required",
        "conf.d/b.toml: accounts[0].user": "unknown key, did you mean 'username'?",
        "conf.d/b.toml: accounts[0].password_file": found["conf.d/b.toml: accounts[0].password_file"],
        "conf.d/b.toml: servr": "unknown key, did you mean 'server'?",
        "conf.d/b.toml: include": "an included file includes no other",
        "conf.d/c.toml: server.url": "is given more than once, first at listener.toml: server.url",
        "conf.d/c.toml: log.level": "is given more than once, first at conf.d/b.toml: log.level",
        "conf.d/c.toml: accounts": "is given more than once, first at listener.toml: accounts",
    }


def test_accounts_of_a_file_that_is_included_and_of_the_accounts_file_have_their_own_places(problems, files, tmp_path):
    files(a={"accounts_file": "agents.csv", "accounts": [{"username": "a", "password": "x"}]})
    (tmp_path / "agents.csv").write_text("username,password\na,y\n")
    assert problems({key: value for key, value in WITH_MORE.items() if key != "accounts"}) == {
        "agents.csv:2: username": "'a' is given more than once, first at conf.d/a.toml: accounts[0]"
    }


def test_files_that_cannot_be_read_are_told_at_once(files, tmp_path):
    files(a="[log", b='[log]\nlevel = "info"', c="also = = wrong")
    (tmp_path / "conf.d" / "d.toml").mkdir()
    os.mkfifo(tmp_path / "conf.d" / "e.toml")
    (tmp_path / "listener.toml").write_text(toml(WITH_MORE))
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "listener.toml", environ={})
    assert [problem.path for problem in caught.value.problems] == [
        "conf.d/a.toml",
        "conf.d/c.toml",
        "conf.d/d.toml",
        "conf.d/e.toml",
    ]


@pytest.mark.parametrize(
    ("patterns", "path", "text"),
    [
        (["conf.d/none-[0-9].toml", "gone.toml"], "include[1]", "cannot read "),
        ("conf.d/*.toml", "include", "should be a list"),
        ([7], "include[0]", "should be a text in quotes"),
    ],
)
def test_a_wrong_pattern_is_a_problem(problems, patterns, path, text):
    found = problems({**GOOD, "include": patterns})
    assert list(found) == [path]
    assert found[path].startswith(text)


def test_variables_stand_in_values(loaded, tmp_path):
    table = {
        **GOOD,
        "server": {"url": "https://${HOST}:${PORT:-8443}/gws", "request_timeout_s": "${TIMEOUT:-}7"},
        "accounts": [{"username": "${AGENT}", "password": "$${HOST}$HOST${lower}$$"}],
        "sinks": {"audit": {"type": "stdout", "format": "template", "template": "${chatId} ${SITE}"}},
    }
    settings = loaded(table, {"HOST": "gws.example.com", "AGENT": "a${HOST}", "SITE": "north", "TIMEOUT": ""})
    assert settings.server.url == "https://gws.example.com:8443/gws"
    assert settings.server.request_timeout_s == 7
    assert settings.accounts[0].username == "a${HOST}"
    assert settings.accounts[0].secret(tmp_path) == "${HOST}$HOST${lower}$$"
    assert settings.sinks["audit"].template == "${chatId} north"


def test_a_variable_that_is_not_set_is_a_problem_of_its_place_and_nothing_else_is(problems, files):
    files(a={"accounts": [{"username": "a", "password": "${PW_A}"}]})
    found = problems({**WITH_MORE, "server": {"url": "${GWS_URL}"}, "disposition": {"keys": ["A", "${KEY}"]}})
    text = "the variable {0} is not set (for ${{{0}}} as it stands write $${{{0}}})"
    assert found == {
        "server.url": text.format("GWS_URL"),
        "disposition.keys[1]": text.format("KEY"),
        "conf.d/a.toml: accounts[0].password": text.format("PW_A"),
    }


def test_what_a_variable_holds_is_not_quoted(problems):
    found = problems({**GOOD, "http": {"listen": "${PW}"}}, {"PW": SECRET})
    assert found["http.listen"].startswith("should be HOST:PORT")


def test_an_included_file_can_be_named_by_a_variable(loaded, files):
    files(a={"log": {"level": "error"}})
    assert loaded(GOOD, {"LISTENER_INCLUDE": "conf.d/*.toml"}).log.level == "error"
    assert loaded({**GOOD, "include": ["${D}/*.toml"]}, {"D": "conf.d"}).log.level == "error"


def test_what_is_sound_can_be_used_without_the_variables(files, tmp_path):
    files(a={"journal": {"path": "other.db"}})
    (tmp_path / "listener.toml").write_text(toml({**WITH_MORE, "server": {"url": "${GWS}"}}))
    parts = parts_of(tmp_path / "listener.toml", environ={})
    assert (parts.server, str(parts.journal.path)) == (None, "other.db")
    assert parts.placed([Problem("journal.path", "x")]) == [Problem("conf.d/a.toml: journal.path", "x")]
