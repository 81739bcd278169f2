"""A client of server-sent events."""

import asyncio
import json
from typing import Any, NamedTuple

import aiohttp

from support.eventually import PATIENCE_S


class Message(NamedTuple):
    """One message; a comment has neither name nor data."""

    event: str
    data: Any
    id: str | None


class Stream:
    """What comes in the answer to one request."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.retry: str | None = None
        self._rest = b""

    async def message(self, *, timeout_s: float = PATIENCE_S) -> Message:
        """The next message or comment. Raises EOFError: the stream is over."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(timeout_s):
            while line := await self._line():
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
        self.retry = fields.get("retry", self.retry)
        return Message(fields.get("event", ""), json.loads(fields.get("data", "null")), fields.get("id"))

    async def events(self, count: int, *, timeout_s: float = PATIENCE_S) -> list[dict[str, Any]]:
        """The next events, out of as many messages as it takes."""
        events: list[dict[str, Any]] = []
        while len(events) < count:
            message = await self.message(timeout_s=timeout_s)
            if message.event == "events":
                assert message.id == message.data[-1]["sequence"]
                events += message.data
        return events

    async def _line(self) -> str:
        while b"\n" not in self._rest:
            try:
                piece = await self.response.content.readany()
            except aiohttp.ClientPayloadError:
                piece = b""
            if not piece:
                raise EOFError
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


async def stream(http: aiohttp.ClientSession, query: str = "", **headers: str) -> tuple[Stream, dict[str, Any]]:
    """A stream that has begun, and its greeting."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    response = await http.get(f"/events{query}", headers=named)
    assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream"), await response.text()
    begun = Stream(response)
    greeting = await begun.message()
    assert greeting.event == "hello"
    assert greeting.id is None
    return begun, greeting.data
