"""Actions over HTTP: resume a parked sink, test it, resend what it got, replay dead letters."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web

from listener.errors import UNDECODABLE, ControlError, HttpRefused, JournalError, JournalFenced, NotPossible
from listener.model.condition import Exchange
from listener.model.event import DeadLetterFilter
from listener.model.filter import ControlFilter
from listener.web.routes import JSON, Call, Route, json_answer

BODY_BYTES = 2**20  # as much as a line of the control socket

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
T = TypeVar("T")


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object."""


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """The sink resumes; `resumed` is false if it was not parked.

    `trying` is true if it waited for its next attempt after a failure, and makes it at once.
    """

    sink: str
    resumed: bool
    trying: bool = False


class SinkTested(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the sink did with a test event: `verdict` is `taken`, or `retry`, `park` or `reject` for a `reason`.

    `answer` is what the destination said of one that it has not taken. `exchanges` are what was sent and answered, of a
    sink that can show it, without a secret.
    """

    sink: str
    event_id: str
    verdict: str
    reason: str
    answer: str
    exchanges: tuple[Exchange, ...] = ()


class WantedAgain(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Which events are to be delivered again: by when they were recorded. With `dry_run` only tell how many."""

    from_time: Moment
    to_time: Moment
    dry_run: bool = False


class Resent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is to be delivered again: at most so many `events`, with the sequences from first to last; null for none.

    Of the events that were asked for, `waiting` have not come to the sink yet, and will in their turn. `oldest_at` is
    when the oldest event that is left was recorded, where those before it are deleted; else null. `replica` is told to,
    empty while none has the sink; null where it is done here.
    """

    sink: str
    events: int
    first_sequence: int | None
    last_sequence: int | None
    waiting: int
    oldest_at: str | None
    replica: str | None


class ResendCancelled(msgspec.Struct, frozen=True, kw_only=True):
    """How many events were still to be delivered again."""

    sink: str
    left: int


class DeadLetterCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many dead letters are marked, durably, for another delivery."""

    letters: int


class Actions:
    """The paths that change something. Their route says that they need a token.

    Args:
        resume: resumes this sink, or lets it try at once. Raises ControlError for an unknown sink.
        test: sends one test event. Raises ControlError for an unknown sink, NotPossible if another replica has it.
        resend: delivers again what was recorded from one time to another (epoch milliseconds), or only tells what that
            is. Raises ControlError for an unknown sink, NotPossible and JournalError.
        cancel_resend: ends that; returns how many events were left. Raises ControlError for an unknown sink and
            JournalError.
        replay: marks the matching letters, durably; returns how many. Raises ControlError for an unknown sink and
            JournalError.
    """

    def __init__(
        self,
        *,
        resume: Callable[[str], Awaitable[Resumed]],
        test: Callable[[str], Awaitable[SinkTested]],
        resend: Callable[[str, int, int, bool], Awaitable[Resent]],
        cancel_resend: Callable[[str], Awaitable[int]],
        replay: Callable[[DeadLetterFilter], Awaitable[int]],
    ) -> None:
        self._resume = resume
        self._test = test
        self._resend = resend
        self._cancel_resend = cancel_resend
        self._replay = replay

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("POST", "/sinks/{name}/resume", self._resume_lane, is_action=True, body_bytes=BODY_BYTES),
            Route("POST", "/sinks/{name}/test", self._test_sink, is_action=True, body_bytes=BODY_BYTES),
            Route("POST", "/sinks/{name}/resend", self._resend_events, is_action=True, body_bytes=BODY_BYTES),
            Route("POST", "/sinks/{name}/resend/cancel", self._end_resend, is_action=True, body_bytes=BODY_BYTES),
            Route("POST", "/dead-letters/replay", self._replay_letters, is_action=True, body_bytes=BODY_BYTES),
        ]

    async def _resume_lane(self, call: Call) -> web.StreamResponse:
        _decoded(call, Nothing)
        return json_answer(await _executed(self._resume(call.names["name"])))

    async def _test_sink(self, call: Call) -> web.StreamResponse:
        """A destination may take longer to decide than a connection may be open."""
        _decoded(call, Nothing)
        if not call.keep():
            raise HttpRefused(503, "too_many_streams", "too many requests wait for something already")
        return json_answer(await _executed(self._test(call.names["name"])))

    async def _resend_events(self, call: Call) -> web.StreamResponse:
        wanted = _decoded(call, WantedAgain)
        from_ms, to_ms = (round(time.timestamp() * 1000) for time in (wanted.from_time, wanted.to_time))
        resent = self._resend(call.names["name"], from_ms, to_ms, wanted.dry_run)
        return json_answer(await _executed(resent))

    async def _end_resend(self, call: Call) -> web.StreamResponse:
        _decoded(call, Nothing)
        sink = call.names["name"]
        return json_answer(ResendCancelled(sink=sink, left=await _executed(self._cancel_resend(sink))))

    async def _replay_letters(self, call: Call) -> web.StreamResponse:
        which = _decoded(call, ControlFilter)
        return json_answer(DeadLetterCount(letters=await _executed(self._replay(which))))


def _decoded(call: Call, expected: type[T]) -> T:
    """The body. A web page of another origin cannot send JSON without permission, which is never given."""
    if call.request.content_type != JSON:
        raise HttpRefused(415, "media_type", f"the body must be {JSON}")
    try:
        return msgspec.convert(_with_integers(msgspec.json.decode(call.body)), type=expected)
    except UNDECODABLE as exc:
        raise HttpRefused(400, "not_json", f"the body is not as expected: {exc}") from exc


def _with_integers(value: Any) -> Any:
    """An object whose 1.0 is 1: to JSON Schema, and to some writers of JSON, they are the same number."""
    if not isinstance(value, dict):
        return value
    return {key: int(one) if isinstance(one, float) and one.is_integer() else one for key, one in value.items()}


async def _executed(command: Awaitable[T]) -> T:
    try:
        return await command
    except NotPossible as exc:
        raise HttpRefused(409, "not_possible", str(exc)) from exc
    except ControlError as exc:
        raise HttpRefused(404, "unknown_sink", str(exc)) from exc
    except (JournalError, JournalFenced) as exc:
        raise HttpRefused(503, "journal", f"the journal cannot do it now: {exc}") from exc
