"""The servers under test do what their control says, seen by a bare Bayeux client over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from support.bayeux import KINDS, TOPIC, BayeuxServer


class Poller:
    """The least client: it handshakes, subscribes and polls, and knows nothing of retries."""

    def __init__(self, http: aiohttp.ClientSession, server: BayeuxServer) -> None:
        self._http = http
        self._server = server
        self.client_id = ""

    async def post(self, **message: Any) -> list[dict[str, Any]]:
        body = [{"id": "1", "clientId": self.client_id, **message}]
        async with self._http.post(self._server.endpoint, json=body) as response:
            response.raise_for_status()
            return await response.json()

    async def handshake(self) -> dict[str, Any]:
        (reply,) = await self.post(
            channel="/meta/handshake", version="1.0", supportedConnectionTypes=["long-polling"], ext={"ack": True}
        )
        self.client_id = reply.get("clientId", "")
        return reply

    async def subscribe(self) -> None:
        (reply,) = await self.post(channel="/meta/subscribe", subscription=TOPIC)
        assert reply["successful"]

    async def connect(self, **fields: Any) -> list[dict[str, Any]]:
        return await self.post(channel="/meta/connect", connectionType="long-polling", **fields)

    async def events(self, **fields: Any) -> list[Any]:
        """The data of the events that the next connect brings."""
        return [message["data"] for message in await self.connect(**fields) if message["channel"] == TOPIC]


@pytest.fixture
async def poller(bayeux: BayeuxServer) -> AsyncIterator[Poller]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        yield Poller(http, bayeux)


@pytest.fixture
async def subscribed(poller: Poller) -> Poller:
    await poller.handshake()
    await poller.subscribe()
    await poller.connect(advice={"timeout": 0})
    return poller


async def collect(poller: Poller, count: int) -> list[Any]:
    events: list[Any] = []
    while len(events) < count:
        events += await poller.events(ext={"ack": 0})
    return events


async def test_only_the_server_with_the_extension_grants_ack(bayeux: BayeuxServer, poller: Poller):
    reply = await poller.handshake()
    assert reply["successful"]
    assert bool(reply.get("ext", {}).get("ack")) == (bayeux.kind is KINDS["cometd"])


async def test_numbered_messages_arrive_in_order_with_types_kept(bayeux: BayeuxServer, subscribed: Poller):
    answer = await bayeux.publish({"referenceId": "{n}", "chat": {"id": "chat-{n}"}}, count=3, first=7, batch=3)
    assert answer == {"published": 3, "subscribers": 1}
    assert await collect(subscribed, 3) == [{"referenceId": n, "chat": {"id": f"chat-{n}"}} for n in (7, 8, 9)]


async def test_a_batch_comes_in_one_response(bayeux: BayeuxServer, subscribed: Poller):
    poll = asyncio.create_task(subscribed.events())
    await bayeux.publish("{n}", count=100, batch=100)
    assert await poll == list(range(1, 101))


async def test_a_dropped_response_is_lost_on_the_way(bayeux: BayeuxServer, subscribed: Poller):
    await bayeux.publish("lost on the way")
    await bayeux.drop(only="messages")
    with pytest.raises(aiohttp.ClientError):
        await subscribed.connect()
    assert (await bayeux.state())["dropped"] == 1


async def test_an_expired_session_is_unknown_and_no_longer_subscribed(bayeux: BayeuxServer, subscribed: Poller):
    assert (await bayeux.state())["subscriptions"][TOPIC] == 1
    assert await bayeux.expire() == 1
    reply = (await subscribed.connect())[-1]
    assert not reply["successful"]
    assert reply["advice"]["reconnect"] == "handshake"
    assert (await bayeux.state())["subscriptions"].get(TOPIC, 0) == 0


async def test_a_denied_handshake_is_refused_until_it_is_allowed_again(bayeux: BayeuxServer, poller: Poller):
    await bayeux.deny()
    assert not (await poller.handshake())["successful"]
    await bayeux.deny(deny=False)
    assert (await poller.handshake())["successful"]
    assert (await bayeux.state())["handshakes"] == 1


async def test_a_failure_is_answered_as_scripted_and_once(bayeux: BayeuxServer, poller: Poller):
    await bayeux.fail(502, body="<html>", headers={"Retry-After": "1"})
    with pytest.raises(aiohttp.ClientResponseError) as caught:
        await poller.handshake()
    assert caught.value.status == 502
    assert caught.value.headers is not None
    assert caught.value.headers["Retry-After"] == "1"
    assert (await poller.handshake())["successful"]


async def test_a_restart_is_on_the_same_port_and_knows_nobody(bayeux: BayeuxServer, subscribed: Poller):
    port = bayeux.port
    await bayeux.restart()
    assert bayeux.port == port
    assert (await bayeux.state())["sessions"] == []
    assert not (await subscribed.connect())[-1]["successful"]


async def test_faye_speaks_websocket_and_its_sockets_can_be_cut(faye: BayeuxServer):
    url = faye.endpoint.replace("http", "ws", 1)
    hello = {"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["websocket"]}
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
        await socket.send_json([hello])
        (reply,) = await socket.receive_json()
        assert reply["successful"]
        assert "websocket" in reply["supportedConnectionTypes"]
        assert await faye.cut_websockets() == 1
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)


async def test_a_server_side_disconnect_ends_the_session(cometd: BayeuxServer):
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        poller = Poller(http, cometd)
        await poller.handshake()
        assert await cometd.disconnect() == 1
        assert (await poller.connect())[-1]["error"].startswith("402")


async def test_a_poll_is_held_for_no_longer_than_it_asks(subscribed: Poller):
    """What a client does behind a proxy that would cut a longer one."""
    async with asyncio.timeout(2.5):  # these servers hold one for 3 s by themselves
        assert await subscribed.events(advice={"timeout": 200}) == []
