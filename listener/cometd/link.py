"""One account's line into the transports: its HTTP session, what every POST must carry, and the engine they serve.

aiocometd builds transports itself and hands each the client's `auth` extension; the link is that extension, so that
everything of ours reaches our transports through a public argument.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import aiohttp
from aiocometd.extensions import AuthExtension

from listener.cometd.engine import Engine
from listener.runtime.host import THIS_HOST


class Closing(Protocol):
    """What the client needs of a transport to end it."""

    async def close(self) -> None:
        """Stop polling."""

    async def wait_closed(self) -> None:
        """Return when the polling ended; raises what ended it."""


class Link(AuthExtension):
    """What the transports of one client share, over negotiation and re-handshakes.

    Args:
        engine: the cycle that they serve.
        http: session with the account's cookie jar on the shared connector; its owner closes it.
        headers: what every POST must carry now (CSRF).
        connect_timeout_s: time for a connection to come about.
        margin_s: time beyond the advised hold after which a silent connection counts as dead.
        max_bytes: largest response body or frame.
        time_s: epoch seconds, for a Retry-After that names a date.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        http: aiohttp.ClientSession,
        headers: Callable[[], Mapping[str, str]] = dict,
        connect_timeout_s: float = 10.0,
        margin_s: float = 10.0,
        max_bytes: int = 64 * 2**20,
        time_s: Callable[[], float] = THIS_HOST.time_s,
    ) -> None:
        self.engine = engine
        self.http = http
        self.connect_timeout_s = connect_timeout_s
        self.margin_s = margin_s
        self.max_bytes = max_bytes
        self.time_s = time_s
        self.transport: Closing | None = None
        self._headers = headers

    async def authenticate(self) -> None:
        """Log in again: aiocometd's hook for a failed authentication."""
        await self.engine.log_in()

    async def outgoing(self, _payload: list[dict[str, Any]], headers: dict[str, str]) -> None:
        """Add what the server wants to see on every POST."""
        headers.update(self._headers())

    async def incoming(self, _payload: list[dict[str, Any]], _headers: dict[str, str] | None = None) -> None:
        """Nothing: answers are decoded once, by the protocol core."""
