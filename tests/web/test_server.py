"""The health endpoints over real HTTP."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from listener.errors import StartError
from listener.metrics import Metrics
from listener.model import LaneStatus
from listener.web.server import HEAD_LIMIT_BYTES, HealthServer


class Daemon:
    """What the server asks for: replies that a test can change."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.reasons: list[str] = []
        self.status: dict[str, Any] = {}

    def server(self, *, port: int = 0, connection_limit_s: float = 10.0) -> HealthServer:
        return HealthServer(
            host="127.0.0.1",
            port=port,
            metrics=self.metrics,
            status=lambda: self.status,
            ready=lambda: self.reasons,
            connection_limit_s=connection_limit_s,
        )


@contextlib.asynccontextmanager
async def running(server: HealthServer) -> AsyncIterator[HealthServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
async def http(daemon: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    async with running(daemon.server()) as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        yield session


async def raw(port: int, sent: bytes) -> bytes:
    """Everything that comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_living_process_says_ok(http: aiohttp.ClientSession):
    response = await http.get("/livez")
    assert (response.status, await response.text()) == (200, "ok\n")


async def test_a_process_that_is_not_ready_lives_all_the_same(http: aiohttp.ClientSession, daemon: Daemon):
    daemon.reasons = ["agent1: not subscribed"]
    assert (await http.get("/livez")).status == 200


async def test_readiness_follows_the_reasons_one_a_line(http: aiohttp.ClientSession, daemon: Daemon):
    daemon.reasons = ["agent1: not subscribed", "sink crm: parked"]
    response = await http.get("/readyz")
    assert (response.status, await response.text()) == (503, "agent1: not subscribed\nsink crm: parked\n")
    daemon.reasons = []
    response = await http.get("/readyz")
    assert (response.status, await response.text()) == (200, "ready\n")


async def test_metrics_are_in_the_format_that_prometheus_scrapes(http: aiohttp.ClientSession, daemon: Daemon):
    daemon.metrics.count("sink_delivered_total", 3, "audit")
    response = await http.get("/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'disposition_listener_sink_delivered_total{sink="audit"} 3.0' in await response.text()


async def test_status_is_json_of_what_the_daemon_says_now(http: aiohttp.ClientSession, daemon: Daemon):
    lane = LaneStatus(sink="audit", kind="file", cursor=2, lag=0, delivered=2, failures=0, parked=None, last_error="ä")
    daemon.status = {"lanes": [lane]}
    response = await http.get("/status.json")
    assert response.content_type == "application/json"
    (shown,) = (await response.json())["lanes"]
    assert (shown["sink"], shown["cursor"], shown["parked"], shown["last_error"]) == ("audit", 2, None, "ä")


async def test_nothing_is_cached_or_guessed(http: aiohttp.ClientSession):
    for path in ("/livez", "/status.json", "/nothing"):
        headers = (await http.get(path)).headers
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


async def test_head_is_get_without_a_body(http: aiohttp.ClientSession, daemon: Daemon):
    daemon.reasons = ["starting"]
    response = await http.head("/readyz")
    assert (response.status, await response.read()) == (503, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_not_allowed(http: aiohttp.ClientSession, method: str):
    response = await http.request(method, "/livez", data=b"{}")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/livez/", "/status", "/../etc/passwd", "/metrics.txt"])
async def test_other_paths_are_unknown(http: aiohttp.ClientSession, path: str):
    assert (await http.get(path)).status == 404


async def test_a_query_does_not_change_the_page(http: aiohttp.ClientSession):
    assert (await http.get("/livez?verbose=1")).status == 200


async def test_a_body_is_refused_unread(http: aiohttp.ClientSession):
    assert (await http.get("/livez", data=b"x" * 10)).status == 413


async def test_an_oversized_head_is_refused(daemon: Daemon):
    async with running(daemon.server()) as server:
        long_line = b"GET /livez?" + b"x" * HEAD_LIMIT_BYTES + b" HTTP/1.1\r\nHost: a\r\n\r\n"
        assert (await raw(server.port, long_line)).startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
        many = b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100 + b"\r\n"
        assert (await raw(server.port, many)).startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))


async def test_a_head_that_does_not_arrive_ends_the_connection(daemon: Daemon):
    async with running(daemon.server(connection_limit_s=0.1)) as server:
        assert await raw(server.port, b"GET /livez HTTP/1.1\r\nHost: ") == b""


async def test_a_failing_status_is_a_500_and_not_the_end(http: aiohttp.ClientSession, daemon: Daemon):
    daemon.status = {"not json": object()}
    assert (await http.get("/status.json")).status == 500
    assert (await http.get("/livez")).status == 200


async def test_a_port_in_use_names_the_setting(daemon: Daemon):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = daemon.server(port=port)
        with pytest.raises(StartError, match=rf"^http\.listen: .*127\.0\.0\.1:{port}: Address already in use$"):
            await server.start()
        await server.stop()


async def test_a_host_that_does_not_resolve_names_the_setting(daemon: Daemon):
    server = HealthServer(
        host="nowhere.invalid", port=0, metrics=daemon.metrics, status=dict[str, Any], ready=list[str]
    )
    with pytest.raises(StartError, match=r"^http\.listen: cannot listen on nowhere\.invalid:0: \S"):
        await server.start()


async def test_stop_frees_the_port_and_may_be_called_twice(daemon: Daemon):
    server = daemon.server()
    await server.start()
    port = server.port
    await server.stop()
    await server.stop()
    async with running(daemon.server(port=port)) as again:
        assert again.port == port
