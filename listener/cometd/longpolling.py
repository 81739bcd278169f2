"""Long-polling: one POST an exchange, read to its end and never longer than the server may hold it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import aiohttp
import msgspec
from aiocometd.constants import ConnectionType
from aiocometd.transports.registry import register_transport
from yarl import URL

from listener.cometd.engine import Payload
from listener.cometd.protocol import Request
from listener.cometd.transport import Link, SessionTransport
from listener.errors import ExchangeFailed
from listener.runtime.backoff import retry_after_s
from listener.runtime.http_client import describe

_SUCCESS = range(200, 300)
_LONGEST_RETRY_AFTER_S = 3600.0
_ENCODER = msgspec.json.Encoder()
_NOTHING_SENT = (
    aiohttp.ClientConnectorError,  # refused, no route, no name, no TLS
    aiohttp.ConnectionTimeoutError,  # no connection within its time
    aiohttp.ClientHttpProxyError,  # the proxy's answer to CONNECT
)
"""The only failures that prove that no answer was lost. Each other answer than a reply may come from what lies between,
in place of one that the server had given: any status (302 of a login page, 401, 404, 503 of a gateway), a body without
the reply, a connection that breaks or falls silent."""


@register_transport(ConnectionType.LONG_POLLING)
class LongPollingTransport(SessionTransport):
    """Bayeux 1.0, section 6.2, on the account's aiohttp session."""

    def __init__(self, *, url: str, auth: Link, **of_aiocometd: Any) -> None:
        super().__init__(url=url, auth=auth, **of_aiocometd)
        self._yarl = URL(url)

    async def _exchange(self, request: Request) -> AsyncGenerator[Payload, None]:
        """One payload: the whole body, or what a cut one had brought before the failure is raised.

        Raises:
            ExchangeFailed: no answer within the advised hold and a margin, not status 2xx, a body too large.
        """
        headers = {"Content-Type": "application/json;charset=UTF-8"}
        await self.link.outgoing(request.payload, headers)
        body = bytearray()
        try:
            async with asyncio.timeout(request.hold_ms / 1000 + self.link.margin_s):
                await self._post(request, headers, body)
        except (TimeoutError, aiohttp.ClientError, OSError, ExchangeFailed) as exc:
            if body:
                yield Payload(bytes(body), whole=False)
            raise _failure(exc) from exc
        yield Payload(bytes(body))

    async def _post(self, request: Request, headers: dict[str, str], body: bytearray) -> None:
        async with self.link.http.post(
            self._yarl,
            data=_ENCODER.encode(request.payload),
            headers=headers,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=self.link.connect_timeout_s),
        ) as response:
            if response.status not in _SUCCESS:  # gateways make 202, 203 or 206 of 200
                raise _refusal(response, self.link.time_s)
            while chunk := await response.content.readany():
                body += chunk
                if len(body) > self.link.max_bytes:
                    raise ExchangeFailed(f"the body is larger than server.max_response_bytes ({self.link.max_bytes})")


def _refusal(response: aiohttp.ClientResponse, time_s: Callable[[], float]) -> ExchangeFailed:
    """A status other than 2xx."""
    status = response.status
    return ExchangeFailed(
        f"HTTP {status} {response.reason or ''}".rstrip(),
        http_status=status,
        retry_after_s=retry_after_s(response.headers.get("Retry-After"), limit_s=_LONGEST_RETRY_AFTER_S, now_s=time_s),
    )


def _failure(exc: Exception) -> ExchangeFailed:
    """What went wrong with one exchange, and whether the server may have answered it nevertheless."""
    if isinstance(exc, ExchangeFailed):
        return exc
    if isinstance(exc, _NOTHING_SENT):
        return ExchangeFailed(_describe(exc), maybe_lost=False)
    if isinstance(exc, TimeoutError):
        return ExchangeFailed("no answer in time: the connection is dead")
    return ExchangeFailed(_describe(exc))


def _describe(exc: BaseException) -> str:
    return describe(exc, peer="the server", table="server")
