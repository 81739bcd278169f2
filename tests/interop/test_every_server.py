"""The daemon against Bayeux servers that nobody here wrote: what holds whatever the server and the transport."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support.bayeux import BayeuxServer
from support.eventually import eventually
from support.listening import NUMBERED, Listening, numbers
from support.notifications import AGENT, CHAT, DOCUMENTED
from support.params import some_of
from support.receiver import Receiver

SERVERS = {
    "cometd with ack": ("cometd", "long-polling"),
    "cometd without ack": ("cometd-no-ack", "long-polling"),
    "faye over long-polling": ("faye", "long-polling"),
    "faye over websocket": ("faye", "websocket"),
}

HOLD = ("--timeout-ms", "500")  # a poll that is held shortly: a session that is gone is noticed by its end


def on(*usual: str) -> pytest.MarkDecorator:
    """With every server, in the ordinary suite with these."""
    return pytest.mark.parametrize("server", some_of(SERVERS, *usual), indirect=True)


@pytest.fixture
async def server(request: pytest.FixtureRequest, owned: AsyncExitStack) -> BayeuxServer:
    kind, _ = SERVERS[request.param]
    return await owned.enter_async_context(BayeuxServer(kind, options=HOLD))


@pytest.fixture
def transport(request: pytest.FixtureRequest) -> str:
    return SERVERS[request.node.callspec.params["server"]][1]


@pytest.fixture
async def listening(
    server: BayeuxServer, transport: str, receiver: Receiver, tmp_path: Path
) -> AsyncIterator[Listening]:
    table = {**server.settings, "transport": transport}
    async with Listening(tmp_path, server=table, webhook=receiver.url) as listening:
        await listening.start()
        yield listening


@on("cometd with ack", "faye over websocket")
async def test_a_stop_is_in_order_whatever_the_server_does_about_a_held_poll(
    server: BayeuxServer, listening: Listening
):
    """With a second poll, CometD ends the first with HTTP 500, and faye forgets it."""
    await server.publish(NUMBERED)
    await listening.heard([1])
    assert await listening.stop() == 0, listening.daemon.output()
    await listening.daemon.logged("stopped")


@on("cometd without ack", "faye over websocket")
async def test_the_documented_notification_is_one_line_and_one_post(
    server: BayeuxServer, listening: Listening, receiver: Receiver
):
    before = datetime.now(UTC)
    await server.publish(DOCUMENTED)
    (post,) = await receiver.received(1)
    (event,) = await eventually(lambda: listening.events)
    assert before.replace(microsecond=0) <= datetime.fromisoformat(event["time"]) <= datetime.now(UTC)
    assert len(event["id"]) >= 32
    expected = {
        "specversion": "1.0",
        "type": "disposition-listener.chat.disposition",
        "source": f"{server.url}/v2/me/chats",
        "id": event["id"],
        "subject": CHAT["id"],
        "time": event["time"],
        "datacontenttype": "application/json",
        "sequence": "1",
        "data": {
            "change": "set",
            "key": "DispositionCode",
            "disposition": "IssueResolved",
            "previous": None,
            "chatId": CHAT["id"],
            "chatState": "Chatting",
            "chatUri": CHAT["uri"],
            "referenceId": 34,
            "account": "listener",
            "participants": [AGENT],
            "userData": {},
            "receivedAt": event["time"],
            "origin": "notification",
            "mediaType": "chat",
        },
    }
    assert json.dumps(event) == json.dumps(expected), "the same fields, in the same order"
    assert post.headers["Content-Type"].startswith("application/cloudevents+json")
    assert json.dumps(post.json) == json.dumps(event)


@on("cometd with ack", "faye over websocket")
async def test_a_thousand_arrive_complete_and_in_order(server: BayeuxServer, listening: Listening, receiver: Receiver):
    """In bursts: over a websocket each frame is a commit, and what waits for its turn holds the next connect up too."""
    for first in range(1, 1001, 100):
        await server.publish(NUMBERED, count=100, first=first, batch=25)
        await listening.heard(range(first, first + 100))
    await receiver.received(1000)
    events = listening.events
    assert numbers(events) == list(range(1, 1001))
    assert [int(event["sequence"]) for event in events] == list(range(1, 1001))
    assert [event["data"]["previous"] for event in events[1:]] == [e["data"]["disposition"] for e in events[:-1]]
    assert [post.json for post in receiver.posts] == events
    assert len({event["id"] for event in events}) == 1000


@on("faye over long-polling")
async def test_a_restart_of_the_server_is_survived_and_on_record(server: BayeuxServer, listening: Listening):
    await server.publish(NUMBERED, count=5)
    await listening.heard(range(1, 6))
    await server.stop()
    down = datetime.now(UTC)
    await server.start()
    await server.subscribed()
    await server.publish(NUMBERED, count=5, first=6)
    await listening.heard(range(6, 11))
    assert listening.numbers == list(range(1, 11))
    assert [gap["closedBy"] for gap in listening.gaps] == ["handshake"]
    assert listening.lies_in_a_gap(down)


@on("cometd without ack", "faye over websocket")
async def test_an_expired_session_is_survived_and_what_was_missed_lies_in_a_gap(
    server: BayeuxServer, listening: Listening, transport: str
):
    """With a session that it forgets, faye closes its websocket: there the network is what is seen to fail first."""
    await server.publish(NUMBERED)
    await listening.heard([1])
    await server.expire()
    missed = datetime.now(UTC)
    assert (await server.publish(NUMBERED, first=2))["subscribers"] == 0
    await server.subscribed()
    await server.publish(NUMBERED, first=3)
    await listening.heard([3])
    assert listening.numbers == [1, 3]
    (gap,) = listening.gaps
    assert (gap["closedBy"], gap["account"]) == ("handshake", "listener")
    assert gap["reason"] == ("network" if transport == "websocket" else "session_expired")
    assert listening.lies_in_a_gap(missed)


@on("cometd with ack")
async def test_a_denied_handshake_is_asked_for_until_it_is_granted(server: BayeuxServer, listening: Listening):
    await server.deny()
    await server.expire()
    await listening.daemon.logged("session_problem", reason="handshake_refused")
    denied = datetime.now(UTC)
    await server.deny(deny=False)
    await server.subscribed()
    await server.publish(NUMBERED, count=3)
    await listening.heard([1, 2, 3])
    assert len(listening.gaps) == 1
    assert listening.lies_in_a_gap(denied)


@on("cometd with ack", "faye over long-polling")
async def test_failures_of_a_server_in_trouble_are_survived(server: BayeuxServer, listening: Listening):
    """HTTP 503, a page in the place of JSON, a redirect to a login page: none of them ends the session for good."""
    await server.publish(NUMBERED)
    await listening.heard([1])
    await server.fail(503, headers={"Retry-After": "0"})
    await server.fail(200, body="<html>down for maintenance</html>")
    await server.fail(302, headers={"Location": "/login"})
    await server.expire()
    await server.subscribed()
    await server.publish(NUMBERED, first=2)
    await listening.heard([2])
    assert listening.numbers == [1, 2]
