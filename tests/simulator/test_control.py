"""The control endpoint over real HTTP."""

import json

import pytest

from listener.simulator import control
from listener.simulator.control import is_loopback
from listener.simulator.wire import Call
from support.browser import events


@pytest.fixture
async def sim(simulate):
    return await simulate()


@pytest.fixture
async def browser(sim, browse):
    return await browse(sim)


async def order(browser, name, body=None, *, data=None):
    response, text = await browser.post(f"/control/{name}", body, data=data)
    return response.status, json.loads(text)


async def test_every_order_of_the_table_can_be_given(browser):
    """The module's own text is the documentation: each line of its table is an order that exists."""
    names = [line.split()[0] for line in control.__doc__.splitlines() if line.startswith("    ")]
    needed = {
        "cut": {"after_bytes": 1},
        "delay": {"ms": 0},
        "invalidate-logins": {"seconds": 0},
        "advice": {"kind": "none"},
        "publish": {"data": {}},
        "refuse-topic": {"topic": "/v2/me/emails"},
        "add-chat": {"chat": "C1", "agents": ["agent1"]},
        "refuse-monitor": {"agent": "agent1"},
    }
    assert len(names) == 20
    for name in names:
        assert (await order(browser, name, needed.get(name, {})))[0] == 200, name


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("drop", {"cuont": 1}),
        ("drop", {"only": "some"}),
        ("cut", {}),
        ("delay", {"ms": "soon"}),
        ("advice", {"kind": "rest"}),
        ("publish", {}),
        ("publish", {"agent": "nobody", "data": {}}),
        ("add-chat", {"chat": "0000Na9B26EF003M", "agents": ["agent1"]}),
        ("add-chat", {"chat": "C9", "agents": ["agent1"], "state": "Dreaming"}),
    ],
)
async def test_a_bad_order_is_refused_with_its_reason(browser, name, body):
    status, answer = await order(browser, name, body)
    assert status == 400
    assert answer["error"]


async def test_what_is_no_json_or_no_order_is_refused(browser):
    assert (await order(browser, "drop", data=b"{"))[0] == 400
    assert (await order(browser, "explode", {}))[0] == 404
    assert (await browser.get("/control/drop"))[0].status == 404


async def test_an_empty_body_is_an_order_without_members(sim, browser):
    assert (await order(browser, "drop", data=b""))[0] == 200
    assert sim.state()["pending"]["drop"] == 1


async def test_control_needs_no_login_and_meets_no_fault(sim, browser):
    sim.control("fail", count=5)
    assert (await order(browser, "clear", {}))[0] == 200


async def test_publish_numbers_its_messages_and_reaches_one_or_all(sim, browse):
    first, second = await browse(sim, "agent1"), await browse(sim, "agent2")
    for listening in (first, second):
        await listening.listen()
    status, answer = await order(first, "publish", {"agent": "agent1", "data": {"n": "{n}"}, "count": 3})
    assert (status, answer) == (200, {"queued": 3})
    assert (await order(first, "publish", {"data": {"to": "all"}}))[1] == {"queued": 2}
    assert events(await first.connect()) == [{"n": "1"}, {"n": "2"}, {"n": "3"}, {"to": "all"}]
    assert events(await second.connect()) == [{"to": "all"}]


async def test_raw_data_goes_out_as_it_is(sim, browser):
    await browser.listen()
    await order(browser, "publish", {"raw": '{"a": NaN, "a": "\\ud800"}'})
    message = browser.message("/meta/connect")
    _, body = await browser.post("/api/v2/notifications", [message])
    assert b'{"a": NaN, "a": "\\ud800"}' in body


async def test_publish_can_name_another_channel(sim, browser):
    await browser.listen(channel="/v2/me/calls")
    await order(browser, "publish", {"channel": "/v2/me/calls", "data": 1})
    assert (await browser.connect())[0] == {"data": 1, "channel": "/v2/me/calls"}


async def test_a_chat_can_be_added_for_several_agents(sim, browser):
    await order(browser, "add-chat", {"chat": "C7", "agents": ["agent1", "agent2"]})
    assert sim.set_disposition("agent2", "C7", "Callback").agents == ("agent1", "agent2")


async def test_the_state_shows_sessions_and_no_secret(sim, browser):
    await browser.listen()
    sim.publish("agent1", {})
    _, body = await browser.get("/control/state")
    (session,) = json.loads(body)["sessions"]
    assert session == {
        "clientId": browser.client_id,
        "agent": "agent1",
        "subscriptions": ["/v2/me/chats"],
        "queued": 1,
        "held": False,
        "ack": False,
    }
    assert b"secret" not in body
    assert all(cookie.value.encode() not in body for cookie in browser.http.cookie_jar)


@pytest.mark.parametrize(
    ("peer", "own"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("192.0.2.7", False),
        ("2001:db8::1", False),
        ("localhost", False),
        ("", False),
        (None, False),
    ],
)
def test_only_loopback_addresses_are_this_machines_own(peer, own):
    assert is_loopback(peer) is own


async def test_a_peer_elsewhere_is_refused_and_nothing_is_armed(sim):
    call = Call(
        method="POST", path="/control/drop", query={}, headers={}, cookies={}, host="h", peer="192.0.2.7", body=b"{}"
    )
    reply = sim._control.handle(call)
    assert reply.status == 403
    assert sim.state()["pending"]["drop"] == 0


async def test_a_topic_can_be_refused_while_others_are_granted(sim, browser):
    await browser.listen()
    assert (await order(browser, "refuse-topic", {"topic": "/v2/me/chats"}))[1] == {"refused": ["/v2/me/chats"]}
    assert sim.subscribed("agent1")
    wanted = [browser.message("/meta/subscribe", subscription=f"/v2/me/{one}") for one in ("chats", "emails")]
    assert [one["successful"] for one in await browser.bayeux(*wanted)] == [False, True]
    assert (await order(browser, "refuse-topic", {"topic": "/v2/me/chats", "refused": False}))[1] == {"refused": []}


async def test_a_subscription_can_be_forgotten_while_connects_go_on(sim, browser):
    await browser.listen()
    assert (await order(browser, "forget-subscriptions", {"agent": "agent1"}))[1] == {"forgotten": 1}
    sim.publish("agent1", {"n": 1})
    (reply,) = await browser.connect(timeout_ms=0)
    assert reply["successful"] is True
    assert not sim.subscribed("agent1")
