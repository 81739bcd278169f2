"""Options mean the same wherever they stand; and what they lead to."""

import errno
import os
import shutil
import stat
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from listener.cli.options import place_of, replacing, time_ms
from listener.config import loading
from listener.errors import StartError

NEEDS_CONFIG = [("run",), ("check",), ("set-disposition", "chat", "code"), ("journal", "stats"), ("tail",)]
NEEDS_CONFIG += [
    ("dead-letters", "list"),
    ("dead-letters", "drop", "--all"),
    ("sinks", "list"),
    ("sinks", "resume", "x"),
]


@pytest.mark.parametrize("command", NEEDS_CONFIG, ids=" ".join)
@pytest.mark.parametrize("option", ["--config", "-c"])
def test_a_configuration_that_is_not_there_is_named_by_every_command_that_reads_one(invoke, command, option):
    result = invoke(*command, option, "missing.toml")
    assert result.exit_code == 78
    assert result.stderr == "error: missing.toml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize(
    ("command", "way"),
    [
        (("tail",), "tail FILE, which names the audit file"),
        (("status",), "--path FILE, which names the journal"),
        (("sinks", "list"), "--path FILE, which names the journal"),
        (("replicas", "list"), None),
    ],
)
def test_where_a_configuration_cannot_be_read_what_works_without_it_is_named(invoke, tmp_path, command, way):
    (tmp_path / "broken.toml").write_text("[server")
    found = invoke(*command, "-c", "broken.toml")
    first, *more = found.stderr.splitlines()
    assert (found.exit_code, first.split(":")[1:3]) == (78, [" broken.toml", " is not TOML"])
    assert more == ([] if way is None else [f"error: works without the configuration: {way}"])


def test_a_configuration_that_is_not_named_is_looked_for(invoke, monkeypatch, tmp_path, config):
    """By LISTENER_CONFIG, then here, then in /etc, unless variables say which server it is."""
    shutil.copy(config, tmp_path / "elsewhere.toml")
    assert invoke("check").stdout.startswith("ok: listener.toml\n")
    monkeypatch.setenv("LISTENER_CONFIG", str(tmp_path / "elsewhere.toml"))
    assert invoke("check").stdout.startswith(f"ok: {tmp_path}/elsewhere.toml\n")
    assert invoke("check", "-c", "listener.toml").stdout.startswith("ok: listener.toml\n")
    missing = invoke("journal", "stats", "--path", "none.db")
    assert missing.stderr == "error: journal none.db: no such file\n"
    monkeypatch.delenv("LISTENER_CONFIG")
    monkeypatch.setenv("LISTENER_SERVER__TOPIC", "/v2/me/chats")
    assert invoke("check").stdout.startswith("ok: listener.toml\n")
    monkeypatch.setenv("LISTENER_SERVER__URL", "https://gws.example.com")
    text = invoke("check").stderr
    assert "sinks: is required" in text
    left_out = "error: listener.toml was left out, since LISTENER_SERVER__URL says which server it is: --config"
    assert left_out in text
    monkeypatch.delenv("LISTENER_SERVER__URL")
    monkeypatch.delenv("LISTENER_SERVER__TOPIC")
    config.unlink()
    monkeypatch.setattr(loading, "_DEFAULT_FILES", ("listener.toml", str(tmp_path / "elsewhere.toml")))
    assert invoke("check").stdout.startswith(f"ok: {tmp_path}/elsewhere.toml\n")


def test_accounts_are_those_of_tables_files_and_supervisors_or_not_known(tmp_path):
    config = tmp_path / "listener.toml"
    config.write_text(
        'accounts_file = "agents.csv"\n[server]\nurl = "https://gws.example.com"\n'
        '[[accounts]]\nusername = "agent1"\npassword_file = "gone"\n'
        '[[supervisors]]\nusername = "boss"\npassword_file = "gone"\nmonitor = ["agent1"]\n'
        '[sinks.audit]\ntype = "file"\npath = "audit.jsonl"\n'
    )
    assert place_of(config, None).accounts is None, "the file is not there"
    (tmp_path / "agents.csv").write_text("username,password\nagent2,x\nagent3,x\n")
    assert set(place_of(config, None).accounts or ()) == {"agent1", "agent2", "agent3", "boss"}


@pytest.mark.parametrize(
    "command",
    [
        ("status", "--path"),
        ("journal", "show", "--path"),
        ("dead-letters", "list", "--path"),
        ("journal", "export", "--output"),
        ("journal", "copy", "--to", "copy.db", "--from"),
        ("journal", "copy", "--from", "journal.db", "--to"),
        ("audit", "key"),
        ("audit", "key", "a.jsonl", "--key-file"),
        ("audit", "report", "a.jsonl", "--html"),
        ("init",),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("path", [".", "/", "x" * 300], ids=["here", "root", "long"])
def test_what_no_file_can_be_called_is_wrong_usage(invoke, command, path):
    result = invoke(*command, path)
    assert (result.exit_code, result.exception.__class__) == (2, SystemExit)
    assert f"{path}: no file can be called so" in " ".join(result.stderr.split())


def test_who_is_configured_is_not_known_where_the_file_that_names_them_is_gone(config):
    assert place_of(config, None).accounts == {"agent1"}
    config.write_text('accounts_file = "agents.csv"\n' + config.read_text())
    assert place_of(config, None).accounts is None


def test_what_was_looked_for_is_told(invoke):
    assert invoke("run").stderr == (
        "error: there is no configuration: name its file with --config or LISTENER_CONFIG, or set LISTENER_ variables"
        " (looked for listener.toml and /etc/disposition-listener/listener.toml)\n"
    )


@pytest.mark.parametrize("command", [("tail",), ("journal", "show")], ids=" ".join)
def test_chat_and_json_are_options_wherever_events_are_shown(invoke, command):
    text = invoke(*command, "--help").stdout
    assert "--chat ID" in text
    assert "--json" in text


@pytest.mark.parametrize(
    ("ago", "seconds"), [("now", 0), ("45s", 45), ("30m", 1800), ("2h", 7200), ("1.5d", 129_600), ("1w", 604_800)]
)
def test_a_time_may_be_so_long_ago(ago, seconds):
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    assert time_ms(ago, "--since", now) == int(now.timestamp() - seconds) * 1000


def test_a_time_without_a_zone_is_of_the_zone_that_is_meant():
    now, berlin = datetime(2026, 11, 22, 12, tzinfo=UTC), ZoneInfo("Europe/Berlin")
    meant = [time_ms(text, "--from", now, berlin) for text in ("2026-11-22", "2026-11-21T23:00:00.000Z")]
    assert meant == [1_795_302_000_000, 1_795_302_000_000]
    assert time_ms("2026-11-22T00:00:00.001", "--from", now) == 1_795_305_600_001


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_file_is_there_once_it_is_whole(tmp_path):
    path = tmp_path / "report.csv"
    path.write_text("old")
    with replacing(path, "--csv") as file:
        file.write("né\r\n")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_bytes() == "né\r\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0, "it holds what the audit file holds"
    assert names(tmp_path) == ["report.csv"]


@pytest.mark.parametrize("why", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_file_that_was_there(tmp_path, why):
    path = tmp_path / "report.csv"
    path.write_text("old")

    def fail():
        with replacing(path, "--csv") as file:
            file.write("half")
            raise why

    with pytest.raises(why):
        fail()
    assert (path.read_text(), names(tmp_path)) == ("old", ["report.csv"])


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    told = pytest.raises(StartError, match=r"^--csv: cannot write .*/none/report.csv: No such file")
    with told, replacing(tmp_path / "none" / "report.csv", "--csv"):
        pass


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StartError, match="No space left"), replacing(tmp_path / "report.csv", "--csv") as file:
        file.write("x")
    assert names(tmp_path) == []


@pytest.mark.parametrize("trap", ["link", "file"])
def test_nothing_is_written_through_what_somebody_else_has_put_there(tmp_path, trap):
    """A link to another file, or a file that he can read, in a folder that he may write to."""
    victim, part = tmp_path / "victim", tmp_path / "agent1.secret.part"
    victim.write_text("untouched")
    victim.chmod(0o666)
    part.symlink_to(victim) if trap == "link" else part.hardlink_to(victim)
    with replacing(tmp_path / "agent1.secret", "--username", mode=0o600) as file:
        file.write("s3cret")
    assert victim.read_text() == "untouched"
    assert (tmp_path / "agent1.secret").read_text() == "s3cret"
    assert stat.S_IMODE((tmp_path / "agent1.secret").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_is_no_file_keeps_its_name(tmp_path, kind):
    """As /dev/null and /dev/stdout, which a command that root runs could replace."""
    path = tmp_path / "there"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/proc/self/fd/1")
    before = path.lstat()
    why = r"--output: cannot write .*there: it is (not a regular file|a symbolic link)$"
    with pytest.raises(StartError, match=why), replacing(path, "--output"):
        pass
    assert (path.lstat(), list(tmp_path.iterdir())) == (before, [path])


@pytest.mark.parametrize(
    "command",
    [
        ("audit", "verify", "pipe"),
        ("audit", "report", "pipe"),
        ("tail", "pipe"),
        ("tail", "--follow", "pipe"),
        ("journal", "export", "--path", "pipe"),
        ("dead-letters", "list", "--path", "pipe"),
    ],
    ids=" ".join,
)
def test_no_command_waits_for_the_writer_of_a_pipe(invoke, tmp_path, command):
    os.mkfifo(tmp_path / "pipe")
    result = invoke(*command)
    assert result.exit_code == 1
    assert "it is not a regular file" in result.stderr
