"""An HTTP gateway before a Bayeux server, as stands before most sites, that can spoil what passes through it.

It knows just enough of Bayeux to find the replies and the events in an answer; other requests pass as they are.

    async with Gateway(server.port) as gateway:                         # clients use gateway.port
        gateway.fail(502, body="<html>", count=2)                       # the server does not see the request
        gateway.fail(502, body="<html>", acted=True)                    # it does, and its answer is thrown away
        gateway.fail(203, acted=True, body=None)                        # its answer comes, under another status
        gateway.refuse("401::Authentication invalid")                   # in Bayeux, under HTTP 200
        gateway.advise({"reconnect": "none"})                           # on the next /meta/connect reply
        gateway.repeat(3)                                               # batches that come again
        with gateway.without_cookies(): ...                             # the server sees strangers
        with gateway.shuffled(): ...                                    # replies ahead of and among events
"""

import contextlib
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Self

import aiohttp
from aiohttp import web

Json = dict[str, Any]
NOT_PASSED_ON = {"host", "connection", "content-length", "transfer-encoding", "keep-alive", "date", "server"}
STRAY = 3  # how many earlier replies are mixed in


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An answer in place of the server's; without a body of its own it has the server's."""

    status: int
    body: str | None
    content_type: str
    headers: Mapping[str, str]
    acted: bool


@dataclass(kw_only=True, slots=True)
class Spoils:
    """What is to be spoilt still."""

    failures: deque[Failure] = field(default_factory=deque)
    refusals: deque[str] = field(default_factory=deque)
    advice: deque[Mapping[str, Any]] = field(default_factory=deque)
    repeats: int = 0
    again: list[Json] = field(default_factory=list)
    cookies_lost: bool = False
    shuffled: bool = False


class Gateway:
    """Forwards requests on `port` to each of `upstream_ports` in turn, on the loopback; 502 where nobody answers there.

    Attributes:
        shuffles: answers whose order was changed so far.
    """

    def __init__(self, *upstream_ports: int) -> None:
        self.port = 0
        self.shuffles = 0
        self._upstreams = cycle(f"http://127.0.0.1:{port}" for port in upstream_ports)
        self._spoils = Spoils()
        self._stray: deque[Json] = deque(maxlen=STRAY)
        self._stack = contextlib.AsyncExitStack()
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._http = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            )
        )
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._answer)
        # A client that gives up takes its request to the server along.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(
        self,
        status: int,
        *,
        body: str | None = "",
        content_type: str = "text/html",
        headers: Mapping[str, str] | None = None,
        count: int = 1,
        acted: bool = False,
    ) -> None:
        """Answer the next `count` requests with Bayeux messages so; `acted` if the server is to see them first.

        Without a body the server's own is kept.
        """
        failure = Failure(status=status, body=body, content_type=content_type, headers=dict(headers or {}), acted=acted)
        self._spoils.failures.extend([failure] * count)

    def refuse(self, error: str, *, count: int = 1) -> None:
        """Refuse the next `count` connects with this Bayeux error; the server does not see them."""
        self._spoils.refusals.extend([error] * count)

    def advise(self, advice: Mapping[str, Any], *, count: int = 1) -> None:
        """Lay this advice over that of the next `count` replies to a connect."""
        self._spoils.advice.extend([advice] * count)

    def repeat(self, count: int = 1) -> None:
        """Bring the events of the next `count` batches once more, each with the answer to the connect after it."""
        self._spoils.repeats += count

    @contextlib.contextmanager
    def without_cookies(self) -> Iterator[None]:
        """Requests reach the server without their cookies."""
        self._spoils.cookies_lost = True
        try:
            yield
        finally:
            self._spoils.cookies_lost = False

    @contextlib.contextmanager
    def shuffled(self) -> Iterator[None]:
        """Replies come ahead of the events, then behind the first of them, with replies to earlier requests between.

        The events keep their order: it is that of their channel, and no client could find it again.
        """
        self._spoils.shuffled = True
        try:
            yield
        finally:
            self._spoils.shuffled = False

    @property
    def pending(self) -> int:
        """How much of what was asked for, other than conditions, is still to come."""
        spoils = self._spoils
        return len(spoils.failures) + len(spoils.refusals) + len(spoils.advice) + spoils.repeats + bool(spoils.again)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        bayeux = request.method == "POST" and body.lstrip().startswith(b"[")
        failure = self._spoils.failures.popleft() if bayeux and self._spoils.failures else None
        if failure is not None and not failure.acted:
            return _failed(failure)
        if bayeux and self._spoils.refusals and b"/meta/connect" in body:
            return web.json_response(
                [_refused(message, self._spoils.refusals.popleft()) for message in json.loads(body)]
            )
        try:
            answer = await self._forward(request, body)
        except aiohttp.ClientError as exc:
            return web.Response(status=502, text=f"<html>{exc}</html>", content_type="text/html")
        if failure is None:
            return answer
        if failure.body is None:
            answer.set_status(failure.status)
            return answer
        return _failed(failure)

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        dropped = NOT_PASSED_ON | ({"cookie"} if self._spoils.cookies_lost else set())
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in dropped]
        headers.append(("Host", request.host))
        url = next(self._upstreams) + request.raw_path
        async with self._http.request(
            request.method, url, data=body, headers=headers, allow_redirects=False
        ) as response:
            content = self._spoilt(await response.read())
            answer = web.Response(status=response.status, body=content)
            for name, value in response.headers.items():
                if name.lower() == "content-type":
                    answer.headers[name] = value
                elif name.lower() not in NOT_PASSED_ON:
                    answer.headers.add(name, value)
            return answer

    def _spoilt(self, content: bytes) -> bytes:
        with contextlib.suppress(ValueError):
            messages = json.loads(content)
            if isinstance(messages, list) and all(isinstance(message, dict) for message in messages):
                return json.dumps(self._change(messages)).encode()
        return content

    def _change(self, messages: list[Json]) -> list[Json]:
        """The messages of one answer, as they are to arrive."""
        spoils = self._spoils
        events = [message for message in messages if not _is_reply(message)]
        replies = [message for message in messages if _is_reply(message)]
        connected = [reply for reply in replies if reply["channel"] == "/meta/connect" and reply.get("successful")]
        if connected and spoils.advice:
            connected[0]["advice"] = {**connected[0].get("advice", {}), **spoils.advice.popleft()}
        if connected and spoils.again:
            events, spoils.again = spoils.again + events, []
        elif events and spoils.repeats:
            spoils.repeats -= 1
            spoils.again = events
        changed = self._shuffle(events, replies) if spoils.shuffled else [*events, *replies]
        self._stray.extend(replies)
        return changed

    def _shuffle(self, events: list[Json], replies: list[Json]) -> list[Json]:
        self.shuffles += 1
        at = self.shuffles % 2 if events else 0
        return [*self._stray, *events[:at], *replies, *self._stray, *events[at:]]


def _is_reply(message: Json) -> bool:
    return str(message.get("channel")).startswith("/meta/")


def _refused(request: Json, error: str) -> Json:
    return {"id": request.get("id"), "channel": request["channel"], "successful": False, "error": error}


def _failed(failure: Failure) -> web.Response:
    return web.Response(
        status=failure.status, text=failure.body, content_type=failure.content_type, headers=failure.headers
    )
