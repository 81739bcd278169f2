"""The simulator as a whole: its port, its life, its face for tests."""

import asyncio

import aiohttp
import pytest

from listener.errors import NotFound, ParameterInvalid, StartError
from listener.simulator import Simulator, SimulatorOptions
from support.browser import CHAT, events, until


async def test_a_taken_port_is_a_start_error_that_names_it(simulate):
    sim = await simulate()
    with pytest.raises(StartError, match=rf"^port: .*:{sim.port}"):
        await Simulator(SimulatorOptions(port=sim.port)).start()


async def test_stopping_resets_held_polls_and_is_quick(simulate, browse):
    sim = await simulate()
    browser = await browse(sim)
    await browser.listen()
    poll = await browser.polling()
    now_s = asyncio.get_running_loop().time
    began_s = now_s()
    await sim.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await poll
    assert now_s() - began_s < 2
    await sim.stop()


async def test_a_restart_takes_the_same_port_forgets_sessions_and_keeps_chats(simulate, browse):
    sim = await simulate()
    browser = await browse(sim)
    await browser.listen()
    sim.set_disposition("agent1", CHAT, "Callback")
    url = sim.url
    await sim.stop()
    await sim.start()
    assert sim.url == url
    assert (await browser.get("/api/v2/me"))[0].status == 403
    await browser.login()
    assert (await browser.connect())[0]["error"] == "402::Unknown client"
    assert sim.center.chat_of("agent1", CHAT).user_data == {"DispositionCode": "Callback"}


async def test_publish_reaches_one_agent_or_all_and_is_not_in_the_ledger(simulate, browse):
    sim = await simulate()
    assert sim.publish("agent1", {"n": 0}) == 0
    browsers = [await browse(sim, name) for name in ("agent1", "agent2")]
    for browser in browsers:
        await browser.listen()
    assert sim.publish("agent1", {"n": 1}) == 1
    assert sim.publish("all", b'{"n":2}') == 2
    assert [events(await browser.connect()) for browser in browsers] == [[{"n": 1}, {"n": 2}], [{"n": 2}]]
    assert sim.ledger == []


async def test_subscribed_and_polling_tell_what_is_true_now(simulate, browse):
    sim = await simulate()
    browser = await browse(sim)
    assert not sim.subscribed("agent1")
    await browser.listen()
    assert sim.subscribed("agent1")
    assert not sim.subscribed("agent2")
    assert not sim.polling("agent1")
    poll = await browser.polling()
    assert sim.polling("agent1")
    sim.control("expire")
    assert not sim.subscribed("agent1")
    await poll


async def test_the_next_subscription_is_waited_for(simulate, browse):
    sim = await simulate()
    waiting = asyncio.create_task(sim.next_subscription(), name="wait")
    browser = await browse(sim)
    await browser.login()
    await browser.handshake()
    assert not waiting.done()
    await browser.subscribe()
    await asyncio.wait_for(waiting, 5)


async def test_operations_from_python_are_refused_like_those_over_http(simulate):
    sim = await simulate()
    with pytest.raises(NotFound):
        sim.set_disposition("agent2", CHAT, "Callback")
    with pytest.raises(ParameterInvalid):
        sim.operate("agent1", CHAT, "Accept")
    with pytest.raises(KeyError):
        sim.control("explode")


async def test_set_disposition_takes_a_key_and_returns_its_entry(simulate):
    sim = await simulate()
    entry = sim.set_disposition("agent1", CHAT, "Callback", key="Outcome")
    assert (entry.key, entry.value, entry.chat_id) == ("Outcome", "Callback", CHAT)
    assert sim.ledger == [entry]


async def test_chats_can_be_added_in_any_state(simulate):
    sim = await simulate()
    sim.add_chat("C1", agents=["agent2"], state="Invited", user_data={"Topic": "Billing"})
    sim.operate("agent2", "C1", "Accept")
    assert sim.center.chat_of("agent2", "C1").user_data == {"Topic": "Billing"}


async def test_ten_megabytes_go_through(simulate, browse):
    sim = await simulate()
    browser = await browse(sim)
    await browser.listen()
    sim.publish("agent1", {"text": "x" * 10_000_000})
    assert len(events(await browser.connect())[0]["text"]) == 10_000_000


async def test_two_hundred_sessions_are_held_at_once(simulate, browse):
    sim = await simulate(agents=200)
    browsers = [await browse(sim, f"agent{number}") for number in range(1, 201)]
    await asyncio.gather(*(browser.listen() for browser in browsers))
    polls = [asyncio.create_task(browser.connect(), name="poll") for browser in browsers]
    await until(lambda: sum(s["held"] for s in sim.state()["sessions"]) == 200)
    assert sim.publish("all", {"n": 1}) == 200
    assert [events(messages) for messages in await asyncio.gather(*polls)] == [[{"n": 1}]] * 200
