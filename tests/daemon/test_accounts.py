import asyncio

import msgspec
import pytest
from structlog.testing import capture_logs

from listener.cometd.facts import Cause
from listener.config.settings import Settings
from listener.daemon import connections
from listener.daemon.accounts import Accounts
from listener.daemon.failures import Patience
from listener.daemon.roll import Roll
from listener.intake.recorder import Recorder
from listener.runtime.host import THIS_HOST
from listener.runtime.metrics import Metrics
from listener.simulator import Simulator, SimulatorOptions
from listener.simulator.state import FIRST_CHAT
from listener.testing import MemoryJournal
from support.eventually import eventually


def settings(url, *names, **password):
    accounts = [{"username": name, "password": "secret"} | password for name in names]
    sinks = {"out": {"type": "file", "path": "out"}}
    return Settings.model_validate({"server": {"url": url}, "accounts": accounts, "sinks": sinks})


@pytest.fixture
async def sim(request):
    async with Simulator(getattr(request, "param", None)) as running:
        yield running


@pytest.fixture
def journal():
    return MemoryJournal()


@pytest.fixture
async def world(sim, journal, owned):
    """Accounts `agent1` and `agent2` on a simulated site, and what they need."""
    metrics = Metrics()
    await journal.open()
    both = settings(sim.url, "agent1", "agent2")
    recorder = Recorder(journal=journal, metrics=metrics, source="http://h", type_prefix="p")
    recording = spawn("recorder", recorder.run())
    owned.callback(recording.cancel)
    connector = connections.new_connector(both.server)
    owned.push_async_callback(connector.close)
    accounts = Accounts(
        settings=both,
        journal=journal,
        recorder=recorder,
        metrics=metrics,
        connector=connector,
        roll=Roll(monotonic_s=THIS_HOST.clock.monotonic_s),
        patience=Patience(),
        host=THIS_HOST,
    )
    await accounts.build(both.accounts)
    accounts.start(spawn)
    await subscribed(accounts, "agent1", "agent2")
    tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("account ")]
    yield accounts
    await accounts.leave()
    await asyncio.wait(tasks)


def spawn(name, work):
    return asyncio.get_running_loop().create_task(work, name=name)


def at_work():
    return {name for task in asyncio.all_tasks() if (name := task.get_name()).startswith("session ")}


async def subscribed(accounts, *names):
    await eventually(lambda: {one.account for one in accounts._roll.statuses() if one.subscribed} == set(names))


async def test_only_those_that_change_are_started_anew(world, sim):
    epochs = {one.account: one.epoch for one in world._roll.statuses()}
    await world.apply(settings(sim.url, "agent2", "agent3"), ["agent1", "agent3"], spawn, timeout_s=5.0)
    await subscribed(world, "agent2", "agent3")
    assert len(world) == 2
    assert {one.account: one.epoch for one in world._roll.statuses()}["agent2"] == epochs["agent2"]


async def test_an_account_that_is_started_anew_continues_its_session(world, sim):
    before = {one["agent"]: one["clientId"] for one in sim.state()["sessions"]}
    await world.apply(settings(sim.url, "agent1", "agent2"), ["agent1"], spawn, timeout_s=5.0)
    await subscribed(world, "agent1", "agent2")
    assert {one["agent"]: one["clientId"] for one in sim.state()["sessions"]} == before
    assert [one.gaps.count for one in world._roll.statuses()] == [0, 0]


async def test_a_gap_keeps_its_reason_where_the_account_is_started_anew_before_it_ends(world, sim, journal):
    sim.control("invalidate-logins", seconds=1)
    sim.control("expire")
    engine = world._listening["agent1"].parts.engine
    await eventually(lambda: engine.subscription.cause is Cause.SESSION_EXPIRED)
    await world.apply(settings(sim.url, "agent1", "agent2"), ["agent1"], spawn, timeout_s=5.0)
    await subscribed(world, "agent1", "agent2")
    await eventually(lambda: journal.last_sequence == 2)
    gaps = [msgspec.json.decode(one.data) for one in await journal.read(0, 100)]
    found = sorted((gap["account"], gap["reason"]) for gap in gaps)
    assert found == [("agent1", "session_expired"), ("agent2", "session_expired")]


async def test_one_that_does_not_end_in_order_holds_nobody_up(world, sim):
    await sim.stop()
    with capture_logs() as logs:
        await world.apply(settings(sim.url, "agent2"), ["agent1"], spawn, timeout_s=0.0)
    assert [line["account"] for line in logs if line["event"] == "account_not_stopped_in_time"] == ["agent1"]
    assert [one.account for one in world._roll.statuses()] == ["agent2"]


async def test_one_that_continues_its_session_does_not_wait_for_hundreds_that_are_new(world, sim):
    new = [f"new{number}" for number in range(300)]
    await world.apply(settings(sim.url, *new, "agent1", "agent2"), [*new, "agent1"], spawn, timeout_s=5.0)
    tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith("account ")]
    await subscribed(world, "agent1", "agent2")
    assert sum(one.last_error is not None for one in world._roll.statuses()) < len(new) / 2
    await world.leave()
    await asyncio.wait(tasks)


@pytest.mark.parametrize("sim", [SimulatorOptions(ack=True)], indirect=True)
async def test_a_stop_leaves_acknowledged_polls_open_and_what_they_bring_comes_again(world, sim, journal):
    await eventually(lambda: sim.polling("agent1") and sim.polling("agent2"))
    await world.stop()
    stored = journal.last_sequence
    sessions = await journal.sessions()
    assert all(sessions[name].clean for name in ("agent1", "agent2"))
    assert at_work() == {"session agent1", "session agent2"}, "ended, they would have closed their polls"
    sim.set_disposition("agent1", FIRST_CHAT, "late")
    await eventually(lambda: not sim.polling("agent1"))
    await asyncio.sleep(0.05)
    assert journal.last_sequence == stored
    await world.apply(settings(sim.url, "agent1", "agent2"), ["agent1"], spawn, timeout_s=5.0)
    await eventually(lambda: journal.last_sequence > stored)
    (event,) = await journal.read(stored, 10)
    assert b'"late"' in event.data
    assert sim.state()["handshakes"] == 2


async def test_a_stop_leaves_no_poll_open_without_acknowledgements(world, sim):
    await eventually(lambda: sim.polling("agent1") and sim.polling("agent2"))
    await world.stop()
    assert not sim.polling("agent1")
    assert not sim.polling("agent2")
    assert at_work() == set()


async def test_new_passwords_are_tried_beside_the_sessions_and_what_is_refused_is_one_trouble(world, sim, owned):
    trying = spawn("passwords", world.passwords.run())
    owned.callback(trying.cancel)
    await eventually(lambda: world.passwords._watch._settings is not None)
    before = {one["agent"]: one["clientId"] for one in sim.state()["sessions"]}
    names = ["agent1", "agent2"]
    await world.apply(settings(sim.url, *names, password="new"), names, spawn, timeout_s=5.0)
    await subscribed(world, *names)
    world.passwords.look()
    await eventually(lambda: world._roll.troubles.counts().troubled == 2)
    (trouble,) = world._roll.troubles.groups()
    assert trouble.what.startswith("the new password is refused, and the session goes on with its old login: GET")
    assert trouble.accounts == ("agent1", "agent2")
    assert (world._roll.unsubscribed().first, world._roll.unheard().first) == ((), ()), "they hear everything"
    assert {one["agent"]: one["clientId"] for one in sim.state()["sessions"]} == before
    await world.apply(settings(sim.url, *names), names, spawn, timeout_s=5.0)
    await subscribed(world, *names)
    await eventually(lambda: world._roll.troubles.counts().troubled == 0)
