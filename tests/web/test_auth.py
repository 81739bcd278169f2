"""Who is answered."""

import aiohttp
import pytest
from structlog.testing import capture_logs

from support.pages import TOKEN, Pages, bearer, raw, running

GUARDED = ["/metrics", "/status.json", "/openapi.json"]


@pytest.mark.parametrize("path", GUARDED)
async def test_what_is_guarded_needs_the_token(secured: aiohttp.ClientSession, path: str):
    assert (await secured.get(path)).status == 200
    response = await secured.get(path, headers={"Authorization": "Bearer x"})
    assert (response.status, response.headers["WWW-Authenticate"]) == (
        401,
        'Bearer realm="disposition-listener", error="invalid_token"',
    )


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_probes_need_none(pages: Pages, path: str):
    async with (
        running(pages.server(token=lambda: TOKEN)) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http,
    ):
        assert (await http.get(path)).status == 200
        assert (await http.get(path, headers=bearer("wrong"))).status == 200


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Authorization: Bearer\r\n",
        b"Authorization: Bearer \r\n",
        f"Authorization: Basic {TOKEN}\r\n".encode(),
        f"Authorization: {TOKEN}\r\n".encode(),
        f"Authorization: Bearer {TOKEN}x\r\n".encode(),
        f"Authorization: Bearer {TOKEN[:-1]}\r\n".encode(),
        f"Authorization: Bearer {TOKEN.lower()}\r\n".encode(),
        f"Authorization: Bearer {TOKEN}, Bearer {TOKEN}\r\n".encode(),
        f"Authorization: Bearer {TOKEN}\r\n".encode() * 2,
        b"Authorization: Bearer \xff\xfe\r\n",
        f"Cookie: token={TOKEN}\r\n".encode(),
        f"X-Authorization: Bearer {TOKEN}\r\n".encode(),
    ],
)
async def test_anything_else_is_no_token(pages: Pages, line: bytes):
    async with running(pages.server(token=lambda: TOKEN)) as server:
        with capture_logs() as logs:
            for _ in range(3):
                sent = b"GET /status.json?access_token=" + TOKEN.encode() + b" HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n"
                assert (await raw(server.port, sent)).startswith(b"HTTP/1.1 401 ")
    assert len([one for one in logs if one["event"] == "http_refused"]) == 1
    assert TOKEN not in str(logs)


async def test_the_scheme_may_be_written_in_any_case(secured: aiohttp.ClientSession):
    assert (await secured.get("/metrics", headers={"Authorization": f"bEARER   {TOKEN}"})).status == 200


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("empty")])
async def test_while_nobody_can_tell_the_token_nobody_has_it(pages: Pages, error: Exception):
    def token() -> str:
        raise error

    async with (
        running(pages.server(token=token)) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", headers=bearer("")) as http,
    ):
        assert (await http.get("/status.json")).status == 503
        assert (await http.get("/livez")).status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:80", "localhost", "LOCALHOST:1", "[::1]:9464", "192.0.2.1"])
async def test_without_a_token_it_is_asked_for_by_an_address_or_localhost(http: aiohttp.ClientSession, host: str):
    assert (await http.get("/status.json", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "[::1", "", "127.0.0.1@evil.example"],
)
@pytest.mark.parametrize("path", ["/readyz", "/status.json", "/nothing"])
async def test_a_name_that_was_made_to_lead_here_is_not_answered(http: aiohttp.ClientSession, host: str, path: str):
    response = await http.get(path, headers={"Host": host})
    assert response.status == (421 if host != "[::1" else 200 if path != "/nothing" else 404)


async def test_one_host_is_required_where_it_counts(pages: Pages):
    async with running(pages.server()) as server:
        for lines in (b"", b"Host: localhost\r\nHost: evil.example\r\n"):
            assert b" 400 " in (await raw(server.port, b"GET /status.json HTTP/1.1\r\n" + lines + b"\r\n"))[:16]


async def test_with_a_token_any_name_will_do(secured: aiohttp.ClientSession):
    assert (await secured.get("/status.json", headers={"Host": "listener.example"})).status == 200


async def test_nothing_is_ordered_without_a_token(http: aiohttp.ClientSession, pages: Pages):
    response = await http.post("/sinks/crm/resume", json={})
    assert (response.status, pages.parked) == (403, {"crm"})
    assert "http.token" in (await response.json())["error"]
    assert (await http.post("/dead-letters/replay", json={}, headers=bearer())).status == 403
    assert pages.replayed == []
