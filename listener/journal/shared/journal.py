"""The journal that replicas share: `ports.Journal` over a database."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import nullcontext
from functools import partial
from typing import TypeVar

import structlog
from msgspec.structs import replace

from listener.errors import JournalError, JournalFenced, JournalLocked, JournalStale, JournalUncertain
from listener.journal.shared.database import Database
from listener.journal.shared.membership import Membership
from listener.journal.shared.moments import ages_ms, by_clocks_of
from listener.journal.tail import Tail
from listener.model.event import (
    EVERY_DEAD_LETTER,
    Committed,
    Damage,
    DeadLetter,
    DeadLetterFilter,
    Event,
    JournalBatch,
    JournalStats,
    Kind,
    LaneState,
    LastValue,
    SessionState,
    rfc3339,
)
from listener.model.filter import EVERY_EVENT, DeadLetterGroup, DeadLetterPage, EventFilter, Found
from listener.model.holes import JUMP, Holes, events_between
from listener.model.replica import Appended
from listener.runtime.backoff import Backoff
from listener.runtime.clock import Moment
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.latch import Latch
from listener.runtime.turn import Turn

_KNOWN_CHATS = 200_000  # more than a recorder knows, so that it is never this memory that is short
_LISTEN_AGAIN_S = 0.5

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class SharedJournal:
    """`ports.Journal` over a `Database`, for one incarnation of a replica, or for a command.

    One append is under way at a time, numbered; other writes go by themselves. `run` has to be at work for
    `last_sequence` to follow other replicas closely; the beats of the membership bring it as well, a little later.

    Args:
        database: where it is stored.
        membership: joins at `open`; its incarnation is the fence of every write. None for a command: that may read,
            mark and drop dead letters, and store the state of a lane.
        on_commit: called on the event loop after each write of this replica.
        host: time, and chance for the pauses.
        known_sequence: of an event that is known to have been durable. A database that ends before it at `open`, one
            that was restored, or a standby that lacked it, has lost events: that is a pending damage.
        known: likewise from elsewhere, asked in a thread at `open`: a sequence, and when its event came (epoch
            milliseconds).
    """

    def __init__(
        self,
        *,
        database: Database,
        membership: Membership | None = None,
        on_commit: Callable[[Committed], None] | None = None,
        host: Host = THIS_HOST,
        known_sequence: int = 0,
        known: Callable[[], tuple[int, int] | None] | None = None,
    ) -> None:
        self._known_sequence = known_sequence
        self._known = known
        self._database = database
        self._membership = membership
        self._on_commit = on_commit
        self._host = host
        self._monotonic_s = host.clock.monotonic_s
        self._backoff = Backoff(first_s=0.1, limit_s=1.0, uniform=host.random.uniform)
        self._is_open = False
        self._last_sequence = 0
        self._size_bytes = 0
        self._holes: Holes = ()
        self._number = 0
        self._turn = Turn()
        self._revisions: OrderedDict[str, int] = OrderedDict()
        self._tail = Tail(last_sequence=0)
        self._moved = Latch()  # opened for a moment by whatever may end a wait
        self._trouble: str | None = None
        if membership is not None:
            membership.on_beat(partial(self._beaten, membership))

    async def open(self) -> None:
        """Connect, and join. Raises JournalLocked if it is open already, JournalError."""
        if self._is_open:
            raise JournalLocked("this journal is open already")
        await self._database.open()
        try:
            joined = self._database.heard(-1) if self._membership is None else self._membership.join()
            self._last_sequence = await joined
            async with nullcontext() if self._membership is None else self._membership.beating():
                await self._look_for_loss()
                self._holes = (await self._database.stats()).holes
        except BaseException:
            await self._database.close()
            raise
        self._tail = Tail(last_sequence=self._last_sequence)
        self._is_open = True

    async def _look_for_loss(self) -> None:
        """What was received after the newest event that is left, up to now, may be missing; sequences go on above."""
        known = None if self._known is None else await asyncio.to_thread(self._known)
        sequence, came_ms = known or (0, 0)
        known_sequence = max(sequence, self._known_sequence)
        if self._membership is None or known_sequence <= self._last_sequence:
            return
        newest = (await self._database.search(EVERY_EVENT, before=None, limit=1)).events
        last_event, newest_ms = (newest[0].sequence, newest[0].received_ms) if newest else (0, came_ms)
        now_ms = self._host.clock.now_ms()
        since_ms = min(now_ms, newest_ms)
        top = known_sequence + JUMP
        begin_above = self._database.begin_above(self._me(), known_sequence, top, (since_ms, now_ms))
        self._last_sequence = max(await self._fenced(begin_above), self._last_sequence)
        _log.error("journal_lost", last_event=last_event, known=known_sequence, since=rfc3339(since_ms))

    async def pending_damages(self) -> list[Damage]:
        """Losses that this or another replica has found; see the port."""
        return [_damage(stretch) for stretch in (await self._opened().losses()).values()]

    async def settle_damages(self, damages: Collection[Damage]) -> None:
        """The gaps of these are on record."""
        losses = await self._opened().losses()
        tops = [top for top, stretch in losses.items() if _damage(stretch) in damages]
        await self._write(self._opened().settle_losses(self._me(), tops))

    @property
    def known_sequence(self) -> int:
        """Of the last event that is known to have been durable; until it has joined, of one that may be lost."""
        return max(self._known_sequence, self._last_sequence)

    async def close(self) -> None:
        """Finish the appends, but none whose outcome is open: that raises JournalUncertain. Idempotent."""
        self._is_open = False
        self._move()
        async with self._turn:
            await self._database.close()

    async def run(self) -> None:
        """Learn of the events of others as they are stored, until cancelled."""
        while True:
            try:
                self._learn(await self._database.heard(self._last_sequence))
            except JournalError:  # the beats tell, and say what is wrong
                await asyncio.sleep(_LISTEN_AGAIN_S)

    @property
    def last_sequence(self) -> int:
        """Sequence of the newest durable event that this replica has heard of."""
        return self._last_sequence

    def events_between(self, after: int, through: int) -> int:
        """How many events there are above `after`, up to `through`, as `stats` told last of holes."""
        return events_between(after, through, self._holes)

    @property
    def trouble(self) -> str | None:
        """Why the last append has no answer yet, or the last beat had none."""
        return self._trouble or (None if self._membership is None else self._membership.trouble)

    @property
    def size_bytes(self) -> int:
        """Bytes that its tables take, as `stats` told last."""
        return self._size_bytes

    def _beaten(self, membership: Membership) -> None:
        if not membership.is_certain():
            self._move()
        self._learn(membership.beaten.last_sequence)

    def _learn(self, sequence: int) -> None:
        if sequence > self._last_sequence:
            self._last_sequence = sequence
            self._move()

    def _move(self) -> None:
        self._moved.set()
        self._moved.clear()

    def _opened(self) -> Database:
        if not self._is_open:
            raise JournalError("journal: not open")
        return self._database

    def _me(self) -> int:
        """The fence of a write."""
        if self._membership is None:
            raise JournalError("journal: only a replica that has joined may write this")
        return self._membership.incarnation

    # --- appends ----------------------------------------------------------------------------------------------------

    async def append(self, batch: JournalBatch) -> int:
        """Store the batch atomically; returns once it is certain that it is stored, or is not. See the port."""
        arrived_s = self._monotonic_s()
        self._opened()
        async with self._turn:
            revisions = self._revisions_of(batch)
            self._number += 1
            began_s = self._monotonic_s()
            appended = await self._until_certain(batch, revisions)
        if appended.stale:
            self._forget(appended.stale)
            raise JournalStale(appended.stale)
        for chat_id in dict.fromkeys(value.chat_id for value in batch.values):
            self._revisions[chat_id] = appended.revision
            self._revisions.move_to_end(chat_id)
        self._forget_oldest()
        self._extend_tail(batch.events, appended.last_sequence)
        self._learn(appended.last_sequence)
        self._committed(began_s, arrived_s=arrived_s, events=len(batch.events))
        return appended.last_sequence

    def _revisions_of(self, batch: JournalBatch) -> dict[str, int]:
        """Of every chat that the batch was classified against. Raises JournalStale for those that are not known."""
        known = self._revisions
        revisions = dict.fromkeys(batch.new_chats, 0)
        chats = [event.subject for event in batch.events if event.kind is Kind.DISPOSITION]
        chats += [value.chat_id for value in batch.values]
        unknown = [chat_id for chat_id in dict.fromkeys(chats) if chat_id not in revisions and chat_id not in known]
        if unknown:
            raise JournalStale(unknown)
        for chat_id in chats:
            if chat_id not in revisions:
                revisions[chat_id] = known[chat_id]
        return revisions

    async def _until_certain(self, batch: JournalBatch, revisions: dict[str, int]) -> Appended:
        """Ask with one number until there is an answer that settles it."""
        number = self._number
        try:
            while True:
                ages = ages_ms(batch.sessions, self._host)
                try:
                    return await self._fenced(self._database.append(self._me(), number, batch, revisions, ages))
                except JournalError as exc:
                    if self._trouble is None and not isinstance(exc, JournalUncertain):
                        raise
                    await self._still_open(exc)  # even if this request did nothing, one before it may have
        finally:
            if self._trouble is not None:
                _log.info("journal_append_settled", number=number)
            self._trouble = None
            self._backoff.reset()

    async def _still_open(self, exc: JournalError) -> None:
        if not self._is_open:
            raise JournalUncertain("journal: closed before it was certain whether the batch is stored") from exc
        if self._trouble is None:
            _log.warning("journal_append_uncertain", number=self._number, error=str(exc), effect="it is asked again")
        self._trouble = str(exc)
        await asyncio.sleep(self._backoff.next())

    def _forget(self, chat_ids: Collection[str]) -> None:
        for chat_id in chat_ids:
            self._revisions.pop(chat_id, None)

    def _forget_oldest(self) -> None:
        while len(self._revisions) > _KNOWN_CHATS:
            self._revisions.popitem(last=False)

    def _extend_tail(self, events: Sequence[Event], last: int) -> None:
        """Keep own events where they follow on what is in memory; over those of others `read` gets on."""
        first = last - len(events) + 1
        if events and first == self._tail.last_sequence + 1:
            self._tail.extend([replace(event, sequence=first + index) for index, event in enumerate(events)])

    def _committed(self, began_s: float, *, arrived_s: float | None = None, events: int = 0) -> None:
        if self._on_commit is not None:
            now_s = self._monotonic_s()
            waited_s = None if arrived_s is None else now_s - arrived_s
            self._on_commit(Committed(waited_s=waited_s, fsync_s=now_s - began_s, events=events))

    async def _fenced(self, call: Awaitable[T]) -> T:
        """Let the membership know if the database says that it is over."""
        try:
            return await call
        except JournalFenced:
            if self._membership is not None:
                self._membership.fence()
            raise

    async def _write(self, call: Awaitable[T]) -> T:
        began_s = self._monotonic_s()
        result = await self._fenced(call)
        self._committed(began_s)
        return result

    # --- events -----------------------------------------------------------------------------------------------------

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """Events above `after`: from memory while it is certain that this replica is one, else from the database."""
        database = self._opened()
        if self._membership is not None and self._membership.is_certain():
            recent = self._tail.read(after, limit)
            if recent:
                return recent
        events = await database.read(after, limit)
        if events and self._membership is not None:
            self._remember(after, events)
        return events

    def _remember(self, after: int, events: Sequence[Event]) -> None:
        """What was read goes on from what is in memory, or lies beyond it: the next reader finds it there."""
        if after > self._tail.last_sequence:
            self._tail = Tail(last_sequence=events[0].sequence - 1)
        if events[0].sequence == self._tail.last_sequence + 1:
            self._tail.extend(events)
        self._learn(events[-1].sequence)

    async def search(self, which: EventFilter = EVERY_EVENT, *, before: int | None = None, limit: int) -> Found:
        """The newest events that are meant; see the port."""
        return await self._opened().search(which, before=before, limit=limit)

    async def wait_beyond(self, sequence: int) -> None:
        """Return once `last_sequence` is above `sequence`. Raises JournalFenced."""
        self._opened()
        while self._last_sequence <= sequence:
            if self._membership is not None:
                self._me()
            await self._moved.wait()
            self._opened()

    async def retain(self, *, before_ms: int, keep_for: Collection[str], max_bytes: int | None = None) -> int:
        """Delete old events and values; see the port."""
        call = self._opened().retain(self._me(), before_ms=before_ms, keep_for=keep_for, max_bytes=max_bytes)
        deleted = await self._write(call)
        if deleted:
            self._tail = Tail(last_sequence=self._tail.last_sequence)
        return deleted

    # --- values and sessions ----------------------------------------------------------------------------------------

    async def last_values(self, chat_ids: Collection[str]) -> list[LastValue]:
        """Every last value of these chats; their revisions are remembered for the appends to come.

        Where that is another than what is remembered, the caller may have newer values by an append of its own, and
        not take these: then nothing is certain, and the next append finds the chat to be stale.
        """
        values, revisions = await self._opened().last_values(chat_ids)
        for chat_id in chat_ids:
            told = revisions.get(chat_id, 0)
            if self._revisions.setdefault(chat_id, told) != told:
                del self._revisions[chat_id]
        self._forget_oldest()
        return values

    async def sessions(self, accounts: Collection[str] | None = None) -> dict[str, SessionState]:
        """Per account, its session, with its moment by the clocks of this host; rather too early than too late."""
        asked_at = Moment.of(self._host.clock)
        return by_clocks_of(self._host, asked_at, await self._opened().sessions(accounts))

    # --- lanes ------------------------------------------------------------------------------------------------------

    async def cursors(self) -> dict[str, int]:
        """Per sink, its cursor."""
        return await self._opened().cursors()

    async def advance(self, sink: str, sequence: int, dead: Sequence[DeadLetter] = ()) -> None:
        """Move a sink's cursor and store its dead letters; see the port."""
        await self._write(self._opened().advance(self._me(), sink, sequence, dead))

    async def dead_letters(self, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetter]:
        """The dead letters that are meant, oldest first."""
        return await self._opened().dead_letters(which)

    async def dead_letter_page(self, *, after: int = 0, limit: int, sink: str | None = None) -> DeadLetterPage:
        """Dead letters in journal order; see the port."""
        return await self._opened().dead_letter_page(after=after, limit=limit, sink=sink)

    async def dead_letter_groups(self, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetterGroup]:
        """See the port."""
        return await self._opened().dead_letter_groups(which)

    async def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        """Mark letters for one more delivery; whoever has their lanes is told."""
        return await self._opened().replay_dead_letters(which)

    async def drop_dead_letters(self, which: DeadLetterFilter) -> int:
        """Delete letters for good."""
        return await self._opened().drop_dead_letters(which)

    async def replays(self, sink: str, limit: int) -> list[Event]:
        """Events that are marked for replay."""
        return await self._opened().replays(sink, limit)

    async def settle_replays(self, sink: str, delivered: Collection[int], dead: Sequence[DeadLetter] = ()) -> None:
        """The outcome of replays."""
        await self._write(self._opened().settle_replays(self._me(), sink, delivered, dead))

    async def lane_states(self) -> dict[str, LaneState]:
        """Per sink, what its lane stored last."""
        return await self._opened().lane_states()

    async def store_lane_state(self, state: LaneState) -> None:
        """Replace a lane's state, durably."""
        me = None if self._membership is None else self._me()
        await self._write(self._opened().store_lane_state(me, state))

    async def stats(self) -> JournalStats:
        """Figures for the status and the metrics."""
        stats = await self._opened().stats()
        self._size_bytes, self._holes = stats.bytes, stats.holes
        return stats

    async def ping(self) -> None:
        """There is no writer of its own here: the beats tell how the database is."""


def _damage(stretch: tuple[int, int]) -> Damage:
    return Damage(at_ms=stretch[1], set_aside="", kept=0, stretches=(stretch,))
