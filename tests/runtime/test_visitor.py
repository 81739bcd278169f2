"""A client without a session of its own: what lives on between its requests."""

from aiohttp import web
from yarl import URL

from listener.runtime.http_client import Connector
from listener.runtime.visitor import Visitor
from support.bareserver import BareServer


async def test_cookies_are_one_visitors_and_the_connection_is_everybodys():
    seen: list[tuple[str | None, object]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.headers.get("Cookie"), request.transport))
        return web.Response(headers={"Set-Cookie": "A=1; Path=/"})

    async with BareServer(handle) as server, Connector(limit=0) as connector:
        first, second = Visitor(connector), Visitor(connector)
        for visitor in (first, first, second):
            async with visitor.request("GET", URL(server.url)) as response:
                assert response.status == 200
        assert not connector.closed
    assert [cookie for cookie, _ in seen] == [None, "A=1", None]
    assert len({id(transport) for _, transport in seen}) == 1


async def test_a_websocket_outlives_the_session_that_it_was_asked_for_in():
    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        socket.set_cookie("A", "1")
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async with BareServer(echo) as server, Connector(limit=0) as connector:
        visitor = Visitor(connector)
        socket = await visitor.ws_connect(server.url)
        for text in "ab":
            await socket.send_str(text)
            assert await socket.receive_str() == text
        await socket.close()
    assert [one[:2] for one in visitor.cookie_jar.content] == [("A", "1")]
