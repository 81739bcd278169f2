"""The gateway spoils what it says, once or for as long as it says, and passes the rest on as it is."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from support.bareserver import BareServer
from support.gateway import Gateway

EVENTS = [{"channel": "/v2/me/chats", "data": number} for number in (1, 2)]


async def connect_reply(request: web.Request) -> web.Response:
    """Two events and the reply to each message, for any client; a cookie besides."""
    if request.method == "GET":
        return web.json_response({"me": "agent1"}, headers={"X-CSRF-TOKEN": "t"})
    replies = [{"channel": m["channel"], "id": m["id"], "successful": True} for m in await request.json()]
    answer = web.json_response([*EVENTS, *replies])
    answer.set_cookie("BAYEUX_BROWSER", "b1")
    answer.set_cookie("JSESSIONID", "j1")
    return answer


@pytest.fixture
async def server(owned: AsyncExitStack) -> BareServer:
    return await owned.enter_async_context(BareServer(connect_reply))


@pytest.fixture
async def gateway(owned: AsyncExitStack, server: BareServer) -> Gateway:
    return await owned.enter_async_context(Gateway(server.port))


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def connect(http: aiohttp.ClientSession, gateway: Gateway, number: int = 1) -> list[dict[str, Any]]:
    body = json.dumps([{"channel": "/meta/connect", "id": str(number)}])
    async with http.post(gateway.url, data=body, headers={"Content-Type": "application/json"}) as response:
        assert response.status == 200
        return await response.json()


def reply(number: int = 1) -> dict[str, Any]:
    return {"channel": "/meta/connect", "id": str(number), "successful": True}


async def test_what_is_well_passes_as_it_is(gateway: Gateway, server: BareServer, http: aiohttp.ClientSession):
    assert await connect(http, gateway) == [*EVENTS, reply()]
    assert {cookie.key for cookie in http.cookie_jar} == {"BAYEUX_BROWSER", "JSESSIONID"}
    await connect(http, gateway)
    assert server.requests[1]["Cookie"] == "BAYEUX_BROWSER=b1; JSESSIONID=j1"
    assert server.requests[1]["Host"] == f"127.0.0.1:{gateway.port}"
    async with http.get(gateway.url) as response:
        assert response.headers["X-CSRF-TOKEN"] == "t"


async def test_a_failure_is_answered_before_the_server_sees_the_request_or_after(
    gateway: Gateway, server: BareServer, http: aiohttp.ClientSession
):
    gateway.fail(503, body="<html>", headers={"Retry-After": "2"})
    gateway.fail(502, body="<html>", acted=True)
    for status, seen in ((503, 0), (502, 1)):
        async with http.post(gateway.url, data='[{"channel": "/meta/connect", "id": "1"}]') as response:
            assert (response.status, await response.text()) == (status, "<html>")
            assert response.headers.get("Retry-After") == ("2" if status == 503 else None)
        assert len(server.requests) == seen
    assert gateway.pending == 0
    assert await connect(http, gateway) == [*EVENTS, reply()]


async def test_a_failure_spares_what_is_no_bayeux(gateway: Gateway, http: aiohttp.ClientSession):
    gateway.fail(401)
    async with http.get(gateway.url) as response:
        assert response.status == 200
    assert gateway.pending == 1


async def test_advice_is_laid_over_the_next_reply(gateway: Gateway, http: aiohttp.ClientSession):
    gateway.advise({"reconnect": "none"})
    assert (await connect(http, gateway))[-1] == {**reply(), "advice": {"reconnect": "none"}}
    assert (await connect(http, gateway))[-1] == reply()


async def test_a_batch_comes_again_with_the_next_answer(gateway: Gateway, http: aiohttp.ClientSession):
    gateway.repeat()
    assert await connect(http, gateway) == [*EVENTS, reply()]
    assert gateway.pending == 1
    assert await connect(http, gateway) == [*EVENTS, *EVENTS, reply()]
    assert await connect(http, gateway) == [*EVENTS, reply()]
    assert gateway.pending == 0


async def test_cookies_are_lost_for_a_while(gateway: Gateway, server: BareServer, http: aiohttp.ClientSession):
    await connect(http, gateway)
    with gateway.without_cookies():
        await connect(http, gateway)
    await connect(http, gateway)
    assert [bool(headers.get("Cookie")) for headers in server.requests] == [False, False, True]


async def test_shuffled_answers_hold_replies_ahead_among_and_of_others(gateway: Gateway, http: aiohttp.ClientSession):
    one, two = EVENTS
    await connect(http, gateway, 1)
    with gateway.shuffled():
        first, second = await connect(http, gateway, 2), await connect(http, gateway, 3)
    assert first == [reply(1), one, reply(2), reply(1), two]
    assert second == [reply(1), reply(2), reply(3), reply(1), reply(2), one, two]
    assert await connect(http, gateway, 4) == [one, two, reply(4)]


async def test_a_server_that_is_down_is_a_bad_gateway(
    gateway: Gateway, server: BareServer, http: aiohttp.ClientSession
):
    await server.__aexit__(None, None, None)
    async with http.post(gateway.url, data="[]") as response:
        assert response.status == 502


async def test_the_server_s_answer_comes_under_another_status(gateway: Gateway, http: aiohttp.ClientSession):
    gateway.fail(203, body=None, acted=True)
    async with http.post(gateway.url, data=json.dumps([{"channel": "/meta/connect", "id": "1"}])) as response:
        assert (response.status, await response.json()) == (203, [*EVENTS, reply()])
    assert await connect(http, gateway, 2) == [*EVENTS, reply(2)]


async def test_a_connect_is_refused_in_bayeux_and_the_server_does_not_see_it(
    gateway: Gateway, server: BareServer, http: aiohttp.ClientSession
):
    gateway.refuse("401::Authentication invalid")
    assert gateway.pending == 1
    refusal = {"id": "1", "channel": "/meta/connect", "successful": False, "error": "401::Authentication invalid"}
    assert await connect(http, gateway) == [refusal]
    assert (server.requests, gateway.pending) == ([], 0)
