"""A journal in memory."""

import asyncio
from collections.abc import Collection, Sequence

from listener.errors import JournalError, JournalLocked, JournalStale
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
from listener.model.filter import EVERY_EVENT, DeadLetterGroup, DeadLetterPage, EventFilter, Found
from listener.testing.store import MemoryStore


class MemoryJournal:
    """`ports.Journal` in memory: the whole contract but surviving the process. `close` and `open` play a restart."""

    def __init__(self, *, max_bytes: int | None = None) -> None:
        self._store = MemoryStore(max_bytes=max_bytes)
        self._open = False
        self._damages: list[Damage] = []
        self._pending: list[Damage] = []
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
        self._store.last_sequence = max([self._store.last_sequence, *self._store.cursors.values()])

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._open = False
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(JournalError("journal: not open"))

    @property
    def last_sequence(self) -> int:
        """Sequence of the newest event ever stored."""
        return self._store.last_sequence

    def events_between(self, after: int, through: int) -> int:
        """How many events there are above `after`, up to `through`."""
        return self._store.events_between(after, through)

    @property
    def trouble(self) -> str | None:
        """None: memory always works."""
        return None

    @property
    def size_bytes(self) -> int:
        """Bytes of the events' data."""
        return self._store.used_bytes

    async def append(self, batch: JournalBatch) -> int:
        """Store the batch; returns the sequence of its last event."""
        store = self._opened()
        if (error := self._next_failure()) is not None:
            raise error
        store.require_room(batch)
        if known := {chat_id for chat_id in batch.new_chats if store.has_values(chat_id)}:
            raise JournalStale(sorted(known))
        last = store.add(batch)
        for waiter, sequence in self._waiters.items():
            if last > sequence and not waiter.done():
                waiter.set_result(None)
        await asyncio.sleep(0)
        return last

    def _next_failure(self) -> JournalError | None:
        return self._failures.pop(0) if self._failures else self._failing

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """At most `limit` events above `after`, oldest first."""
        return self._opened().read(after, limit)

    async def search(self, which: EventFilter = EVERY_EVENT, *, before: int | None = None, limit: int) -> Found:
        """The newest events that are meant; see the port."""
        return self._opened().search(which, before=before, limit=limit)

    async def wait_beyond(self, sequence: int) -> None:
        """Return once `last_sequence` is above `sequence`."""
        if self._opened().last_sequence > sequence:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = sequence
        try:
            await waiter
        finally:
            del self._waiters[waiter]

    async def cursors(self) -> dict[str, int]:
        """Per sink, its cursor."""
        return dict(self._opened().cursors)

    async def advance(self, sink: str, sequence: int, dead: Sequence[DeadLetter] = ()) -> None:
        """Move a cursor forward and store dead letters."""
        self._opened().advance(sink, sequence, dead)

    async def last_values(self, chat_ids: Collection[str]) -> list[LastValue]:
        """Every last value of these chats."""
        return self._opened().last_values(chat_ids)

    async def sessions(self, accounts: Collection[str] | None = None) -> dict[str, SessionState]:
        """Per account, its session."""
        return self._opened().sessions_of(accounts)

    async def dead_letters(self, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetter]:
        """The dead letters that are meant, oldest first."""
        return self._opened().dead_letters(which)

    async def dead_letter_page(self, *, after: int = 0, limit: int, sink: str | None = None) -> DeadLetterPage:
        """Dead letters in journal order; see the port."""
        return self._opened().dead_letter_page(after=after, limit=limit, sink=sink)

    async def dead_letter_groups(self, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetterGroup]:
        """By sink and reason; see the port."""
        return self._opened().dead_letter_groups(which)

    async def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        """Mark the letters that are meant and have a copy of their event."""
        return len(self._opened().replay_dead_letters(which))

    async def drop_dead_letters(self, which: DeadLetterFilter) -> int:
        """Delete the letters that are meant."""
        return self._opened().drop_dead_letters(which)

    async def replays(self, sink: str, limit: int) -> list[Event]:
        """The events that are marked for replay."""
        return self._opened().replays(sink, limit)

    async def settle_replays(self, sink: str, delivered: Collection[int], dead: Sequence[DeadLetter] = ()) -> None:
        """Delete the delivered, keep the others with their news."""
        self._opened().settle_replays(sink, delivered, dead)

    async def lane_states(self) -> dict[str, LaneState]:
        """Per sink, its lane's state."""
        return dict(self._opened().lanes)

    async def store_lane_state(self, state: LaneState) -> None:
        """Replace a lane's state."""
        self._opened().lanes[state.sink] = state

    def damage(self, damage: Damage) -> None:
        """Let it be as if `open` had found this."""
        self._damages.append(damage)
        self._pending.append(damage)

    async def pending_damages(self) -> list[Damage]:
        """What `damage` was told of and is not settled yet."""
        self._opened()
        return list(self._pending)

    async def settle_damages(self, damages: Collection[Damage]) -> None:
        """These are not pending any more."""
        self._opened()
        self._pending = [one for one in self._pending if one not in damages]

    async def retain(self, *, before_ms: int, keep_for: Collection[str], max_bytes: int | None = None) -> int:
        """Delete old events and values; see the port."""
        return self._opened().retain(before_ms=before_ms, keep_for=keep_for, max_bytes=max_bytes)

    async def ping(self) -> None:
        """Memory always answers."""

    async def stats(self) -> JournalStats:
        """Figures; `bytes` counts the events' data."""
        return self._opened().stats(self._damages)

    def _opened(self) -> MemoryStore:
        if not self._open:
            raise JournalError("journal: not open")
        return self._store
