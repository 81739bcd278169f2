"""The HTTP endpoints of `[http]`: `/livez`, `/readyz`, `/metrics` and `/status.json`."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from listener.errors import StartError
from listener.metrics import Metrics

CONNECTION_LIMIT_S = 10.0
HEAD_LIMIT_BYTES = 4096
HEADERS_LIMIT = 64
_METHODS = ("GET", "HEAD")
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_TEXT = "text/plain; charset=utf-8"
_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
_JSON = "application/json"

_log = structlog.get_logger(__name__)


class HealthServer:
    """Answers GET and HEAD on the four paths; 404 elsewhere, 405 for other methods, 413 for a request with a body.

    Each connection serves one request and is aborted `connection_limit_s` seconds after it was made, so that a client
    that sends or reads slowly holds nothing.

    Args:
        host: address or name to listen on.
        port: TCP port; 0 lets the system choose, see `port`.
        metrics: what `/metrics` exposes, in the Prometheus text format.
        status: gives the object of `/status.json`; called once a request, on the event loop.
        ready: gives the reasons why the process is not ready; `/readyz` is 503 with one a line while there are any.
        connection_limit_s: see above.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        metrics: Metrics,
        status: Callable[[], Mapping[str, Any]],
        ready: Callable[[], list[str]],
        connection_limit_s: float = CONNECTION_LIMIT_S,
    ) -> None:
        self._host = host
        self._port = port
        self._metrics = metrics
        self._status = status
        self._ready = ready
        self._connection_limit_s = connection_limit_s
        self._runner: web.ServerRunner | None = None
        self._pages = {
            "/livez": self._live,
            "/readyz": self._readiness,
            "/metrics": self._exposition,
            "/status.json": self._status_json,
        }

    @property
    def port(self) -> int:
        """The port that is listened on; the configured one while it is not."""
        addresses = self._runner.addresses if self._runner else []
        return int(addresses[0][1]) if addresses else self._port

    async def start(self) -> None:
        """Listen. Raises `StartError`, naming `http.listen`, when the host does not allow it."""
        server = _LimitedServer(self._answer, connection_limit_s=self._connection_limit_s)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as exc:
            await self.stop()
            raise StartError(f"http.listen: cannot listen on {self._host}:{self._port}: {_reason(exc)}") from exc
        _log.info("http_listening", host=self._host, port=self.port)

    async def stop(self) -> None:
        """Close the port and every connection. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response = self._response(request)
        response.headers.update(_HEADERS)
        response.force_close()
        return response

    def _response(self, request: web.BaseRequest) -> web.Response:
        page = self._pages.get(request.path)
        if page is None:
            return _text("not found", status=404)
        if request.method not in _METHODS:
            response = _text("method not allowed", status=405)
            response.headers["Allow"] = ", ".join(_METHODS)
            return response
        if request.can_read_body:
            return _text("no body is taken here", status=413)
        return page()

    def _live(self) -> web.Response:
        return _text("ok")

    def _readiness(self) -> web.Response:
        reasons = self._ready()
        return _text("\n".join(reasons), status=503) if reasons else _text("ready")

    def _exposition(self) -> web.Response:
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": _EXPOSITION})

    def _status_json(self) -> web.Response:
        return web.Response(body=msgspec.json.encode(dict(self._status())) + b"\n", headers={"Content-Type": _JSON})


class _LimitedServer(web.Server):
    """aiohttp's low-level server with small limits, and an end for each connection.

    aiohttp itself waits for a request's head without a limit.
    """

    def __init__(self, handler: Callable[[web.BaseRequest], Any], *, connection_limit_s: float) -> None:
        super().__init__(
            handler,
            access_log=None,
            lingering_time=0,
            max_line_size=HEAD_LIMIT_BYTES,
            max_field_size=HEAD_LIMIT_BYTES,
            max_headers=HEADERS_LIMIT,
        )
        self._connection_limit_s = connection_limit_s

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        asyncio.get_running_loop().call_later(self._connection_limit_s, transport.abort)


def _text(text: str, *, status: int = 200) -> web.Response:
    return web.Response(body=f"{text}\n".encode(), status=status, headers={"Content-Type": _TEXT})


def _reason(exc: OSError) -> str:
    """The system's own words: asyncio wraps them, and a name that does not resolve has a negative number of its own."""
    return os.strerror(exc.errno) if exc.errno and exc.errno > 0 else str(exc.strerror or exc)
