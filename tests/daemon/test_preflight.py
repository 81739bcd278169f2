"""What stands in a configuration's way on this host is told all at once, whatever else is wrong with it."""

import os
import socket
import tempfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from listener.config.loading import parts_of
from listener.daemon.preflight import host_problems, setting_problems, unsafe, warnings
from listener.sinks import registry
from support.config import write_config
from support.mounted import write_volume

ACCOUNT = {"username": "agent1", "password_file": "agent1.secret"}
URL = "postgresql://db.example.com/dispositions"


@pytest.fixture
def listening():
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.fixture
def shared():
    """A folder that every user of the host can reach; `tmp_path` is not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def texts(problems) -> list[str]:
    return [str(problem) for problem in problems]


def test_a_sound_configuration_has_nothing_in_its_way_and_nothing_is_changed(tmp_path: Path):
    config = write_config(tmp_path, server={"url": "http://127.0.0.1:9"}, http={"listen": "127.0.0.1:0"})
    before = sorted(tmp_path.iterdir())
    parts = parts_of(config)
    assert [setting_problems(parts), host_problems(parts), unsafe(parts), warnings(parts)] == [[], [], [], []]
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


def test_a_place_that_cannot_be_looked_at_is_told(tmp_path: Path):
    """As one below a folder that may not be entered."""
    beyond = Path(*["x" * 250] * 20, "file")
    sinks = {"one": {"type": "file", "path": str(beyond)}}
    config = write_config(tmp_path, server={"url": "http://127.0.0.1:9"}, journal={"path": str(beyond)}, sinks=sinks)
    parts = parts_of(config)
    assert texts(setting_problems(parts)) == []
    assert texts(host_problems(parts)) == [
        f"journal.path: cannot read and write {tmp_path / beyond}: File name too long",
        f"sinks.one.path: cannot write {tmp_path / beyond}: File name too long",
    ]


def test_beside_a_running_daemon_the_port_is_taken_for_its_own(tmp_path: Path, listening: int):
    config = write_config(tmp_path, server={"url": "http://127.0.0.1:9"}, http={"listen": f"127.0.0.1:{listening}"})
    (tmp_path / "journal.db.lock").write_text(f"{os.getpid()}\n")
    assert host_problems(parts_of(config)) == []


def test_secrets_that_everybody_on_the_host_can_read_are_told(shared: Path):
    for name in ("agent1.secret", "proxy.secret", "crm.token", "ca.pem", "both.pem", "cert.pem", "http.token"):
        (shared / name).write_text("s3cret\n")
        (shared / name).chmod(0o644)
    for name in ("signing", "key.pem"):
        (shared / name).write_text("whsec_" + "A" * 40)
        (shared / name).chmod(0o640)
    crm = {"bearer_token_file": "crm.token", "signing_secret_files": ["signing"], "client_cert_file": "both.pem"}
    config = write_config(
        shared,
        server={
            "url": "https://127.0.0.1:9",
            "ca_file": "ca.pem",
            "client_cert_file": "cert.pem",
            "client_key_file": "key.pem",
            "proxy": "http://127.0.0.1:9",
            "proxy_user": "listener",
            "proxy_password_file": "proxy.secret",
        },
        accounts=[ACCOUNT],
        webhook="https://crm.example.com",
        sinks={"crm": crm},
        http={"token_file": "http.token"},
    )
    readable = [
        ("server.proxy_password_file", "proxy.secret"),
        ("http.token_file", "http.token"),
        ("accounts[0].password_file", "agent1.secret"),
        ("sinks.crm.client_cert_file", "both.pem"),
        ("sinks.crm.bearer_token_file", "crm.token"),
    ]
    assert sorted(texts(unsafe(parts_of(config)))) == sorted(
        f"{place}: every user of this host can read {shared / name} (mode 0644): chmod o-r" for place, name in readable
    )


@pytest.mark.parametrize("kept", ["by its folder", "by its mode", "by the kubelet", "by what it leads to"])
def test_a_secret_that_nobody_else_can_reach_is_none_of_the_problems(shared: Path, kept: str):
    folder = shared / "etc" / "secrets"
    if kept == "by the kubelet":
        write_volume(folder, {"agent1.secret": "s3cret"}, version=1)
    else:
        folder.mkdir(parents=True)
        (folder / "agent1.secret").write_text("s3cret")
    (folder / "agent1.secret").chmod(0o644)
    named = folder / "agent1.secret"
    if kept == "by its mode":
        named.chmod(0o640)  # as Kubernetes' fsGroup has it
    elif kept == "by its folder":
        folder.parent.chmod(0o750)
    elif kept == "by what it leads to":
        folder.chmod(0o700)  # as systemd has it for its credentials
        (shared / "link").symlink_to(named)
        named = shared / "link"
    config = write_config(
        shared, server={"url": "https://127.0.0.1:9"}, accounts=[{"username": "agent1", "password_file": named}]
    )
    assert texts(unsafe(parts_of(config))) == []


def test_a_link_in_a_closed_folder_does_not_close_what_it_leads_to(shared: Path):
    (shared / "agent1.secret").write_text("s3cret")
    (shared / "agent1.secret").chmod(0o644)
    (shared / "own").mkdir(mode=0o700)
    (shared / "own" / "agent1.secret").symlink_to("../agent1.secret")
    account = {"username": "agent1", "password_file": "own/agent1.secret"}
    config = write_config(shared, server={"url": "https://127.0.0.1:9"}, accounts=[account])
    assert [problem.path for problem in unsafe(parts_of(config))] == ["accounts[0].password_file"]


@pytest.mark.parametrize("mode", [0o644, 0o640])
@pytest.mark.parametrize(
    ("table", "holds_one"),
    [
        ({"accounts": [{"username": "agent1", "password": "pa55word"}]}, True),
        ({"accounts": [{"username": "agent1", "password": "${PASSWORD:-pa55word}"}]}, False),
        ({"accounts": [ACCOUNT]}, False),
        ({"http": {"token": "a-token-of-some-length-0123456789"}}, True),
        ({"webhook": "https://crm.example.com", "sinks": {"crm": {"headers": {"X-Key": "k3y"}}}}, True),
        ({"journal": {"path": None, "url": URL, "username": "l", "password": "pa55word"}}, True),
    ],
)
def test_a_configuration_that_holds_a_secret_is_one(shared: Path, table, mode: int, holds_one: bool):
    (shared / "agent1.secret").touch(mode=0o600)
    config = write_config(shared, **{"server": {"url": "https://gws.example.com"}, **table})
    config.chmod(mode)
    text = f"listener.toml: holds a secret, and every user of this host can read {config} (mode 0644): chmod o-r"
    assert texts(unsafe(parts_of(config))) == [text] * (holds_one and mode == 0o644)


def test_an_included_file_that_holds_a_secret_is_named(shared: Path):
    config = write_config(shared, include=["more.toml"], server={"url": "https://gws.example.com"}, accounts=None)
    (shared / "more.toml").write_text("[[accounts]]\nusername = 'a'\npassword = 'pa55word'\n")
    (shared / "more.toml").chmod(0o604)
    (shared / "more.toml").touch()
    found = texts(unsafe(parts_of(config)))
    assert [text.partition(": ")[0] for text in found] == ["more.toml"]


def test_open_files_of_accounts_are_one_problem_and_those_without_passwords_none(shared: Path):
    (shared / "own").mkdir()
    for name in ("a", "b", "c"):
        (shared / "own" / name).write_text("x")
        (shared / "own" / name).chmod(0o644)
    table = {"server": {"url": "https://gws.example.com"}}
    text = f"own/a: password_file: every user of this host can read {shared}/own/a (mode 0644): chmod o-r"
    own = write_config(shared, accounts_file="own", **table)
    assert texts(unsafe(parts_of(own))) == [f"{text}; likewise 2 more password files"]
    csv = shared / "agents.csv"
    for password, told in (("x,", 1), (",s.secret", 0)):
        csv.write_text(f"username,password,password_file\na,{password}\n")
        csv.chmod(0o604)
        (shared / "s.secret").write_text("x")
        (shared / "s.secret").chmod(0o600)
        found = texts(unsafe(parts_of(write_config(shared, accounts_file="agents.csv", **table))))
        assert found == [f"accounts_file: every user of this host can read {csv} (mode 0604): chmod o-r"] * told


def test_a_password_with_a_blank_around_it_is_warned_of_and_not_shown(tmp_path: Path):
    for name, text in (("agents.csv", "username,password\na,pa55 word\nb,pa55word \n"), ("c.secret", " pa55word\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    accounts = [{"username": "c", "password_file": "c.secret"}, {"username": "d", "password_file": "gone"}]
    server = {"url": "https://gws.example.com"}
    config = write_config(tmp_path, server=server, accounts=accounts, accounts_file="agents.csv")
    blank = "begins or ends with a blank, which counts as part of the password"
    assert texts(warnings(parts_of(config))) == [
        f"accounts[0].password_file: {blank}",
        f"agents.csv:3: password: {blank}",
    ]


def test_a_host_that_allows_fewer_files_than_there_are_sessions_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "agents.csv").write_text("username,password\n" + "".join(f"agent{n},x\n" for n in range(30)))
    config = write_config(tmp_path, server={"url": "https://gws.example.com"}, accounts_file="agents.csv")
    text = "accounts: 30 need a socket each, and this host lets a process open 40 files:"
    text += " raise that (ulimit -Hn, LimitNOFILE) to 130 at least"
    for limit in (40, 130, None):
        monkeypatch.setattr("listener.daemon.preflight.allowed", lambda limit=limit: limit)
        assert texts(warnings(parts_of(config))) == [text] * (limit == 40)


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ({"url": "http://gws.example.com:8080"}, True),
        ({"url": "https://gws.example.com"}, False),
        ({"url": "http://127.0.0.1:8080"}, False),
        ({"url": "http://${GWS_NOT_SET}"}, False),
        ({"url": "http://gws.example.com", "login": "none"}, False),
    ],
)
def test_a_password_that_passes_a_network_unencrypted_is_told(tmp_path: Path, server, told: bool):
    account = {"username": "agent1", "password": "pa55word"}
    found = texts(unsafe(parts_of(write_config(tmp_path, server=server, accounts=[account]))))
    text = "server.url: the login may pass the network to gws.example.com unencrypted: use https://"
    assert found == ([text] if told else [])


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
    text = "journal.tls: events pass the network to db.example.com unencrypted"
    assert texts(warnings(parts_of(config))) == ([text] if warned else [])
    assert unsafe(parts_of(config)) == []


def test_a_password_of_the_journal_that_passes_a_network_unencrypted_is_told(tmp_path: Path):
    journal = {"path": None, "url": URL, "tls": False, "username": "listener", "password": "pa55word"}
    config = write_config(tmp_path, server={"url": "https://gws.example.com"}, journal=journal)
    assert texts(unsafe(parts_of(config))) == [
        "journal.tls: the login may pass the network to db.example.com unencrypted: use tls = true"
    ]
