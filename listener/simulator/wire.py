"""HTTP at its edge: a request as a frozen value, an answer as a frozen value, and the ways to spoil an answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

NOTIFICATIONS = "/api/v2/notifications"


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One HTTP request, read to its end. `path` is decoded, `peer` is the address of the other side."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    host: str
    peer: str | None
    body: bytes

    @property
    def base_url(self) -> str:
        """The server as this client calls it; links in answers and notifications start so."""
        return f"http://{self.host}"

    @property
    def notifications(self) -> bool:
        """Whether the CometD servlet answers: its path, or `/handshake`, `/connect` … below it."""
        return self.path == NOTIFICATIONS or self.path.startswith(NOTIFICATIONS + "/")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One HTTP answer.

    Attributes:
        cookies: (name, value) pairs; set for the whole host, not readable by scripts.
        events: number of CometD events in the body.
        destroy: the socket is reset and nothing is sent.
        cut_after: only so many bytes of the body are sent, under the full Content-Length; then the socket is closed.
    """

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json;charset=UTF-8"
    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[tuple[str, str], ...] = ()
    events: int = 0
    destroy: bool = False
    cut_after: int | None = None


def json_reply(value: Mapping[str, Any], *, status: int = 200) -> Reply:
    """An answer of the REST API or the control endpoint."""
    return Reply(status=status, body=msgspec.json.encode(value))


def plain_reply(text: str, *, status: int) -> Reply:
    """An answer that is not JSON."""
    return Reply(status=status, body=text.encode(), content_type="text/plain;charset=UTF-8")


async def read(request: web.BaseRequest) -> Call:
    """Take the whole request. Raises aiohttp's HTTPException when it is too large."""
    return Call(
        method=request.method,
        path=request.path,
        query=request.query,
        headers=request.headers,
        cookies=request.cookies,
        host=request.host,
        peer=request.remote,
        body=await request.read(),
    )


async def write(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    """Send the answer, whole or spoilt as it says. A client that is gone is not an error."""
    if reply.destroy:
        return _destroy(request)
    if reply.cut_after is not None:
        return await _cut(request, reply, reply.cut_after)
    response = web.Response(status=reply.status, body=reply.body)
    _dress(response, reply)
    return response


def _dress(response: web.StreamResponse, reply: Reply) -> None:
    response.headers["Content-Type"] = reply.content_type
    for name, value in reply.headers:
        response.headers[name] = value
    for name, value in reply.cookies:
        response.set_cookie(name, value, path="/", httponly=True)


def _destroy(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _cut(request: web.BaseRequest, reply: Reply, after: int) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status)
    _dress(response, reply)
    response.content_length = len(reply.body)
    try:
        await response.prepare(request)
        await response.write(reply.body[:after])
    except ConnectionError:
        return response
    if request.transport is not None:
        # close, not abort: what was written must reach the client before the end does
        request.transport.close()
    return response
