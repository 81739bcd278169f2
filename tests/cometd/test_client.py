"""aiocometd's public face over our transports, against a simulated site; and what we rely on of aiocometd."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from importlib.metadata import version
from typing import Any

import aiocometd
import pytest
from aiocometd import constants, exceptions, extensions
from aiocometd.client import Client
from aiocometd.constants import ConnectionType
from aiocometd.exceptions import ClientInvalidOperation
from aiocometd.transports import abc, registry

from listener.cometd.client import TRANSPORTS, BatchClient
from listener.cometd.facts import Batch, Cause, RestoredBy, SessionProblem, Subscribed
from listener.cometd.protocol import Phase
from listener.simulator import Simulator, SimulatorOptions
from support.eventually import eventually
from support.guest import Guest, guest_http, running
from support.script import TOPIC

Enter = Callable[..., Awaitable[Any]]
Started = Callable[..., Awaitable[Simulator]]
Invite = Callable[..., Awaitable[Guest]]


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def site(stack: AsyncExitStack) -> Started:
    async def start(**options: Any) -> Simulator:
        return await stack.enter_async_context(Simulator(SimulatorOptions(**{"timeout_ms": 5000, **options})))

    return start


@pytest.fixture
def invite(stack: AsyncExitStack) -> Invite:
    """A client at the site, and at work unless told otherwise; `http` of another one means: with its cookies."""

    async def build(sim: Simulator, *, run: bool = True, http: Any = None, **options: Any) -> Guest:
        guest = Guest(sim, http or await stack.enter_async_context(guest_http()), **options)
        return await stack.enter_async_context(running(guest)) if run else guest

    return build


@asynccontextmanager
async def polling(guest: Guest) -> AsyncIterator[None]:
    """An open client that polls, as `run` does it."""
    task = asyncio.create_task(guest.link.transport.poll())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait((task,))


# --- what we rely on --------------------------------------------------------------------------------------------------

NAMES = {
    aiocometd.transports.registry: ["register_transport", "create_transport", "TRANSPORT_CLASSES"],
    constants: ["ConnectionType", "TransportState"],
    ConnectionType: ["LONG_POLLING", "WEBSOCKET"],
    constants.TransportState: ["CONNECTED", "CONNECTING", "DISCONNECTED"],
    exceptions: ["ClientInvalidOperation", "TransportInvalidOperation"],
    extensions: ["AuthExtension"],
    extensions.AuthExtension: ["authenticate", "incoming", "outgoing"],
    Client: ["open", "close", "subscribe", "unsubscribe", "publish", "receive", "closed", "subscriptions"],
    abc.Transport: [
        *("connection_type", "endpoint", "client_id", "state", "subscriptions", "last_connect_result"),
        *("reconnect_advice", "http_session", "handshake", "connect", "disconnect", "close", "subscribe"),
        *("unsubscribe", "publish", "wait_for_state"),
    ],
}


@pytest.mark.parametrize("owner", NAMES, ids=lambda owner: getattr(owner, "__name__", str(owner)))
def test_every_name_of_aiocometd_that_we_use_is_there(owner: Any):
    assert [name for name in NAMES[owner] if not hasattr(owner, name)] == []


def test_the_pinned_version_is_installed():
    assert version("aiocometd") == "0.4.5"


def test_our_transport_has_every_operation_that_aiocometd_demands_and_no_abstract_one_is_new():
    demanded = set(abc.Transport.__abstractmethods__)
    assert demanded == set(NAMES[abc.Transport])
    for transport in TRANSPORTS:
        assert transport.__abstractmethods__ == frozenset()


def test_the_client_is_built_with_arguments_that_it_has():
    parameters = inspect.signature(Client).parameters
    assert {"url", "connection_types", "auth", "loop"} <= set(parameters)


def test_registering_has_replaced_aiocometds_own_transports():
    assert registry.TRANSPORT_CLASSES[ConnectionType.LONG_POLLING] is TRANSPORTS[0]
    assert registry.TRANSPORT_CLASSES[ConnectionType.WEBSOCKET] is TRANSPORTS[1]


@pytest.mark.parametrize("kind", [ConnectionType.LONG_POLLING, ConnectionType.WEBSOCKET])
async def test_aiocometd_makes_our_transports_and_hands_them_the_link(site: Started, invite: Invite, kind: Any):
    guest = await invite(await site(), run=False)
    transport = registry.create_transport(
        kind, url="http://127.0.0.1/", incoming_queue=asyncio.Queue(), auth=guest.link, ssl=None, loop=None
    )
    assert (transport.connection_type, transport.link) == (kind, guest.link)


# --- the public face --------------------------------------------------------------------------------------------------


async def test_open_subscribe_publish_and_close_go_through_the_public_face(site: Started, invite: Invite):
    sim = await site()
    guest = await invite(sim, run=False)
    client: Client = guest.client
    assert client.closed
    await client.open()
    assert (client.closed, client.connection_type, client.subscriptions) == (
        False,
        ConnectionType.LONG_POLLING,
        {TOPIC},
    )
    await client.subscribe("/v2/me/calls")
    assert sim.state()["sessions"][0]["subscriptions"] == [TOPIC, "/v2/me/calls"][::-1]
    with pytest.raises(exceptions.ServerError, match="Publish"):
        await client.publish("/v2/me/chats", {"a": 1})
    await client.unsubscribe("/v2/me/calls")
    async with polling(guest):
        await eventually(lambda: sim.polling("agent1"))
    await client.close()
    assert client.closed
    assert sim.state()["sessions"] == []


async def test_a_client_opens_again_after_it_was_closed(site: Started, invite: Invite):
    sim = await site()
    guest = await invite(sim, run=False)
    await guest.client.open()
    await guest.client.close()
    await guest.client.open()
    async with polling(guest):
        await eventually(lambda: sim.polling("agent1"))
        sim.publish("agent1", {"n": 1})
        await guest.heard(1)
    await guest.client.close()


async def test_single_messages_are_not_handed_out(site: Started, invite: Invite):
    guest = await invite(await site(), run=False)
    with pytest.raises(ClientInvalidOperation, match="facts"):
        await guest.client.receive()


async def test_answers_are_offered_at_once_as_long_as_facts_are_taken(site: Started, invite: Invite):
    sim = await site()
    guest = await invite(sim)
    offered: list[Any] = []

    async def listen() -> None:
        async with aclosing(guest.client.facts(lambda fact: not offered.append(fact))) as facts:
            async for _ in facts:
                pass

    listening = asyncio.create_task(listen())
    await eventually(lambda: sim.polling("agent1"))
    sim.publish("agent1", {"n": 1})
    await eventually(lambda: any(isinstance(fact, Batch) for fact in offered))
    listening.cancel()
    await asyncio.wait((listening,))
    offered[-1].confirm()
    await eventually(lambda: sim.polling("agent1"))
    sim.publish("agent1", {"n": 2})
    await guest.heard(2)
    assert sum(isinstance(fact, Batch) for fact in offered) == 1


async def test_what_fails_while_opening_leaves_no_task_running(site: Started, invite: Invite):
    sim = await site()
    before = asyncio.all_tasks()
    for order in ({"name": "deny-handshake", "count": 100}, {"name": "fail", "count": 100}):
        sim.control(order["name"], count=order["count"])
        guest = await invite(sim, run=False)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(guest.client.open(), 0.2)
        assert guest.client.closed
        sim.control("clear")
    await eventually(lambda: {t for t in asyncio.all_tasks() if "aiohttp" not in repr(t)} <= before)


async def test_an_open_that_is_given_up_during_the_first_connect_leaves_no_poll_behind(site: Started, invite: Invite):
    sim = await site()
    guest = await invite(sim, run=False)
    sim.control("delay", ms=200)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(guest.client.open(), 0.5)  # within the first connect: each answer takes 0.2 s
    sim.control("delay", ms=0)
    asked = guest.session._last_id
    await asyncio.sleep(0.3)
    assert guest.session._last_id == asked
    assert not any("cometd" in task.get_name() for task in asyncio.all_tasks())


async def test_a_run_that_is_cancelled_leaves_no_task_and_the_session_standing(site: Started, invite: Invite):
    sim = await site()
    guest = await invite(sim, run=False)
    async with running(guest):
        await guest.certain()
    assert not any("cometd" in task.get_name() for task in asyncio.all_tasks())
    assert len(sim.state()["sessions"]) == 1


async def test_a_run_that_is_to_disconnect_ends_the_session(site: Started, invite: Invite):
    sim = await site()
    guest = await invite(sim, run=False)
    async with running(guest, disconnect=True):
        await guest.certain()
        await eventually(lambda: sim.polling("agent1"))
    assert sim.state()["sessions"] == []


async def test_what_rides_on_the_answer_to_a_disconnect_is_handed_out_and_does_not_hold_up_the_end(
    site: Started, invite: Invite
):
    sim = await site()
    guest = await invite(sim, run=False)
    async with asyncio.timeout(5):
        async with running(guest, disconnect=True):
            await guest.certain()
            await eventually(lambda: sim.polling("agent1"))
            await guest.end_polling()
            sim.publish("agent1", {"n": 1})
        await guest.heard(1)


# --- a site that goes wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ack", [False, True])
async def test_events_come_in_order_and_once(site: Started, invite: Invite, ack: bool):
    sim = await site(ack=ack)
    guest = await invite(sim)
    assert (await guest.certain()).ack is ack
    for n in range(300):
        sim.publish("agent1", {"n": n})
        if n % 37 == 0:
            await asyncio.sleep(0)
    await guest.heard(*range(300))
    assert guest.numbers == list(range(300))


async def test_a_confirmation_that_takes_longer_than_the_session_lives_loses_and_doubles_nothing(
    site: Started, invite: Invite
):
    sim = await site(ack=True, max_interval_ms=400)
    guest = await invite(sim, run=False)
    guest.session.advise({"maxInterval": 400})
    async with running(guest):
        await guest.certain()
        await eventually(lambda: sim.polling("agent1"))
        sim.publish("agent1", {"n": 0})
        batch = await guest.until(Batch)
        for n in range(1, 13):
            await asyncio.sleep(0.1)
            sim.publish("agent1", {"n": n})
        batch.confirm()
        await guest.heard(*range(13))
        sim.publish("agent1", {"n": 13})
        await guest.heard(13)
    assert guest.numbers == list(range(14))
    assert (sim.state()["swept"], sim.state()["handshakes"]) == (0, 1)


@pytest.mark.parametrize("fault", ["drop", "cut"])
async def test_with_acknowledgements_lost_answers_lose_and_double_nothing(site: Started, invite: Invite, fault: str):
    sim = await site(ack=True)
    guest = await invite(sim)
    await guest.certain()
    for n in range(20):
        await eventually(lambda: sim.polling("agent1"))
        if n % 3 == 0:
            more = {"after_bytes": 30} if fault == "cut" else {}
            sim.control(fault, only="messages", target="notifications", **more)
        sim.publish("agent1", {"n": n})
        await guest.heard(n)
    assert guest.numbers == list(range(20))


async def test_without_acknowledgements_the_whole_messages_of_a_cut_answer_are_kept_and_the_cut_is_told(
    site: Started, invite: Invite
):
    sim = await site()
    guest = await invite(sim)
    await guest.certain()
    await eventually(lambda: sim.polling("agent1"))
    size = len(b'{"data":{"n":1},"channel":"/v2/me/chats"},')
    sim.control("cut", after_bytes=2 * size + 5, only="messages", target="notifications")
    for n in (1, 2, 3):
        sim.publish("agent1", {"n": n})
    fact = await guest.until(Subscribed)
    assert guest.numbers == [1, 2]
    assert (fact.restored_by, fact.cause) == (RestoredBy.POLL, Cause.NO_ACK_CUT)


@pytest.mark.parametrize("kind", ["truncated", "html", "empty", "binary", "null", "scalar", "array"])
async def test_garbage_in_place_of_an_answer_is_survived_on_the_same_session(site: Started, invite: Invite, kind: str):
    sim = await site()
    guest = await invite(sim)
    await guest.certain()
    await eventually(lambda: sim.polling("agent1"))
    sim.control("garbage", kind=kind)
    sim.publish("agent1", {"n": 1})
    fact = await guest.until(Subscribed)
    assert (fact.restored_by, fact.cause) == (RestoredBy.POLL, Cause.NO_ACK_CUT)
    await eventually(lambda: sim.polling("agent1"))
    sim.publish("agent1", {"n": 2})
    await guest.heard(2)
    assert sim.state()["handshakes"] == 1


async def test_an_expired_session_is_begun_and_subscribed_anew(site: Started, invite: Invite):
    sim = await site()
    guest = await invite(sim)
    for n in range(3):
        await guest.certain()
        await eventually(lambda: sim.polling("agent1"))
        sim.publish("agent1", {"n": n})
        await guest.heard(n)
        sim.control("expire")
    assert (await guest.certain()).cause is Cause.SESSION_EXPIRED


async def test_a_restarted_server_is_found_again(site: Started, invite: Invite):
    sim = await site()
    guest = await invite(sim)
    await guest.certain()
    await sim.stop()
    await guest.until(SessionProblem)
    await sim.start()
    fact = await guest.certain()
    assert fact.restored_by is RestoredBy.HANDSHAKE
    sim.publish("agent1", {"n": 1})
    await guest.heard(1)


async def test_two_sessions_in_one_jar_are_told_of_it(site: Started, invite: Invite):
    sim = await site()
    first = await invite(sim)
    await first.certain()
    await eventually(lambda: sim.polling("agent1"))
    second = await invite(sim, http=first.http)
    trouble = await second.until(SessionProblem, lambda fact: fact.reason == "multiple_clients")
    assert "cookie jar" in trouble.text


# --- from one process to the next -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ack", [False, True])
async def test_a_session_that_rests_holds_no_connect_and_goes_on_in_the_next_process(
    site: Started, invite: Invite, ack: bool
):
    sim = await site(ack=ack)
    first = await invite(sim, run=False)
    async with running(first):
        await first.certain()
        sim.publish("agent1", {"n": 1})
        await first.heard(1)
        await eventually(lambda: sim.polling("agent1"))
        rested = await first.end_polling()
        assert rested.resume is not None
        assert ack or not sim.polling("agent1")
        sim.publish("agent1", {"n": 2})
    second = await invite(sim, http=first.http, resume=rested.resume)
    assert (await second.certain()).restored_by is RestoredBy.RESUME
    await second.heard(2)
    assert (second.numbers, sim.state()["handshakes"]) == ([2], 1)


async def test_with_acknowledgements_the_batch_that_was_not_durable_comes_again_in_the_next_process(
    site: Started, invite: Invite
):
    sim = await site(ack=True)
    first = await invite(sim, run=False)
    async with running(first):
        certain = await first.certain()
        sim.publish("agent1", {"n": 1})
        await first.until(Batch)
    second = await invite(sim, http=first.http, resume=certain.resume)
    await second.heard(1)


async def test_a_saved_session_that_the_server_has_forgotten_becomes_a_new_one(site: Started, invite: Invite):
    sim = await site()
    first = await invite(sim, run=False)
    async with running(first):
        await first.certain()
        rested = await first.end_polling()
    sim.control("expire")
    second = await invite(sim, http=first.http, resume=rested.resume)
    fact = await second.certain()
    assert (fact.restored_by, fact.cause) == (RestoredBy.HANDSHAKE, Cause.RESTART)
    assert second.session.phase is not Phase.UNCONNECTED


async def test_a_subscription_that_is_distrusted_is_made_anew(site: Started, invite: Invite):
    sim = await site(timeout_ms=200)
    guest = await invite(sim)
    await guest.certain()
    guest.client.rehandshake()
    assert (await guest.certain()).restored_by is RestoredBy.HANDSHAKE
    assert sim.state()["handshakes"] == 2


async def test_a_subscription_that_the_server_forgot_is_made_good_in_the_living_session(site: Started, invite: Invite):
    sim = await site(timeout_ms=200)
    guest = await invite(sim)
    await guest.certain()
    sim.control("forget-subscriptions")
    assert not sim.subscribed("agent1")
    assert await guest.client.subscribe_again() is not None
    assert sim.subscribed("agent1")
    assert sim.state()["handshakes"] == 1


def test_the_client_says_in_its_docstring_what_it_touches():
    assert "only public names" in (BatchClient.__doc__ or "")
