"""Connections to a database in memory, with what may go wrong on the way."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from listener.errors import JournalError
from listener.model.event import (
    DeadLetter,
    DeadLetterFilter,
    Event,
    JournalBatch,
    JournalStats,
    LaneState,
    LastValue,
    SessionState,
)
from listener.model.filter import DeadLetterGroup, DeadLetterPage, EventFilter, Found
from listener.model.replica import Appended, Beaten, DutyReport, Grant, Joined, Offer, ReplicaReport
from listener.testing.database import MemoryDatabase

T = TypeVar("T")


class Link(Protocol):
    """How a call gets to the database and its answer back. `call.func.__name__` is the name of what is asked.

    It does the call once, and returns or raises what it does; or not at all, or late, or more than once, and then
    raises JournalUncertain in place of the answer; or raises JournalError without having done it.
    """

    async def __call__(self, call: "partial[T]", /) -> T:
        """Have it done."""


async def at_once(call: "partial[T]", /) -> T:
    """The link without faults."""
    await asyncio.sleep(0)
    return call()


class MemoryConnection:
    """`journal.shared.Database` over a MemoryDatabase: what one replica has of it.

    Args:
        database: shared with others.
        link: what every call goes through.
    """

    def __init__(self, database: MemoryDatabase, link: Link = at_once) -> None:
        self._database = database
        self._link = link
        self._is_open = False

    async def open(self) -> None:
        """Connect."""
        await self._link(partial(self._database.replicas))
        self._is_open = True

    async def check(self) -> None:
        """Connect, and change nothing."""
        await self._link(partial(self._database.replicas))

    async def close(self) -> None:
        """Give up the connection."""
        self._is_open = False

    async def _call(self, call: "partial[T]") -> T:
        if not self._is_open:
            raise JournalError("database: not open")
        return await self._link(call)

    async def join(self, name: str, *, version: str, lease_s: float) -> Joined:
        """A new incarnation of the replica of this name, alive from now on; an older one of that name is evicted."""
        return await self._call(partial(self._database.join, name, version=version, lease_s=lease_s))

    async def offer(self, me: int, offers: Collection[Offer]) -> None:
        """Replace what the replica could do. A duty exists while any replica that is not evicted offers it."""
        await self._call(partial(self._database.offer, me, offers))

    async def beat(
        self,
        me: int,
        *,
        seen: int,
        taken: Collection[int] = (),
        report: bytes | None = None,
        reports: Mapping[str, bytes] | None = None,
    ) -> Beaten:
        """Tell that the replica lives, and learn what to do."""
        return await self._call(
            partial(self._database.beat, me, seen=seen, taken=taken, report=report, reports=reports)
        )

    async def release(self, me: int, duties: Collection[Grant]) -> None:
        """Give duties back; of one that was granted anew since, by another epoch, nothing changes."""
        await self._call(partial(self._database.release, me, duties))

    async def leave(self, me: int) -> None:
        """The replica is gone in order: what it still has is free, and nothing more is stored for it."""
        await self._call(partial(self._database.leave, me))

    async def replicas(self) -> list[ReplicaReport]:
        """Those that are not evicted and have not left, by name."""
        return await self._call(partial(self._database.replicas))

    async def duties(self) -> list[DutyReport]:
        """Every duty, by name."""
        return await self._call(partial(self._database.duties))

    async def drain(self, name: str, *, draining: bool) -> bool:
        """Let the replica of a name have nothing more, or as much as others again; False if there is none."""
        return await self._call(partial(self._database.drain, name, draining=draining))

    async def order(self, duty: str, what: str) -> str | None:
        """Leave an order for whoever has a duty, now or later; returns the replica that has it now."""
        return await self._call(partial(self._database.order, duty, what))

    async def append(
        self, me: int, number: int, batch: JournalBatch, revisions: Mapping[str, int], seen_ages_ms: Mapping[str, int]
    ) -> Appended:
        """Store a batch whole or not at all; its events get the sequences behind the newest, without a hole."""
        return await self._call(partial(self._database.append, me, number, batch, revisions, seen_ages_ms))

    async def begin_above(self, me: int, known: int, top: int, stretch: tuple[int, int]) -> int:
        """Let sequences go on above `top` where no event came up to `known`; returns behind which they go on."""
        return await self._call(partial(self._database.begin_above, me, known, top, stretch))

    async def losses(self) -> dict[int, tuple[int, int]]:
        """The stretch of each loss that is pending, by the last sequence of its hole."""
        return await self._call(partial(self._database.losses))

    async def settle_losses(self, me: int, tops: Collection[int]) -> None:
        """The gaps of these losses are on record."""
        await self._call(partial(self._database.settle_losses, me, tops))

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """As `ports.Journal.read`."""
        return await self._call(partial(self._database.store.read, after, limit))

    async def search(self, which: EventFilter, *, before: int | None, limit: int) -> Found:
        """As `ports.Journal.search`."""
        return await self._call(partial(self._database.store.search, which, before=before, limit=limit))

    async def last_values(self, chat_ids: Collection[str]) -> tuple[list[LastValue], dict[str, int]]:
        """Every last value of these chats, and the revision of each chat that has any."""
        return await self._call(partial(self._database.last_values, chat_ids))

    async def sessions(self, accounts: Collection[str] | None = None) -> list[tuple[SessionState, int]]:
        """The last stored session of these accounts, or of all, and how many ms ago its `seen_ms` is now."""
        return await self._call(partial(self._database.sessions, accounts))

    async def cursors(self) -> dict[str, int]:
        """As `ports.Journal.cursors`."""
        return await self._call(partial(self._database.cursors))

    async def advance(self, me: int, sink: str, sequence: int, dead: Sequence[DeadLetter]) -> None:
        """As `ports.Journal.advance`."""
        await self._call(partial(self._database.advance, me, sink, sequence, dead))

    async def dead_letters(self, which: DeadLetterFilter) -> list[DeadLetter]:
        """As `ports.Journal.dead_letters`."""
        return await self._call(partial(self._database.store.dead_letters, which))

    async def dead_letter_page(self, *, after: int, limit: int, sink: str | None) -> DeadLetterPage:
        """As `ports.Journal.dead_letter_page`."""
        return await self._call(partial(self._database.store.dead_letter_page, after=after, limit=limit, sink=sink))

    async def dead_letter_groups(self, which: DeadLetterFilter) -> list[DeadLetterGroup]:
        """As `ports.Journal.dead_letter_groups`."""
        return await self._call(partial(self._database.store.dead_letter_groups, which))

    async def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        """As `ports.Journal.replay_dead_letters`; leaves an order `replay` for each lane that has some now."""
        return await self._call(partial(self._database.replay_dead_letters, which))

    async def drop_dead_letters(self, which: DeadLetterFilter) -> int:
        """As `ports.Journal.drop_dead_letters`."""
        return await self._call(partial(self._database.store.drop_dead_letters, which))

    async def replays(self, sink: str, limit: int) -> list[Event]:
        """As `ports.Journal.replays`."""
        return await self._call(partial(self._database.store.replays, sink, limit))

    async def settle_replays(self, me: int, sink: str, delivered: Collection[int], dead: Sequence[DeadLetter]) -> None:
        """As `ports.Journal.settle_replays`."""
        await self._call(partial(self._database.settle_replays, me, sink, delivered, dead))

    async def lane_states(self) -> dict[str, LaneState]:
        """As `ports.Journal.lane_states`."""
        return await self._call(partial(self._database.lane_states))

    async def store_lane_state(self, me: int | None, state: LaneState) -> None:
        """As `ports.Journal.store_lane_state`; `me` is None for a command, which no replica is."""
        await self._call(partial(self._database.store_lane_state, me, state))

    async def retain(self, me: int, *, before_ms: int, keep_for: Collection[str], max_bytes: int | None) -> int:
        """As `ports.Journal.retain`."""
        return await self._call(
            partial(self._database.retain, me, before_ms=before_ms, keep_for=keep_for, max_bytes=max_bytes)
        )

    async def stats(self) -> JournalStats:
        """As `ports.Journal.stats`; `bytes` is what its tables take."""
        return await self._call(partial(self._database.store.stats))

    async def heard(self, sequence: int) -> int:
        """Return the sequence of the newest event once it is above `sequence`."""
        if self._is_open:
            await self._database.beyond(sequence)
        return await self._call(partial(self._database.last_sequence))
