"""Hostile clients on raw sockets: each is refused or cut off, counted and logged once, and probes are answered on."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.http_exceptions import BadStatusLine
from structlog.testing import capture_logs

from listener.runtime.metrics import Metrics
from listener.testing import ManualClock
from listener.web.actions import BODY_BYTES
from listener.web.limits import HEAD_LIMIT_BYTES, HEADERS_LIMIT, STREAMS, Refusals
from listener.web.routes import Call, Route
from listener.web.server import HttpServer
from support.eventually import eventually
from support.pages import TOKEN, Pages, raw, running


def test_each_reason_is_logged_once_a_minute_and_tells_what_it_kept_back():
    clock, metrics = ManualClock(), Metrics()
    refusals = Refusals(metrics=metrics, monotonic=clock.monotonic_s)
    with capture_logs() as logs:
        for _ in range(100):
            refusals.note("wrong_token", remote="192.0.2.1")
        refusals.note("not_found", remote="192.0.2.1")
        clock.advance(61)
        refusals.note("wrong_token", remote="192.0.2.2")
    assert [(line["reason"], line["more_before"], line["remote"]) for line in logs] == [
        ("wrong_token", 0, "192.0.2.1"),
        ("not_found", 0, "192.0.2.1"),
        ("wrong_token", 99, "192.0.2.2"),
    ]
    assert metrics.value("http_refused_total", "wrong_token") == 101


def test_what_aiohttp_reports_is_a_refusal_or_a_fault():
    metrics = Metrics()
    logger = Refusals(metrics=metrics).logger()
    assert logger is not logging.getLogger("http")
    with capture_logs() as logs:
        for error in (BadStatusLine("\x16\x03"), ConnectionResetError("gone"), RuntimeError("a bug")):
            try:
                raise error
            except type(error):
                logger.exception("Error handling request from %s", "192.0.2.1")
        logger.debug("Start lingering close timer for %s sec.", 2.0)
    assert [(line["log_level"], line["reason"], line["remote"]) for line in logs] == [
        ("warning", "malformed", "192.0.2.1"),
        ("error", "failed", "192.0.2.1"),
    ]


HOST = b"Host: 127.0.0.1\r\n"
ACTION = b"POST /dead-letters/replay HTTP/1.1\r\n" + HOST + f"Authorization: Bearer {TOKEN}\r\n".encode()
JSON = b"Content-Type: application/json\r\n"


@pytest.fixture
async def server(pages: Pages) -> AsyncIterator[HttpServer]:
    async with running(pages.server(token=lambda: TOKEN)) as server:
        yield server


async def is_alive(server: HttpServer) -> bool:
    return (await raw(server.port, b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n")).startswith(b"HTTP/1.1 200 OK\r\n")


def sized(body: bytes) -> bytes:
    return ACTION + JSON + b"Content-Length: %d\r\n\r\n" % len(body) + body


MALFORMED = {
    "a long line": b"GET /livez?" + b"x" * HEAD_LIMIT_BYTES + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a long header": b"GET /livez HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 2 * HEAD_LIMIT_BYTES + b"\r\n\r\n",
    "many headers": b"GET /livez HTTP/1.1\r\n" + HOST + b"X: y\r\n" * (HEADERS_LIMIT + 1) + b"\r\n",
    "a TLS hello": bytes.fromhex("16030100c8010000c40303") + b"\x00" * 200 + b"\r\n\r\n",
    "no HTTP": b"\x00\xff\xfe\r\n\r\n",
    "a header without a name": b"GET /livez HTTP/1.1\r\n" + HOST + b": y\r\n\r\n",
    "two lengths": b"GET /livez HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a smuggled body": ACTION + JSON + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bad chunk": ACTION + JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_request_is_refused(server: HttpServer, pages: Pages, sent: bytes):
    with capture_logs() as logs:
        for _ in range(3):
            assert b" 400 " in (await raw(server.port, sent))[:16]
    assert [line["reason"] for line in logs if line["log_level"] != "info"] == ["malformed"]
    assert pages.metrics.value("http_refused_total", "malformed") == 3
    assert pages.replayed == []
    assert await is_alive(server)


async def test_a_body_where_none_is_taken_is_refused_and_the_answer_arrives(server: HttpServer):
    """Closing a socket with unread data in it would take the answer back."""
    head = b"POST /livez HTTP/1.1\r\n" + HOST + b"Content-Length: 5000000\r\n\r\n"
    assert (await raw(server.port, head + b"x" * 5_000_000)).startswith(b"HTTP/1.1 405 ")
    head = b"GET /livez HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n"
    assert (await raw(server.port, head + b"x" * 10)).startswith(b"HTTP/1.1 413 ")


async def test_a_body_has_its_limit_however_it_comes(server: HttpServer, pages: Pages):
    largest = json.dumps({"sink": "x" * (BODY_BYTES - 12)}).encode()
    assert len(largest) == BODY_BYTES
    assert (await raw(server.port, sized(largest))).startswith(b"HTTP/1.1 200 ")
    assert len(pages.replayed) == 1
    assert (await raw(server.port, sized(largest + b" "))).startswith(b"HTTP/1.1 413 ")
    announced = ACTION + JSON + b"Content-Length: 1099511627776\r\n\r\n"
    assert (await raw(server.port, announced)).startswith(b"HTTP/1.1 413 "), "not waited for"
    chunk = b"%x\r\n%s\r\n" % (2**16, b" " * 2**16)
    chunked = ACTION + JSON + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17
    assert (await raw(server.port, chunked)).startswith(b"HTTP/1.1 413 ")
    assert len(pages.replayed) == 1


async def test_nothing_is_unpacked(server: HttpServer):
    bomb = gzip.compress(b" " * 2**24)
    sent = ACTION + JSON + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb
    assert (await raw(server.port, sent)).startswith(b"HTTP/1.1 415 ")


async def test_one_connection_serves_one_request(server: HttpServer):
    twice = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
    assert (await raw(server.port, twice * 2)).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /livez HTTP/1.1\r\nHost: ", ACTION + JSON + b"Content-Length: 20\r\n\r\n{"],
    ids=["nothing", "half a head", "half a body"],
)
async def test_who_sends_slowly_is_cut_off(pages: Pages, sent: bytes):
    async with running(pages.server(token=lambda: TOKEN, connection_limit_s=0.2)) as server:
        with capture_logs() as logs:
            assert await asyncio.gather(*(raw(server.port, sent) for _ in range(3))) == [b""] * 3
        assert [line["reason"] for line in logs if line["log_level"] != "info"] == ["too_slow"]
        assert pages.metrics.value("http_refused_total", "too_slow") == 3
        assert await is_alive(server)


async def test_who_reads_slowly_is_cut_off(pages: Pages):
    async def much(_call: Call) -> object:
        return web.Response(body=b"x" * 2**26)

    server = pages.server(more=[Route("GET", "/much", much)], connection_limit_s=0.3)
    async with running(server):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)
        writer.write(b"GET /much HTTP/1.1\r\n" + HOST + b"\r\n")
        await eventually(lambda: pages.metrics.value("http_refused_total", "too_slow") == 1)
        assert await is_alive(server)
        writer.transport.abort()


async def test_slow_clients_keep_no_probe_out(pages: Pages):
    async with running(pages.server(connections=8)) as server:
        slow = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(8)]
        for _, writer in slow:
            writer.write(b"GET ")
        assert await is_alive(server)
        assert await slow[0][0].read() == b"", "the oldest made room"
        assert pages.metrics.value("http_refused_total", "too_many_connections") == 1
        for _, writer in slow:
            writer.close()


async def test_connections_that_end_make_room(pages: Pages):
    async with running(pages.server(connections=2)) as server:
        for _ in range(10):
            assert await is_alive(server)
        assert pages.metrics.value("http_refused_total", "too_many_connections") == 0


async def test_streams_have_a_limit_of_their_own(pages: Pages):
    kept: list[bool] = []

    async def stream(call: Call) -> object:
        kept.append(call.keep())
        await asyncio.sleep(3600)

    server = pages.server(more=[Route("GET", "/events", stream)])
    async with running(server):
        clients = []
        for _ in range(STREAMS + 1):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /events HTTP/1.1\r\n" + HOST + b"\r\n")
            clients.append(writer)
        await eventually(lambda: len(kept) == STREAMS + 1)
        assert sorted(kept) == [False] + [True] * STREAMS
        for client in clients:
            client.close()

        async def once_more() -> bool:
            """Whether a stream that begins now may stay, since the server has seen that the others are gone."""
            count = len(kept)
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /events HTTP/1.1\r\n" + HOST + b"\r\n")
            await eventually(lambda: len(kept) > count)
            writer.close()
            return kept[-1]

        await eventually(once_more)
