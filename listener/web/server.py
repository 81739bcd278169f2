"""The HTTP side of the daemon: its parts put together, and the way of each request through them."""

import os
from collections.abc import Sequence

import structlog
from aiohttp import web

from listener.errors import HttpRefused, StartError
from listener.runtime.metrics import Metrics
from listener.web.auth import Guard
from listener.web.limits import CONNECTION_LIMIT_S, CONNECTIONS, LimitedServer, Refusals, body_of
from listener.web.routes import HEADERS, Call, Route, Routes, refusal_answer

_STOP_S = 1.0

_log = structlog.get_logger(__name__)


class HttpServer:
    """Answers what its routes say: first who asks, then what for, then the body, and only then the handler.

    Each connection serves one request. Whatever is refused is answered with the reason in JSON, counted, and logged
    once a minute.

    Args:
        host: address or name to listen on.
        port: TCP port; 0 lets the system choose, see `port`.
        routes: what is served.
        guard: decides who is answered.
        metrics: counts answers and refusals.
        connection_limit_s: for how long a connection lasts at most.
        connections: how many there are at once.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        routes: Sequence[Route],
        guard: Guard,
        metrics: Metrics,
        connection_limit_s: float = CONNECTION_LIMIT_S,
        connections: int = CONNECTIONS,
    ) -> None:
        self._host = host
        self._port = port
        self._routes = Routes(routes)
        self._guard = guard
        self._metrics = metrics
        self._refusals = Refusals(metrics=metrics)
        self._connection_limit_s = connection_limit_s
        self._connections = connections
        self._runner: web.ServerRunner | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; the configured one while it is not."""
        addresses = self._runner.addresses if self._runner else []
        return int(addresses[0][1]) if addresses else self._port

    async def start(self) -> None:
        """Listen. Raises `StartError`, naming `http.listen`, when the host does not allow it."""
        server = self._server = LimitedServer(
            self._answer, refusals=self._refusals, limit_s=self._connection_limit_s, connections=self._connections
        )
        self._metrics.sample(lambda: self._metrics.set("http_streams", server.streams))
        self._runner = web.ServerRunner(self._server, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as exc:
            await self.stop()
            raise StartError(f"http.listen: {refusal_to_listen(self._host, self._port, exc)}") from exc
        _log.info("http_listening", host=self._host, port=self.port)

    async def stop(self) -> None:
        """Close the port and every connection. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            self._server.end_streams()
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._admitted(request)
        except HttpRefused as refused:
            self._refusals.note(refused.reason, remote=request.remote)
            response = refusal_answer(refused)
        except ConnectionError:
            raise  # the client has gone
        except Exception as exc:  # noqa: BLE001 - a bug in a page costs the page; the daemon has more to do
            self._refusals.note("failed", remote=request.remote, error=exc)
            response = refusal_answer(HttpRefused(500, "failed", "unexpected; the log has more"))
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.force_close()
        self._metrics.count("http_requests_total", 1, str(response.status))
        return response

    async def _admitted(self, request: web.BaseRequest) -> web.StreamResponse:
        """Raises HttpRefused."""
        found = self._routes.at(request.rel_url.raw_path)
        is_action = any(route.is_action for route in found.routes.values())
        trusted = self._guard.admit(request, is_open=found.is_open, is_action=is_action)
        route = found.by(request.method)
        body = await body_of(request, limit_bytes=route.body_bytes)
        server = self._server
        call = Call(
            request,
            found.names,
            body,
            trusted,
            lambda: server.keep(request),
            lambda reason: server.cut(request, reason),
        )
        return await route.answer(call)


def refusal_to_listen(host: str, port: int, exc: OSError) -> str:
    """The system's own words: asyncio wraps them, and a name that does not resolve has a negative number of its own."""
    reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else str(exc.strerror or exc)
    return f"cannot listen on {host}:{port}: {reason}"
