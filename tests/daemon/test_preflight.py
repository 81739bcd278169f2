"""What stands in a configuration's way on this host is told all at once, whatever else is wrong with it."""

import os
import socket
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from listener.config.loading import parts_of
from listener.daemon.preflight import host_problems, setting_problems, warnings
from listener.sinks import registry
from support.config import write_config
from support.mounted import write_volume

ACCOUNT = {"username": "agent1", "password_file": "agent1.secret"}


@pytest.fixture
def listening():
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def texts(problems) -> list[str]:
    return [str(problem) for problem in problems]


def test_a_sound_configuration_has_nothing_in_its_way_and_nothing_is_changed(tmp_path: Path):
    config = write_config(tmp_path, server={"url": "http://127.0.0.1:9"}, http={"listen": "127.0.0.1:0"})
    before = sorted(tmp_path.iterdir())
    parts = parts_of(config)
    assert [setting_problems(parts), host_problems(parts), warnings(parts)] == [[], [], []]
    assert sorted(tmp_path.iterdir()) == before


def test_everything_is_found_at_once_though_other_tables_are_wrong(tmp_path: Path, listening: int):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "ca.pem").write_text("none")
    sinks = {
        "audit": {"path": tmp_path / "gone" / "a.jsonl"},
        "folder": {"type": "file", "path": "folder"},
        "pipe": {"type": "file", "path": "pipe"},
        "wrong": {"type": "file", "paht": "x"},
    }
    config = write_config(
        tmp_path,
        server={"url": "https://127.0.0.1:9", "ca_file": "ca.pem"},
        accounts=[{"username": ""}],
        journal={"path": tmp_path / "gone" / "journal.db"},
        sinks=sinks,
        http={"listen": f"127.0.0.1:{listening}"},
        log={"level": "loud"},
    )
    parts = parts_of(config)
    first, second = texts(setting_problems(parts))
    assert first.startswith("server.ca_file: holds no certificates")
    assert second == f"journal.path: there is no folder {tmp_path}/gone"
    assert texts(host_problems(parts)) == [
        f"sinks.audit.path: there is no folder {tmp_path}/gone",
        f"sinks.folder.path: cannot write {tmp_path}/folder: Is a directory",
        f"sinks.pipe.path: cannot write {tmp_path}/pipe: it is not a regular file",
        f"http.listen: cannot listen on 127.0.0.1:{listening}: Address already in use",
    ]


def test_a_journal_that_is_no_file_is_told(tmp_path: Path):
    (tmp_path / "journal.db").mkdir()
    parts = parts_of(write_config(tmp_path, server={"url": "http://127.0.0.1:9"}))
    assert texts(host_problems(parts)) == [f"journal.path: cannot read and write {tmp_path}/journal.db"]


def test_beside_a_running_daemon_the_port_is_taken_for_its_own(tmp_path: Path, listening: int):
    config = write_config(tmp_path, server={"url": "http://127.0.0.1:9"}, http={"listen": f"127.0.0.1:{listening}"})
    (tmp_path / "journal.db.lock").write_text(f"{os.getpid()}\n")
    assert host_problems(parts_of(config)) == []


def test_secrets_that_everybody_on_the_host_can_read_are_warned_of(tmp_path: Path):
    for name in ("agent1.secret", "crm.token", "ca.pem", "http.token"):
        (tmp_path / name).write_text("s3cret\n")
        (tmp_path / name).chmod(0o644)
    (tmp_path / "signing").write_text("whsec_" + "A" * 40)
    (tmp_path / "signing").chmod(0o600)
    config = write_config(
        tmp_path,
        server={"url": "https://127.0.0.1:9", "ca_file": "ca.pem"},
        accounts=[ACCOUNT],
        webhook="https://crm.example.com",
        sinks={"crm": {"bearer_token_file": "crm.token", "signing_secret_files": ["signing"]}},
        http={"token_file": "http.token"},
    )
    readable = [
        ("http.token_file", "http.token"),
        ("accounts[0].password_file", "agent1.secret"),
        ("sinks.crm.bearer_token_file", "crm.token"),
    ]
    assert texts(warnings(parts_of(config))) == [
        f"{place}: every user of this host can read {tmp_path / name} (mode 0644): chmod o-r"
        for place, name in readable
    ]


def test_open_files_of_accounts_are_one_warning_and_those_that_kubernetes_mounts_none(tmp_path: Path):
    write_volume(tmp_path / "agents", dict.fromkeys("abc", "x"), version=1)
    (tmp_path / "own").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "own" / name).write_text("x")
        (tmp_path / "own" / name).chmod(0o644)
    table = {"server": {"url": "https://gws.example.com"}}
    assert warnings(parts_of(write_config(tmp_path, accounts_file="agents", **table))) == []
    text = f"own/a: password_file: every user of this host can read {tmp_path}/own/a (mode 0644): chmod o-r"
    own = write_config(tmp_path, accounts_file="own", **table)
    assert texts(warnings(parts_of(own))) == [f"{text}; likewise 2 more password files"]
    (tmp_path / "agents.csv").write_text("username,password\na,x\n")
    (tmp_path / "agents.csv").chmod(0o604)
    assert texts(warnings(parts_of(write_config(tmp_path, accounts_file="agents.csv", **table)))) == [
        f"accounts_file: every user of this host can read {tmp_path}/agents.csv (mode 0604): chmod o-r"
    ]


@pytest.mark.parametrize(
    ("server", "warned"),
    [
        ({"url": "http://gws.example.com:8080"}, True),
        ({"url": "https://gws.example.com"}, False),
        ({"url": "http://127.0.0.1:8080"}, False),
        ({"url": "http://${GWS_NOT_SET}"}, False),
        ({"url": "http://gws.example.com", "login": "none"}, False),
    ],
)
def test_a_password_that_passes_a_network_unencrypted_is_warned_of(tmp_path: Path, server, warned: bool):
    account = {"username": "agent1", "password": "pa55word"}
    found = texts(warnings(parts_of(write_config(tmp_path, server=server, accounts=[account]))))
    text = "server.url: each login sends the password to gws.example.com unencrypted: use https://"
    assert found == ([text] if warned else [])


URL = "postgresql://db.example.com/dispositions"


def absent(name: str):
    raise PackageNotFoundError(name)


def test_what_replicas_need_is_told_at_once_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(registry, "distribution", absent)
    (tmp_path / "ca.pem").write_text("none")
    config = write_config(
        tmp_path,
        server={"url": "http://127.0.0.1:9"},
        journal={"path": None, "url": URL, "ca_file": "ca.pem"},
        sinks={"audit": {}, "mine": {"type": "file", "path": "x", "on": "host1"}, "console": {"type": "stdout"}},
    )
    library, authority, pin = texts(setting_problems(parts_of(config)))
    assert library.startswith("journal.url: needs a package that is not installed")
    assert "pip install 'asyncpg" in library
    assert authority.startswith("journal.ca_file: no usable certificate")
    assert pin.startswith('sinks.audit.on: "file" writes on the host where it runs, so with journal.url it needs on = ')


def test_a_sink_of_one_replica_makes_no_sense_without_replicas(tmp_path: Path):
    config = write_config(tmp_path, server={"url": "http://127.0.0.1:9"}, sinks={"audit": {"on": "host1"}})
    (problem,) = texts(setting_problems(parts_of(config)))
    assert problem == "sinks.audit.on: needs journal.url: without it there are no replicas"


def test_a_shared_journal_is_no_file_of_this_host(tmp_path: Path, listening: int):
    config = write_config(
        tmp_path,
        server={"url": "http://127.0.0.1:9"},
        journal={"path": None, "url": URL},
        sinks={"audit": {"on": "host1"}},
        http={"listen": f"127.0.0.1:{listening}"},
    )
    parts = parts_of(config)
    assert [setting_problems(parts), host_problems(parts)] == [[], []]


@pytest.mark.parametrize(("name", "told"), [("host1", 1), ("host2", 0)])
def test_the_folder_of_a_file_has_to_be_on_the_replica_that_writes_it_alone(tmp_path: Path, name: str, told: int):
    config = write_config(
        tmp_path,
        server={"url": "http://127.0.0.1:9"},
        journal={"path": None, "url": URL, "replica": name},
        sinks={"audit": {"on": "host1", "path": tmp_path / "gone" / "a.jsonl"}},
    )
    found = texts(host_problems(parts_of(config)))
    assert found == [f"sinks.audit.path: there is no folder {tmp_path}/gone"] * told


@pytest.mark.parametrize(
    ("journal", "warned"),
    [
        ({"url": URL, "tls": False}, True),
        ({"url": URL}, False),
        ({"url": "postgresql://127.0.0.1/x", "tls": False}, False),
        ({"url": "postgresql:///x?host=/run"}, False),
    ],
)
def test_events_that_pass_a_network_unencrypted_are_warned_of(tmp_path: Path, journal, warned: bool):
    config = write_config(tmp_path, server={"url": "https://gws.example.com"}, journal={"path": None, **journal})
    text = "journal.tls: events, and the login, pass the network to db.example.com unencrypted"
    assert texts(warnings(parts_of(config))) == ([text] if warned else [])
