"""A real HTTP server that stands for the customer's system behind a webhook: it records, and answers as told."""

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from support.eventually import PATIENCE_S, eventually


@dataclass(frozen=True, kw_only=True, slots=True)
class Post:
    """One request that arrived whole, and the status that it was answered with."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a request gets. `abort` closes the connection instead, after the request has arrived whole."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    abort: bool = False


class Receiver:
    """Records each POST and OPTIONS on any path. Answers 200, unless told otherwise by `answers` and `script`.

    Attributes:
        posts: every POST in the order of arrival.
        asked: every OPTIONS in the order of arrival.
        permission: what an OPTIONS gets; None leaves it to `answers`.
        answers: what requests get that no scripted answer is left for; may be changed at any time.
        judge: says for the JSON body of such a request what it gets instead; None leaves it to `answers`.
        most_at_once: the highest number of requests that were being answered at one moment.
    """

    def __init__(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.posts: list[Post] = []
        self.asked: list[Post] = []
        self.permission: Answer | None = None
        self.answers = Answer()
        self.judge: Callable[[Any], Answer | None] | None = None
        self.most_at_once = 0
        self._at_once = 0
        self._script: deque[Answer] = deque()
        self._tls = tls
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def accepted(self) -> list[Any]:
        """The JSON bodies of the POSTs that were answered 2xx."""
        return [post.json for post in self.posts if post.status // 100 == 2]

    def script(self, *answers: Answer) -> None:
        """Answer the next requests so, one each, in this order."""
        self._script.extend(answers)

    def mend(self) -> None:
        """Answer 200 to everything again."""
        self._script.clear()
        self.answers, self.judge = Answer(), None

    async def received(self, count: int, *, timeout_s: float = PATIENCE_S) -> list[Post]:
        """All POSTs, once there are at least `count`."""
        await eventually(
            lambda: len(self.posts) >= count, timeout_s=timeout_s, what=lambda: f"{len(self.posts)} of {count} POSTs"
        )
        return self.posts

    async def start(self) -> None:
        """Listen; after a `stop`, on the same port again."""
        app = web.Application(client_max_size=2**28)
        app.router.add_post("/{path:.*}", self._post)
        app.router.add_options("/{path:.*}", self._options)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Refuse connections from now on. Idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def _options(self, request: web.Request) -> web.StreamResponse:
        answer = self.permission or self.answers
        self.asked.append(Post(path=request.path_qs, headers=request.headers, body=b"", status=answer.status))
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    async def _post(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        judged = self.judge(json.loads(body)) if self.judge is not None and not self._script else None
        answer = self._script.popleft() if self._script else judged or self.answers
        self.posts.append(Post(path=request.path_qs, headers=request.headers, body=body, status=answer.status))
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await asyncio.sleep(answer.delay_s)
        finally:
            self._at_once -= 1
        if answer.abort and request.transport is not None:
            request.transport.abort()
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
