"""Supervisors in a daemon: built from their tables, another team without another session, cancelled when taken out."""

import asyncio

import pytest

from listener.config.settings import AccountSettings, Settings, SupervisorSettings
from listener.daemon import connections
from listener.daemon.accounts import Accounts
from listener.daemon.failures import Patience
from listener.daemon.probes import probe
from listener.daemon.reloading import changes_between
from listener.daemon.roll import Roll
from listener.daemon.supervisors import differs_in_team_alone, team_of
from listener.intake.recorder import Recorder
from listener.intake.team import Team
from listener.runtime.host import THIS_HOST
from listener.runtime.metrics import Metrics
from listener.simulator import Simulator, SimulatorOptions
from listener.testing import MemoryJournal
from support.eventually import eventually


def supervisor(**options):
    return SupervisorSettings.model_validate({"username": "s", "password": "x", "monitor": ["agent1"]} | options)


@pytest.mark.parametrize(
    ("options", "team"),
    [
        ({}, Team(agents=("agent1",))),
        ({"monitor": "all"}, Team()),
        ({"monitor": "agent1, agent2"}, Team(agents=("agent1", "agent2"))),
        ({"monitor": (), "monitor_group": "Sales"}, Team(group="Sales")),
        ({"revoked_chats": "over", "refresh_s": 9}, Team(agents=("agent1",), refresh_s=9.0, revoked_is_over=True)),
    ],
)
def test_a_table_is_a_team(options, team):
    assert team_of(supervisor(**options)) == team


def test_only_another_team_lets_the_session_go_on():
    assert differs_in_team_alone(supervisor(), supervisor(monitor="all", refresh_s=5))
    assert not differs_in_team_alone(supervisor(), supervisor(password="y"))
    assert not differs_in_team_alone(supervisor(), AccountSettings(username="s"))


def settings(url, agents):
    supervisors = [{"username": "supervisor1", "password": "secret", "monitor": agents}] if agents else []
    accounts = [{"username": "agent1", "password": "secret"}]
    sinks = {"out": {"type": "file", "path": "out"}}
    tables = {"server": {"url": url}, "accounts": accounts, "supervisors": supervisors, "sinks": sinks}
    return Settings.model_validate(tables)


async def test_another_team_without_another_session_and_nobody_once_it_is_gone(owned):
    sim = await owned.enter_async_context(Simulator(SimulatorOptions(supervisors=1)))
    metrics, journal, roll = Metrics(), MemoryJournal(), Roll(monotonic_s=THIS_HOST.clock.monotonic_s)
    await journal.open()
    recorder = Recorder(journal=journal, metrics=metrics, source="http://h", type_prefix="p")
    tasks = []

    def spawn(name, work):
        tasks.append(asyncio.get_running_loop().create_task(work, name=name))
        return tasks[-1]

    spawn("recorder", recorder.run())
    before = settings(sim.url, ["agent1", "agent2"])
    connector = connections.new_connector(before.server)
    owned.push_async_callback(connector.close)
    accounts = Accounts(
        settings=before,
        journal=journal,
        recorder=recorder,
        metrics=metrics,
        connector=connector,
        roll=roll,
        patience=Patience(),
        host=THIS_HOST,
    )
    await accounts.build(before.listening_accounts())
    accounts.start(spawn)
    await eventually(lambda: sim.supervision.monitored("supervisor1") == ["agent1", "agent2"])
    for agents in (["agent2", "agent3"], None):
        after = settings(sim.url, agents)
        changes = changes_between(before, after)
        assert bool(changes)
        assert (changes.accounts, changes.teams_changed) == (
            ((), ("supervisor1",)) if agents else (("supervisor1",), ())
        )
        await accounts.apply(after, changes.accounts, spawn, teams=changes.teams_changed, timeout_s=5.0)
        await eventually(lambda agents=agents: sim.supervision.monitored("supervisor1") == (agents or []))
        before = after
        if agents:
            (status,) = [one for one in roll.statuses() if one.team is not None]
            await eventually(lambda: metrics.value("agents_monitored") == 2)
            assert status.epoch == 1
    assert metrics.value("agents_wanted") == 0
    assert [one.account for one in roll.statuses()] == ["agent1"]
    await accounts.stop()
    await accounts.leave()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


SEES = "'supervisor1' can see"
CHECK = "check its username and password: GET /api/v2/me: HTTP 403, statusCode 20: Access denied"


def looked_at(sim, **options):
    supervisors = [{"username": "supervisor1", "password": "secret"} | options]
    sinks = {"out": {"type": "file", "path": "out"}}
    tables = {"server": {"url": sim.url}, "supervisors": supervisors, "sinks": sinks}
    return probe(Settings.model_validate(tables))


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({"monitor": ["agent1", "agent3"]}, []),
        ({"monitor": "all"}, []),
        ({"monitor_group": "team"}, []),
        (
            {"monitor": ["agent1", "agnet2"]},
            [f"monitor[1]: the server lists no user 'agnet2' among the 4 that {SEES}, did you mean 'agent2'?"],
        ),
        (
            {"monitor_group": "teem"},
            ["monitor_group: GET /api/v2/groups: there is no group 'teem' (the server lists: none, team)"],
        ),
        ({"monitor_group": "none"}, ["monitor_group: there is no agent: the server lists 0 users"]),
        (
            {"monitor": "all", "username": "agent1"},
            [
                "username: 'agent1' has not the role of a supervisor (its roles: ROLE_AGENT)",
                "monitor: GET /api/v2/users: HTTP 403, statusCode 5: The role supervisor is required",
            ],
        ),
        (
            {"monitor": "all", "password": "wrong"},
            [f"password: login of 'supervisor1' refused, {CHECK}"],
        ),
    ],
)
async def test_a_look_says_what_is_wrong_with_a_supervisor_and_monitors_nobody(owned, options, problems):
    groups = (("team", ("agent1",)), ("none", ()))
    sim = await owned.enter_async_context(Simulator(SimulatorOptions(supervisors=1, groups=groups)))
    found = [str(one).removeprefix("supervisors[0].") for one in await looked_at(sim, **options)]
    assert found == problems
    assert (sim.supervision.asked, sim.supervision.monitored("supervisor1")) == (0, [])
