"""`/events`: the journal from a sequence on, as server-sent events (HTML Living Standard, 9.2)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, NoReturn

import msgspec
from aiohttp import hdrs, web
from msgspec import UNSET, UnsetType

from listener.errors import HttpRefused, JournalDamaged, JournalError, JournalFenced
from listener.model.event import Event
from listener.model.filter import EVERY_EVENT
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.metrics import Metrics
from listener.web.limits import STREAMS
from listener.web.lookups import Search
from listener.web.routes import HEADERS, Call, Position, Route, answered, given, query_of

BATCH = 500
COMMENT_S = 10.0
PAUSE_S = 0.25
WRITE_S = 10.0
_PIECE_BYTES = 64 * 2**10
_RETRY_MS = 2000
_HEADERS = {
    **HEADERS,
    "Content-Type": "text/event-stream",
    "X-Accel-Buffering": "no",  # nginx would hold messages back
}


class FeedQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a stream begins: after the sequence `after`, or by default `recent` events before the newest one."""

    after: Position | UnsetType = UNSET
    recent: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 500


class Hello(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The first message of every stream.

    `journal` is another one for each start of the process. `first_sequence` is that of the oldest event that is still
    there, `last_sequence` + 1 where none is. `reset` says that `after` does not belong to this journal and is ignored.
    """

    journal: str
    last_sequence: int
    first_sequence: int
    reset: bool


class Feed:
    """Serves the stream. Its memory is one batch, whatever the client does.

    A message holds a batch of at most `BATCH` events and is followed by a pause, in which the next batch grows.

    Args:
        read: see `ports.Journal`; as the next three.
        wait_beyond: see there.
        search: see there.
        last_sequence: see there.
        metrics: counts the answers.
        comment_s: after this many seconds of silence a comment keeps the connection alive.
        pause_s: see above.
        write_s: a client that needs longer to read 64 KiB is disconnected.
        host: names this start of the journal.
    """

    def __init__(
        self,
        *,
        read: Callable[[int, int], Awaitable[Sequence[Event]]],
        wait_beyond: Callable[[int], Awaitable[None]],
        search: Search,
        last_sequence: Callable[[], int],
        metrics: Metrics,
        comment_s: float = COMMENT_S,
        pause_s: float = PAUSE_S,
        write_s: float = WRITE_S,
        host: Host = THIS_HOST,
    ) -> None:
        self._read = read
        self._wait_beyond = wait_beyond
        self._search = search
        self._last_sequence = last_sequence
        self._metrics = metrics
        self._comment_s = comment_s
        self._pause_s = pause_s
        self._write_s = write_s
        self._journal = host.token(8)

    def routes(self) -> list[Route]:
        """The one path."""
        return [Route("GET", "/events", self._stream)]

    async def _stream(self, call: Call) -> web.StreamResponse:
        """Ends by an exception: the connection is lost, or the task is cancelled with it or with the server."""
        query, after = query_of(call, FeedQuery), _last_event_id(call)
        after = given(query.after) if after is None else after
        if call.request.method == hdrs.METH_HEAD:
            return web.Response(headers=_HEADERS)
        if not call.keep():
            raise HttpRefused(503, "too_many_streams", f"{STREAMS} streams are open already")
        hello = await answered(self._hello(after))
        if after is None or hello.reset:
            after = await answered(self._before_the_newest(query.recent))
        response = web.StreamResponse(headers=_HEADERS)
        response.force_close()
        await response.prepare(call.request)
        self._metrics.count("http_requests_total", 1, str(response.status))
        try:
            await self._write(response, b"retry: %d\n%b" % (_RETRY_MS, _message("hello", msgspec.json.encode(hello))))
            await self._follow(response, after)
        except TimeoutError:
            call.cut("too_slow")
            raise ConnectionAbortedError from None
        except (JournalError, JournalDamaged, JournalFenced) as exc:
            call.cut("journal")
            raise ConnectionAbortedError from exc

    async def _hello(self, after: int | None) -> Hello:
        last = self._last_sequence()
        oldest = await self._read(0, 1)
        return Hello(
            journal=self._journal,
            last_sequence=last,
            first_sequence=oldest[0].sequence if oldest else last + 1,
            reset=after is not None and after > last,
        )

    async def _before_the_newest(self, count: int) -> int:
        """The sequence before the newest `count` events. Sequences have holes, so they cannot be subtracted."""
        after, before = self._last_sequence(), None
        while count:
            found = await self._search(EVERY_EVENT, before=before, limit=min(count, BATCH))
            after = found.events[-1].sequence - 1 if found.events else after
            before = found.before
            count = 0 if before is None else count - len(found.events)
        return after

    async def _follow(self, response: web.StreamResponse, after: int) -> NoReturn:
        while True:
            last = self._last_sequence()
            events = await self._read(after, BATCH)
            if events:
                after = events[-1].sequence
                await self._write(response, _batch(events))
                await asyncio.sleep(self._pause_s)
            elif after < last:
                after = last  # what was there is deleted
            elif not await self._comes_within(after, self._comment_s):
                await self._write(response, b": \n\n")

    async def _comes_within(self, after: int, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._wait_beyond(after)
        except TimeoutError:
            return False
        return True

    async def _write(self, response: web.StreamResponse, text: bytes) -> None:
        """Raises TimeoutError: the client does not read."""
        for start in range(0, len(text), _PIECE_BYTES):
            async with asyncio.timeout(self._write_s):
                await response.write(text[start : start + _PIECE_BYTES])


def _last_event_id(call: Call) -> int | None:
    """The last event of a client that reconnects. Raises HttpRefused if it is not one of ours."""
    shown = call.request.headers.getall("Last-Event-ID", [])
    if not shown:
        return None
    try:
        return msgspec.convert(",".join(shown), Position, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError) as exc:
        raise HttpRefused(400, "query", "Last-Event-ID is not a sequence") from exc


def _batch(events: Sequence[Event]) -> bytes:
    data = b",".join([event.to_json() for event in events])
    return b"id: %d\n%b" % (events[-1].sequence, _message("events", b"[%b]" % data))


def _message(event: str, data: bytes) -> bytes:
    """JSON on one line: none of ours has a line end in it."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
