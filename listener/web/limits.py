"""Limits on clients; refusals are counted, and logged once a minute and reason."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from listener.errors import HttpRefused
from listener.runtime.clock import SYSTEM_CLOCK
from listener.runtime.metrics import Metrics

_QUIET_S = 60.0
_log = structlog.get_logger(__name__)
CONNECTION_LIMIT_S = 10.0
CONNECTIONS = 256  # more than the system lets arrive at one moment: a burst is not what ends a connection
STREAMS = 16
HEAD_LIMIT_BYTES = 4096  # of each line
HEADERS_LIMIT = 64
_LINGER_S = 2.0
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Refusals:
    """Keeps count of what is refused.

    Args:
        metrics: counts by reason.
        monotonic: seconds.
    """

    def __init__(self, *, metrics: Metrics, monotonic: Callable[[], float] = SYSTEM_CLOCK.monotonic_s) -> None:
        self._metrics = metrics
        self._monotonic = monotonic
        self._quiet_until_s: dict[str, float] = {}
        self._unlogged: dict[str, int] = {}

    def note(self, reason: str, *, remote: str | None, error: BaseException | None = None) -> None:
        """One request, or connection, was refused.

        Args:
            reason: a short fixed word; nothing of what the client has sent, which may be a secret or a customer's.
            remote: the client's address.
            error: a fault of ours behind it, for the log.
        """
        self._metrics.count("http_refused_total", 1, reason)
        now_s = self._monotonic()
        if now_s < self._quiet_until_s.get(reason, now_s):
            self._unlogged[reason] = self._unlogged.get(reason, 0) + 1
            return
        self._quiet_until_s[reason] = now_s + _QUIET_S
        log = _log.warning if error is None else _log.error
        log("http_refused", reason=reason, remote=remote, more_before=self._unlogged.pop(reason, 0), exc_info=error)

    def logger(self) -> logging.Logger:
        """A logger for aiohttp, which reports by it what never becomes a request: what it says is noted here."""
        return _Noting(self)


class _Noting(logging.Logger):
    """Takes aiohttp's records to the refusals; not in the process-wide tree, since it belongs to one server."""

    def __init__(self, refusals: Refusals) -> None:
        super().__init__("http")
        self._refusals = refusals

    def handle(self, record: logging.LogRecord) -> None:
        """Bytes that are no HTTP are the client's fault; a client that is gone is none; any other exception is ours."""
        error = record.exc_info[1] if record.exc_info else None
        remote = str(record.args[0]) if isinstance(record.args, tuple) and record.args else None
        if isinstance(error, HttpProcessingError):
            self._refusals.note("malformed", remote=remote)
        elif error is not None and not isinstance(error, ConnectionError):
            self._refusals.note("failed", remote=remote, error=error)


class LimitedServer(web.Server):
    """aiohttp's low-level server with small limits, and an end for each connection.

    aiohttp itself waits for a request's head without a limit. A connection that is older than `limit_s` is aborted, so
    that a client that sends or reads slowly holds nothing; where there are more than `connections`, the oldest one is,
    so that slow clients keep no probe out.

    Args:
        handler: answers a request.
        refusals: gets connections that are aborted, and of bytes that are no HTTP.
        limit_s: see above.
        connections: see above.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        refusals: Refusals,
        limit_s: float = CONNECTION_LIMIT_S,
        connections: int = CONNECTIONS,
    ) -> None:
        super().__init__(
            handler,
            access_log=None,
            logger=refusals.logger(),
            auto_decompress=False,
            lingering_time=_LINGER_S,
            max_line_size=HEAD_LIMIT_BYTES,
            max_field_size=HEAD_LIMIT_BYTES,
            max_headers=HEADERS_LIMIT,
        )
        self._refusals = refusals
        self._limit_s = limit_s
        self._limit = connections
        self._timed: dict[RequestHandler, asyncio.TimerHandle] = {}
        self._kept: dict[RequestHandler, asyncio.Task[Any] | None] = {}

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Start the connection's time; asyncio calls this."""
        super().connection_made(handler, transport)
        self._timed[handler] = asyncio.get_running_loop().call_later(self._limit_s, self._abort, handler, "too_slow")
        if len(self._timed) > self._limit:
            self._abort(next(iter(self._timed)), "too_many_connections")

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget the connection; asyncio calls this."""
        super().connection_lost(handler, exc)
        self._end(handler)
        self._forget(handler)

    def keep(self, request: web.BaseRequest) -> bool:
        """Take the time limit from a request's connection, for a stream; false if too many are without already.

        What the client still sends is dropped from now on. The current task is cancelled when the connection is lost,
        which it may not notice for long, or by `end_streams`.
        """
        if len(self._kept) >= STREAMS:
            return False
        self._kept[request.protocol] = asyncio.current_task()
        self._forget(request.protocol)
        request.protocol.close()  # to aiohttp: once the handler is done
        return True

    @property
    def streams(self) -> int:
        """How many connections are kept."""
        return len(self._kept)

    def cut(self, request: web.BaseRequest, reason: str) -> None:
        """End a request's connection, whatever is still to be sent; noted as a refusal."""
        self._abort(request.protocol, reason)

    def end_streams(self) -> None:
        """Let none of them hold up the server's end."""
        for handler in list(self._kept):
            self._end(handler)

    def _end(self, handler: RequestHandler) -> None:
        task = self._kept.pop(handler, None)
        if task is not None:
            task.cancel()

    def _forget(self, handler: RequestHandler) -> None:
        timer = self._timed.pop(handler, None)
        if timer is not None:
            timer.cancel()

    def _abort(self, handler: RequestHandler, reason: str) -> None:
        self._forget(handler)
        if handler.transport is not None:
            peer = handler.peername
            self._refusals.note(reason, remote=peer[0] if isinstance(peer, tuple) else peer)
            handler.transport.abort()


async def body_of(request: web.BaseRequest, *, limit_bytes: int) -> bytes:
    """The whole body of a request. Raises HttpRefused if it is too large, compressed or broken."""
    if not limit_bytes and request.can_read_body:
        raise HttpRefused(413, "body", "no body is accepted here")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise HttpRefused(415, "media_type", "no Content-Encoding is accepted here")
    if (request.content_length or 0) > limit_bytes:
        raise _too_large(limit_bytes)
    body = bytearray()
    try:
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > limit_bytes:
                raise _too_large(limit_bytes)
    except web.RequestPayloadError as exc:
        raise HttpRefused(400, "malformed", "the body is incomplete, or not encoded as declared") from exc
    return bytes(body)


def _too_large(limit_bytes: int) -> HttpRefused:
    return HttpRefused(413, "body_too_large", f"a body may have at most {limit_bytes} bytes here")
