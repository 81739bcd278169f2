"""One of very many clients of a server: its cookies, on a connector that all of them share."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import aiohttp
from yarl import URL

from listener.runtime.cookies import CookieJar
from listener.runtime.http_client import new_session


class Visitor:
    """A client with cookies of its own; there is nothing to be closed.

    It stands for a session of aiohttp, and makes one for each request: kept, each would take 2 KB, for settings that
    are the same in all.

    Args:
        connector: its owner closes it.
    """

    __slots__ = ("connector", "cookie_jar")

    auto_decompress = True
    headers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, connector: aiohttp.BaseConnector) -> None:
        self.connector = connector
        self.cookie_jar = CookieJar()

    @asynccontextmanager
    async def request(self, method: str, url: URL, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """As a session's."""
        async with self._session() as session, session.request(method, url, **options) as response:
            yield response

    async def ws_connect(self, url: str, **options: Any) -> aiohttp.ClientWebSocketResponse:
        """As a session's."""
        async with self._session() as session:
            socket: aiohttp.ClientWebSocketResponse = await session.ws_connect(url, **options)
            return socket

    def _session(self) -> aiohttp.ClientSession:
        return new_session(
            self.connector, owns_connector=False, cookies=self.cookie_jar, decompresses=self.auto_decompress
        )


Http = aiohttp.ClientSession | Visitor
"""Who asks a server."""
