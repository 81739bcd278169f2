"""Long-polling: one POST an exchange, read to its end and never longer than the server may hold it."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import aiohttp
import msgspec
from aiocometd.constants import ConnectionType
from aiocometd.transports.registry import register_transport
from yarl import URL

from listener.cometd.engine import Payload
from listener.cometd.protocol import Request
from listener.cometd.slices import Slicer
from listener.cometd.transport import Link, SessionTransport
from listener.errors import ExchangeFailed
from listener.runtime.backoff import retry_after_s

_OK = 200
_SERVER_ERRORS = 500
_UNAVAILABLE = 503
_LONGEST_RETRY_AFTER_S = 3600.0
_LARGE_PIECE_BYTES = 2**16
_ENCODER = msgspec.json.Encoder()


@register_transport(ConnectionType.LONG_POLLING)
class LongPollingTransport(SessionTransport):
    """Bayeux 1.0, section 6.2, on the account's aiohttp session."""

    def __init__(self, *, url: str, auth: Link, **of_aiocometd: Any) -> None:
        super().__init__(url=url, auth=auth, **of_aiocometd)
        self._yarl = URL(url)
        self._timeout = aiohttp.ClientTimeout(total=None, connect=auth.connect_timeout_s)

    async def _exchange(self, request: Request) -> AsyncGenerator[Payload, None]:
        """The body: as one payload, or if it is large in slices, or what a cut one had brought before the failure.

        Raises:
            ExchangeFailed: no answer or no slice within the advised hold and a margin, not status 200.
        """
        headers = {"Content-Type": "application/json;charset=UTF-8"}
        await self.link.outgoing(request.payload, headers)
        slicer = Slicer(message_bytes=self.link.max_message_bytes)
        try:
            async with aclosing(self._read(request, headers, slicer)) as slices:
                async for one in slices:
                    yield Payload(one, more=True, refused=slicer.refused())
        except (TimeoutError, aiohttp.ClientError, OSError, ExchangeFailed) as exc:
            if rest := slicer.rest():
                yield Payload(rest, whole=False, refused=slicer.refused())
            if isinstance(exc, ExchangeFailed):
                raise
            # aiohttp keeps the error with the body, and the frames of a traceback hold both: nobody would free them.
            raise _failure(exc) from exc.with_traceback(None)
        yield Payload(slicer.rest(), refused=slicer.refused())

    async def _read(self, request: Request, headers: dict[str, str], slicer: Slicer) -> AsyncGenerator[bytes, None]:
        """Every slice but the last. Each has the time that a whole answer has, and only the server's time counts."""
        limit_s = request.hold_ms / 1000 + self.link.margin_s
        loop = asyncio.get_running_loop()
        until_s = loop.time() + limit_s
        async with asyncio.timeout_at(until_s):
            answer = await self._post(request, headers)
        async with answer as response:
            if response.status != _OK:
                raise _refusal(response, self.link.time_s)
            is_open = True
            while is_open:
                async with asyncio.timeout_at(until_s):
                    whole, is_open = await _read_on(response.content, slicer)
                slices = [whole] if whole is not None else []
                if slicer.is_at_a_loss:
                    slices = await asyncio.to_thread(slicer.search)
                for one in slices:
                    yield one
                if slices:
                    until_s = loop.time() + limit_s
                await asyncio.sleep(0)

    async def _post(self, request: Request, headers: dict[str, str]) -> aiohttp.ClientResponse:
        return await self.link.http.post(
            self._yarl,
            data=_ENCODER.encode(request.payload),
            headers=headers,
            allow_redirects=False,
            timeout=self._timeout,
        )


async def _read_on(content: aiohttp.StreamReader, slicer: Slicer) -> tuple[bytes | None, bool]:
    """Read until there is a slice, or there may be one; returns it, and whether the body goes on."""
    while piece := await content.readany():
        if (whole := slicer.feed(piece)) is not None or slicer.is_at_a_loss:
            return whole, True
        if len(piece) > _LARGE_PIECE_BYTES:
            await asyncio.sleep(0)  # much that comes out of little is there without waiting
    slicer.end()
    return None, False


def _refusal(response: aiohttp.ClientResponse, time_s: Callable[[], float]) -> ExchangeFailed:
    """A status other than 200. A gateway's 5xx may stand in for an answer that it had from the server and lost."""
    status = response.status
    return ExchangeFailed(
        f"HTTP {status} {response.reason or ''}".rstrip(),
        http_status=status,
        retry_after_s=retry_after_s(response.headers.get("Retry-After"), limit_s=_LONGEST_RETRY_AFTER_S, now_s=time_s),
        maybe_lost=status >= _SERVER_ERRORS and status != _UNAVAILABLE,
    )


def _failure(exc: Exception) -> ExchangeFailed:
    """What went wrong with one exchange, and whether the server may have answered it nevertheless."""
    if isinstance(exc, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return ExchangeFailed(_describe(exc))
    if isinstance(exc, TimeoutError):
        return ExchangeFailed("no answer in time: the connection is dead", maybe_lost=True)
    return ExchangeFailed(_describe(exc), maybe_lost=True)


def _describe(exc: BaseException) -> str:
    """What went wrong, in words that name the setting which it hangs on."""
    if isinstance(exc, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted (server.ca_file): {exc}"
    if isinstance(exc, aiohttp.ClientConnectorError):
        return f"no connection to the server (server.url): {exc}"
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
