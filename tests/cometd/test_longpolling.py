"""One POST an exchange, over real sockets: what comes whole, what comes cut, and what a failure says of the data."""

import asyncio
import gc
import gzip
import json
import ssl
import subprocess
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, suppress
from pathlib import Path
from shutil import which
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from listener.cometd.certainty import Certainty
from listener.cometd.engine import Engine
from listener.cometd.longpolling import LongPollingTransport
from listener.cometd.messages import decode
from listener.cometd.payloads import Payload, all_of
from listener.cometd.protocol import Request, Resume, Session, Step
from listener.cometd.slices import SLICE_BYTES, Slicer
from listener.cometd.transport import Link
from listener.errors import ExchangeFailed
from listener.runtime.cookies import CookieJar
from listener.runtime.gate import Gate
from listener.runtime.host import Host
from listener.runtime.http_client import Connector, new_session
from listener.runtime.http_post import Answer, Poster
from listener.testing import ManualClock
from support.bareserver import BareServer, Handler, new_http
from support.eventually import eventually
from support.wire import saying, talking

POLL = Request(step=Step.CONNECT, payload=[{"id": "1", "channel": "/meta/connect"}], hold_ms=100)
BODY = b'[{"channel": "/meta/connect", "id": "1", "successful": true}]'

Serve = Callable[..., Any]


class Line:
    """A transport on its way to a server."""

    def __init__(self, url: str, http: aiohttp.ClientSession, **options: Any) -> None:
        engine = Engine(session=Session(topics=[], connection_type="long-polling"), host=Host(clock=ManualClock()))
        link = Link(engine=engine, http=http, **{"margin_s": 1.0, **options})
        self.transport = LongPollingTransport(url=url, auth=link)
        self.exchange = engine.exchange
        self.payloads: list[Payload] = []

    async def poll(self, request: Request = POLL) -> list[Payload]:
        """All payloads; they are in `payloads` as well, whatever is raised."""
        async with aclosing(all_of(await self.exchange(request))) as payloads:
            async for payload in payloads:
                self.payloads.append(payload)
        return self.payloads

    async def failure(self) -> ExchangeFailed:
        with pytest.raises(ExchangeFailed) as caught:
            await self.poll()
        return caught.value


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a server with this handler, and a line to it."""
    async with AsyncExitStack() as stack:

        async def start(handler: Handler, **options: Any) -> tuple[BareServer, Line]:
            server = await stack.enter_async_context(BareServer(handler))
            return server, Line(server.url, await stack.enter_async_context(new_http()), **options)

        yield start


def answering(body: bytes = BODY, *, status: int = 200, **headers: str) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return handle


def cut(body: bytes, *, hang: bool = False) -> Handler:
    """Promise more than comes; then close, or hang."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(body) + 100
        await response.prepare(request)
        await response.write(body)
        if hang:
            await asyncio.sleep(30)
        assert request.transport is not None
        request.transport.close()
        return response

    return handle


async def test_a_body_is_handed_over_whole(serve: Serve):
    server, line = await serve(answering())
    assert await line.poll() == [Payload(BODY)]
    assert server.bodies == [[{"id": "1", "channel": "/meta/connect"}]]
    assert server.requests[0]["Content-Type"] == "application/json;charset=UTF-8"


class Lapsing(Certainty):
    """It was certain when the exchange began, and is not once there is a connection."""

    def __init__(self) -> None:
        super().__init__(is_certain=lambda: False, certainty=asyncio.Event().wait)


async def test_a_session_that_may_be_anothers_by_the_time_of_its_connection_asks_for_nothing(serve: Serve):
    server, line = await serve(answering(), certainty=Lapsing())
    failure = await line.failure()
    assert (str(failure), failure.maybe_lost) == ("another process may have this session", False)
    assert server.bodies == []
    resume = Resume(client_id="c", connection_type="long-polling", ack=1)
    line.transport.link.engine.session.resume(resume)  # with acknowledgements nothing can be lost
    assert await line.poll() == [Payload(BODY)]


async def test_what_every_post_must_carry_is_asked_for_each_time(serve: Serve):
    tokens = iter(["first", "second"])
    server, line = await serve(answering(), headers=lambda: {"X-CSRF-TOKEN": next(tokens)})
    await line.poll()
    await line.poll()
    assert [headers["X-CSRF-TOKEN"] for headers in server.requests] == ["first", "second"]


async def test_cookies_of_an_address_come_back(serve: Serve):
    server, line = await serve(answering(Set_Cookie="BAYEUX_BROWSER=x1; Path=/"))
    await line.poll()
    await line.poll()
    assert server.requests[1]["Cookie"] == "BAYEUX_BROWSER=x1"


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 226, 299])
async def test_a_body_under_any_2xx_is_handed_over(serve: Serve, status: int):
    """Gateways that alter an answer may say so in its status."""
    _, line = await serve(answering(status=status))
    assert await line.poll() == [Payload(BODY)]


LOGIN_REFUSED = b'{"statusCode":20,"statusMessage":"Access denied"}'
NO_CSRF_TOKEN = b"Missing or invalid Csrf token"


@pytest.mark.parametrize(
    ("status", "body"),
    [(status, b"<html>") for status in (300, 302, 304, 307, 400, 402, 404, 407, 408, 409, 410, 421, 429, 431, 451)]
    + [(status, b"<html>") for status in (500, 501, 502, 503, 504, 520, 599)]
    + [(401, b""), (403, b"<html>"), (401, LOGIN_REFUSED), (403, LOGIN_REFUSED), (403, NO_CSRF_TOKEN)],
)
async def test_another_status_may_stand_for_an_answer_that_the_server_had_given(serve: Serve, status: int, body: bytes):
    """Even the server's own refusal: a gateway that lost an answer may have asked another node, who knows no login."""
    _, line = await serve(answering(body, status=status, Location="/elsewhere", Retry_After="7"))
    failure = await line.failure()
    assert (failure.http_status, failure.retry_after_s, failure.maybe_lost) == (status, 7.0, True)
    assert str(failure).startswith(f"HTTP {status}")
    assert line.payloads == []


async def test_a_reason_in_another_encoding_is_told_in_text_that_json_can_hold():
    """Servers tell it in the language of their host."""
    refusal = b"HTTP/1.1 503 Nicht verf\xfcgbar \x1b[1m\r\nContent-Length: 0\r\n\r\n"
    async with talking(saying(refusal)) as url, new_http() as http:
        failure = await Line(url, http).failure()
    assert str(failure) == "HTTP 503 Nicht verf gbar [1m"


@pytest.mark.parametrize("hang", [False, True], ids=["closed", "black hole"])
async def test_what_a_cut_answer_had_brought_is_handed_over_before_the_failure(serve: Serve, hang: bool):
    _, line = await serve(cut(b'[{"channel": "/c"', hang=hang), margin_s=0.2)
    failure = await line.failure()
    assert line.payloads == [Payload(b'[{"channel": "/c"', whole=False)]
    assert failure.maybe_lost


async def test_a_connection_that_fell_silent_is_found_after_the_hold_and_the_margin(serve: Serve):
    async def never(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    _, line = await serve(never, margin_s=0.2)
    loop = asyncio.get_running_loop()
    started = loop.time()
    failure = await line.failure()
    assert 0.3 <= loop.time() - started < 2
    assert failure.maybe_lost
    assert "dead" in str(failure)


class Noting(Connector):
    """Notes the timeouts which it is given."""

    timeouts: tuple[aiohttp.ClientTimeout, ...] = ()

    async def connect(self, *args: Any) -> Any:
        self.timeouts += (args[-1],)
        return await super().connect(*args)


async def test_a_hold_of_ten_minutes_is_not_ended_by_the_librarys_own_five():
    noting = Noting(limit=0)
    async with BareServer(answering()) as server, new_session(noting, cookies=CookieJar()) as http:
        line = Line(server.url, http, connect_timeout_s=3, margin_s=600)
        await line.poll()
        await line.transport.close()
    assert [(timeout.total, timeout.connect) for timeout in noting.timeouts] == [(None, 3)]


async def test_a_session_that_goes_on_has_one_connection_for_all_that_it_asks_in_turn():
    noting = Noting(limit=0)
    async with BareServer(answering()) as server, new_session(noting, cookies=CookieJar()) as http:
        line = Line(server.url, http)
        for step in (Step.CONNECT, Step.SUBSCRIBE, Step.CONNECT, Step.HANDSHAKE):
            await line.poll(Request(step=step, payload=POLL.payload))
        await line.transport.close()
    assert len(noting.timeouts) == 1


async def test_a_server_that_cannot_be_reached_has_lost_nothing():
    async with BareServer(answering()) as server:
        url = server.url
    async with new_http() as http:
        failure = await Line(url, http).failure()
    assert (failure.maybe_lost, failure.http_status) == (False, None)


async def test_a_connection_that_does_not_come_about_has_lost_nothing():
    """The only connection of the pool is taken by another poll."""
    held = asyncio.Event()

    async def hold(request: web.Request) -> web.Response:
        held.set()
        await asyncio.sleep(30)
        return web.Response()

    async with BareServer(hold) as server, new_http(limit=1) as http:
        other = asyncio.create_task(Line(server.url, http).failure())
        await held.wait()
        failure = await Line(server.url, http, connect_timeout_s=0.1).failure()
        assert not failure.maybe_lost
        assert (await other).maybe_lost


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    """A certificate that nobody has signed."""
    if which("openssl") is None:
        pytest.skip("openssl is not installed")
    file = str(tmp_path / "server.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-keyout", file, "-out", file + ".crt"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file + ".crt", file)
    return context


async def test_a_certificate_that_is_not_trusted_names_its_setting(tls: ssl.SSLContext):
    async with (
        await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0, ssl=tls) as server,
        new_http() as http,
    ):
        failure = await Line(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", http).failure()
    assert "server.ca_file" in str(failure)
    assert not failure.maybe_lost


def events(count: int, *, size: int = 1000) -> bytes:
    """So many of them, and the reply behind."""
    return b"[" + b"".join(b'{"channel": "/c", "data": {"n": %d, "x": "%b"}},' % (n, b"x" * size) for n in range(count))


def numbers(payloads: list[Payload]) -> list[int]:
    return [
        json.loads(bytes(message.data))["n"]
        for payload in payloads
        for message in decode(payload.body, sole=False).messages
        if message.is_event
    ]


async def test_a_large_body_is_handed_over_in_slices_as_it_comes(serve: Serve):
    handed_over = asyncio.Event()

    async def in_two(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(events(1000))
        await handed_over.wait()
        await response.write(BODY[1:])
        return response

    _, line = await serve(in_two)
    polling = asyncio.create_task(line.poll())
    await eventually(lambda: len(line.payloads) >= 3)
    assert all(payload.more and len(payload.body) < SLICE_BYTES + 2**20 for payload in line.payloads)
    handed_over.set()
    payloads = await polling
    assert numbers(payloads) == list(range(1000))
    assert [payload.more for payload in payloads] == [True] * (len(payloads) - 1) + [False]
    assert decode(payloads[-1].body).messages[-1].channel == "/meta/connect"


async def test_a_message_that_is_too_large_is_counted_and_the_others_are_handed_over(serve: Serve):
    large = b'{"channel": "/c", "data": "%b"},' % (b"x" * 3_000_000)
    _, line = await serve(answering(events(3) + large + BODY[1:]), max_message_bytes=100_000)
    payloads = await line.poll()
    assert numbers(payloads) == [0, 1, 2]
    assert [payload.refused for payload in payloads if payload.refused] == [{"too_large": 1}]


async def test_a_message_may_be_too_large_in_a_body_that_came_at_once(serve: Serve):
    large = b'{"channel": "/c", "data": "%b"},' % (b"x" * 2000)
    _, line = await serve(answering(events(3, size=9) + large + BODY[1:]), max_message_bytes=1000)
    payloads = await line.poll()
    assert numbers(payloads) == [0, 1, 2]
    assert [payload.refused for payload in payloads if payload.refused] == [{"too_large": 1}]


async def test_of_a_large_body_that_is_cut_the_slices_come_first_and_then_what_the_last_had_brought(serve: Serve):
    _, line = await serve(cut(events(1000)))
    failure = await line.failure()
    assert failure.maybe_lost
    assert [payload.whole for payload in line.payloads] == [True] * (len(line.payloads) - 1) + [False]
    assert numbers(line.payloads) == list(range(1000))


async def test_a_body_in_which_no_message_ends_is_a_failure_in_time(serve: Serve):
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'[{"channel": "/c", "data": "')
        while True:
            await response.write(b"x" * 100_000)
            await asyncio.sleep(0.001)

    _, line = await serve(endless, margin_s=0.4, max_message_bytes=100_000)
    failure = await line.failure()
    assert failure.maybe_lost
    assert numbers(line.payloads) == []


async def test_what_comes_out_of_a_compressed_body_is_never_there_as_a_whole(serve: Serve):
    bomb = gzip.compress(b"[" + b" " * 30_000_000)
    _, line = await serve(answering(bomb, Content_Encoding="gzip"), margin_s=30.0)
    tracemalloc.start()
    try:
        await line.poll()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20


@pytest.mark.parametrize(
    "handler",
    [
        answering(events(2000)),
        cut(events(2000)),
        cut(b"[" + b"x" * 300_000, hang=True),
        answering(events(9), status=500),
    ],
    ids=["whole", "cut", "silent", "refused"],
)
async def test_nothing_of_a_body_outlives_its_exchange_until_the_garbage_collector_comes(
    serve: Serve, handler: Handler
):
    _, line = await serve(handler, margin_s=0.2)
    kinds = (Slicer, Answer)
    gc.collect()
    gc.disable()
    try:
        before = [id(one) for one in gc.get_objects() if isinstance(one, kinds)]
        with suppress(ExchangeFailed):
            await line.poll()
        line.payloads.clear()
        await asyncio.sleep(0.05)
        left = [one for one in gc.get_objects() if isinstance(one, kinds) and id(one) not in before]
        assert [type(one).__name__ for one in left] == []
    finally:
        gc.enable()


class Whole:
    """An answer that is there as a whole."""

    status = 200

    def whole(self, _most_bytes: int) -> bytes:
        return BODY

    def release(self) -> None: ...


async def test_answers_that_come_all_at_once_are_taken_a_few_in_a_step_of_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
):
    async def at_once(*_: Any, **__: Any) -> Whole:
        return Whole()

    monkeypatch.setattr(Poster, "post", at_once)
    async with new_http() as http:
        gate, taken, most = Gate(), 0, 0
        lines = [Line("http://127.0.0.1/", http, others_first=gate) for _ in range(200)]
        polls = [asyncio.create_task(line.poll()) for line in lines]
        while taken < len(polls):
            await asyncio.sleep(0)
            before, taken = taken, sum(poll.done() for poll in polls)
            most = max(most, taken - before)
    assert most <= 50
