"""SIGHUP on the real daemon: accounts and sinks come, go and change while the others go on."""

import asyncio
import json
import signal

import pytest

from listener.simulator import Simulator
from support.config import audit_events, write_config
from support.eventually import eventually
from support.receiver import Answer, Receiver

AGENTS = ("agent1", "agent2", "agent3")


@pytest.fixture
async def sim():
    async with Simulator() as running:
        for agent in AGENTS:
            running.add_chat(f"chat-{agent}", agents=[agent])
        yield running


def told(receiver):
    """Path and disposition of every POST; the newest may have come twice, where a lane was exchanged meanwhile."""
    return [(post.path, post.json["data"]["disposition"]) for post in receiver.posts]


class Installation:
    """A configuration that is written anew, and the daemon on it."""

    def __init__(self, folder, sim, daemon=None):
        self.folder, self.sim, self.daemon = folder, sim, daemon
        self.reloads = 0

    def write(self, *accounts, **more):
        rows = [one if isinstance(one, dict) else {"username": one, "password": "secret"} for one in accounts]
        return write_config(self.folder, server={"url": self.sim.url}, accounts=rows, **more)

    async def reload(self, *accounts, event="reloaded", **more):
        self.write(*accounts, **more)
        return await self.hang_up(event)

    async def hang_up(self, event="reloaded"):
        self.reloads += 1
        count = 1 + len([line for line in self.daemon.log if line["event"] == event])
        self.daemon.send_signal(signal.SIGHUP)
        return await self.daemon.logged(event, count=count)

    async def heard(self, agent, code):
        self.sim.set_disposition(agent, f"chat-{agent}", code)
        await eventually(lambda: any(one["data"].get("disposition") == code for one in audit_events(self.folder)))

    def sessions(self):
        return {one["agent"]: one["clientId"] for one in self.sim.state()["sessions"]}


@pytest.fixture
async def installed(start_daemon, tmp_path, sim):
    installation = Installation(tmp_path, sim)
    installation.daemon = await start_daemon(installation.write("agent1", "agent2"))
    await installation.daemon.logged("subscribed", count=2)
    return installation


async def test_accounts_come_and_go_and_the_others_keep_their_session(installed, sim):
    before = installed.sessions()
    line = await installed.reload("agent1", "agent3")
    assert (line["accounts_added"], line["accounts_removed"]) == (["agent3"], ["agent2"])
    await installed.daemon.logged("subscribed", account="agent3")
    await installed.heard("agent3", "Three")
    await installed.heard("agent1", "One")
    assert installed.sessions()["agent1"] == before["agent1"]
    sim.set_disposition("agent2", "chat-agent2", "Two")
    await installed.heard("agent1", "Later")
    assert "Two" not in {one["data"].get("disposition") for one in audit_events(installed.folder)}
    assert not [one for one in audit_events(installed.folder) if one["type"].endswith(".gap")]


async def test_an_account_that_changes_continues_its_session_without_a_gap(installed, tmp_path):
    before = installed.sessions()
    (tmp_path / "pass").write_text("secret\n")
    await installed.reload("agent1", {"username": "agent2", "password_file": "pass"})
    await installed.daemon.logged("subscribed", account="agent2", count=2)
    await installed.heard("agent2", "Two")
    (tmp_path / "pass").write_text("wrong\n")
    await installed.hang_up()
    await installed.daemon.logged("new_password_refused", account="agent2")
    await installed.heard("agent2", "Again")
    assert installed.sessions() == before
    assert not [one for one in audit_events(installed.folder) if one["type"].endswith(".gap")]


async def test_sinks_come_change_and_go_and_the_others_go_on(installed, receiver: Receiver):
    await installed.heard("agent1", "First")
    await installed.reload("agent1", "agent2", webhook=receiver.url)
    (post,) = await receiver.received(1)
    assert post.json["data"]["disposition"] == "First", "a new sink gets what the journal still holds"
    await installed.reload("agent1", "agent2", webhook=f"{receiver.url}/other")
    await installed.heard("agent1", "Second")
    await eventually(lambda: ("/other", "Second") in told(receiver))
    assert ("/", "Second") not in told(receiver)
    await installed.reload("agent1", "agent2")
    await installed.heard("agent1", "Third")
    await asyncio.sleep(0.2)
    assert "Third" not in {disposition for _, disposition in told(receiver)}


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        ("nothing like TOML", "is not TOML"),
        ('[server]\nurl = "http://h"\n[sinks.x]\ntype = "fiel"\n', "sinks.x.type: unknown kind 'fiel'"),
    ],
)
async def test_a_broken_configuration_is_refused_and_the_old_one_goes_on(installed, broken, problem):
    (installed.folder / "listener.toml").write_text(broken)
    line = await installed.hang_up("reload_refused")
    assert any(problem in text for text in line["problems"])
    await installed.heard("agent1", "One")
    await installed.heard("agent2", "Two")
    await installed.reload("agent1", "agent2", "agent3")
    await installed.daemon.logged("subscribed", account="agent3")


async def test_what_needs_a_restart_is_refused_with_its_name(installed):
    line = await installed.reload("agent1", "agent2", event="reload_refused", journal={"retention_days": 3.0})
    assert line["problems"] == ["journal.retention_days: cannot be changed while the daemon runs: restart it"]
    await installed.heard("agent1", "One")


async def test_a_new_sink_that_a_start_would_refuse_is_refused_and_taken_once_it_can_be(installed):
    folder = installed.folder / "later"
    sinks = {"more": {"type": "file", "path": folder / "more.jsonl"}}
    line = await installed.reload("agent1", "agent2", event="reload_refused", sinks=sinks)
    assert line["problems"] == [f"sinks.more.path: there is no folder {folder}"]
    await installed.heard("agent1", "One")
    folder.mkdir()
    await installed.hang_up()
    await installed.heard("agent1", "Two")
    await eventually(lambda: (folder / "more.jsonl").exists() and (folder / "more.jsonl").read_text().endswith("\n"))
    assert json.loads((folder / "more.jsonl").read_text().splitlines()[0])["data"]["account"] == "agent1"


async def test_a_secret_that_is_replaced_takes_effect_by_itself(installed, receiver: Receiver):
    (installed.folder / "token").write_text("old")
    sinks = {"crm": {"bearer_token_file": "token", "retry_limit_s": 0.2}}
    await installed.reload("agent1", "agent2", webhook=receiver.url, sinks=sinks)
    await installed.heard("agent1", "One")
    await receiver.received(1)
    receiver.answers = Answer(status=401)
    await installed.heard("agent1", "Two")
    await installed.daemon.logged("sink_parked", sink="crm")
    receiver.answers = Answer()
    (installed.folder / "token").write_text("newer")
    await installed.daemon.logged("credentials_renewed", of=["crm"])
    posts = await receiver.received(3)
    assert posts[-1].headers["Authorization"] == "Bearer newer"
