"""Long-polling: one POST an exchange, read to its end and never longer than the server may hold it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import aiohttp
import msgspec
from aiocometd.constants import ConnectionType
from aiocometd.transports.registry import register_transport
from yarl import URL

from listener.cometd.payloads import Payload, Payloads
from listener.cometd.protocol import Request, Step
from listener.cometd.slices import Slicer
from listener.cometd.transport import Link, SessionTransport
from listener.errors import ExchangeFailed
from listener.runtime.backoff import retry_after_s
from listener.runtime.http_client import bare, describe, one_line
from listener.runtime.http_post import Answer, Poster

_SUCCESS = range(200, 300)
_TIMED_OUT, _GATEWAY_FAILED = 408, range(500, 600)  # whoever is behind it may answer yet
_LONGEST_RETRY_AFTER_S = 3600.0
_LONGEST_TEXT = 200
_LARGE_PIECE_BYTES = 2**16
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
    """Bayeux 1.0, section 6.2, with the account's cookies."""

    def __init__(self, *, url: str, auth: Link, **of_aiocometd: Any) -> None:
        super().__init__(url=url, auth=auth, **of_aiocometd)
        self._poster = Poster(self.link.http, URL(url))

    async def _exchange(self, request: Request) -> Payload | Payloads:
        """The body: whole if it came so, else as it comes, in slices if it is large.

        Raises:
            ExchangeFailed: no answer or no slice within the advised hold and a margin, not status 2xx.
        """
        headers = {"Content-Type": "application/json;charset=UTF-8"}
        await self.link.outgoing(request.payload, headers)
        limit_s = request.hold_ms / 1000 + self.link.margin_s
        until_s = asyncio.get_running_loop().time() + limit_s
        try:
            answer = await self._poster.post(
                _ENCODER.encode(request.payload),
                headers,
                until_s=until_s,
                connecting_s=self.link.connecting_s,
                stays=request.step is not Step.OTHER,
                before_sending=self._before_sending,
            )
        except (TimeoutError, aiohttp.ClientError, OSError) as exc:
            raise _failure(exc) from bare(exc)
        if answer.status not in _SUCCESS:  # gateways make 202, 203 or 206 of 200
            answer.release()
            raise _refusal(answer, self.link.time_s)
        body = answer.whole(self.link.max_message_bytes)
        if body is None:
            return self._as_it_comes(answer, until_s, limit_s)
        answer.release()
        await self.link.others_first.in_step()
        return Payload(body)

    async def _as_it_comes(self, answer: Answer, until_s: float, limit_s: float) -> Payloads:
        """The body as one payload, or if it is large in slices, or what a cut one had brought before the failure."""
        slicer = Slicer(message_bytes=self.link.max_message_bytes)
        try:
            async with aclosing(_slices(answer, slicer, until_s, limit_s)) as slices:
                async for one in slices:
                    yield Payload(one, more=True, refused=slicer.refused())
        except (TimeoutError, aiohttp.ClientError, OSError) as exc:
            if rest := slicer.rest():
                yield Payload(rest, whole=False, refused=slicer.refused())
            raise _failure(exc) from bare(exc)
        yield Payload(slicer.rest(), refused=slicer.refused())

    async def close(self) -> None:
        """Stop, and let go of the connection."""
        await super().close()
        self._poster.close()


async def _slices(answer: Answer, slicer: Slicer, until_s: float, limit_s: float) -> AsyncGenerator[bytes, None]:
    """Every slice but the last. Each has the time that a whole answer has, and only the server's time counts."""
    is_open = True
    try:
        while is_open:
            async with asyncio.timeout_at(until_s):
                whole, is_open = await _read_on(answer.content, slicer)
            slices = [whole] if whole is not None else []
            if slicer.is_at_a_loss:
                slices = await asyncio.to_thread(slicer.search)
            for one in slices:
                yield one
            if slices:
                until_s = asyncio.get_running_loop().time() + limit_s
            if is_open:
                await asyncio.sleep(0)
    finally:
        answer.release()


async def _read_on(content: aiohttp.StreamReader, slicer: Slicer) -> tuple[bytes | None, bool]:
    """Read until there is a slice, or there may be one; returns it, and whether the body goes on."""
    while piece := await content.readany():
        if (whole := slicer.feed(piece)) is not None or slicer.is_at_a_loss:
            return whole, True
        if len(piece) > _LARGE_PIECE_BYTES:
            await asyncio.sleep(0)  # much that comes out of little is there without waiting
    slicer.end()
    return None, False


def _refusal(answer: Answer, time_s: Callable[[], float]) -> ExchangeFailed:
    """A status other than 2xx."""
    status = answer.status
    return ExchangeFailed(
        one_line(f"HTTP {status} {answer.reason or ''}")[:_LONGEST_TEXT],
        http_status=status,
        answered=status != _TIMED_OUT and status not in _GATEWAY_FAILED,
        retry_after_s=retry_after_s(answer.headers.get("Retry-After"), limit_s=_LONGEST_RETRY_AFTER_S, now_s=time_s),
    )


def _failure(exc: Exception) -> ExchangeFailed:
    """What went wrong with one exchange, and whether the server may have answered it nevertheless."""
    if isinstance(exc, _NOTHING_SENT):
        return ExchangeFailed(_describe(exc), maybe_lost=False)
    if isinstance(exc, TimeoutError):
        return ExchangeFailed("no answer in time: the connection is dead")
    return ExchangeFailed(_describe(exc), answered=isinstance(exc, aiohttp.ClientPayloadError))


def _describe(exc: BaseException) -> str:
    return describe(exc, peer="the server", table="server")
