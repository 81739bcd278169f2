"""The working day: exact, repeatable, and seen through a real session."""

import asyncio
from collections import Counter

import pytest

from listener.simulator import Simulator, SimulatorOptions, play
from support.browser import events


async def played(seed, *, changes=40, options=None, agents=None):
    sim = Simulator(options or SimulatorOptions())
    summary = await play(sim, events=changes, pace=0, seed=seed, agents=agents)
    return sim, summary


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("full", [None, True, False])
async def test_exactly_so_many_dispositions_change(seed, full):
    sim, summary = await played(seed, options=SimulatorOptions(full_user_data=full))
    assert summary.changes == 40
    assert summary.changes + summary.repeated + summary.silent == len(sim.ledger)
    assert summary.conferences <= summary.chats


@pytest.mark.parametrize("changes", [0, 1, 300])
async def test_any_number_of_changes_can_be_asked_for(changes):
    _, summary = await played(7, changes=changes)
    assert summary.changes == changes
    assert bool(summary.chats) is bool(changes)


async def test_the_same_dice_play_the_same_day_and_others_another():
    assert (await played(1))[0].ledger == (await played(1))[0].ledger
    assert (await played(1))[0].ledger != (await played(2))[0].ledger


async def test_every_chat_has_ended_except_for_the_documented_one():
    sim, _ = await played(3)
    assert sim.state()["chats"] == 1


async def test_one_agent_alone_has_no_conference():
    sim, summary = await played(3, agents=["agent2"])
    assert summary.conferences == 0
    assert {entry.agents for entry in sim.ledger} == {("agent2",)}


async def test_the_day_holds_all_kinds_of_change():
    _, summary = await played(1, changes=200)
    assert min(summary.set, summary.changed, summary.cleared, summary.repeated, summary.silent) > 5
    assert summary.conferences > 5


async def test_a_session_hears_the_day_as_the_ledger_tells_it(simulate, browse):
    sim = await simulate()
    browser = await browse(sim)
    await browser.listen()
    playing = asyncio.create_task(play(sim, events=60, pace=0.0005, seed=5), name="day")
    heard = []
    while not playing.done():
        heard += events(await browser.connect(timeout_ms=50))
    heard += events(await browser.connect(timeout_ms=0))
    kinds = Counter(data["notificationType"] for data in heard)
    assert kinds.keys() == {"StatusChange", "ParticipantsUpdated", "PropertiesUpdated", "NewMessages"}
    codes = [
        (data["chat"]["id"], data["chat"]["userData"]["DispositionCode"])
        for data in heard
        if data["notificationType"] == "PropertiesUpdated" and "DispositionCode" in data["chat"]["userData"]
    ]
    assert codes == [(entry.chat_id, entry.value) for entry in sim.ledger if entry.key and "agent1" in entry.heard_by]
    states = {data["chat"]["state"] for data in heard if data["notificationType"] == "StatusChange"}
    assert states == {"Invited", "Chatting", "LeftChat", "Completed"}
