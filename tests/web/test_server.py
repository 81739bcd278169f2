"""The way of a request through the HTTP side, over real HTTP."""

import asyncio
import socket

import aiohttp
import pytest
from structlog.testing import capture_logs

from listener.errors import StartError
from listener.web.routes import Call, Route
from support.pages import TOKEN, Pages, bearer, raw, running


async def test_nothing_is_cached_or_guessed(http: aiohttp.ClientSession):
    for path in ("/livez", "/status.json", "/nothing"):
        headers = (await http.get(path)).headers
        assert (headers["Cache-Control"], headers["X-Content-Type-Options"]) == ("no-store", "nosniff")


async def test_head_is_get_without_a_body(http: aiohttp.ClientSession):
    response = await http.head("/status.json")
    assert (response.status, await response.read()) == (200, b"")
    assert int(response.headers["Content-Length"]) > 100


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"])
async def test_other_methods_are_not_allowed(http: aiohttp.ClientSession, method: str):
    response = await http.request(method, "/livez", data=b"{}")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/livez/", "/status", "/../etc/passwd", "/metrics.txt", "/sinks//resume", "/%2F"])
async def test_other_paths_are_unknown(http: aiohttp.ClientSession, path: str):
    response = await http.get(path)
    assert (response.status, await response.json()) == (404, {"error": "there is nothing at this path"})


async def test_a_query_does_not_change_the_page(http: aiohttp.ClientSession):
    assert (await http.get("/livez?verbose=1")).status == 200


async def test_answers_are_counted_by_status(http: aiohttp.ClientSession, pages: Pages):
    await http.get("/livez")
    await http.get("/nothing")
    await http.get("/nothing")
    assert pages.metrics.value("http_requests_total", "200") == 1
    assert pages.metrics.value("http_requests_total", "404") == 2
    assert pages.metrics.value("http_refused_total", "not_found") == 2


async def test_a_page_that_fails_costs_itself_and_is_logged_once(http: aiohttp.ClientSession, pages: Pages):
    pages.status = object()
    with capture_logs() as logs:
        for _ in range(3):
            response = await http.get("/status.json")
            assert (response.status, await response.json()) == (500, {"error": "unexpected; the log has more"})
        assert (await http.get("/livez")).status == 200
    told = [line for line in logs if line["event"] == "http_refused"]
    assert [(line["log_level"], line["reason"]) for line in told] == [("error", "failed")]
    assert isinstance(told[0]["exc_info"], TypeError)


async def test_a_stream_may_stay_and_does_not_hold_up_the_end(pages: Pages):
    """What server-sent events need: a connection beyond the limit, and an end with the server's."""
    kept: list[bool] = []

    async def stream(call: Call) -> aiohttp.web.StreamResponse:
        kept.append(call.keep())
        response = aiohttp.web.StreamResponse()
        await response.prepare(call.request)
        await response.write(b"one\n")
        await asyncio.sleep(0.5)
        await response.write(b"two\n")
        await asyncio.sleep(3600)
        return response

    server = pages.server(more=[Route("GET", "/events", stream)], connection_limit_s=0.2)
    async with running(server), aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
        response = await http.get("/events")
        assert await response.content.readline() == b"one\n"
        assert await response.content.readline() == b"two\n"
        async with asyncio.timeout(5):
            await server.stop()
    assert kept == [True]


async def test_a_port_in_use_names_the_setting(pages: Pages):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = pages.server(port=port)
        with pytest.raises(StartError, match=rf"^http\.listen: .*127\.0\.0\.1:{port}: Address already in use$"):
            await server.start()
        await server.stop()


async def test_a_host_that_does_not_resolve_names_the_setting(pages: Pages):
    with pytest.raises(StartError, match=r"^http\.listen: cannot listen on nowhere\.invalid:0: \S"):
        await pages.server(host="nowhere.invalid").start()


async def test_stop_frees_the_port_and_may_be_called_twice(pages: Pages):
    server = pages.server()
    await server.start()
    port = server.port
    await server.stop()
    await server.stop()
    async with running(pages.server(port=port)) as again:
        assert again.port == port


async def test_whoever_has_no_token_does_not_learn_what_there_is(pages: Pages):
    async with running(pages.server(token=lambda: TOKEN)) as server:
        statuses = {
            (path, method): int((await raw(server.port, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()))[9:12])
            for path in ("/status.json", "/nothing", "/sinks/crm/resume")
            for method in ("GET", "POST")
        }
        assert set(statuses.values()) == {401}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", headers=bearer()) as http:
            assert (await http.get("/nothing")).status == 404
