"""What machines ask again and again: `/livez`, `/readyz` and `/metrics`."""

from collections.abc import Callable, Sequence

from aiohttp import web

from listener.model.condition import ReadinessProblem
from listener.runtime.metrics import Metrics
from listener.web import answers
from listener.web.routes import Call, Route

_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


class Probes:
    """Liveness, readiness and metrics.

    `/livez` says only that the process answers: a sink that is down is no reason to restart it. `/readyz` is 503 while
    there is a hindrance, one a line: in full for who may know, and otherwise without a word of a customer, an agent or
    a server.

    Args:
        hindrances: what keeps the process from its whole work now.
        metrics: what `/metrics` exposes, in the Prometheus text format.
    """

    def __init__(self, *, problems: Callable[[], Sequence[ReadinessProblem]], metrics: Metrics) -> None:
        self._problems = problems
        self._metrics = metrics

    def routes(self) -> list[Route]:
        """The three paths."""
        return [
            Route("GET", "/livez", self._live, is_open=True),
            Route("GET", "/readyz", self._ready, is_open=True),
            Route("GET", "/metrics", self._exposition),
        ]

    async def _live(self, _call: Call) -> web.StreamResponse:
        return answers.text("ok")

    async def _ready(self, call: Call) -> web.StreamResponse:
        found = self._problems()
        if not found:
            return answers.text("ready")
        return answers.text("\n".join(one.full if call.trusted else one.brief for one in found), status=503)

    async def _exposition(self, _call: Call) -> web.StreamResponse:
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": _EXPOSITION})
