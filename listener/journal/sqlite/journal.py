"""The journal on SQLite: `ports.Journal` for one process on one machine."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from listener.errors import JournalDamaged, JournalError
from listener.journal.sqlite import damage_marker, dead_letters, deferred, rows, search
from listener.journal.sqlite.database import journal_error
from listener.journal.sqlite.lock import Known
from listener.journal.sqlite.store import Store, open_store
from listener.journal.sqlite.writer import Append, Call, Commit, Writer
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
    LaneState,
    LastValue,
    SessionState,
)
from listener.model.filter import EVERY_EVENT, DeadLetterGroup, DeadLetterPage, EventFilter, Found
from listener.model.holes import Holes, events_between
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.worker import Worker

RETENTION_STEP = 1000
"""Events (or chats) that one step of retention looks at: about a millisecond of the writer."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


def size_bytes(path: Path) -> int:
    """Bytes of the database and its WAL on disk; 0 for what is not there."""
    return _size(path) + wal_bytes(path)


def wal_bytes(path: Path) -> int:
    """Bytes of the WAL of the journal at `path`. It grows while another program reads on and on."""
    return _size(path.with_name(f"{path.name}-wal"))


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):  # closing removes the WAL at any moment
        return path.stat().st_size
    return 0


class _Opened:
    """What exists between `open` and `close`."""

    def __init__(self, *, store: Store, writer: Writer, writes: Worker, reads: Worker) -> None:
        self.store = store
        self.writer = writer
        self.reads = reads
        self._writes = writes

    def shut_down(self) -> None:
        """Finish the reads, checkpoint the WAL, release the lock; in the writer's thread, as its last. Blocks."""
        self.reads.shutdown()
        self._writes.shutdown(wait=False)
        self.store.close()


class SqliteJournal:
    """`ports.Journal` in one SQLite file with a write-ahead log.

    Writes go through one worker with group commit, reads through another with a connection of its own, so a long read
    delays no commit; the newest events are read from memory. The file, its WAL and its lock are for the owner only
    (mode 0600). Use it from one event loop.

    Args:
        path: the database; `<path>.lock`, `<path>-wal` and `<path>-shm` stand beside it. The folder must exist.
        on_commit: called on the event loop after each commit.
        max_bytes: how much events may take: then appends with events raise JournalFull until there is room.
        host: time, and the two workers.
        known: what is known of it from elsewhere, asked while it opens, in a thread. Where that is more than it holds,
            the loss is a pending damage, and sequences go on above.
        on_rescue: called on the event loop when it was written anew because its files were taken away.
    """

    def __init__(
        self,
        *,
        path: Path,
        on_commit: Callable[[Committed], None] | None = None,
        max_bytes: int | None = None,
        host: Host = THIS_HOST,
        known: Callable[[], Known | None] = lambda: None,
        on_rescue: Callable[[], None] = lambda: None,
    ) -> None:
        self._host = host
        self._known = known
        self._on_rescue = on_rescue
        self._rescues = 0
        self._max_bytes = max_bytes
        self._path = path
        self._on_commit = on_commit
        self._part: _Opened | None = None
        self._closing: asyncio.Future[None] | None = None
        self._last_sequence = 0
        self._holes: Holes = ()
        self._tail = Tail(last_sequence=0)
        self._waiters: dict[asyncio.Future[None], int] = {}

    async def open(self) -> None:
        """Take ownership, create or migrate the schema; see the port."""
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(None, open_store, self._path, self._host.clock.now_ms, self._known)
        try:
            store = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_discard)
            raise
        writes = self._host.new_worker("journal-writer")
        writer = Writer(
            path=self._path,
            handle=store.handle,
            last_sequence=store.last_sequence,
            deferred=store.deferred,
            worker=writes,
            settled=self._settled,
            monotonic_s=self._host.clock.monotonic_s,
            max_bytes=self._max_bytes,
        )
        reads = self._host.new_worker("journal-reader")
        self._part = _Opened(store=store, writer=writer, writes=writes, reads=reads)
        self._closing = None
        self._rescues = 0
        self._last_sequence = store.last_sequence
        self._holes = store.holes
        self._tail = Tail(last_sequence=store.last_sequence)
        _log.info("journal_opened", path=str(self._path), last_sequence=store.last_sequence)

    async def close(self) -> None:
        """Finish what is queued and release the journal. Idempotent; cancelling does not stop the closing."""
        if self._part is not None:
            part, self._part = self._part, None
            self._closing = part.writer.stop(part.shut_down)
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_exception(self._closed())
        if self._closing is not None:
            await asyncio.shield(self._closing)

    @property
    def last_sequence(self) -> int:
        """Sequence of the newest durable event, 0 before the first; retention does not set it back."""
        return self._last_sequence

    def events_between(self, after: int, through: int) -> int:
        """How many events there are above `after`, up to `through`."""
        return events_between(after, through, self._holes)

    @property
    def trouble(self) -> str | None:
        """What is missing of the files while they are removed, replaced or moved and not back in place."""
        missing = self._part.store.handle.taken_away if self._part is not None else None
        return None if missing is None else f"the journal's files were taken away: {missing}"

    @property
    def size_bytes(self) -> int:
        """Bytes of the database and its WAL on disk."""
        return size_bytes(self._path)

    async def append(self, batch: JournalBatch) -> int:
        """Store the batch atomically; see the port."""
        writer = self._opened().writer
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        # Whoever appends has gathered what this turn of the loop brought.
        writer.submit(Append(batch=batch, arrived_s=self._host.clock.monotonic_s(), future=future), at_once=True)
        return await future

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        """At most `limit` durable events above `after`: from memory where they are still there, else from the file."""
        self._opened()
        recent = self._tail.read(after, limit)
        if recent is not None:
            return recent
        return await self._query(partial(rows.select_events, after=after, limit=limit))

    async def search(self, which: EventFilter = EVERY_EVENT, *, before: int | None = None, limit: int) -> Found:
        """The newest events that are meant, from the file; see the port."""
        return await self._query(partial(search.search_back, which=which, before=before, limit=limit))

    async def wait_beyond(self, sequence: int) -> None:
        """Return once `last_sequence` is above `sequence`. Cancelling is safe."""
        self._opened()
        if self._last_sequence > sequence:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = sequence
        try:
            await waiter
        finally:
            del self._waiters[waiter]

    async def cursors(self) -> dict[str, int]:
        """Per sink, the sequence up to which everything is done with."""
        return await self._query(rows.select_cursors)

    async def advance(self, sink: str, sequence: int, dead: Sequence[DeadLetter] = ()) -> None:
        """Move a sink's cursor and store its dead letters, each with a copy of its event; see the port."""

        def work(connection: sqlite3.Connection) -> None:
            rows.advance(connection, sink, sequence)
            dead_letters.insert(connection, dead)

        await self._change(work)

    async def last_values(self, chat_ids: Collection[str]) -> list[LastValue]:
        """Every last value known of these chats."""
        return await self._query(partial(deferred.select_values, chat_ids=tuple(chat_ids)))

    async def sessions(self, accounts: Collection[str] | None = None) -> dict[str, SessionState]:
        """Per account, the last stored session."""
        return _of(accounts, await self._query(deferred.select_sessions))

    async def dead_letters(self, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetter]:
        """The dead letters that are meant, oldest first."""
        return await self._query(partial(dead_letters.select, which=which))

    async def dead_letter_page(self, *, after: int = 0, limit: int, sink: str | None = None) -> DeadLetterPage:
        """Dead letters in journal order; see the port."""
        return await self._query(partial(search.select_page, after=after, limit=limit, sink=sink))

    async def dead_letter_groups(self, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetterGroup]:
        """The dead letters that are meant, by sink and reason."""
        return await self._query(partial(dead_letters.select_groups, which=which))

    async def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        """Mark letters for one more delivery; see the port."""
        return await self._change(partial(dead_letters.mark, which=which))

    async def drop_dead_letters(self, which: DeadLetterFilter) -> int:
        """Delete letters for good; see the port."""
        return await self._change(partial(dead_letters.drop, which=which))

    async def replays(self, sink: str, limit: int) -> list[Event]:
        """Events that are marked for replay; see the port."""
        return await self._query(partial(dead_letters.select_replays, sink=sink, limit=limit))

    async def settle_replays(self, sink: str, delivered: Collection[int], dead: Sequence[DeadLetter] = ()) -> None:
        """The outcome of replays; see the port."""
        await self._change(partial(dead_letters.settle, sink=sink, delivered=tuple(delivered), dead=tuple(dead)))

    async def lane_states(self) -> dict[str, LaneState]:
        """Per sink, what its lane stored last."""
        return await self._query(dead_letters.select_states)

    async def store_lane_state(self, state: LaneState) -> None:
        """Replace a lane's state, durably."""
        await self._change(partial(dead_letters.replace_state, state=state))

    async def pending_damages(self) -> list[Damage]:
        """Damage whose gaps are not on record yet; see the port."""
        return await self._query(partial(dead_letters.select_damages, pending=True))

    async def settle_damages(self, damages: Collection[Damage]) -> None:
        """The gaps of these are on record; see the port."""
        await self._change(partial(dead_letters.settle_damages, damages=tuple(damages)))

    async def retain(self, *, before_ms: int, keep_for: Collection[str], max_bytes: int | None = None) -> int:
        """Delete old events and values in steps of RETENTION_STEP; see the port."""
        kept = tuple(keep_for)
        old = partial(rows.delete_events, before_ms=before_ms, keep_for=kept, limit=RETENTION_STEP)
        deleted = await self._delete(old)
        if max_bytes is not None and await self._query(rows.used_bytes) > max_bytes:
            goal = max_bytes * 9 // 10
            large = partial(rows.delete_beyond, max_bytes=goal, keep_for=kept, limit=RETENTION_STEP)
            deleted += await self._delete(large)
        chat: str | None = "" if before_ms > 0 else None
        while chat is not None:
            chat = await self._change(
                partial(rows.delete_values, before_ms=before_ms, start=chat, limit=RETENTION_STEP)
            )
        return deleted

    async def _delete(self, step: Callable[[sqlite3.Connection], rows.Deleted]) -> int:
        """Repeat a step until nothing is left for it."""
        deleted = 0
        while (done := await self._change(step)).events:
            self._tail.forget_through(done.through)
            deleted += done.events
        if deleted:
            self._holes = await self._query(rows.select_all_holes)
        return deleted

    async def stats(self) -> JournalStats:
        """Figures for the status and the metrics."""
        return await self._query(lambda connection: dead_letters.select_stats(connection, size_bytes(self._path)))

    async def ping(self) -> None:
        """Return once the writer has answered; an empty transaction costs no fsync."""
        with suppress(JournalError):
            await self._change(lambda _: None)

    def _opened(self) -> _Opened:
        if self._part is None:
            raise self._closed()
        return self._part

    def _closed(self) -> JournalError:
        return JournalError(f"journal {self._path}: not open")

    async def _change(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the writer's next transaction."""
        writer = self._opened().writer
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        writer.submit(Call(work=work, future=future))
        return await future

    async def _query(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the reader."""
        part = self._opened()
        try:
            return await part.reads.run(part.store.query, work)
        except (sqlite3.Error, KeyError, ValueError, OSError, JournalDamaged) as exc:
            error = journal_error(self._path, exc)
            if isinstance(error, JournalDamaged):
                damage_marker.leave(self._path, str(error))
            raise error from exc

    def _settled(self, commits: Sequence[Commit]) -> None:
        """What the writer did, on the event loop: memory first, so that whoever is woken finds its events."""
        for commit in commits:
            self._tail.extend(commit.events)
            self._last_sequence = commit.last_sequence
            commit.settle()
        for waiter, sequence in self._waiters.items():
            if self._last_sequence > sequence and not waiter.done():
                waiter.set_result(None)
        rescues = self._part.store.handle.rescues if self._part is not None else self._rescues
        while self._rescues < rescues:
            self._rescues += 1
            self._on_rescue()
        now_s = self._host.clock.monotonic_s()
        for commit in commits:
            if commit.error is None and self._on_commit is not None:
                self._on_commit(
                    Committed(waited_s=commit.waited_s(now_s), fsync_s=commit.fsync_s, events=len(commit.events))
                )


def _of(accounts: Collection[str] | None, sessions: dict[str, SessionState]) -> dict[str, SessionState]:
    if accounts is None:
        return sessions
    wanted = set(accounts)
    return {account: session for account, session in sessions.items() if account in wanted}


def _discard(opening: asyncio.Future[Store]) -> None:
    """Release a journal whose opener was cancelled meanwhile."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
