"""What `check --connect` and `set-disposition` do, against a simulated site."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from listener.config.settings import Settings
from listener.daemon import probes
from listener.errors import ConfigError, NotFound, Problem
from listener.simulator import Simulator, SimulatorOptions
from support.authority import Authority
from support.bareserver import BareServer
from support.eventually import eventually
from support.postgresjournal import PostgresWorld
from support.postgresserver import PostgresServer

CHAT = "0000Na9B26EF003M"
Probe = Callable[..., Awaitable[list[Problem]]]


def settings(folder: Path, url: str, *, accounts: list[dict[str, Any]] | None = None, **more: Any) -> Settings:
    server = {"url": url, **more.pop("server", {})}
    return Settings.model_validate(
        {
            "server": server,
            "accounts": [{"username": "agent1", "password": "secret"}] if accounts is None else accounts,
            "sinks": {"audit": {"type": "file", "path": "audit.jsonl"}},
            "base": folder,
            **more,
        }
    )


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorOptions(csrf=True)) as sim:
        yield sim


@pytest.fixture
def probe(sim: Simulator, tmp_path: Path) -> Probe:
    """Every problem with the simulated site and this configuration."""

    async def run(url: str = "", **more: Any) -> list[Problem]:
        return await probes.probe(settings(tmp_path, url or sim.url, **more))

    return run


async def test_a_site_that_works_has_no_problem_and_is_left_as_it_was(probe: Probe, sim: Simulator, tmp_path: Path):
    before = asyncio.all_tasks()
    assert await probe() == []
    assert sim.state()["sessions"] == [], "the session is not left behind"
    assert not (tmp_path / "journal.db").exists()
    assert not (tmp_path / "audit.jsonl").exists() or (tmp_path / "audit.jsonl").read_bytes() == b""
    await eventually(lambda: {t for t in asyncio.all_tasks() if "RequestHandler" not in repr(t)} <= before)


async def test_events_that_arrive_meanwhile_do_not_hold_a_probe_up(probe: Probe, sim: Simulator):
    async def chatter() -> None:
        while True:
            sim.publish("agent1", {"n": 1})
            await asyncio.sleep(0)

    talking = asyncio.create_task(chatter())
    async with asyncio.timeout(8):
        assert await probe() == []
    talking.cancel()


async def test_each_wrong_password_is_told_with_its_account(probe: Probe, tmp_path: Path):
    (tmp_path / "wrong").write_text("wrong\n")
    accounts = [
        {"username": "agent1", "password": "secret"},
        {"username": "agent2", "password": "wrong"},
        {"username": "agent3", "password_file": str(tmp_path / "wrong")},
    ]
    supervisors = [{"username": "boss", "password": "wrong", "monitor": "all"}]
    found = await probe(accounts=accounts, supervisors=supervisors)
    places = ["accounts[1].password", "accounts[2].password_file", "supervisors[0].password"]
    assert [problem.path for problem in found] == places
    assert all("refused" in problem.text and "wrong" not in problem.text for problem in found)


async def test_a_server_that_is_not_there_is_told(probe: Probe):
    async with BareServer(lambda _: asyncio.sleep(0)) as server:  # for a port that nothing listens on afterwards
        url = f"http://127.0.0.1:{server.port}"
    (problem,) = await probe(url)
    assert problem.path == "server.url" or "server.url" in problem.text
    assert "127.0.0.1" in problem.text


async def test_a_server_that_never_answers_is_told(probe: Probe, monkeypatch: pytest.MonkeyPatch):
    async def never(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    monkeypatch.setattr(probes, "_HANDSHAKE_S", 0.2)
    async with BareServer(never) as server:
        (problem,) = await probe(f"http://127.0.0.1:{server.port}", server={"login": "none"}, accounts=[])
    assert problem.path == "server.url"
    assert "no answer from" in problem.text


async def test_a_transport_that_the_server_lacks_names_its_setting(probe: Probe):
    (problem,) = await probe(server={"transport": "websocket"})
    assert problem == Problem("server.transport", "the server does not offer 'websocket', only 'long-polling'")


async def test_a_denied_handshake_is_told(probe: Probe, sim: Simulator):
    sim.control("deny-handshake", count=100)
    (problem,) = await probe()
    assert problem.path == "server.url"
    assert problem.text.startswith("403::Handshake denied, right after a login was granted")


async def test_every_sink_is_probed(probe: Probe, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    found = await probe(
        sinks={
            "fine": {"type": "file", "path": "fine.jsonl"},
            "audit": {"type": "file", "path": "folder"},
            "crm": {"type": "webhook", "url": "http://127.0.0.1:9/"},
        },
    )
    assert [str(one).split(":")[0].split(".")[:2] for one in found] == [["sinks", "audit"], ["sinks", "crm"]]


async def test_a_sink_that_is_configured_wrongly_is_not_probed_on_top(probe: Probe):
    assert await probe(sinks={"audit": {"type": "file", "pth": "x"}}) == []


async def test_set_disposition_is_carried_out_and_answered(sim: Simulator, tmp_path: Path):
    wanted = settings(tmp_path, sim.url)
    answer = await probes.set_disposition(wanted, chat_id=CHAT, disposition="IssueResolved", key="DispositionCode")
    assert answer["statusCode"] == 0
    (published,) = sim.ledger
    assert (published.chat_id, published.key, published.value) == (CHAT, "DispositionCode", "IssueResolved")


async def test_set_disposition_goes_under_the_account_that_is_named(sim: Simulator, tmp_path: Path):
    accounts = [{"username": name, "password": "secret"} for name in ("agent1", "agent2")]
    wanted = settings(tmp_path, sim.url, accounts=accounts)
    with pytest.raises(NotFound):
        await probes.set_disposition(wanted, chat_id=CHAT, disposition="A", username="agent2")
    with pytest.raises(ConfigError, match=r"no account 'agent9' \(configured: agent1, agent2\)"):
        await probes.set_disposition(wanted, chat_id=CHAT, disposition="A", username="agent9")


async def test_set_disposition_needs_the_rest_api(sim: Simulator, tmp_path: Path):
    wanted = settings(tmp_path, sim.url, accounts=[], server={"login": "none"})
    with pytest.raises(ConfigError, match=r"server\.login"):
        await probes.set_disposition(wanted, chat_id=CHAT, disposition="A")


async def test_nothing_is_left_open_behind_an_operation(sim: Simulator, tmp_path: Path):
    before = asyncio.all_tasks()
    await probes.set_disposition(settings(tmp_path, sim.url), chat_id=CHAT, disposition="A")
    await eventually(lambda: {t for t in asyncio.all_tasks() if "RequestHandler" not in repr(t)} <= before)


@pytest.fixture(scope="module")
def server():
    with PostgresServer(hba="host all all all scram-sha-256") as server:
        yield server


async def test_the_database_of_replicas_is_asked_and_left_as_it_was(probe: Probe, server: PostgresServer):
    world = PostgresWorld(server)
    at = {"url": server.address, "username": "admin", "tls": False, "schema": world.schema}
    assert await probe(journal=at) == []
    assert await server.fetch(f"SELECT FROM pg_namespace WHERE nspname = '{world.schema}'") == []
    await world.opened()
    assert await probe(journal=at) == []
    await world.end()


async def test_what_the_database_of_replicas_refuses_is_told(probe: Probe, server: PostgresServer):
    await server.execute("CREATE ROLE weak LOGIN PASSWORD 'right'")
    at = {"url": server.address, "username": "weak", "password": "right"}
    for given, told in (
        ({"tls": True}, "cannot connect|SSL"),
        ({"tls": False, "password": "wrong"}, "InvalidPasswordError"),
        ({"tls": False}, "permission denied for database postgres; it needs a schema of its own: CREATE SCHEMA"),
    ):
        (problem,) = await probe(journal=at | given)
        assert problem.path == "journal.url"
        assert re.search(told, problem.text), problem
        assert "right" not in problem.text


async def test_over_tls_both_sides_of_the_database_are_verified(probe: Probe, tmp_path: Path):
    authority = Authority(tmp_path)
    hba = "hostssl all all all trust clientcert=verify-ca"
    with PostgresServer(listen_addresses="127.0.0.1,127.0.0.2", hba=hba) as server:
        await server.secure(authority)
        await server.execute("CREATE ROLE listener LOGIN SUPERUSER")
        at = {"url": server.address, "username": "listener"}
        own = {"client_cert_file": authority.issue("client").name}
        assert await probe(journal={**at, **own, "ca_file": "ca.pem"}) == []
        other = {"url": server.address.replace("127.0.0.1", "127.0.0.2")}
        for given, told in (
            (own, "certificate verify failed"),
            ({**own, **other, "ca_file": "ca.pem"}, "IP address mismatch"),
            ({"ca_file": "ca.pem"}, "valid client certificate"),
            ({"tls": False}, "pg_hba"),
        ):
            (problem,) = await probe(journal=at | given)
            assert re.search(told, problem.text), problem


async def test_a_sink_of_another_replica_is_not_probed(probe: Probe, server: PostgresServer, tmp_path: Path):
    at = {"url": server.address, "username": "admin", "tls": False, "replica": "host2"}
    sinks = {"audit": {"type": "file", "path": str(tmp_path / "gone" / "a.jsonl"), "on": "host1"}}
    assert await probe(journal=at, sinks=sinks) == []
