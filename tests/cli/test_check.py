"""`check` tells every problem at once, and no secret."""

import pytest

from support.config import write_config

WANTED = "expected UTF-8"


def test_a_sound_configuration_is_summed_up_without_secrets(invoke, config, tmp_path):
    result = invoke("check", "--config", config)
    assert (result.exit_code, result.stderr) == (0, "")
    for shown in (f"ok: {config}", "http://127.0.0.1:9", "agent1", f"{tmp_path}/journal.db", "audit (file)", "off"):
        assert shown in result.stdout
    assert "pa55word" not in result.stdout


def test_a_shared_journal_is_shown_with_the_name_of_the_replica(invoke, tmp_path):
    journal = {"path": None, "url": "postgresql://db.example.com/x", "username": "listener", "replica": "host1"}
    journal["password"] = "pa55word"
    server = {"url": "http://127.0.0.1:9", "login": "none"}
    config = write_config(tmp_path, server=server, journal=journal, sinks={"audit": {"on": "host1"}})
    result = invoke("check", "--config", config)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "journal   postgresql://db.example.com/x, as replica host1\n" in result.stdout
    assert "pa55word" not in result.stdout


def test_an_old_name_is_told(invoke, tmp_path):
    accounts = [{"username": "agent1", "password": "x"}]
    server = {"url": "http://127.0.0.1:9", "max_response_bytes": 70_000}
    config = write_config(tmp_path, server=server, accounts=accounts)
    result = invoke("check", "--config", config)
    assert result.exit_code == 0
    assert "renamed   server.max_response_bytes is called server.max_message_bytes now" in result.stdout


def test_every_problem_is_told_at_once_with_its_place(invoke, tmp_path):
    config = write_config(
        tmp_path,
        server={"url": "ftp://example.com", "tpoic": "/x"},
        accounts=[{"username": "agent1", "password_file": "missing.secret"}],
        sinks={"audit": {"paht": "x"}, "crm": {"type": "webhok"}},
        http={"listen": "here"},
    )
    result = invoke("check", "--config", config)
    assert (result.exit_code, result.stdout) == (78, "")
    places = {line.split(": ")[1] for line in result.stderr.splitlines()}
    assert places == {
        "server.url",
        "server.tpoic",
        "accounts[0].password_file",
        "sinks.audit.paht",
        "sinks.crm.type",
        "http.listen",
    }
    assert "did you mean 'topic'?" in result.stderr
    assert "did you mean 'webhook'?" in result.stderr


def test_a_second_sink_on_standard_output_is_told_beside_other_problems(invoke, tmp_path):
    config = write_config(
        tmp_path,
        server={"url": "ftp://example.com"},
        accounts=[{"username": "agent1", "password": "x"}],
        sinks={"one": {"type": "stdout"}, "two": {"type": "stdout"}},
    )
    result = invoke("check", "--config", config)
    assert result.exit_code == 78
    assert 'sinks.two.type: "stdout" can be used once, sinks.one has it already' in result.stderr
    assert "server.url: " in result.stderr
    assert "sinks.one.type" not in result.stderr


def test_a_file_without_certificates_is_a_problem_of_its_setting(invoke, tmp_path):
    (tmp_path / "ca.pem").write_text("not a certificate")
    config = write_config(
        tmp_path, server={"url": "https://127.0.0.1:9", "login": "none", "ca_file": tmp_path / "ca.pem"}
    )
    result = invoke("check", "--config", config)
    assert result.exit_code == 78
    assert result.stderr.startswith("error: server.ca_file: ")


def test_many_accounts_are_counted(invoke, tmp_path):
    accounts = [{"username": f"agent{number}", "password": "x"} for number in range(12)]
    result = invoke(
        "check", "--config", write_config(tmp_path, server={"url": "http://127.0.0.1:9"}, accounts=accounts)
    )
    assert "agent4 and 7 more" in result.stdout


def test_the_environment_alone_is_a_configuration(invoke, monkeypatch, tmp_path):
    for name, value in {
        "SERVER__URL": "http://127.0.0.1:9",
        "SERVER__LOGIN": "none",
        "SINKS__AUDIT__TYPE": "file",
        "SINKS__AUDIT__PATH": "a.jsonl",
    }.items():
        monkeypatch.setenv(f"LISTENER_{name}", value)
    result = invoke("check")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "ok: the environment" in result.stdout
    assert f"{tmp_path}/journal.db (not there yet)" in result.stdout


def test_nothing_at_all_is_no_configuration(invoke):
    result = invoke("check")
    assert result.exit_code == 78
    assert result.stderr.startswith("error: there is no configuration: name its file with --config")
    assert "is required" not in result.stderr


def test_a_variable_that_was_meant_to_be_the_configuration_is_named_beside_that(invoke, monkeypatch):
    monkeypatch.setenv("LISTENER_SERVR__URL", "http://127.0.0.1:9")
    result = invoke("check")
    assert result.exit_code == 78
    assert "error: LISTENER_SERVR__URL: unknown variable" in result.stderr


def test_what_the_host_refuses_is_told_with_the_problems_of_the_configuration(invoke, tmp_path):
    (tmp_path / "agent1.secret").write_bytes("pa55word\n".encode("utf-16"))
    config = write_config(
        tmp_path,
        server={"url": "https://gws.example.com/api/v2"},
        accounts=[{"username": "agent1", "password_file": "agent1.secret"}],
        journal={"path": "gone/journal.db"},
        sinks={"audit": {"path": "gone/a.jsonl"}},
    )
    result = invoke("check", "--config", config)
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.splitlines() == [
        f"error: accounts[0].password_file: {tmp_path}/agent1.secret is UTF-16, as PowerShell's > writes it: {WANTED}",
        "error: server.url: leave out /api/v2: the paths that are added to it begin with /api themselves",
        f"error: journal.path: there is no folder {tmp_path}/gone",
        f"error: sinks.audit.path: there is no folder {tmp_path}/gone",
    ]


def test_what_is_unsafe_is_a_problem_of_which_run_says_the_same_and_goes_on(invoke, tmp_path):
    """The journal's lock, which a folder has the place of, is what ends this `run`."""
    config = write_config(
        tmp_path,
        server={"url": "http://gws.example.com"},
        accounts=[{"username": "agent1", "password": "pa55word"}],
    )
    words = "server.url: the login may pass the network to gws.example.com unencrypted: use https://"
    result = invoke("check", "--config", config)
    assert (result.exit_code, result.stdout) == (78, "")
    assert result.stderr.splitlines() == ["note: `run` logs this and goes on", f"error: {words}"]
    (tmp_path / "journal.db.lock").mkdir()
    result = invoke("run", "--config", config)
    assert result.exit_code == 1
    assert words in result.stderr
    assert "configuration_unsafe" in result.stderr


def test_beside_other_problems_it_is_one_of_them(invoke, tmp_path):
    config = write_config(
        tmp_path,
        server={"url": "http://gws.example.com"},
        accounts=[{"username": "agent1", "password": "pa55word"}],
        journal={"path": "gone/journal.db"},
    )
    text = invoke("check", "--config", config).stderr
    assert [line.split(": ")[1] for line in text.splitlines()] == ["journal.path", "server.url"]


def test_a_warning_is_told_and_changes_no_status(invoke, tmp_path):
    config = write_config(
        tmp_path, server={"url": "https://gws.example.com"}, accounts=[{"username": "agent1", "password": "pa55word "}]
    )
    result = invoke("check", "--config", config)
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: accounts[0].password: begins or ends with a blank")
    assert result.stdout.startswith("ok: ")


@pytest.mark.parametrize("folder", ["missing", "file/below"])
def test_connecting_probes_the_journals_folder_too(invoke, tmp_path, folder):
    (tmp_path / "file").write_text("")
    config = write_config(
        tmp_path, server={"url": "http://127.0.0.1:9", "login": "none"}, journal={"path": tmp_path / folder / "j.db"}
    )
    result = invoke("check", "--config", config, "--connect")
    assert result.exit_code == 78
    assert f"error: journal.path: there is no folder {tmp_path / folder}" in result.stderr
