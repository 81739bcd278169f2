"""A journal in memory."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from itertools import islice

from msgspec.structs import replace

from listener.errors import JournalError, JournalFull, JournalLocked, JournalStale
from listener.model.event import (
    EVERY_DEAD_LETTER,
    Damage,
    DeadLetter,
    DeadLetterFilter,
    Event,
    JournalBatch,
    JournalStats,
    LaneState,
    LastValue,
    SessionState,
)
from listener.model.filter import EVERY_EVENT, DeadLetterPage, EventFilter, Found, Undelivered

_ROWS_A_LOOK = 5_000


class MemoryJournal:
    """`ports.Journal` in memory: the whole contract but surviving the process. `close` and `open` play a restart."""

    def __init__(self, *, max_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes
        self._open = False
        self._last_sequence = 0
        self._events: list[Event] = []
        self._values: dict[tuple[str, str], LastValue] = {}
        self._sessions: dict[str, SessionState] = {}
        self._cursors: dict[str, int] = {}
        self._dead: dict[tuple[str, int], DeadLetter] = {}
        self._copies: dict[int, Event] = {}
        self._lanes: dict[str, LaneState] = {}
        self._damages: list[Damage] = []
        self._settled = 0
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._failures: list[JournalError] = []
        self._failing: JournalError | None = None

    def fail_appends(self, error: JournalError, *, times: int | None = None) -> None:
        """Let the next `times` appends raise `error`, or all of them until `heal`."""
        if times is None:
            self._failing = error
        else:
            self._failures += [error] * times

    def heal(self) -> None:
        """Appends succeed again."""
        self._failing = None
        self._failures.clear()

    async def open(self) -> None:
        """Take ownership. Raises JournalLocked while it is open."""
        if self._open:
            raise JournalLocked("this journal is open already")
        self._open = True
        self._last_sequence = max([self._last_sequence, *self._cursors.values()])

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._open = False
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(JournalError("journal: not open"))

    @property
    def last_sequence(self) -> int:
        """Sequence of the newest event ever stored."""
        return self._last_sequence

    @property
    def trouble(self) -> str | None:
        """None: memory always works."""
        return None

    @property
    def size_bytes(self) -> int:
        """Bytes of the events' data."""
        return self._used_bytes()

    async def append(self, batch: JournalBatch) -> int:
        """Store the batch; returns the sequence of its last event."""
        self._require_open()
        if (error := self._next_failure()) is not None:
            raise error
        if batch.events and self._max_bytes is not None and self._used_bytes() >= self._max_bytes:
            raise JournalFull("journal: the limit of its size is reached")
        if known := {chat_id for chat_id, _ in self._values}.intersection(batch.new_chats):
            raise JournalStale(sorted(known))
        last = self._store(batch)
        await asyncio.sleep(0)
        return last

    def _next_failure(self) -> JournalError | None:
        return self._failures.pop(0) if self._failures else self._failing

    def _store(self, batch: JournalBatch) -> int:
        for event in batch.events:
            self._last_sequence += 1
            self._events.append(replace(event, sequence=self._last_sequence))
        self._values.update({(value.chat_id, value.key): value for value in batch.values})
        self._sessions.update({session.account: session for session in batch.sessions})
        for waiter, sequence in self._waiters.items():
            if self._last_sequence > sequence and not waiter.done():
                waiter.set_result(None)
        return self._last_sequence

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """At most `limit` events above `after`, oldest first."""
        self._require_open()
        start = max(0, after + 1 - self._events[0].sequence) if self._events else 0
        return self._events[start : start + limit]

    async def search(self, which: EventFilter = EVERY_EVENT, *, before: int | None = None, limit: int) -> Found:
        """The newest events that are meant; see the port."""
        self._require_open()
        older = [event for event in self._events if before is None or event.sequence < before]
        looked_at, is_meant = older[: -_ROWS_A_LOOK - 1 : -1], which.condition()
        events = tuple(islice(filter(is_meant, looked_at), limit))
        if not looked_at:
            return Found(events=(), before=None, through_ms=None)
        oldest = events[-1] if len(events) == limit else looked_at[-1]
        more = oldest.sequence > older[0].sequence
        return Found(events=events, before=oldest.sequence if more else None, through_ms=oldest.received_ms)

    async def wait_beyond(self, sequence: int) -> None:
        """Return once `last_sequence` is above `sequence`."""
        self._require_open()
        if self._last_sequence > sequence:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = sequence
        try:
            await waiter
        finally:
            del self._waiters[waiter]

    async def cursors(self) -> dict[str, int]:
        """Per sink, its cursor."""
        self._require_open()
        return dict(self._cursors)

    async def advance(self, sink: str, sequence: int, dead: Sequence[DeadLetter] = ()) -> None:
        """Move a cursor forward and store dead letters."""
        self._require_open()
        self._cursors[sink] = max(sequence, self._cursors.get(sink, sequence))
        self._dead.update({(letter.sink, letter.sequence): letter for letter in dead})
        wanted = {letter.sequence for letter in dead}
        self._copies.update({event.sequence: event for event in self._events if event.sequence in wanted})

    async def last_values(self, chat_ids: Collection[str]) -> list[LastValue]:
        """Every last value of these chats."""
        self._require_open()
        return [value for value in self._values.values() if value.chat_id in chat_ids]

    async def sessions(self, accounts: Collection[str] | None = None) -> dict[str, SessionState]:
        """Per account, its session."""
        self._require_open()
        return {name: one for name, one in self._sessions.items() if accounts is None or name in accounts}

    async def dead_letters(self, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetter]:
        """The dead letters that are meant, oldest first."""
        self._require_open()
        found = [letter for letter in self._dead.values() if _is_meant(letter, which)]
        return sorted(found, key=lambda letter: (letter.at_ms, letter.sequence, letter.sink))

    async def dead_letter_page(self, *, after: int = 0, limit: int, sink: str | None = None) -> DeadLetterPage:
        """Dead letters in journal order; see the port."""
        found = await self.dead_letters(DeadLetterFilter(sink=sink, after=after))
        found.sort(key=lambda letter: (letter.sequence, letter.sink))
        last = found[:limit][-1].sequence if found else 0
        page = [letter for letter in found if letter.sequence <= last]
        undelivered = (Undelivered(letter=one, event=self._copies.get(one.sequence)) for one in page)
        return DeadLetterPage(letters=tuple(undelivered), more=len(found) > len(page))

    async def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        """Mark the letters that are meant and have a copy of their event."""
        meant = [letter for letter in await self.dead_letters(which) if letter.sequence in self._copies]
        self._dead.update({(one.sink, one.sequence): replace(one, replaying=True) for one in meant})
        return len(meant)

    async def drop_dead_letters(self, which: DeadLetterFilter) -> int:
        """Delete the letters that are meant."""
        meant = await self.dead_letters(which)
        for letter in meant:
            del self._dead[letter.sink, letter.sequence]
        return len(meant)

    async def replays(self, sink: str, limit: int) -> list[Event]:
        """The events that are marked for replay."""
        marked = [one for one in await self.dead_letters(DeadLetterFilter(sink=sink)) if one.replaying]
        return [self._copies[sequence] for sequence in sorted(one.sequence for one in marked)[:limit]]

    async def settle_replays(self, sink: str, delivered: Collection[int], dead: Sequence[DeadLetter] = ()) -> None:
        """Delete the delivered, keep the others with their news."""
        self._require_open()
        for sequence in delivered:
            self._dead.pop((sink, sequence), None)
        known = [letter for letter in dead if (letter.sink, letter.sequence) in self._dead]
        self._dead.update({(one.sink, one.sequence): replace(one, replaying=False) for one in known})

    async def lane_states(self) -> dict[str, LaneState]:
        """Per sink, its lane's state."""
        self._require_open()
        return dict(self._lanes)

    async def store_lane_state(self, state: LaneState) -> None:
        """Replace a lane's state."""
        self._require_open()
        self._lanes[state.sink] = state

    def damage(self, damage: Damage) -> None:
        """Let it be as if `open` had found this."""
        self._damages.append(damage)

    async def pending_damages(self) -> list[Damage]:
        """What `damage` was told of and is not settled yet."""
        self._require_open()
        return self._damages[self._settled :]

    async def settle_damages(self) -> None:
        """None is pending any more."""
        self._require_open()
        self._settled = len(self._damages)

    async def retain(self, *, before_ms: int, keep_for: Collection[str], max_bytes: int | None = None) -> int:
        """Delete old events and values; see the port."""
        self._require_open()
        floor = min([self._last_sequence, *(self._cursors.get(sink, 0) for sink in keep_for)])
        deleted = self._delete(floor, lambda: self._events[0].received_ms < before_ms)
        if max_bytes is not None and self._used_bytes() > max_bytes:
            deleted += self._delete(floor, lambda: self._used_bytes() > max_bytes * 9 // 10)
        young = {value.chat_id for value in self._values.values() if value.received_ms >= before_ms}
        self._values = {place: value for place, value in self._values.items() if value.chat_id in young}
        return deleted

    def _delete(self, floor: int, goes: Callable[[], bool]) -> int:
        deleted = 0
        while self._events and self._events[0].sequence <= floor and goes():
            del self._events[0]
            deleted += 1
        return deleted

    def _used_bytes(self) -> int:
        return sum(len(event.data) for event in self._events)

    async def ping(self) -> None:
        """Memory always answers."""

    async def stats(self) -> JournalStats:
        """Figures; `bytes` counts the events' data."""
        self._require_open()
        oldest = self._events[0] if self._events else None
        sinks = [letter.sink for letter in self._dead.values()]
        return JournalStats(
            first_sequence=oldest.sequence if oldest else 0,
            last_sequence=self._last_sequence,
            events=len(self._events),
            bytes=self._used_bytes(),
            cursors=dict(self._cursors),
            dead_letters={sink: sinks.count(sink) for sink in sinks},
            oldest_ms=oldest.received_ms if oldest else None,
            lanes=dict(self._lanes),
            damages=tuple(self._damages),
        )

    def _require_open(self) -> None:
        if not self._open:
            raise JournalError("journal: not open")


def _is_meant(letter: DeadLetter, which: DeadLetterFilter) -> bool:
    return (
        which.sink in (None, letter.sink)
        and (not which.event_ids or letter.event_id in which.event_ids)
        and (which.since_ms is None or letter.at_ms >= which.since_ms)
        and (which.until_ms is None or letter.at_ms <= which.until_ms)
        and letter.sequence > which.after
    )
