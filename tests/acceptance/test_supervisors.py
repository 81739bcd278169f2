"""A supervisor beside an account in the real daemon: a team is heard over a kill and a lost login, each change once."""

import signal

import pytest

from listener.simulator import Simulator, SimulatorOptions
from support.config import audit_events, write_config
from support.eventually import eventually


@pytest.fixture
async def sim():
    async with Simulator(SimulatorOptions(supervisors=1, ack=True, timeout_ms=1000)) as running:
        yield running


def chat(sim, agent, name):
    sim.desk.invite(name, agent, user_data={}, base_url=sim.url)
    sim.operate(agent, name, "Accept")


def changes(folder):
    """Who heard which change, and whose chat it was."""
    return [
        (one["data"]["account"], one["data"].get("agent", "unset"), one["data"]["change"], one["data"]["disposition"])
        for one in audit_events(folder)
        if one["type"].endswith(".disposition") and one["data"]["change"] != "unchanged"
    ]


async def test_a_team_is_heard_over_a_kill_and_a_lost_login_and_each_change_once(start_daemon, tmp_path, sim):
    path = write_config(
        tmp_path,
        server={"url": sim.url},
        accounts=[{"username": "agent1", "password": "secret"}],
        supervisors=[{"username": "supervisor1", "password": "secret", "monitor": ["agent1", "agent2"]}],
    )
    daemon = await start_daemon(path)
    await daemon.logged("team_monitored")
    for agent, name in (("agent1", "C1"), ("agent2", "C2")):
        chat(sim, agent, name)
        sim.set_disposition(agent, name, "one")
    await eventually(lambda: len(changes(tmp_path)) == 2)
    assert {(agent, code) for _, agent, _, code in changes(tmp_path)} <= {
        ("unset", "one"),
        ("agent1", "one"),
        ("agent2", "one"),
    }
    daemon.send_signal(signal.SIGKILL)
    await daemon.wait()
    sim.set_disposition("agent2", "C2", "while nobody ran")
    daemon = await start_daemon(path)
    # Whose chat it is nobody knows yet: the users are read once the session goes on.
    await eventually(lambda: ("supervisor1", "while nobody ran") in {(one[0], one[3]) for one in changes(tmp_path)})
    await daemon.logged("team_monitored")
    assert [one for one in audit_events(tmp_path) if one["type"].endswith(".gap")] == []
    sim.control("expire-http")
    await daemon.logged("team_gap")
    await eventually(lambda: sim.supervision.monitored("supervisor1") == ["agent1", "agent2"])
    await daemon.logged("team_monitored", count=2)
    sim.set_disposition("agent2", "C2", "after")
    await eventually(lambda: ("supervisor1", "agent2", "changed", "after") in changes(tmp_path))
    codes = [(name, code) for _, name, _, code in changes(tmp_path)]
    assert len(changes(tmp_path)) == 4, codes
    (gap,) = [
        one["data"]
        for one in audit_events(tmp_path)
        if one["type"].endswith(".gap") and one["data"]["reason"] == "not_monitored"
    ]
    assert (gap["account"], gap["closedBy"]) == ("supervisor1", "monitor")
