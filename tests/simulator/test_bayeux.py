"""The meta messages over real HTTP."""

import pytest

from support.browser import CHAT, events


@pytest.fixture
async def sim(simulate):
    return await simulate()


@pytest.fixture
async def browser(sim, browse):
    browser = await browse(sim)
    await browser.login()
    return browser


async def test_the_handshake_reply_has_what_cometd_3_1_sends(browser):
    reply = await browser.handshake()
    assert reply == {
        "minimumVersion": "1.0",
        "clientId": browser.client_id,
        "supportedConnectionTypes": ["long-polling"],
        "advice": {"interval": 0, "timeout": 30000, "reconnect": "retry"},
        "channel": "/meta/handshake",
        "id": "1",
        "successful": True,
        "version": "1.0",
    }


@pytest.mark.parametrize(
    ("offered", "ext", "granted"),
    [
        (True, {"ack": True}, {"ack": True}),
        (True, {}, None),
        (True, {"ack": False}, None),
        (False, {"ack": True}, None),
    ],
)
async def test_acknowledgement_is_granted_where_both_want_it(simulate, browse, offered, ext, granted):
    browser = await browse(await simulate(ack=offered))
    await browser.login()
    assert (await browser.handshake(ext=ext)).get("ext") == granted


@pytest.mark.parametrize(
    ("channel", "hears"),
    [
        ("/v2/me/chats", True),
        ("/v2/me/*", True),
        ("/v2/**", True),
        ("/**", True),
        ("/v2/*", False),
        ("/v2/me/calls", False),
        (["/v2/me/calls", "/v2/me/chats"], True),
    ],
)
async def test_a_subscription_may_be_a_wildcard_or_a_list(sim, browser, channel, hears):
    await browser.handshake()
    (reply,) = await browser.subscribe(channel)
    assert (reply["successful"], reply["subscription"]) == (True, channel)
    sim.set_disposition("agent1", CHAT, "Callback")
    assert len(events(await browser.connect(timeout_ms=0))) == (1 if hears else 0)
    assert sim.subscribed("agent1") is hears


@pytest.mark.parametrize(
    ("subscription", "error"),
    [
        ("/meta/connect", "403::Subscribe denied"),
        ("chats", "403::Subscribe denied"),
        ([], "403::Subscription missing"),
        (None, "403::Subscription missing"),
    ],
)
async def test_a_bad_subscription_is_refused(browser, subscription, error):
    await browser.handshake()
    (reply,) = await browser.subscribe(subscription)
    assert (reply["successful"], reply["error"]) == (False, error)


async def test_after_unsubscribe_nothing_comes(sim, browser):
    await browser.handshake()
    await browser.subscribe()
    (reply,) = await browser.bayeux(browser.message("/meta/unsubscribe", subscription="/v2/me/chats"))
    assert reply["successful"]
    assert not sim.subscribed("agent1")
    (reply,) = await browser.bayeux(browser.message("/meta/unsubscribe"))
    assert not reply["successful"]


async def test_after_disconnect_the_client_is_unknown(sim, browser):
    await browser.listen()
    (reply,) = await browser.bayeux(browser.message("/meta/disconnect"))
    assert reply["successful"]
    (reply,) = await browser.connect()
    assert reply["error"] == "402::Unknown client"
    assert sim.state()["sessions"] == []


async def test_clients_may_not_publish(browser):
    await browser.handshake()
    (reply,) = await browser.bayeux(browser.message("/v2/me/chats", data={}))
    assert (reply["successful"], reply["error"]) == (False, "403::Publish denied")
    (reply,) = await browser.bayeux(browser.message(None))
    assert reply["error"] == "400::Channel missing"


@pytest.mark.parametrize("channel", ["/meta/connect", "/meta/subscribe", "/meta/unsubscribe", "/meta/disconnect"])
async def test_an_unknown_client_is_402_with_advice_on_connect_only(browser, channel):
    browser.client_id = "nobody"
    (reply,) = await browser.bayeux(browser.message(channel, subscription="/v2/me/chats"))
    assert (reply["successful"], reply["error"]) == (False, "402::Unknown client")
    advice = {"reconnect": "handshake", "interval": 0} if channel == "/meta/connect" else None
    assert reply.get("advice") == advice


async def test_a_client_id_without_its_cookie_is_unknown(sim, browser, browse):
    await browser.handshake()
    thief = await browse(sim)
    await thief.login()
    thief.client_id = browser.client_id
    assert (await thief.connect())[0]["error"] == "402::Unknown client"


async def test_a_client_id_of_another_user_is_unknown(browser):
    await browser.handshake()
    browser.user = "agent2"
    await browser.login()
    assert (await browser.connect())[0]["error"] == "402::Unknown client"


async def test_a_session_carries_on_with_a_new_login(sim, browser):
    await browser.listen()
    sim.control("expire-http")
    await browser.login()
    sim.set_disposition("agent1", CHAT, "Callback")
    assert len(events(await browser.connect())) == 1


@pytest.mark.parametrize("hears", [True, False])
async def test_a_session_outside_the_contact_center_hears_chats_or_not(simulate, browse, hears):
    sim = await simulate(second_session_hears=hears)
    browser = await browse(sim)
    await browser.listen()
    assert sim.subscribed("agent1") is hears
    sim.set_disposition("agent1", CHAT, "Callback")
    assert len(events(await browser.connect(timeout_ms=0))) == hears
    await browser.post("/api/v2/me", {"operationName": "StartContactCenterSession", "channels": ["chat"]})
    assert sim.subscribed("agent1")


async def test_what_the_new_login_may_hear_counts_for_the_session_that_it_carries_on(simulate, browse):
    sim = await simulate(second_session_hears=False)
    browser = await browse(sim)
    await browser.listen()
    sim.control("expire-http")
    await browser.login()
    await browser.post("/api/v2/me", {"operationName": "StartContactCenterSession", "channels": ["chat"]})
    assert not sim.subscribed("agent1"), "the session still belongs to the login that is gone"
    await browser.connect(timeout_ms=0)
    assert sim.subscribed("agent1")
