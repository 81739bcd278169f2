"""One socket for many exchanges, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, suppress
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from listener.cometd.certainty import Certainty
from listener.cometd.engine import Engine
from listener.cometd.protocol import Request, Session, Step
from listener.cometd.transport import Link
from listener.cometd.websocket import WebsocketTransport
from listener.errors import ExchangeFailed
from listener.runtime.host import Host
from listener.testing import ManualClock
from support.bareserver import BareServer, new_http
from support.eventually import eventually
from support.script import event

Talk = Callable[[web.WebSocketResponse], Awaitable[None]]


def request(number: int, channel: str = "/meta/connect", *, hold_ms: int = 0) -> Request:
    return Request(step=Step.CONNECT, payload=[{"id": str(number), "channel": channel}], hold_ms=hold_ms)


def reply(number: int) -> dict[str, Any]:
    return {"channel": "/meta/connect", "id": str(number), "successful": True}


class Line:
    """A transport on its way to a server that talks as it is told."""

    def __init__(self, talk: Talk) -> None:
        self.server = BareServer(self._handle)
        self.sockets: list[web.WebSocketResponse] = []
        self._talk = talk
        self._refuse_with: tuple[int, dict[str, str]] | None = None
        self.heard: list[Any] = []  # in the last exchange
        self.polled: web.Response | None = None  # the answer to a POST

    async def open(self, stack: AsyncExitStack, **options: Any) -> "Line":
        await stack.enter_async_context(self.server)
        self.session = Session(topics=[], connection_type="websocket")
        engine = Engine(session=self.session, host=Host(clock=ManualClock()))
        link = Link(engine=engine, http=await stack.enter_async_context(new_http()), **{"margin_s": 1.0, **options})
        self.transport = WebsocketTransport(url=self.server.url, auth=link)
        self.exchange = engine.exchange
        stack.push_async_callback(self.transport.close)
        return self

    def refuse(self, status: int, **headers: str) -> None:
        self._refuse_with = status, headers

    async def ask(self, question: Request, *, until: int | None = None) -> list[Any]:
        """The messages of all frames up to the reply (of the number `until`, if given)."""
        heard = self.heard = []
        wanted = question.ids if until is None else {str(until)}
        async with aclosing(await self.exchange(question)) as payloads:
            async for payload in payloads:
                heard += json.loads(payload.body)
                if any(str(message.get("id")) in wanted for message in heard):
                    return heard
        raise AssertionError("an exchange ends with its caller or with a failure")

    async def failure(self, question: Request) -> ExchangeFailed:
        with pytest.raises(ExchangeFailed) as caught:
            await self.ask(question)
        return caught.value

    async def _handle(self, asked: web.Request) -> web.StreamResponse:
        if asked.method == "POST":
            if self.polled is None:
                assert asked.transport is not None
                asked.transport.abort()
            return self.polled or web.Response()
        if self._refuse_with is not None:
            status, headers = self._refuse_with
            return web.Response(status=status, headers=headers)
        socket = web.WebSocketResponse()
        await socket.prepare(asked)
        self.sockets.append(socket)
        with suppress(ConnectionError):
            await self._talk(socket)
        return socket


Make = Callable[..., Awaitable[Line]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        async def open_line(talk: Talk, **options: Any) -> Line:
            return await Line(talk).open(stack, **options)

        yield open_line


async def echo(socket: web.WebSocketResponse) -> None:
    """Answer each message at once, with an event ahead of it in a frame of its own."""
    async for frame in socket:
        for message in json.loads(frame.data):
            number = int(message["id"])
            await socket.send_json([event(number)])
            await socket.send_json([reply(number)])


async def test_exchanges_follow_each_other_on_one_socket(make: Make):
    line = await make(echo)
    for number in range(1, 6):
        assert await line.ask(request(number)) == [event(number), reply(number)]
    assert len(line.sockets) == 1


async def test_a_session_that_may_be_anothers_by_the_time_of_its_socket_asks_for_nothing(make: Make):
    certain = iter([False, True])
    certainty = Certainty(is_certain=lambda: next(certain), certainty=asyncio.Event().wait)
    line = await make(echo, certainty=certainty)
    failure = await line.failure(request(1))
    assert (str(failure), failure.maybe_lost) == ("another process may have this session", False)
    assert await line.ask(request(2)) == [event(2), reply(2)]


async def test_binary_frames_are_read_too(make: Make):
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_bytes(json.dumps([reply(1)]).encode())
        await socket.receive()

    assert await (await make(talk)).ask(request(1)) == [reply(1)]


async def test_what_came_behind_a_reply_belongs_to_the_next_exchange(make: Make):
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_json([reply(1)])
        await socket.send_json([event(7)])
        await socket.receive()
        await socket.send_json([reply(2)])
        await socket.receive()

    line = await make(talk)
    assert await line.ask(request(1)) == [reply(1)]
    assert await line.ask(request(2)) == [event(7), reply(2)]


async def test_a_request_beside_a_held_connect_gets_its_own_reply(make: Make):
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.receive()
        for messages in ([event(1)], [reply(2)], [event(2)], [event(3), reply(1)]):
            await socket.send_json(messages)
        await socket.receive()

    line = await make(talk)
    held = asyncio.create_task(line.ask(request(1, hold_ms=5000)))
    await eventually(lambda: line.sockets)
    beside = await line.ask(request(2, "/meta/subscribe"))
    assert beside == [reply(2)]
    assert await held == [event(1), event(2), event(3), reply(1)]


@pytest.mark.parametrize("order", [[1, 2], [2, 1]])
async def test_no_event_is_lost_between_two_exchanges_at_once(make: Make, order: list[int]):
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.receive()
        for number in order:
            await socket.send_json([event(10 * number)])
            await socket.send_json([reply(number)])
        await socket.send_json([event(99)])
        await socket.receive()
        await socket.send_json([reply(3)])
        await socket.receive()

    line = await make(talk)
    first = asyncio.create_task(line.ask(request(1, hold_ms=5000)))
    await eventually(lambda: line.sockets)
    heard = [*(await line.ask(request(2))), *(await first), *(await line.ask(request(3)))]
    numbers = [message["data"]["n"] for message in heard if "data" in message]
    assert sorted(numbers) == [10, 20, 99]


async def test_what_another_exchange_has_read_behind_a_reply_belongs_to_the_next(make: Make):
    """The held connect's events are being stored; a request beside it reads on, past the connect's reply."""

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_json([event(1)])
        await socket.receive()
        for messages in ([reply(1)], [event(99)], [reply(2)]):
            await socket.send_json(messages)
        await socket.receive()
        await socket.send_json([reply(3)])
        await socket.receive()

    line = await make(talk)
    async with aclosing(await line.exchange(request(1, hold_ms=5000))) as payloads:
        assert json.loads((await anext(payloads)).body) == [event(1)]
        assert await line.ask(request(2)) == [reply(2)]
        assert json.loads((await anext(payloads)).body) == [reply(1)]
    assert await line.ask(request(3)) == [event(99), reply(3)]


async def test_a_socket_that_closes_may_have_cost_something_and_the_next_request_opens_another(make: Make):
    async def once(socket: web.WebSocketResponse) -> None:
        if len(line.sockets) == 1:
            await socket.receive()
            await socket.close()
            return
        await echo(socket)

    line = await make(once)
    failure = await line.failure(request(1))
    assert (failure.maybe_lost, str(failure)) == (True, "no answer from the server: the websocket was closed")
    assert await line.ask(request(2)) == [event(2), reply(2)]
    assert len(line.sockets) == 2


async def test_a_socket_that_closes_ends_all_exchanges_on_it(make: Make):
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.receive()
        await socket.close()

    line = await make(talk)
    held = asyncio.create_task(line.failure(request(1, hold_ms=5000)))
    await eventually(lambda: line.sockets)
    assert (await line.failure(request(2))).maybe_lost
    assert (await held).maybe_lost


async def test_a_silent_socket_is_dead_after_the_hold_and_the_margin(make: Make):
    async def silent(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.receive()

    line = await make(silent, margin_s=0.2)
    loop = asyncio.get_running_loop()
    started = loop.time()
    failure = await line.failure(request(1, hold_ms=100))
    assert 0.3 <= loop.time() - started < 2
    assert (failure.maybe_lost, str(failure)) == (True, "no frame in time: the socket is dead")


@pytest.mark.parametrize("status", [401, 403, 404, 503])
async def test_a_refused_upgrade_names_its_status(make: Make, status: int):
    line = await make(echo)
    line.refuse(status)
    failure = await line.failure(request(1))
    assert (failure.http_status, failure.maybe_lost) == (status, False)


async def test_an_upgrade_that_leads_elsewhere_is_a_failure_and_nothing_goes_there(make: Make):
    line = await make(echo, headers=lambda: {"X-CSRF-TOKEN": "secret"})
    there = await make(echo)
    line.refuse(302, Location=there.server.url)
    failure = await line.failure(request(1))
    said = "the server answered HTTP 302 to the upgrade to a websocket: a redirect, which is not followed"
    assert (failure.http_status, failure.maybe_lost, str(failure)) == (302, False, said)
    assert there.server.requests == []


async def test_the_upgrade_carries_what_the_server_wants_to_see(make: Make):
    line = await make(echo, headers=lambda: {"X-CSRF-TOKEN": "t"})
    await line.ask(request(1))
    assert line.server.requests[0]["X-CSRF-TOKEN"] == "t"


async def test_a_frame_that_is_too_large_is_a_failure(make: Make):
    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_str("[" + " " * 100_000)
        await socket.receive()

    failure = await (await make(talk, max_message_bytes=70_000)).failure(request(1))
    assert failure.maybe_lost
    assert "70000" in str(failure)


async def too_large(socket: web.WebSocketResponse) -> None:
    """Each connect is answered by a batch that no frame of 70,000 bytes can bring."""
    async for _ in socket:
        await socket.send_str("[" + " " * 100_000)


@pytest.mark.parametrize(("kind", "pongs"), [("ping", True), ("pong", False)])
async def test_pings_are_answered_and_no_frame_waits_behind_any_number_of_them(make: Make, kind: str, *, pongs: bool):
    answered = []

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        for _ in range(3):
            await getattr(socket, kind)(b"x")
        await socket.send_json([reply(1)])
        socket._autoping = False
        if pongs:
            answered.append([(await socket.receive()).data for _ in range(3)])
        await socket.receive()
        for _ in range(2000):
            await getattr(socket, kind)(b"x")
        await socket.receive()

    line = await make(talk)
    assert await line.ask(request(1)) == [reply(1)]
    failure = await line.failure(request(2))
    assert (failure.maybe_lost, str(failure)) == (
        True,
        "no answer from the server: 1000 pings or pongs came, and nothing else",
    )
    assert answered == [[b"x"] * 3] * pongs


async def test_a_batch_that_is_too_large_for_a_frame_is_fetched_by_long_polling_and_then_the_socket_goes_on(make: Make):
    """With acknowledgements it would come again for ever: until it is acknowledged, polls are long-polling's."""
    line = await make(too_large, max_message_bytes=70_000)
    line.session.acked = 3
    failure = await line.failure(request(1))
    assert str(failure) == (
        "no answer from the server: a frame of more than 70000 bytes (server.max_message_bytes):"
        " what it held is asked for by long-polling"
    )
    batch = [*(event(n) for n in range(5000)), reply(2)]
    line.polled = web.json_response(batch)
    assert await line.ask(request(2)) == batch
    assert line.server.bodies[-1] == [{**request(2).payload[0], "connectionType": "long-polling"}]
    line.session.confirm(4)
    await line.failure(request(3))
    assert len(line.sockets) == 2


async def test_what_is_no_poll_goes_over_the_socket_meanwhile(make: Make):
    line = await make(too_large, max_message_bytes=70_000)
    line.session.acked = 3
    await line.failure(request(1))
    other = msgspec.structs.replace(request(2, "/meta/subscribe"), step=Step.OTHER)
    await line.failure(other)
    assert len(line.sockets) == 2


@pytest.mark.parametrize("polls", [True, False], ids=["reached", "a server that does not poll"])
async def test_a_poll_that_fails_is_tried_again_and_the_socket_where_there_are_no_polls(make: Make, *, polls: bool):
    line = await make(too_large, max_message_bytes=70_000)
    line.session.acked = 3
    await line.failure(request(1))
    line.polled = None if polls else web.Response(status=400)
    assert (await line.failure(request(2))).http_status == (None if polls else 400)
    await line.failure(request(3))
    assert len(line.sockets) == (1 if polls else 2)


async def test_without_acknowledgements_it_does_not_come_again_and_is_not_asked_for(make: Make):
    line = await make(too_large, max_message_bytes=70_000)
    failure = await line.failure(request(1))
    assert (failure.maybe_lost, "long-polling" in str(failure)) == (True, False)
    await line.failure(request(2))
    assert len(line.sockets) == 2


async def test_a_server_that_cannot_be_reached_has_lost_nothing(make: Make):
    line = await make(echo)
    await line.server.__aexit__(None, None, None)
    failure = await line.failure(request(1))
    assert (failure.maybe_lost, failure.http_status) == (False, None)


async def test_closing_closes_the_socket(make: Make):
    line = await make(echo)
    await line.ask(request(1))
    await line.transport.close()
    await eventually(lambda: line.sockets[0].closed)
    assert line.sockets[0].close_code in (aiohttp.WSCloseCode.OK, aiohttp.WSCloseCode.GOING_AWAY)


async def test_what_a_socket_had_brought_before_it_broke_is_handed_over(make: Make):
    """It breaks in the pause before a poll: the events are in this host's hands already."""

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_json([reply(1)])
        await socket.send_json([event(7)])
        assert socket._req is not None
        assert socket._req.transport is not None
        socket._req.transport.close()

    line = await make(talk)
    assert await line.ask(request(1)) == [reply(1)]
    await eventually(lambda: line.transport._socket is not None and line.transport._socket._conn.closed)
    failure = await line.failure(request(2))
    assert (line.heard, failure.maybe_lost) == ([event(7)], True)


async def test_replies_without_an_id_go_to_the_exchanges_that_asked(make: Make):
    async def talk(socket: web.WebSocketResponse) -> None:
        for _ in range(2):
            await socket.receive()
        for channel in ("/meta/subscribe", "/meta/connect"):
            await socket.send_json([{"channel": channel, "successful": True}])
        await socket.receive()

    async def first_frame(question: Request) -> str:
        async with aclosing(await line.exchange(question)) as payloads:
            async for payload in payloads:
                return str(json.loads(payload.body)[0]["channel"])
        raise AssertionError

    line = await make(talk)
    held = asyncio.create_task(first_frame(request(1, hold_ms=5000)))
    await eventually(lambda: line.sockets)
    assert await first_frame(request(2, "/meta/subscribe")) == "/meta/subscribe"
    assert await held == "/meta/connect"


async def test_frames_that_one_exchange_reads_for_another_have_a_limit(make: Make, monkeypatch: pytest.MonkeyPatch):
    """The held connect's events are being stored; a request beside it would read on for ever."""
    monkeypatch.setattr("listener.cometd.websocket._MOST_HELD_BYTES", 100_000)

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        await socket.send_json([event(1)])
        await socket.receive()
        while not socket.closed:
            await socket.send_json([event(2), "x" * 10_000])

    line = await make(talk)
    async with aclosing(await line.exchange(request(1, hold_ms=5000))) as payloads:
        assert json.loads((await anext(payloads)).body) == [event(1)]
        failure = await line.failure(request(2))
        assert failure.maybe_lost
        had_come = [await anext(payloads) for _ in range(9)]
        assert all(event(2) in json.loads(payload.body) for payload in had_come), "what had come is not lost"


async def test_a_burst_of_frames_lets_others_take_their_turns(make: Make):
    turns = 0

    async def talk(socket: web.WebSocketResponse) -> None:
        await socket.receive()
        for _ in range(1000):
            await socket.send_str("[]")
        await socket.send_json([reply(1)])
        await socket.receive()

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    line = await make(talk)
    turning = asyncio.create_task(turn())
    assert await line.ask(request(1)) == [reply(1)]
    turning.cancel()
    assert turns > 30
