"""Each fault, armed and met over real HTTP."""

import asyncio
import json
from time import monotonic

import aiohttp
import pytest

from listener.simulator.faults import Advice, Drop, Fail, Faults
from listener.simulator.wire import Call, Reply
from support.browser import events, until


@pytest.fixture
async def sim(simulate):
    return await simulate()


@pytest.fixture
async def browser(sim, browse):
    browser = await browse(sim)
    await browser.listen()
    return browser


async def test_fail_answers_before_the_server_and_only_so_often(sim, browser):
    sim.control("fail", status=503, headers={"Retry-After": "7"}, body="<html>down</html>", count=2)
    for _ in range(2):
        response, body = await browser.post("/api/v2/me", {"operationName": "EndContactCenterSession"})
        assert (response.status, response.headers["Retry-After"], body) == (503, "7", b"<html>down</html>")
        assert response.content_type == "text/html"
    assert (await browser.get("/api/v2/me"))[0].status == 200


async def test_failures_come_in_the_order_of_their_arming_and_on_their_paths(sim, browser):
    sim.control("fail", status=502, target="notifications")
    sim.control("fail", status=500, target="rest")
    sim.control("fail", status=429, target="rest")
    statuses = [(await browser.get("/api/v2/me"))[0].status for _ in range(3)]
    assert statuses == [500, 429, 200]
    assert (await browser.post("/api/v2/notifications", []))[0].status == 502


async def test_drop_of_messages_waits_for_an_answer_with_events(sim, browser):
    sim.control("drop", only="messages")
    await browser.connect(timeout_ms=0)
    sim.publish("agent1", {"n": 1})
    with pytest.raises(aiohttp.ClientConnectionError):
        await browser.connect()
    assert (await browser.connect(timeout_ms=0))[0]["successful"]
    assert sim.state()["used"] == 1


async def test_a_fault_that_waits_for_events_does_not_hold_up_the_next(sim, browser):
    sim.control("drop", only="messages")
    sim.control("drop", target="rest")
    with pytest.raises(aiohttp.ClientConnectionError):
        await browser.post("/api/v2/me", {})
    assert sim.state()["pending"]["drop"] == 1


async def test_what_is_dropped_has_been_done(sim, browser):
    sim.control("drop", target="rest")
    with pytest.raises(aiohttp.ClientConnectionError):
        await browser.post("/api/v2/me", {"operationName": "EndContactCenterSession"})
    assert sim.state()["logins"] == 0


async def test_cut_ends_the_body_early(sim, browser):
    sim.publish("agent1", {"n": 1})
    sim.control("cut", after_bytes=10)
    with pytest.raises(aiohttp.ClientPayloadError):
        await browser.connect()


@pytest.mark.parametrize(
    ("kind", "claim"),
    [
        ("html", lambda body: body.startswith(b"<html>")),
        ("empty", lambda body: body == b""),
        ("null", lambda body: body == b"null"),
        ("scalar", lambda body: json.loads(body) == 42),
        ("array", lambda body: not any(isinstance(item, dict) for item in json.loads(body))),
        ("object", lambda body: json.loads(body)["channel"] == "/meta/connect"),
        ("truncated", lambda body: body.startswith(b"[{") and not body.endswith(b"]")),
        ("binary", lambda body: b"\xff" in body),
    ],
)
async def test_garbage_takes_the_place_of_the_body(sim, browser, kind, claim):
    sim.control("garbage", kind=kind)
    message = browser.message("/meta/connect", advice={"timeout": 0})
    response, body = await browser.post("/api/v2/notifications", [message])
    assert response.status == 200
    assert claim(body), body
    assert (await browser.connect(timeout_ms=0))[0]["successful"]


async def test_delay_makes_every_answer_late_until_it_is_lifted(sim, browser):
    sim.control("delay", ms=60, target="rest")
    begin = monotonic()
    await browser.get("/api/v2/me")
    assert monotonic() - begin >= 0.06
    sim.control("delay", ms=60_000, target="notifications")
    await asyncio.wait_for(browser.get("/api/v2/me"), 5)
    sim.control("delay", ms=0)
    await asyncio.wait_for(browser.connect(timeout_ms=0), 5)


@pytest.mark.parametrize(
    ("order", "advice"),
    [
        ({"kind": "none"}, {"reconnect": "none"}),
        ({"kind": "handshake"}, {"reconnect": "handshake", "interval": 0}),
        ({"kind": "interval", "interval_ms": 50}, {"reconnect": "retry", "interval": 50}),
        ({"kind": "multiple-clients"}, {"multiple-clients": True, "reconnect": "retry", "interval": 2000}),
    ],
)
async def test_advice_answers_the_held_poll_at_once(sim, browser, order, advice):
    poll = await browser.polling()
    sim.control("advice", **order)
    (reply,) = await poll
    assert (reply["successful"], reply["advice"]) == (True, advice)


async def test_advice_can_come_with_a_failure_and_for_one_agent(sim, browser):
    sim.control("advice", kind="handshake", successful=False, agent="agent2")
    assert (await browser.connect(timeout_ms=0))[0]["successful"]
    sim.control("advice", kind="handshake", successful=False, agent="agent1", count=2)
    for _ in range(2):
        assert not (await browser.connect())[0]["successful"]
    assert sim.state()["pending"]["advice"] == 1


async def test_a_denied_handshake_says_none(sim, browser):
    sim.control("deny-handshake", count=1)
    reply = await browser.handshake()
    assert (reply["successful"], reply["error"]) == (False, "403::Handshake denied")
    assert reply["advice"]["reconnect"] == "none"
    assert (await browser.handshake())["successful"]


async def test_duplicate_brings_the_next_batch_twice(sim, browser):
    sim.control("duplicate", count=1)
    sim.publish("agent1", {"n": 1})
    sim.publish("agent1", {"n": 2})
    for _ in range(2):
        assert events(await browser.connect()) == [{"n": 1}, {"n": 2}]
    assert events(await browser.connect(timeout_ms=0)) == []


async def test_expire_answers_held_polls_with_402(sim, browser):
    poll = await browser.polling()
    assert sim.control("expire", agent="agent2") == {"expired": 0}
    assert sim.control("expire") == {"expired": 1}
    (reply,) = await poll
    assert (reply["error"], reply["advice"]["reconnect"]) == ("402::Unknown client", "handshake")


async def test_invalidated_logins_come_back_after_their_time(sim, browser):
    sim.control("invalidate-logins", seconds=0.05)
    assert (await browser.get("/api/v2/me"))[0].status == 403
    end = monotonic() + 5
    while True:
        response, _ = await browser.get("/api/v2/me", headers={"Authorization": "Basic YWdlbnQxOnNlY3JldA=="})
        if response.status == 200:
            break
        assert response.status == 403
        assert monotonic() < end
        await asyncio.sleep(0.005)


async def test_a_rotated_token_is_refused_until_it_is_read_again(sim, browser):
    sim.control("set-csrf", enabled=True, header="X-NEW")
    response, body = await browser.post("/api/v2/notifications", [browser.message("/meta/connect")])
    assert (response.status, body) == (403, b"Missing or invalid Csrf token")
    await browser.login()
    assert list(browser.headers) == ["X-NEW"]
    assert (await browser.connect(timeout_ms=0))[0]["successful"]


async def test_clear_disarms_everything(sim, browser):
    for order, members in [
        ("fail", {}),
        ("drop", {}),
        ("cut", {"after_bytes": 1}),
        ("garbage", {}),
        ("advice", {"kind": "none"}),
        ("deny-handshake", {}),
        ("duplicate", {}),
    ]:
        sim.control(order, **members)
    sim.control("delay", ms=60_000)
    assert set(sim.state()["pending"].values()) == {1}
    sim.control("clear")
    assert set(sim.state()["pending"].values()) == {0}
    await asyncio.wait_for(browser.connect(timeout_ms=0), 5)
    await until(lambda: sim.state()["used"] == 0)


async def test_a_count_of_zero_arms_nothing():
    faults = Faults()
    faults.arm(Fail(count=0))
    faults.arm(Drop(count=0))
    faults.advise(Advice(kind="none", count=0))
    call = Call(method="GET", path="/", query={}, headers={}, cookies={}, host="h", peer=None, body=b"")
    assert faults.before(call) is None
    assert await faults.after(call, Reply()) == Reply()
    assert not faults.advises("agent1")
