"""`/sinks/{name}/attempts`: what became of the last deliveries to a sink."""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from listener.errors import ControlError, HttpRefused
from listener.model.condition import Attempt
from listener.web.routes import Call, Limit, Route, json_answer, query_of


class AttemptQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of `/sinks/{name}/attempts`."""

    limit: Limit = 100


class AttemptList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The last attempts of a sink, newest first: 50 that were taken whole and 50 others, since its lane began.

    They are where its lane is: with `here` false there are none, and `replica` has them; null for none, and where no
    replicas share the journal.
    """

    sink: str
    attempts: tuple[Attempt, ...]
    here: bool
    replica: str | None


class AttemptPage:
    """Serves the last attempts of each sink.

    Args:
        attempts: those of a sink, so many at most. Raises ControlError: there is no such sink.
    """

    def __init__(self, *, attempts: Callable[[str, int], Awaitable[AttemptList]]) -> None:
        self._attempts = attempts

    def routes(self) -> list[Route]:
        """The one path."""
        return [Route("GET", "/sinks/{name}/attempts", self._show)]

    async def _show(self, call: Call) -> web.StreamResponse:
        query = query_of(call, AttemptQuery)
        try:
            return json_answer(await self._attempts(call.names["name"], query.limit))
        except ControlError as exc:
            raise HttpRefused(404, "unknown_sink", str(exc)) from exc
