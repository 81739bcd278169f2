"""What keeps the daemon from starting or from listening: one clear line that names the setting, and its exit status."""

import contextlib
import os
import socket
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from listener.simulator import Simulator
from support.config import write_config
from support.params import some_of
from support.site import serving

ACCOUNTS = [{"username": "agent1", "password": "pa55word"}]
NOWHERE = {"url": "http://127.0.0.1:9", "login": "none"}  # the discard port: nothing listens there


@pytest.fixture
def refused(start_command):
    """The exit status of `run` with this configuration, and all that it wrote but its log."""

    async def run(config: Path, **env: str) -> tuple[int, list[str]]:
        command = await start_command("run", "--config", config, env=env)
        status = await command.wait()
        return status, [line for line in command.lines if not line.startswith("{")]

    return run


@pytest.fixture
def checked(start_command):
    """The exit status of `check --connect`, and everything that it wrote."""

    async def check(config: Path) -> tuple[int, list[str]]:
        command = await start_command("check", "--config", config, "--connect")
        return await command.wait(), command.lines

    return check


Outcome = Callable[..., Awaitable[tuple[int, list[str]]]]

# --- what ends it ---------------------------------------------------------------------------------------------------


async def test_a_port_in_use(refused: Outcome, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        outcome = await refused(write_config(tmp_path, server=NOWHERE, http={"listen": listen}))
    assert outcome == (1, [f"error: http.listen: cannot listen on {listen}: Address already in use"])


async def test_a_journal_that_another_process_owns(refused: Outcome, start_daemon, tmp_path):
    config = write_config(tmp_path, server=NOWHERE)
    owner = await start_daemon(config)
    await owner.logged("started")
    expected = f"error: journal.path: {tmp_path}/journal.db is in use by another process (pid {owner.pid})"
    assert await refused(config) == (1, [expected])


@pytest.mark.parametrize(("path", "expected"), [("missing/journal.db", 78), (".", 1)])
async def test_a_journal_that_cannot_be_opened(refused: Outcome, tmp_path, path, expected):
    status, lines = await refused(write_config(tmp_path, server=NOWHERE, journal={"path": tmp_path / path}))
    assert (status, len(lines)) == (expected, 1)
    assert lines[0].startswith("error: journal.path: ")


async def test_another_programs_database_is_no_journal_and_nobodys_to_touch(refused: Outcome, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as other:
        other.execute("CREATE TABLE customers (name)")
    before = (tmp_path / "journal.db").read_bytes()
    status, lines = await refused(write_config(tmp_path, server=NOWHERE))
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith("error: journal.path: ")
    assert (tmp_path / "journal.db").read_bytes() == before


async def test_a_file_that_is_no_database_is_set_aside_as_it_is(start_daemon, tmp_path):
    """It may be a journal whose beginning was lost."""
    (tmp_path / "journal.db").write_text("dear diary, " * 100)
    daemon = await start_daemon(write_config(tmp_path, server=NOWHERE))
    told = await daemon.logged("journal_damaged", level="error")
    await daemon.logged("started")
    assert content(told["set_aside"]).startswith("dear diary")


def content(name: str) -> str:
    return Path(name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing/a.jsonl", "there is no folder {folder}/missing"),
        pytest.param(".", "cannot write {folder}: Is a directory", marks=pytest.mark.long),
        pytest.param("pipe", "cannot write {folder}/pipe: it is not a regular file", marks=pytest.mark.long),
    ],
)
async def test_a_file_that_cannot_be_written(refused: Outcome, checked: Outcome, tmp_path, path, why):
    os.mkfifo(tmp_path / "pipe")
    config = write_config(tmp_path, server=NOWHERE, sinks={"audit": {"path": tmp_path / path}})
    expected = "error: sinks.audit.path: " + why.format(folder=tmp_path)
    status, lines = await refused(config)
    assert (status, len(lines)) == (1, 1)
    assert lines[0].startswith(expected)
    status, lines = await checked(config)
    assert status == 78
    assert any(line.startswith("error: sinks.audit.path: ") for line in lines)


async def test_an_unknown_kind_of_sink(refused: Outcome, tmp_path):
    status, lines = await refused(write_config(tmp_path, server=NOWHERE, sinks={"crm": {"type": "webhok"}}))
    assert (status, len(lines)) == (78, 1)
    assert lines[0].startswith("error: sinks.crm.type: unknown kind 'webhok', did you mean 'webhook'?")


async def test_a_kind_whose_extra_is_not_installed(refused: Outcome, tmp_path):
    """A distribution beside ours that brings a kind, and not the client library that the kind needs."""
    site = tmp_path / "site"
    metadata = site / "queue_sink-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: queue-sink\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[listener.sinks]\nqueue = queue_sink:KIND [client]\n")
    (site / "queue_sink.py").write_text("import a_client_library_that_is_not_there\n")
    config = write_config(tmp_path, server=NOWHERE, sinks={"q": {"type": "queue"}})
    source = Path(__file__).parents[2]
    status, lines = await refused(config, PYTHONPATH=f"{source}:{site}")
    assert (status, len(lines)) == (78, 1)
    assert lines[0].startswith("error: sinks.q.type: 'queue' needs a package that is not installed (")
    assert lines[0].endswith("run pip install 'queue-sink[client]'")


async def test_a_configuration_that_is_not_there_or_not_toml(refused: Outcome, tmp_path):
    (tmp_path / "bad.toml").write_text("[server\n")
    missing, bad = await refused(tmp_path / "no.toml"), await refused(tmp_path / "bad.toml")
    assert missing == (78, [f"error: {tmp_path}/no.toml: cannot be read: No such file or directory"])
    assert (bad[0], len(bad[1])) == (78, 1)
    assert bad[1][0].startswith(f"error: {tmp_path}/bad.toml: is not TOML: ")


# --- what does not: the daemon goes on trying, and `check --connect` tells it ----------------------------------------


async def troubled(start_daemon, config: Path, reason: str) -> str:
    """What the daemon says is the matter; it must still run afterwards, and end in order."""
    daemon = await start_daemon(config)
    text = (await daemon.logged("session_problem", reason=reason))["error"]
    await daemon.logged("session_problem", reason=reason, count=2)
    assert daemon.exit_status is None
    assert await daemon.stop() == 0
    assert not any("pa55word" in line for line in daemon.lines)
    return text


async def test_a_wrong_password(start_daemon, checked: Outcome, tmp_path):
    async with Simulator() as sim:
        config = write_config(tmp_path, server={"url": sim.url}, accounts=ACCOUNTS)
        text = await troubled(start_daemon, config, "login_refused")
        status, lines = await checked(config)
    assert "login of 'agent1' refused, check its username and password" in text
    assert (status, len(lines)) == (78, 1)
    assert lines[0].startswith("error: accounts[0].password: login of 'agent1' refused")


@pytest.mark.parametrize("login", some_of(("basic", "none"), "basic"))
async def test_a_server_that_cannot_be_reached(start_daemon, checked: Outcome, tmp_path, login):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with_login = login == "basic"
    config = write_config(tmp_path, server={"url": url, "login": login}, accounts=ACCOUNTS)
    text = await troubled(start_daemon, config, "login_failed" if with_login else "network")
    assert "server.url" in text
    assert url.removeprefix("http://") in text
    status, lines = await checked(config)
    assert (status, len(lines)) == (78, 1)
    assert lines[0].startswith("error: server.url: ")
    assert url.removeprefix("http://") in lines[0]


@pytest.mark.parametrize("login", some_of(("basic", "none"), "basic"))
async def test_a_certificate_that_nobody_signed(start_daemon, checked: Outcome, stranger, tmp_path, login):
    async def nobody(_request: web.BaseRequest) -> web.Response:
        raise AssertionError("a request over a connection that is not to be trusted")

    async with serving(nobody, tls=stranger) as url:
        config = write_config(tmp_path, server={"url": url, "login": login}, accounts=ACCOUNTS)
        text = await troubled(start_daemon, config, "login_failed" if login == "basic" else "network")
        status, lines = await checked(config)
    assert "server.ca_file" in text
    assert "self-signed certificate" in text
    assert (status, len(lines)) == (78, 1)
    assert lines[0].startswith("error: server.url: ")
    assert "server.ca_file" in lines[0]
