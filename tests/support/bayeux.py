"""The real Bayeux servers of tests/interop/servers: started with node on a free port, told what to do over HTTP."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import aiohttp
import pytest

from support.eventually import PATIENCE_S, eventually
from support.process import Process

SERVERS = Path(__file__).parents[1] / "interop" / "servers"
REQUIRED = "LISTENER_TEST_REQUIRE_SERVERS"
TOPIC = "/v2/me/chats"


class Kind(NamedTuple):
    """A server: its script, the path that it listens on, and what it is started with."""

    script: str
    path: str
    options: tuple[str, ...] = ()


KINDS = {
    "cometd": Kind("cometd_server.js", "/"),
    "cometd-no-ack": Kind("cometd_server.js", "/", ("--no-ack",)),
    "faye": Kind("faye_server.js", "/bayeux"),
}


def need_node() -> str:
    """The path of node, once it and the npm packages are there.

    Otherwise the test is skipped with the command that installs them; it fails instead where
    LISTENER_TEST_REQUIRE_SERVERS=1 says that nothing may be left out.
    """
    node = shutil.which("node")
    missing = "" if node else "node is not installed (Debian: apt-get install nodejs npm)"
    if node and not (SERVERS / "node_modules" / "cometd-nodejs-server").is_dir():
        missing = "the npm packages are not installed: npm ci --prefix tests/interop/servers"
    if missing and os.environ.get(REQUIRED) == "1":
        pytest.fail(missing, pytrace=False)
    if missing:
        pytest.skip(missing)
    assert node is not None
    return node


class BayeuxServer:
    """One server process. As a context manager it is started at the start and stopped at the end.

    Args:
        kind: a key of `KINDS`.
        options: further words of its command line, such as `("--max-interval-ms", "500")`.
    """

    def __init__(self, kind: str, *, options: Sequence[str] = ()) -> None:
        self.kind = KINDS[kind]
        self.port = 0
        self._options = (*self.kind.options, *options)
        self._process: Process | None = None
        self._http: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def endpoint(self) -> str:
        """Where Bayeux messages are posted."""
        return self.url + self.kind.path

    @property
    def settings(self) -> dict[str, Any]:
        """The `[server]` table that leads the listener here."""
        return {"url": self.url, "notifications": self.kind.path, "login": "none"}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start it and wait until it listens; after a `stop` or `kill`, on the same port again."""
        script = SERVERS / self.kind.script
        argv = [need_node(), script, "--port", str(self.port), *self._options]
        self._process = Process(argv, env={"PATH": os.environ["PATH"]}, hold_stdin=True)
        await self._process.start()
        ready = await self._process.line(lambda line: line.startswith('{"ready"'))
        self.port = json.loads(ready)["ready"]
        self._http = aiohttp.ClientSession()

    async def stop(self) -> None:
        """End the process; its sessions and what was queued for them are gone. Idempotent."""
        if self._http is not None:
            await self._http.close()
            self._http = None
        if self._process is not None:
            await self._process.stop()
            self._process = None

    async def restart(self) -> None:
        """Stop, and start on the same port with no session known."""
        await self.stop()
        await self.start()

    async def order(self, name: str, **body: Any) -> dict[str, Any]:
        """One order of the control endpoint; see control.js."""
        assert self._http is not None, "not started"
        async with self._http.post(f"{self.url}/control/{name}", json=body) as response:
            answer = await response.json()
            assert response.status == 200, answer
            return answer

    async def publish(
        self, data: Any, *, count: int = 1, first: int = 1, batch: int = 1, channel: str = TOPIC
    ) -> dict[str, Any]:
        """Publish `count` messages; "{n}" in `data` is the running number from `first` on.

        `batch` of them at a time are sent in one response. Returns `published` and `subscribers`.
        """
        return await self.order("publish", channel=channel, data=data, count=count, first=first, batch=batch)

    async def drop(self, count: int = 1, *, only: str = "any") -> None:
        """Lose the next answers; `only="messages"` spares those without an event."""
        await self.order("drop", count=count, only=only)

    async def fail(
        self, status: int = 503, *, count: int = 1, body: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer the next requests so, before the server sees them."""
        await self.order("fail", status=status, count=count, body=body, headers=dict(headers or {}))

    async def delay(self, seconds: float) -> None:
        """Hold every answer back."""
        await self.order("delay", ms=seconds * 1000)

    async def deny(self, *, deny: bool = True) -> None:
        """Refuse handshakes, or take them again."""
        await self.order("deny", deny=deny)

    async def expire(self) -> int:
        """Forget every session, as a sweep does; returns how many there were."""
        return (await self.order("expire"))["ended"]

    async def disconnect(self) -> int:
        """End every session from the server's side (CometD only); returns how many there were."""
        return (await self.order("disconnect"))["ended"]

    async def cut_websockets(self) -> int:
        """Destroy every websocket (faye only); returns how many there were."""
        return (await self.order("cut"))["ended"]

    async def state(self) -> dict[str, Any]:
        """Counters, `deny`, `web_sockets` (open), `sessions` (ids), `subscriptions` (by channel)."""
        return await self.order("state")

    async def subscribed(self, sessions: int = 1, *, channel: str = TOPIC, timeout_s: float = PATIENCE_S) -> None:
        """Wait until this many sessions are subscribed."""

        async def enough() -> bool:
            return (await self.state())["subscriptions"].get(channel, 0) >= sessions

        await eventually(enough, timeout_s=timeout_s, what=f"{sessions} subscribed to {channel}")
