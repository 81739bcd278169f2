"""A small real HTTP proxy: it forwards what is asked by its whole URL, and makes tunnels (RFC 9110, 9.3.6)."""

import asyncio
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import urlsplit

from support.wire import ByteServer

END = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """The first request of a connection, as the proxy sees it."""

    method: str
    target: str
    head: str


class HttpProxy(ByteServer):
    """Listens on a free port; `async with HttpProxy() as proxy`.

    Attributes:
        asked: the first request of each connection.
        login: `user:password` that is wanted; None for none.
        tunnels: False answers 403 to CONNECT.
    """

    def __init__(self, *, login: str | None = None) -> None:
        super().__init__(self._talk)
        self.asked: list[Asked] = []
        self.login = login
        self.tunnels = True

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
