"""A real HTTP server of one handler, for answers that no decent server would give; and sessions of a client's."""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Self

import aiohttp
from aiohttp import web

from listener.runtime.cookies import CookieJar
from listener.runtime.http_client import Connector, new_session

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BareServer:
    """Answers everything with `handler`, on a free port; `async with BareServer(handler) as server`.

    Attributes:
        requests: the headers of each request, in order.
        bodies: their bodies as JSON; None where there was none.
    """

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None) -> None:
        self.handler = handler
        self._tls = tls
        self.requests: list[Any] = []
        self.bodies: list[Any] = []
        self.port = 0
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/cometd"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self.port = runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request.headers)
        self.bodies.append(await request.json() if request.can_read_body else None)
        return await self.handler(request)


def new_http(*, limit: int = 0, headers: Mapping[str, str] | None = None) -> aiohttp.ClientSession:
    """An HTTP session as an account has it, with at most so many connections."""
    return new_session(Connector(limit=limit), cookies=CookieJar(), decompresses=True, headers=headers)
