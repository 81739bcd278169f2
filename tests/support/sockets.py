"""Websockets before a Bayeux server that has none: each message is posted there, and each answer comes in one frame."""

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Self

import aiohttp
from aiohttp import web

from support.gateway import NOT_PASSED_ON


class WebsocketFront:
    """Listens on a free port; `async with WebsocketFront(port) as front`. What is no websocket passes as it is.

    Attributes:
        frames: how many answers came in frames.
        polls: the connects that came by long-polling.
    """

    def __init__(self, upstream_port: int) -> None:
        self._upstream = f"http://127.0.0.1:{upstream_port}"
        self._stack = AsyncExitStack()
        self._http: aiohttp.ClientSession
        self.port = 0
        self.frames = 0
        self.polls: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        jar = aiohttp.DummyCookieJar()
        self._http = await self._stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self._talk(request)
        body = await request.text()
        if "/meta/connect" in body:
            self.polls.append(body)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in NOT_PASSED_ON}
        async with self._http.request(
            request.method, self._upstream + request.path_qs, data=body, headers=headers
        ) as got:
            passed = [(name, value) for name, value in got.headers.items() if name.lower() not in NOT_PASSED_ON]
            answer = await got.read()
            if "/meta/handshake" in body:  # with which aiocometd finds out what there is, always by long-polling
                answer = answer.replace(b'"long-polling"', b'"long-polling","websocket"')
            return web.Response(status=got.status, body=answer, headers=dict(passed))

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        headers = {"Content-Type": "application/json", "Cookie": request.headers.get("Cookie", "")}

        async def exchange(message: str) -> None:
            asked = message.replace('"websocket"', '"long-polling"')
            with suppress(aiohttp.ClientError, ConnectionError):
                async with self._http.post(self._upstream + request.path_qs, data=asked, headers=headers) as got:
                    answer = await got.text()
                self.frames += 1
                await socket.send_str(answer)

        async with asyncio.TaskGroup() as exchanges:
            async for frame in socket:
                exchanges.create_task(exchange(frame.data))
        return socket
