"""Held polls, the order of events and replies, lost sessions, acknowledgement: over real HTTP."""

import asyncio
import json

import aiohttp
import pytest

from support.browser import CHAT, CHAT_PATH, SET_DISPOSITION, events, until


@pytest.fixture
async def sim(simulate):
    return await simulate()


@pytest.fixture
async def browser(sim, browse):
    browser = await browse(sim)
    await browser.login()
    return browser


async def test_the_notification_of_set_disposition_is_the_documented_one(simulate, browse):
    sim = await simulate(server_time=False)
    browser = await browse(sim)
    await browser.listen()
    poll = await browser.polling()
    await browser.post(CHAT_PATH, SET_DISPOSITION)
    event, reply = await poll
    assert event == {
        "channel": "/v2/me/chats",
        "data": {
            "referenceId": 34,
            "chat": {
                "participants": [
                    {"nickname": "TestName", "type": "Agent", "participantId": "009052C73228006D"},
                    {"nickname": "FirstL", "type": "Customer", "participantId": "009052C73223006B"},
                ],
                "state": "Chatting",
                "id": CHAT,
                "capabilities": [
                    "Transfer",
                    "Complete",
                    "Leave",
                    "InFocus",
                    "SendMessage",
                    "SendStartTypingNotification",
                    "SendStopTypingNotification",
                ],
                "userData": {"DispositionCode": "IssueResolved"},
                "uri": f"{sim.url}/api/v2/chats/{CHAT}",
            },
            "notificationType": "PropertiesUpdated",
            "messageType": "ChatStateChangeMessage",
        },
    }
    assert (reply["channel"], reply["id"], reply["successful"]) == ("/meta/connect", str(browser.ids), True)


async def test_both_agents_of_a_conference_hear_it_and_one_of_them_caused_it(sim, browse):
    sim.add_chat("C1", agents=["agent1", "agent2"])
    browsers = [await browse(sim, name) for name in ("agent1", "agent2")]
    for browser in browsers:
        await browser.listen()
    sim.set_disposition("agent2", "C1", "Escalated")
    (first,), (second,) = [events(await browser.connect()) for browser in browsers]
    assert ("referenceId" in first, "referenceId" in second) == (False, True)
    assert first["chat"] == second["chat"]
    assert first["metrics"]["eventProcessing"]["serverGenerationTimestamp"] > 1_600_000_000_000


async def test_the_first_connect_is_answered_at_once_and_the_next_is_held(sim, browser):
    await browser.handshake()
    (reply,) = await browser.connect()
    assert reply["advice"] == {"interval": 0, "timeout": 30000, "reconnect": "retry"}
    poll = await browser.polling()
    assert not poll.done()
    sim.publish("agent1", {"quiet": True})
    assert not poll.done(), "it is not subscribed"
    await browser.subscribe()
    sim.publish("agent1", {"loud": True})
    assert events(await poll) == [{"loud": True}]


async def test_timeout_zero_is_answered_at_once_and_told_the_advice_again(browser):
    await browser.listen()
    (reply,) = await browser.connect(timeout_ms=0)
    assert reply["advice"]["reconnect"] == "retry"


@pytest.mark.parametrize("asked", [None, 30])
async def test_a_held_poll_ends_empty_after_its_timeout(simulate, browse, asked):
    browser = await browse(await simulate(timeout_ms=30 if asked is None else 30_000))
    await browser.listen()
    (reply,) = await browser.connect(timeout_ms=asked)
    assert reply["successful"]


async def test_events_come_before_the_reply_and_ride_on_any_post(sim, browser):
    await browser.listen()
    sim.publish("agent1", {"n": 1})
    sim.publish("agent1", {"n": 2})
    messages = await browser.subscribe("/v2/me/calls")
    assert [message["channel"] for message in messages] == ["/v2/me/chats", "/v2/me/chats", "/meta/subscribe"]
    assert events(messages) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("path", ["/handshake", "/", "/anything"])
async def test_clients_that_append_to_the_path_are_served(browser, path):
    (reply,) = await browser.bayeux({"channel": "/meta/handshake", "id": 7}, path="/api/v2/notifications" + path)
    assert (reply["id"], reply["successful"]) == (7, True)


async def test_a_lone_object_is_a_message_too(browser):
    response, body = await browser.post("/api/v2/notifications", {"channel": "/meta/handshake"})
    assert response.status == 200
    assert json.loads(body)[0]["successful"]


@pytest.mark.parametrize("data", [b"[{", b"42", b"[1]", b"", b"\xff"])
async def test_what_is_no_bayeux_is_400(browser, data):
    response, _ = await browser.post("/api/v2/notifications", data=data)
    assert response.status == 400


async def test_a_get_is_400(browser):
    response, _ = await browser.get("/api/v2/notifications")
    assert response.status == 400


@pytest.mark.parametrize("also", [[], [{"channel": "/meta/handshake"}, {"channel": "/meta/connect"}]])
async def test_a_handshake_with_company_or_no_message_at_all_is_500(browser, also):
    response, _ = await browser.post("/api/v2/notifications", also)
    assert response.status == 500


async def test_a_second_connect_ends_the_first_with_500(sim, browser):
    await browser.listen()
    first = asyncio.create_task(browser.post("/api/v2/notifications", [browser.message("/meta/connect")]))
    await until(browser.held)
    second = await browser.polling()
    response, _ = await first
    assert response.status == 500
    sim.publish("agent1", {"n": 1})
    assert events(await second) == [{"n": 1}]


async def test_a_connect_in_company_is_not_held(browser):
    await browser.listen()
    messages = await browser.bayeux(
        browser.message("/meta/subscribe", subscription="/v2/me/calls"), browser.message("/meta/connect")
    )
    assert [message["channel"] for message in messages] == ["/meta/subscribe", "/meta/connect"]


async def test_two_sessions_in_one_cookie_jar_are_told_so(browser):
    await browser.listen()
    poll = await browser.polling()
    first, browser.client_id = browser.client_id, None
    await browser.handshake()
    await browser.connect(timeout_ms=0)
    (reply,) = await browser.connect()
    assert reply["successful"]
    assert reply["advice"] == {"multiple-clients": True, "reconnect": "retry", "interval": 2000}
    browser.client_id = first
    await browser.bayeux(browser.message("/meta/disconnect"))
    assert (await poll)[-1]["advice"]["reconnect"] == "none"


async def test_two_jars_of_one_user_are_two_clients(sim, browse):
    browsers = [await browse(sim), await browse(sim)]
    polls = []
    for browser in browsers:
        await browser.listen()
        polls.append(await browser.polling())
    sim.set_disposition("agent1", CHAT, "Callback")
    assert [len(events(await poll)) for poll in polls] == [1, 1]


async def test_a_session_without_a_connect_is_swept_with_its_queue(simulate, browse):
    sim = await simulate(max_interval_ms=30)
    browser = await browse(sim)
    await browser.listen()
    sim.publish("agent1", {"n": 1})
    await until(lambda: not sim.state()["sessions"])
    (reply,) = await browser.connect()
    assert (reply["error"], reply["advice"]["reconnect"]) == ("402::Unknown client", "handshake")
    assert sim.state()["swept"] == 1


async def test_a_held_poll_keeps_its_session(simulate, browse):
    sim = await simulate(max_interval_ms=20, timeout_ms=150)
    browser = await browse(sim)
    await browser.listen()
    (reply,) = await browser.connect()
    assert reply["successful"]


async def test_without_acknowledgement_a_lost_answer_loses_its_events(sim, browser):
    await browser.listen()
    sim.publish("agent1", {"n": 1})
    sim.control("drop")
    with pytest.raises(aiohttp.ClientConnectionError):
        await browser.connect()
    sim.publish("agent1", {"n": 2})
    assert events(await browser.connect()) == [{"n": 2}]


async def test_with_acknowledgement_a_lost_answer_comes_again(simulate, browse):
    sim = await simulate(ack=True)
    browser = await browse(sim)
    (reply,) = await browser.listen(ack=True)
    acknowledged = reply["ext"]["ack"]
    sim.publish("agent1", {"n": 1})
    sim.control("drop")
    with pytest.raises(aiohttp.ClientConnectionError):
        await browser.connect(ack=acknowledged)
    sim.publish("agent1", {"n": 2})
    *again, reply = await browser.connect(ack=acknowledged)
    assert events(again) == [{"n": 1}, {"n": 2}]
    assert reply["ext"]["ack"] > acknowledged + 1
    *rest, _ = await browser.connect(ack=reply["ext"]["ack"], timeout_ms=0)
    assert rest == []


async def test_what_is_not_acknowledged_is_sent_at_once_and_not_held(simulate, browse):
    sim = await simulate(ack=True)
    browser = await browse(sim)
    (reply,) = await browser.listen(ack=True)
    sim.publish("agent1", {"n": 1})
    old = reply["ext"]["ack"]
    for _ in range(3):
        assert events(await browser.connect(ack=old)) == [{"n": 1}]


async def test_with_acknowledgement_events_come_with_connects_only(simulate, browse):
    sim = await simulate(ack=True)
    browser = await browse(sim)
    (reply,) = await browser.listen(ack=True)
    sim.publish("agent1", {"n": 1})
    assert events(await browser.subscribe("/v2/me/calls")) == []
    assert events(await browser.connect(ack=reply["ext"]["ack"])) == [{"n": 1}]


async def test_the_bayeux_cookie_is_set_once(sim, browser):
    await browser.handshake()
    names = [cookie.key for cookie in browser.http.cookie_jar]
    assert sorted(names) == ["BAYEUX_BROWSER", "JSESSIONID"]
    response, _ = await browser.post("/api/v2/notifications", [{"channel": "/meta/handshake"}])
    assert "BAYEUX_BROWSER" not in response.cookies
