"""aiocometd's Transport over the engine: what a transport says of itself, and that it leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiocometd.constants import ConnectionType, TransportState
from aiocometd.exceptions import TransportInvalidOperation
from aiocometd.extensions import AuthExtension

from listener.cometd.engine import Engine
from listener.cometd.longpolling import LongPollingTransport
from listener.cometd.protocol import Session, Step
from listener.cometd.transport import Link, SessionTransport
from listener.errors import ExchangeFailed
from listener.runtime.host import Host
from listener.testing import ManualClock
from support.bareserver import new_http
from support.eventually import eventually
from support.script import TOPIC, Script, reply

pytestmark = pytest.mark.virtual


async def test_a_link_is_what_aiocometd_hands_to_transports_and_carries_what_every_post_needs():
    tokens = iter("ab")
    logins: list[str] = []

    async def login() -> None:
        logins.append("in")

    engine = Engine(
        session=Session(topics=[], connection_type="long-polling"), host=Host(clock=ManualClock()), login=login
    )
    async with new_http() as http:
        link = Link(engine=engine, http=http, headers=lambda: {"X-CSRF-TOKEN": next(tokens)})
        assert isinstance(link, AuthExtension)
        for token in "ab":
            headers = {"Content-Type": "x"}
            await link.outgoing([], headers)
            assert headers == {"Content-Type": "x", "X-CSRF-TOKEN": token}
        payload = [{"id": "1"}]
        await link.incoming(payload)
        assert payload == [{"id": "1"}]
        await link.authenticate()
        assert logins == ["in"]


URL = "http://127.0.0.1/cometd"


class Scripted:
    """A transport whose exchanges go to a script."""

    def __init__(self, transport: SessionTransport, script: Script) -> None:
        self.transport = transport
        self.script = script


@pytest.fixture
async def scripted() -> AsyncIterator[Scripted]:
    script = Script()
    engine = Engine(session=Session(topics=[TOPIC], connection_type="long-polling"), host=Host(clock=ManualClock()))
    async with new_http() as http:
        transport = LongPollingTransport(url=URL, auth=Link(engine=engine, http=http), incoming_queue=None, loop=None)
        engine.exchange = script.exchange
        yield Scripted(transport, script)
        await transport.close()


async def test_a_transport_tells_how_it_stands(scripted: Scripted):
    transport = scripted.transport
    assert (transport.state, transport.client_id, transport.subscriptions) == (TransportState.DISCONNECTED, None, set())
    assert (transport.endpoint, transport.connection_type) == (URL, ConnectionType.LONG_POLLING)
    answer = await transport.handshake([])
    assert answer == {
        "channel": "/meta/handshake",
        "successful": True,
        "clientId": "c1",
        "supportedConnectionTypes": ["long-polling"],
    }
    assert await transport.connect() == {"channel": "/meta/connect", "successful": True}
    assert (transport.state, transport.client_id, transport.subscriptions) == (TransportState.CONNECTED, "c1", {TOPIC})
    assert transport.reconnect_advice["timeout"] == 30_000
    assert transport.last_connect_result is None
    await transport.close()
    assert transport.state is TransportState.DISCONNECTED


async def test_a_transport_is_connecting_while_its_connect_fails(scripted: Scripted):
    scripted.script.then(ExchangeFailed("reset"), step=Step.CONNECT)
    await scripted.transport.handshake([])
    connecting = asyncio.create_task(scripted.transport.connect())
    waiting = asyncio.create_task(scripted.transport.wait_for_state(TransportState.CONNECTED))
    await eventually(lambda: scripted.transport.state is TransportState.CONNECTING)
    connecting.cancel()
    waiting.cancel()
    await asyncio.wait((connecting, waiting))


async def test_no_other_state_than_connected_is_waited_for(scripted: Scripted):
    with pytest.raises(TransportInvalidOperation, match="SERVER_DISCONNECTED"):
        await scripted.transport.wait_for_state(TransportState.SERVER_DISCONNECTED)


async def test_a_transport_connects_once(scripted: Scripted):
    await scripted.transport.handshake([])
    await scripted.transport.connect()
    with pytest.raises(TransportInvalidOperation):
        await scripted.transport.connect()


async def test_whoever_gives_up_waiting_for_the_first_connect_leaves_no_task_behind(scripted: Scripted):
    scripted.script.then(ExchangeFailed("reset"), step=Step.CONNECT)
    before = asyncio.all_tasks()
    await scripted.transport.handshake([])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(scripted.transport.connect(), 0.05)
    assert asyncio.all_tasks() == before


async def test_a_bug_in_the_cycle_is_raised_where_the_first_connect_is_waited_for(scripted: Scripted):
    def bug(_request: object) -> list[dict[str, object]]:
        raise ZeroDivisionError

    await scripted.transport.handshake([])
    scripted.script.then(reply(), bug)
    with pytest.raises(ZeroDivisionError):
        await scripted.transport.connect()


async def test_a_bug_that_shows_later_is_raised_by_who_polls(scripted: Scripted):
    def bug(_request: object) -> list[dict[str, object]]:
        raise ZeroDivisionError

    await scripted.transport.handshake([])
    await scripted.transport.connect()
    polling = asyncio.create_task(scripted.transport.poll())
    await scripted.script.asked(4)
    scripted.script.then(bug)
    scripted.script.end_hold()
    with pytest.raises(ZeroDivisionError):
        await polling


async def test_once_polling_has_ended_no_poll_begins(scripted: Scripted):
    await scripted.transport.handshake([])
    await scripted.transport.connect()
    await scripted.transport._engine.end_polling()
    asked = len(scripted.script.requests)
    polling = asyncio.create_task(scripted.transport.poll())
    await asyncio.sleep(0.02)
    assert len(scripted.script.requests) == asked
    polling.cancel()
    await asyncio.wait((polling,))


async def test_topics_are_subscribed_to_now_and_after_every_handshake(scripted: Scripted):
    transport = scripted.transport
    await transport.handshake([])
    await transport.connect()
    await transport.subscribe("/v2/me/calls")
    assert transport.subscriptions == {TOPIC, "/v2/me/calls"}
    await transport.unsubscribe(TOPIC)
    await transport.disconnect()
    await transport.handshake([])
    await transport._engine.step()
    assert [m["subscription"] for m in scripted.script.requests[-1].payload] == ["/v2/me/calls"]


async def test_a_publish_is_answered(scripted: Scripted):
    await scripted.transport.handshake([])
    await scripted.transport.connect()
    assert (await scripted.transport.publish("/chat", {"a": 1}))["successful"]
    (message,) = scripted.script.requests[-1].payload
    assert (message["channel"], message["data"]) == ("/chat", {"a": 1})


async def test_disconnecting_tells_the_server_and_forgets_the_session(scripted: Scripted):
    await scripted.transport.handshake([])
    await scripted.transport.connect()
    await scripted.transport.disconnect()
    (message,) = scripted.script.requests[-1].payload
    assert (message["channel"], message["clientId"]) == ("/meta/disconnect", "c1")
    assert scripted.transport.client_id is None


async def test_a_disconnect_that_fails_is_no_error(scripted: Scripted):
    await scripted.transport.handshake([])
    await scripted.transport.connect()
    scripted.script.then(ExchangeFailed("reset"))
    await scripted.transport.disconnect()
    (message,) = scripted.script.requests[-1].payload
    assert message["channel"] == "/meta/disconnect"
    assert scripted.transport.client_id is None


async def test_closing_leaves_the_session_on_the_server_as_it_is(scripted: Scripted):
    await scripted.transport.handshake([])
    await scripted.transport.connect()
    asked = len(scripted.script.requests)
    await scripted.transport.close()
    assert (scripted.transport.client_id, len(scripted.script.requests) - asked) == ("c1", 0)


async def test_the_accounts_client_is_not_exchanged(scripted: Scripted):
    http = scripted.transport.link.http
    async with new_http() as other:
        scripted.transport.http_session = other
        assert scripted.transport.http_session is None
    assert scripted.transport.link.http is http
