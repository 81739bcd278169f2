"""Copies a journal as it is, from one store to another: written, read again, compared, and only then there."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec.structs import replace

from listener.errors import JournalError
from listener.model.event import Event, LaneState, LastValue, SessionState
from listener.model.filter import Undelivered

PAGE = 1000

Row = Event | LastValue | Undelivered
Page = Sequence[Row]


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal holds beside its events, last values and dead letters.

    Attributes:
        last_sequence: the last one ever used.
        holes: the first and the last of sequences that no event has any more, or ever had, behind the first event.
        cursors: by sink.
        lanes: likewise.
        sessions: by account, with their moments by the clocks of this host.
    """

    last_sequence: int
    holes: tuple[tuple[int, int], ...]
    cursors: Mapping[str, int]
    lanes: Mapping[str, LaneState]
    sessions: Mapping[str, SessionState]


class Side(Protocol):
    """A journal that nobody else writes to meanwhile. Every call raises JournalError or JournalDamaged."""

    async def size(self) -> int:
        """How many events, last values and dead letters it has."""

    async def events(self, after: int, limit: int) -> Sequence[Event]:
        """As `ports.Journal.read`."""

    async def values(self, after: tuple[str, str] | None, limit: int) -> Sequence[LastValue]:
        """At most `limit` last values behind this chat and key, or the first, in the order of both as UTF-8."""

    async def letters(self, after: tuple[int, str] | None, limit: int) -> Sequence[Undelivered]:
        """At most `limit` dead letters behind this sequence and sink, or the first, in the order of both."""

    async def rest(self) -> Rest:
        """All else."""


class Target(Side, Protocol):
    """One that is being made: it is there as a whole after `keep`, and else there is nothing."""

    async def add(self, page: Page) -> None:
        """Store rows of one kind, behind those that it has, as they are: with their sequences, copies and marks."""

    async def complete(self, rest: Rest) -> None:
        """Store all else."""

    async def keep(self) -> None:
        """Let it be there, durably."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What one side holds.

    Attributes:
        last_sequence: the last one ever used.
        events, values, letters, sessions: how many there are of each.
        digest: SHA-256 of all events in their order, with all that is stored of each.
        digest_of_others: likewise of all else, but for the moments of sessions, which are those of other clocks.
    """

    last_sequence: int
    events: int
    values: int
    letters: int
    sessions: int
    digest: str
    digest_of_others: str


async def copy(source: Side, target: Target, told: Callable[[int], None] = lambda _: None) -> Held:
    """Copy all of a journal; returns what both sides hold.

    Args:
        source: left as it is.
        target: empty.
        told: called with how many rows were copied or compared since the last call: each comes twice.

    Raises:
        JournalError: it could not be done, or the copy is not what the source is; then there is no copy.
        JournalDamaged: the source cannot be read.
    """
    given = await _walk(source, told, add=target.add, complete=target.complete)
    kept = await _walk(target, told)
    if kept != given:
        raise JournalError(f"the copy is not what was copied: {_difference(given, kept)}; nothing was kept of it")
    await target.keep()
    return given


def _difference(given: Held, kept: Held) -> str:
    names = [name for name in Held.__struct_fields__ if getattr(given, name) != getattr(kept, name)]
    return ", ".join(f"{name} {getattr(given, name)} became {getattr(kept, name)}" for name in names)


async def _nothing(_: object) -> None:
    """Where a side is only read."""


async def _walk(
    side: Side,
    told: Callable[[int], None],
    add: Callable[[Page], Awaitable[None]] = _nothing,
    complete: Callable[[Rest], Awaitable[None]] = _nothing,
) -> Held:
    """Look at everything once, in one order on all sides."""
    counts = dict.fromkeys((Event, LastValue, Undelivered), 0)
    events, others = hashlib.sha256(), hashlib.sha256()
    encode = msgspec.msgpack.Encoder().encode
    async for page in _pages(side):
        kind = type(page[0])
        counts[kind] += len(page)
        digest = events if kind is Event else others
        for row in page:
            digest.update(encode(row))
        await add(page)
        told(len(page))
    if (size := await side.size()) != sum(counts.values()):
        raise JournalError(f"of {size} rows, {sum(counts.values())} were found")
    rest = await side.rest()
    others.update(encode(_in_order(rest)))
    await complete(rest)
    return Held(
        last_sequence=rest.last_sequence,
        events=counts[Event],
        values=counts[LastValue],
        letters=counts[Undelivered],
        sessions=len(rest.sessions),
        digest=events.hexdigest(),
        digest_of_others=others.hexdigest(),
    )


async def _pages(side: Side) -> AsyncIterator[Page]:
    """Everything that there may be much of, each page of one kind."""
    sequence = 0
    while events := await side.events(sequence, PAGE):
        yield events
        sequence = events[-1].sequence
    place: tuple[str, str] | None = None
    while values := await side.values(place, PAGE):
        yield values
        place = (values[-1].chat_id, values[-1].key)
    last: tuple[int, str] | None = None
    while letters := await side.letters(last, PAGE):
        yield letters
        last = (letters[-1].letter.sequence, letters[-1].letter.sink)


def _in_order(rest: Rest) -> Rest:
    """In the order of the names, and without what differs by clock."""
    sessions = {
        account: replace(session, seen_ms=0, seen_monotonic_ms=None, boot="")
        for account, session in sorted(rest.sessions.items())
    }
    return replace(
        rest,
        holes=tuple(sorted(rest.holes)),
        cursors=dict(sorted(rest.cursors.items())),
        lanes=dict(sorted(rest.lanes.items())),
        sessions=sessions,
    )
