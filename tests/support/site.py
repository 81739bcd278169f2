"""A small Web Services server that keeps sessions, and servers that do not behave: real sockets on free ports."""

import asyncio
import base64
from contextlib import asynccontextmanager

from aiohttp import web

PASSWORD = "s3cret-pässwörd"
USER = {"id": "u1", "userName": "agent1", "firstName": "A", "roles": ["ROLE_AGENT"], "uri": "http://x", "new": {}}


class Site:
    """A server with Basic login, JSESSIONID and switchable CSRF, which records what it is asked."""

    def __init__(self):
        self.password = PASSWORD
        self.csrf = False
        self.token = "token-1"
        self.sessions = set()
        self.seen = []
        self.answers = {}
        self.gate = None
        self.logins = 0

    def expire(self):
        self.sessions.clear()

    async def handle(self, request):
        body = await request.json() if request.can_read_body else None
        self.seen.append((request.method, request.raw_path, dict(request.headers), body))
        response = await self.respond(request, body)
        if self.csrf and request.method == "GET" and response.status == 200:
            response.headers["X-CSRF-HEADER"], response.headers["X-CSRF-TOKEN"] = "X-CSRF-TOKEN", self.token
        return response

    async def respond(self, request, body):
        if "Authorization" in request.headers:
            return await self.log_in(request)
        if self.csrf and request.method == "POST" and request.headers.get("X-CSRF-TOKEN") != self.token:
            return web.Response(status=403, text="Missing or invalid Csrf token")
        if request.cookies.get("JSESSIONID") not in self.sessions:
            return web.json_response({"statusCode": 20, "statusMessage": "Access denied"}, status=403)
        answer = self.answers.get((request.method, request.path), {"statusCode": 0, "user": USER})
        return await answer(request) if callable(answer) else web.json_response(answer)

    async def log_in(self, request):
        self.logins += 1
        if self.gate is not None:
            await self.gate.wait()
        credentials = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        if credentials != f"agent1:{self.password}" or "JSESSIONID" in request.cookies:
            return web.json_response({"statusCode": 20, "statusMessage": "Access denied"}, status=403)
        session = f"session-{self.logins}"
        self.sessions.add(session)
        response = web.json_response({"statusCode": 0, "user": USER})
        response.set_cookie("JSESSIONID", session, path="/", httponly=True)
        return response

    def requests(self, method=None):
        return [seen for seen in self.seen if method in (None, seen[0])]


@asynccontextmanager
async def serving(handle, tls=None):
    """The base URL of a server on a free port."""
    server = web.Server(handle)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def answering(**options):
    """A handler that always answers the same."""

    async def handle(_request):
        return web.Response(**options)

    return handle


@asynccontextmanager
async def answering_bytes(data):
    """A server that writes these bytes and hangs up."""

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
