"""`/events.json`, `/dead-letters.json` and their groups: bounded searches of the journal, one at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Protocol

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from listener.errors import HttpRefused
from listener.model.event import Change, Kind, rfc3339
from listener.model.filter import (
    MOST_COUNTED,
    MOST_GROUPS,
    DeadLetterGroup,
    DeadLetterPage,
    EventFilter,
    Found,
    Undelivered,
    grouped,
)
from listener.web.routes import Call, Limit, Position, Route, Text, answered, given, json_answer, query_of

LOOKS = 16


class EventQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of `/events.json`; see `EventFilter`. Events are below the sequence `before`."""

    chat: Text | UnsetType = UNSET
    agent: Text | UnsetType = UNSET
    disposition: Text | UnsetType = UNSET
    key: Text | UnsetType = UNSET
    change: Change | UnsetType = UNSET
    before: Position | UnsetType = UNSET
    limit: Limit = 100


class DeadLetterQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The query of `/dead-letters.json`: dead letters of events above `after`."""

    after: Position = 0
    limit: Limit = 100
    sink: Text | UnsetType = UNSET


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event as a sink with `format = "cloudevents"` gets it; what `data` holds depends on `type`."""

    specversion: str
    type: str
    source: str
    id: str
    subject: str
    time: str
    datacontenttype: str
    sequence: str
    data: dict[str, Any]


_AsCloudEvent = Annotated[
    msgspec.Raw, msgspec.Meta(extra_json_schema={"$ref": f"#/components/schemas/{CloudEvent.__name__}"})
]


class Events(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Newest first. `before` is where to continue, null if the journal has nothing older.

    `searched_through` is when the oldest event that was searched was received.
    """

    events: tuple[_AsCloudEvent, ...]
    before: int | None
    searched_through: str | None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An event that a sink did not take, and why. `chat_id` and `disposition` are null if there are none."""

    sink: str
    sequence: int
    event_id: str
    chat_id: str | None
    disposition: str | None
    reason: str
    attempts: int
    at: str
    replaying: bool


class DeadLetterList(msgspec.Struct, frozen=True, kw_only=True):
    """In the order of the journal. `more` says whether there are more after the last one."""

    letters: tuple[DeadLetter, ...]
    more: bool


class LetterGroup(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Dead letters of one sink for one reason, from the first to the last of them. `replaying` are to be delivered.

    Reasons that differ in ports, times and ids alone count as one, with `…` for what differs.
    """

    sink: str
    reason: str
    count: int
    first_sequence: int
    last_sequence: int
    first_at: str
    last_at: str
    replaying: int


class DeadLetterGroups(msgspec.Struct, frozen=True, kw_only=True):
    """The largest first, at most 1,000. `complete` tells whether all dead letters are counted, or the newest 50,000."""

    groups: tuple[LetterGroup, ...]
    complete: bool


class Search(Protocol):
    """`ports.Journal.search`."""

    def __call__(self, which: EventFilter, *, before: int | None, limit: int) -> Awaitable[Found]:
        """See the port."""


class DeadLetterPages(Protocol):
    """`ports.Journal.dead_letter_page`."""

    def __call__(self, *, after: int, limit: int, sink: str | None) -> Awaitable[DeadLetterPage]:
        """See the port."""


class Lookups:
    """Searches the journal, one request after the other: a lane that reads waits for one of them at most.

    Args:
        search: see the port.
        letters: see the port.
        groups: see the port.
    """

    def __init__(
        self, *, search: Search, letters: DeadLetterPages, groups: Callable[[], Awaitable[list[DeadLetterGroup]]]
    ) -> None:
        self._search = search
        self._letters = letters
        self._groups = groups
        self._looking = asyncio.Lock()
        self._asked = 0

    def routes(self) -> list[Route]:
        """All paths."""
        return [
            Route("GET", "/events.json", self._find_events),
            Route("GET", "/dead-letters.json", self._list_letters),
            Route("GET", "/dead-letters/groups", self._group_letters),
        ]

    async def _find_events(self, call: Call) -> web.StreamResponse:
        query = query_of(call, EventQuery)
        async with self._turn():
            found = await answered(self._search(_filter(query), before=given(query.before), limit=query.limit))
        return json_answer(
            Events(
                events=tuple(msgspec.Raw(event.to_json()) for event in found.events),
                before=found.before,
                searched_through=None if found.through_ms is None else rfc3339(found.through_ms),
            )
        )

    async def _list_letters(self, call: Call) -> web.StreamResponse:
        query = query_of(call, DeadLetterQuery)
        async with self._turn():
            page = await answered(self._letters(after=query.after, limit=query.limit, sink=given(query.sink)))
        return json_answer(DeadLetterList(letters=tuple(_letter(one) for one in page.letters), more=page.more))

    async def _group_letters(self, _call: Call) -> web.StreamResponse:
        async with self._turn():
            groups = await answered(self._groups())
        complete = len(groups) < MOST_GROUPS and sum(one.count for one in groups) < MOST_COUNTED
        return json_answer(DeadLetterGroups(groups=tuple(map(_group, grouped(groups))), complete=complete))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Raises HttpRefused if too many wait already, some perhaps for clients that have gone."""
        if self._asked >= LOOKS:
            raise HttpRefused(503, "too_many_searches", f"{LOOKS} clients are already waiting for the journal")
        self._asked += 1
        try:
            async with self._looking:
                yield
        finally:
            self._asked -= 1


def _filter(query: EventQuery) -> EventFilter:
    return EventFilter(
        chat=given(query.chat),
        agent=given(query.agent),
        disposition=given(query.disposition),
        key=given(query.key),
        change=given(query.change),
    )


class _Value(msgspec.Struct):
    """The part of a disposition's `data` that is shown."""

    disposition: str | None = None


def _group(one: DeadLetterGroup) -> LetterGroup:
    return LetterGroup(
        sink=one.sink,
        reason=one.reason,
        count=one.count,
        first_sequence=one.first_sequence,
        last_sequence=one.last_sequence,
        first_at=rfc3339(one.first_ms),
        last_at=rfc3339(one.last_ms),
        replaying=one.replaying,
    )


def _letter(one: Undelivered) -> DeadLetter:
    letter, event = one.letter, one.event
    of_chat = event is not None and event.kind is Kind.DISPOSITION
    return DeadLetter(
        sink=letter.sink,
        sequence=letter.sequence,
        event_id=letter.event_id,
        chat_id=event.subject if event is not None and of_chat else None,
        disposition=msgspec.json.decode(event.data, type=_Value).disposition if event is not None and of_chat else None,
        reason=letter.reason,
        attempts=letter.attempts,
        at=rfc3339(letter.at_ms),
        replaying=letter.replaying,
    )
