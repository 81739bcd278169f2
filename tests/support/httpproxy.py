"""A small real HTTP proxy: it forwards what is asked by its whole URL, and makes tunnels (RFC 9110, 9.3.6)."""

import asyncio
import contextlib
from base64 import b64encode
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

END = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The first request of a connection, as the proxy sees it."""

    method: str
    target: str
    head: str


class HttpProxy:
    """Listens on a free port; `async with HttpProxy() as proxy`.

    Attributes:
        asked: the first request of each connection.
        login: `user:password` that is wanted; None for none.
        tunnels: False answers 403 to CONNECT.
    """

    def __init__(self, *, login: str | None = None) -> None:
        self.asked: list[Asked] = []
        self.login = login
        self.tunnels = True
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._talk(reader, writer)
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(END)).decode("latin-1")
        line, _, headers = head.partition("\r\n")
        method, target, version = line.split(" ")
        self.asked.append(Asked(method=method, target=target, head=head))
        if self.login is not None and f"Basic {b64encode(self.login.encode()).decode()}\r\n" not in headers:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        elif method == "CONNECT" and not self.tunnels:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        else:
            url = urlsplit(f"//{target}" if method == "CONNECT" else target)
            there, to = await asyncio.open_connection(url.hostname, url.port)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = url.path + (f"?{url.query}" if url.query else "")
                to.write(f"{method} {path} {version}\r\n{headers}".encode("latin-1"))
            await asyncio.gather(_pipe(reader, to), _pipe(there, writer))
        await writer.drain()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
