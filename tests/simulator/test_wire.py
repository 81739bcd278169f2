"""Answers on a real socket, whole and spoilt."""

import aiohttp
import pytest
from aiohttp import web

from listener.simulator.wire import Call, Reply, json_reply, plain_reply, read, write


@pytest.fixture
async def answer_with(stack):
    async def serve(reply):
        calls = []

        async def handler(request):
            calls.append(await read(request))
            return await write(request, reply)

        runner = web.AppRunner(_app(handler), shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}", calls

    return serve


def _app(handler):
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    return app


async def test_a_reply_arrives_as_it_was_given(answer_with, stack):
    reply = Reply(status=418, body=b"tea", content_type="text/x", headers=(("X-A", "b"),), cookies=(("C", "d"),))
    url, _ = await answer_with(reply)
    http = await stack.enter_async_context(aiohttp.ClientSession())
    async with http.get(url) as response:
        assert (response.status, await response.read()) == (418, b"tea")
        assert (response.headers["Content-Type"], response.headers["X-A"]) == ("text/x", "b")
        assert (response.cookies["C"].value, response.cookies["C"]["path"]) == ("d", "/")
        assert response.cookies["C"]["httponly"]


async def test_a_request_is_read_to_its_end(answer_with, stack):
    url, calls = await answer_with(Reply())
    http = await stack.enter_async_context(aiohttp.ClientSession())
    async with http.post(url + "/a/b?c=d", data=b"body", headers={"Host": "gws.example.com:8080", "Cookie": "e=f"}):
        pass
    (call,) = calls
    assert (call.method, call.path, call.query["c"], call.body) == ("POST", "/a/b", "d", b"body")
    assert (call.cookies["e"], call.peer, call.base_url) == ("f", "127.0.0.1", "http://gws.example.com:8080")


async def test_a_destroyed_reply_is_a_lost_connection(answer_with, stack):
    url, calls = await answer_with(Reply(body=b"never", destroy=True))
    http = await stack.enter_async_context(aiohttp.ClientSession())
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.post(url)
    assert len(calls) == 1


@pytest.mark.parametrize("after", [0, 3])
async def test_a_cut_reply_ends_after_its_bytes(answer_with, stack, after):
    url, _ = await answer_with(Reply(body=b"0123456789", cut_after=after))
    http = await stack.enter_async_context(aiohttp.ClientSession())
    async with http.post(url) as response:
        assert response.headers["Content-Length"] == "10"
        assert await response.content.read(after) == b"0123456789"[:after]
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


@pytest.mark.parametrize(
    ("path", "is_notifications"),
    [
        ("/api/v2/notifications", True),
        ("/api/v2/notifications/", True),
        ("/api/v2/notifications/connect", True),
        ("/api/v2/notificationsX", False),
        ("/api/v2/me", False),
    ],
)
def test_the_cometd_servlet_has_its_path_and_everything_below(path, is_notifications):
    call = Call(method="POST", path=path, query={}, headers={}, cookies={}, host="h", peer=None, body=b"")
    assert call.notifications is is_notifications


def test_json_and_plain_replies_say_what_they_are():
    assert (json_reply({"a": 1}).body, json_reply({}).content_type) == (b'{"a":1}', "application/json;charset=UTF-8")
    assert plain_reply("no", status=403).content_type.startswith("text/plain")
