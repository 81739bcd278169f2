import os

import pytest

from listener.config.lane import LaneSettings
from listener.config.loading import load
from listener.errors import ConfigError, Problem
from listener.sinks import registry
from support.config import GOOD, SECRET, toml


def test_a_small_file_is_filled_up_with_defaults(loaded, tmp_path):
    settings = loaded(GOOD)
    assert settings.server.url == "https://gws.example.com/base"
    assert settings.disposition.keys == ("DispositionCode",)
    assert settings.http is None
    assert settings.base == tmp_path
    assert settings.path(settings.journal.path) == tmp_path / "journal.db"


def test_all_problems_are_told_at_once(problems):
    found = problems(
        {
            "server": {"urll": "x", "login": "basci", "connect_timeout_s": 0, "client_cert_file": "no.pem"},
            "accounts": [{"username": "", "password_file": "gone"}, {"username": "b", "password": 7}],
            "disposition": {"keys": []},
            "sinks": {"a": {"type": "stdout", "batch": "many"}, "b": {}, "c d": {"type": "stdout"}},
            "http": {"listen": "9464"},
            "log": {"level": "loud"},
            "journl": {},
        }
    )
    assert found["server.url"] == "is required"
    assert found["server.urll"] == "unknown key, did you mean 'url'?"
    assert found["server.login"] == "should be 'basic' or 'none'"
    assert found["server.connect_timeout_s"] == "should be more than 0.0"
    assert found["server.client_cert_file"].endswith("no.pem: No such file or directory")
    assert found["server.client_key_file"].startswith("is required beside client_cert_file")
    assert found["accounts[0].username"] == "must not be empty"
    assert found["accounts[0].password_file"].endswith("gone: No such file or directory")
    assert found["accounts[1].password"] == "should be a text in quotes"
    assert found["disposition.keys"] == "should hold at least 1"
    assert found["sinks.a.batch"] == "should be a whole number"
    assert found["sinks.b.type"] == "is required"
    assert found["sinks.c d"] == "a sink's name consists of letters, digits, - and _"
    assert found["http.listen"].startswith("should be HOST:PORT")
    assert found["log.level"].startswith("should be 'debug'")
    assert found["journl"] == "unknown key, did you mean 'journal'?"


def test_problems_of_the_sinks_own_keys_come_with_the_others(problems):
    found = problems(
        {**GOOD, "server": {}, "sinks": {"crm": {"type": "webhook", "url": "crm", "batch": 0, "bacth": 1}}},
        sink_problems=registry.problems_of_all,
    )
    assert set(found) == {"server.url", "sinks.crm.url", "sinks.crm.batch", "sinks.crm.bacth"}


@pytest.mark.parametrize(
    ("wrong", "place", "text"),
    [
        ({"server": "x"}, "server", "should be a table"),
        ({"server": {"url": 1}}, "server.url", "should be a text in quotes"),
        ({"server": {"url": "http://u:PaSsWoRd@h"}}, "server.url", "must not contain a user name or password"),
        ({"server": {"url": "http://h?x=1"}}, "server.url", "should end with the path: paths are added to it"),
        ({"server": {"url": "http://h", "topic": "v2"}}, "server.topic", "should start with /"),
        ({"server": {"url": "http://h", "verify": "maybe"}}, "server.verify", "should be true or false"),
        ({"disposition": {"keys": "A"}}, "disposition.keys", "should be a list"),
        ({"disposition": {"keys": ["a\x1fb"]}}, "disposition.keys[0]", "a userData key must not be empty or contain"),
        ({"accounts": []}, "accounts", "at least one [[accounts]] or [[supervisors]] table"),
        ({"accounts": {"username": "a"}}, "accounts", "should be a list"),
        ({"sinks": {}}, "sinks", "should hold at least 1"),
        ({"sinks": {"crm": {"typ": "file"}}}, "sinks.crm.typ", "unknown key, did you mean 'type'?"),
        ({"sinks": {"crm": {"typ": "file"}}}, "sinks.crm.type", "is required"),
        ({"base": "/"}, "base", "unknown key"),
        ({"http": {"listen": "localhost:99999"}}, "http.listen", "should be HOST:PORT"),
        ({"http": {"listen": "::1:80"}}, "http.listen", "should be HOST:PORT"),
    ],
)
def test_a_wrong_value_is_named_by_its_place_in_plain_words(problems, wrong, place, text):
    assert problems({**GOOD, **wrong})[place].startswith(text)


@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan", '"always"', "[]"])
def test_a_horizon_is_a_number_of_hours_or_never_and_anything_else_one_problem(problems, value):
    found = problems(
        f"""
        server = {{ url = "http://gws.example.com", login = "none" }}
        sinks.audit = {{ type = "stdout", retry_horizon_h = {value} }}
        """
    )
    assert found == {"sinks.audit.retry_horizon_h": 'should be a number of hours above 0, or "never"'}


@pytest.mark.parametrize(("text", "hours"), [("0.0005", 0.0005), ("75", 75.0), ("never", "never")])
def test_a_horizon_can_come_from_the_environment(loaded, text, hours):
    settings = loaded(GOOD, {"LISTENER_SINKS__AUDIT__RETRY_HORIZON_H": text})
    assert settings.sinks["audit"].retry_horizon_h == hours


@pytest.mark.parametrize("number", ["inf", "-inf", "nan", "1e999", '"inf"'])
def test_a_number_has_to_be_finite_in_every_table(problems, number):
    found = problems(
        f"""
        server = {{ url = "http://gws.example.com", login = "none", keepalive_s = {number} }}
        journal = {{ retention_days = {number} }}
        sinks.audit = {{ type = "stdout", retry_limit_s = {number} }}
        sinks.crm = {{ type = "webhook", url = "http://crm.example.com", timeout_s = {number} }}
        """,
        sink_problems=registry.problems_of_all,
    )
    places = ("server.keepalive_s", "journal.retention_days", "sinks.audit.retry_limit_s", "sinks.crm.timeout_s")
    assert found == dict.fromkeys(places, "should be a finite number")


@pytest.mark.parametrize(
    ("account", "place", "text"),
    [
        ({"username": "a"}, "accounts[0].password_file", "a password or password_file is required"),
        ({"username": "a", "password": ""}, "accounts[0].password_file", "a password or password_file is required"),
        (
            {"username": "a", "password": SECRET, "password_file": "listener.toml"},
            "accounts[0].password_file",
            "give either password or password_file",
        ),
    ],
)
def test_an_account_has_one_password(problems, account, place, text):
    assert problems({**GOOD, "accounts": [account]})[place].startswith(text)


@pytest.mark.parametrize("given", [True, "yes"])
def test_a_session_that_others_take_over_cannot_be_ended_at_a_stop(problems, given):
    shared = {**GOOD, "journal": {"url": "postgresql://db/x"}}
    assert set(problems({**shared, "disconnect_on_stop": given})) == {"disconnect_on_stop"}


def test_a_username_stands_once(problems):
    twice = {**GOOD, "accounts": [{"username": "a", "password": "x"}, {"username": "a", "password": "y"}]}
    assert problems(twice) == {"accounts[1].username": "'a' is given more than once, first at accounts[0]"}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"[server\nurl = 1", "is not TOML"),
        (b"x = " + b"[" * 40 + b"]" * 40, "is nested deeper than 32 levels"),
        (b"x = " + b"[" * 4000 + b"]" * 4000, "is nested deeper than 32 levels"),
        ("[log]".encode("utf-16"), "is UTF-16, as PowerShell's > writes it"),
        (b'[log]\nlevel = "\xff"', "line 2: it is not UTF-8 text"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, content, text):
    path = tmp_path / "listener.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path, environ={})
    assert [problem.path for problem in caught.value.problems] == [str(path)]
    assert caught.value.problems[0].text.startswith(text)
    assert "TOML" not in text or "line 1, column 8" in caught.value.problems[0].text


def test_a_byte_order_mark_is_no_error(tmp_path):
    path = tmp_path / "listener.toml"
    path.write_bytes(b"\xef\xbb\xbf" + toml(GOOD).encode())
    assert load(path, environ={}).accounts[0].username == "agent1"


def test_each_value_can_come_from_the_environment_and_wins(loaded):
    settings = loaded(
        {**GOOD, "sinks": {"CRM-eu": {"type": "webhook", "url": "http://a", "headers": {"X-Key": "a"}}}},
        {
            "LISTENER_SERVER__URL": "http://other",
            "LISTENER_ACCOUNTS__0__PASSWORD": "123",
            "LISTENER_ACCOUNTS__1__USERNAME": "agent2",
            "LISTENER_ACCOUNTS__1__PASSWORD": "b",
            "LISTENER_DISPOSITION__KEYS": "A,B",
            "LISTENER_DISPOSITION__USER_DATA": '["C,D"]',
            "LISTENER_SINKS__CRM_EU__URL": "http://b",
            "LISTENER_SINKS__CRM_EU__HEADERS__X_KEY": "42",
            "LISTENER_SINKS__CRM_EU__BATCH": "7",
            "LISTENER_SINKS__NEW__TYPE": "stdout",
            "LISTENER_HTTP__LISTEN": "[::1]:80",
            "LISTENER_LOG": '{"level": "debug"}',
            "LISTENER_SHUTDOWN_TIMEOUT_S": "3.5",
        },
    )
    assert settings.server.url == "http://other"
    assert [account.username for account in settings.accounts] == ["agent1", "agent2"]
    assert settings.accounts[0].secret(settings.base) == "123"
    assert settings.disposition.keys == ("A", "B")
    assert settings.disposition.user_data == ("C,D",)
    assert settings.sinks["CRM-eu"].options == {"url": "http://b", "headers": {"X-Key": "42"}}
    assert settings.sinks["CRM-eu"].batch == 7
    assert settings.sinks["new"].type == "stdout"
    assert settings.http is not None
    assert settings.http.address == ("::1", 80)
    assert settings.log.level == "debug"
    assert settings.shutdown_timeout_s == 3.5


def test_a_table_can_be_json_in_one_variable_and_those_of_its_keys_win_whatever_comes_first(loaded):
    whole = {
        "listener_log": '{"level": "debug", "format": "json"}',
        "LISTENER_SINKS__OTHER": '{"type": "webhook", "url": "http://a"}',
    }
    of_keys = {"LISTENER_LOG__LEVEL": "error", "LISTENER_SINKS__OTHER__URL": "http://b"}
    for variables in (whole | of_keys, of_keys | whole):
        settings = loaded(GOOD, variables)
        assert (settings.log.level, settings.log.format) == ("error", "json")
        assert settings.sinks["other"] == LaneSettings(type="webhook", url="http://b")


def test_a_variable_below_what_is_no_table_is_a_problem(problems):
    found = problems(GOOD, {"LISTENER_SHUTDOWN_TIMEOUT_S__X": "1", "LISTENER_DISPOSITION__KEYS": ""})
    assert found["shutdown_timeout_s"] == "should be a number"
    assert found["disposition.keys"] == "should be a list (from LISTENER_DISPOSITION__KEYS)"


@pytest.mark.parametrize("in_a_variable", [False, True])
def test_a_key_may_still_have_its_old_name_and_that_is_told(loaded, problems, in_a_variable):
    server = GOOD["server"] | ({} if in_a_variable else {"max_response_bytes": 70_000})
    environ = {"LISTENER_SERVER__MAX_RESPONSE_BYTES": "70000"} if in_a_variable else {}
    settings = loaded(GOOD | {"server": server}, environ)
    assert settings.server.max_message_bytes == 70_000
    assert settings.renamed == ("server.max_response_bytes is called server.max_message_bytes now",)
    assert loaded(GOOD).renamed == ()
    both = {"max_response_bytes": 70_000, "max_message_bytes": 80_000}
    assert "server.max_response_bytes" in problems(GOOD | {"server": GOOD["server"] | both})


def test_the_environment_alone_is_a_configuration():
    settings = load(
        None,
        environ={
            "LISTENER_SERVER__URL": "http://h",
            "LISTENER_SERVER__LOGIN": "none",
            "LISTENER_SINKS__OUT__TYPE": "stdout",
        },
    )
    assert settings.sinks["out"] == LaneSettings(type="stdout")
    assert settings.base.is_absolute()


def test_variables_of_this_process_are_not_read_unless_they_are_handed_in(loaded, monkeypatch):
    monkeypatch.setitem(os.environ, "LISTENER_LOG__LEVEL", "error")
    assert loaded(GOOD).log.level == "info"


def test_a_problem_of_a_variable_names_the_variable(problems):
    found = problems(GOOD, {"LISTENER_LOG": "{", "LISTENER_ACCOUNTS__0__PASSWORDD": SECRET})
    assert found == {
        "log": "should be a table (from LISTENER_LOG)",
        "accounts[0].passwordd": "unknown key, did you mean 'password'? (from LISTENER_ACCOUNTS__0__PASSWORDD)",
    }


def test_unknown_variables_are_problems_where_they_can_only_be_meant_for_us(problems):
    found = problems(GOOD, {"LISTENER_SERVR__URL": "x", "LISTENER_LOG_LEVEL": "x", "LISTENER_SHUTDOWN_TIMEOUT": "1"})
    assert found == {
        "LISTENER_SERVR__URL": "unknown variable, did you mean 'LISTENER_SERVER__URL'?",
        "LISTENER_LOG_LEVEL": "unknown variable, did you mean 'LISTENER_LOG__LEVEL'?",
        "LISTENER_SHUTDOWN_TIMEOUT": "unknown variable, did you mean 'LISTENER_SHUTDOWN_TIMEOUT_S'?",
    }


def test_variables_that_kubernetes_sets_for_services_of_our_name_are_left_alone(loaded):
    services = ("", "_HTTP", "_SERVER", "_JOURNAL")
    names = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_9464_TCP_ADDR", "PORT_9464_TCP_PROTO")
    assert loaded(GOOD, {f"LISTENER{service}_{name}": "tcp://10.0.0.1:1" for service in services for name in names})


def test_an_account_cannot_be_numbered_past_the_next_one(problems):
    assert "accounts[7]" in problems(GOOD, {"LISTENER_ACCOUNTS__7__USERNAME": "x"})


def test_overrides_win_over_everything_and_none_is_not_given(loaded):
    settings = loaded(
        GOOD, {"LISTENER_LOG__LEVEL": "error"}, overrides={"log.level": "debug", "log.format": None, "http": {}}
    )
    assert settings.log.level == "debug"
    assert settings.log.format == "auto"
    assert settings.http is not None


def test_the_error_counts_as_bad_configuration(loaded):
    with pytest.raises(ConfigError) as caught:
        loaded({})
    assert caught.value.exit_status == 78
    assert Problem("server", "is required") in caught.value.problems
