"""Requests by their routes: which handler answers, what a query or a body asks for, and the forms of an answer."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import unquote

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from listener.errors import HttpRefused, JournalDamaged, JournalError

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
Position = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]  # what JavaScript counts up to
Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]
Text = Annotated[str, msgspec.Meta(max_length=80)]  # four of them fit into a request's line, whatever is in them
T = TypeVar("T")


class Call(NamedTuple):
    """One request, admitted and read.

    Attributes:
        request: aiohttp's own.
        names: what stands for the `{names}` of the route's path, decoded.
        body: all of it; empty if the route takes none.
        trusted: whether the client may see whatever there is to see: false for a probe without the token.
        keep: lets the connection stay open beyond its time limit, for a stream of events; false if too many do.
        cut: ends the connection at once, for a reason in a word.
    """

    request: web.BaseRequest
    names: Mapping[str, str]
    body: bytes
    trusted: bool
    keep: Callable[[], bool]
    cut: Callable[[str], None]


class Route(NamedTuple):
    """One method of one path.

    Attributes:
        method: GET (HEAD comes with it) or POST.
        path: with `{name}` for a segment that differs.
        answer: the handler; may raise HttpRefused.
        is_open: answered without the token too.
        is_action: changes something: only with a token, so not at all where none is configured, and a JSON body.
        body_bytes: the largest body; 0 takes none.
    """

    method: str
    path: str
    answer: Callable[[Call], Awaitable[web.StreamResponse]]
    is_open: bool = False
    is_action: bool = False
    body_bytes: int = 0


class Found(NamedTuple):
    """The routes of one path by method, and what its segments are called; no routes where there is no such path."""

    routes: Mapping[str, Route]
    names: Mapping[str, str]

    @property
    def is_open(self) -> bool:
        """Whether the path is answered without the token."""
        return any(route.is_open for route in self.routes.values())

    def by(self, method: str) -> Route:
        """The route of this method. Raises HttpRefused."""
        if not self.routes:
            raise HttpRefused(404, "not_found", "there is nothing at this path")
        route = self.routes.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(self._allowed())
            raise HttpRefused(405, "method", f"allowed here: {allowed}", headers={"Allow": allowed})
        return route

    def _allowed(self) -> Iterable[str]:
        for method in self.routes:
            yield from ("GET", "HEAD") if method == "GET" else (method,)


class Routes:
    """All of them. A path is matched segment by segment as it was sent: an encoded slash divides nothing."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._fixed: dict[str, dict[str, Route]] = {}
        self._named: dict[str, dict[str, Route]] = {}
        for route in routes:
            table = self._named if "{" in route.path else self._fixed
            table.setdefault(route.path, {})[route.method] = route

    def at(self, raw_path: str) -> Found:
        """What there is at a path, percent-encoded as in the request."""
        if raw_path in self._fixed:
            return Found(self._fixed[raw_path], {})
        for path, routes in self._named.items():
            names = _names(path.split("/"), raw_path.split("/"))
            if names is not None:
                return Found(routes, names)
        return Found({}, {})


def _names(pattern: Sequence[str], segments: Sequence[str]) -> dict[str, str] | None:
    """What stands for the `{names}` of a pattern; None if the segments do not fit."""
    if len(pattern) != len(segments):
        return None
    names = {}
    for expected, segment in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            names[expected.strip("{}")] = unquote(segment)
        elif expected != segment:
            return None
    return None if "" in names.values() else names


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused."""

    error: str


def text_answer(body: str, *, status: int = 200) -> web.Response:
    """One or more lines of text; the last one gets its end here."""
    return web.Response(body=f"{body}\n".encode(), status=status, headers={"Content-Type": TEXT})


def json_answer(value: Any, *, status: int = 200) -> web.Response:
    """A value that msgspec can encode, as one line."""
    return web.Response(body=msgspec.json.encode(value) + b"\n", status=status, headers={"Content-Type": JSON})


def refusal_answer(refused: HttpRefused) -> web.Response:
    """The answer to a request that is refused."""
    response = json_answer(Error(error=str(refused)), status=refused.status)
    response.headers.update(refused.headers)
    return response


def query_of(call: Call, expected: type[T]) -> T:
    """The query's parameters as a Struct. Raises HttpRefused: one is unknown, comes twice, or is not what it may be."""
    given = call.request.rel_url.query
    values = dict(given)
    if len(values) != len(given):
        raise HttpRefused(400, "query", "a parameter is given twice")
    try:
        for text in values.values():
            text.encode()
        return msgspec.convert(values, expected, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError) as exc:
        raise HttpRefused(400, "query", f"the query is not what is expected here: {exc}") from exc


def given(value: T | UnsetType) -> T | None:
    """What was given, if it was."""
    return None if value is UNSET else value


async def answered(answer: Awaitable[T]) -> T:
    """What the journal tells. Raises HttpRefused: it cannot be asked now."""
    try:
        return await answer
    except (JournalError, JournalDamaged) as exc:
        raise HttpRefused(503, "journal", f"the journal cannot be asked now: {exc}") from exc
