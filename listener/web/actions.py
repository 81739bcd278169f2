"""Actions over HTTP: resume a parked sink, send it a test event, replay dead letters."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from listener.errors import ControlError, HttpRefused, JournalError, JournalFenced, NotHere
from listener.model.event import ControlFilter, DeadLetterFilter
from listener.web.routes import JSON, Call, Route, json_answer

BODY_BYTES = 2**20  # as much as a line of the control socket

T = TypeVar("T")


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object."""


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """The sink resumes; `resumed` is false if it was not parked."""

    sink: str
    resumed: bool


class SinkTested(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the sink did with a test event: `verdict` is `taken`, or `retry`, `park` or `reject` for a `reason`.

    `answer` is what the destination said of one that it has not taken.
    """

    sink: str
    event_id: str
    verdict: str
    reason: str
    answer: str


class DeadLetterCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many dead letters are marked, durably, for another delivery."""

    letters: int


class Actions:
    """The paths that change something. Their route says that they need a token.

    Args:
        resume: resumes this sink; returns whether it was parked. Raises ControlError for an unknown sink.
        test: sends one test event. Raises ControlError for an unknown sink, NotHere for one that another replica has.
        replay: marks the matching letters, durably; returns how many. Raises ControlError for an unknown sink and
            JournalError.
    """

    def __init__(
        self,
        *,
        resume: Callable[[str], Awaitable[bool]],
        test: Callable[[str], Awaitable[SinkTested]],
        replay: Callable[[DeadLetterFilter], Awaitable[int]],
    ) -> None:
        self._resume = resume
        self._test = test
        self._replay = replay

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("POST", "/sinks/{name}/resume", self._resume_lane, is_action=True, body_bytes=BODY_BYTES),
            Route("POST", "/sinks/{name}/test", self._test_sink, is_action=True, body_bytes=BODY_BYTES),
            Route("POST", "/dead-letters/replay", self._replay_letters, is_action=True, body_bytes=BODY_BYTES),
        ]

    async def _resume_lane(self, call: Call) -> web.StreamResponse:
        _decoded(call, Nothing)
        sink = call.names["name"]
        return json_answer(Resumed(sink=sink, resumed=await _executed(self._resume(sink))))

    async def _test_sink(self, call: Call) -> web.StreamResponse:
        """A destination may take longer to decide than a connection may be open."""
        _decoded(call, Nothing)
        if not call.keep():
            raise HttpRefused(503, "too_many_streams", "too many requests wait for something already")
        return json_answer(await _executed(self._test(call.names["name"])))

    async def _replay_letters(self, call: Call) -> web.StreamResponse:
        which = _decoded(call, ControlFilter)
        return json_answer(DeadLetterCount(letters=await _executed(self._replay(which))))


def _decoded(call: Call, expected: type[T]) -> T:
    """The body. A web page of another origin cannot send JSON without permission, which is never given."""
    if call.request.content_type != JSON:
        raise HttpRefused(415, "media_type", f"the body must be {JSON}")
    try:
        return msgspec.convert(_with_integers(msgspec.json.decode(call.body)), type=expected)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise HttpRefused(400, "not_json", f"the body is not as expected: {exc}") from exc


def _with_integers(value: Any) -> Any:
    """An object whose 1.0 is 1: to JSON Schema, and to some writers of JSON, they are the same number."""
    if not isinstance(value, dict):
        return value
    return {key: int(one) if isinstance(one, float) and one.is_integer() else one for key, one in value.items()}


async def _executed(command: Awaitable[T]) -> T:
    try:
        return await command
    except NotHere as exc:
        raise HttpRefused(409, "not_here", str(exc)) from exc
    except ControlError as exc:
        raise HttpRefused(404, "unknown_sink", str(exc)) from exc
    except (JournalError, JournalFenced) as exc:
        raise HttpRefused(503, "journal", f"the journal cannot do it now: {exc}") from exc
