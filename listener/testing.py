"""Doubles that keep the ports' contracts, for tests of everything above them and of sinks written elsewhere.

`MemoryJournal` passes the same suite as the real journal, `RecordingSink` plays a script of outcomes, `ManualClock`
moves when the test says so, and `sample_event` makes events that look like real ones.
"""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec
from msgspec.structs import replace

from listener.errors import JournalError, JournalLocked, Outcome
from listener.model import (
    Change,
    DeadLetter,
    Disposition,
    Event,
    JournalBatch,
    JournalStats,
    Kind,
    LastValue,
    Origin,
    SessionState,
    rfc3339,
)

SAMPLE_MS = 1_795_340_340_123
"""When sample events are received unless the test says otherwise: 2026-11-22T09:39:00.123Z."""


def sample_event(
    number: int,
    *,
    chat: str = "0000Na9B26EF003M",
    account: str = "agent1",
    change: Change = Change.SET,
    received_ms: int = SAMPLE_MS,
    data_bytes: int = 0,
) -> Event:
    """A disposition event with id `event-<number>` and sequence 0; `data` is padded to at least `data_bytes`."""
    time_text = rfc3339(received_ms)
    data = Disposition(
        change=change,
        key="DispositionCode",
        disposition="IssueResolved",
        previous=None,
        chat_id=chat,
        chat_state="Chatting",
        chat_uri=f"http://127.0.0.1/api/v2/me/chats/{chat}",
        reference_id=number,
        account=account,
        received_at=time_text,
        origin=Origin.NOTIFICATION,
    )
    encoded = msgspec.json.encode(data)
    padding = data_bytes - len(encoded) - len('"note":""')
    if padding > 0:
        encoded = msgspec.json.encode(replace(data, user_data={"note": "x" * padding}))
    return Event(
        id=f"event-{number}",
        type="disposition-listener.chat.disposition",
        source="http://127.0.0.1/api/v2/me/chats",
        subject=chat,
        time=time_text,
        kind=Kind.DISPOSITION,
        account=account,
        change=change,
        received_ms=received_ms,
        data=encoded,
    )


class ManualClock:
    """Time that stands still until `advance`. Its methods stand in for the wall clock, the monotonic clock and sleep.

    Args:
        start_ms: wall clock at the start, epoch milliseconds; the monotonic clock starts at 0.
    """

    def __init__(self, *, start_ms: int = 1_800_000_000_000) -> None:
        self._start_ms = start_ms
        self._elapsed_s = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    def now_ms(self) -> int:
        """The wall clock in epoch milliseconds."""
        return self._start_ms + round(self._elapsed_s * 1000)

    def monotonic(self) -> float:
        """The monotonic clock in seconds."""
        return self._elapsed_s

    @property
    def sleepers(self) -> int:
        """How many tasks are asleep."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, delay_s: float) -> None:
        """Return when the clock has been advanced by `delay_s`; a delay of 0 or less only lets others run."""
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_s + delay_s, next(self._order), future))
        self._arrived.set()
        await future

    async def wait_for_sleepers(self, count: int = 1) -> None:
        """Return once at least `count` tasks are asleep: then `advance` cannot come too early."""
        while self.sleepers < count:
            self._arrived.clear()
            await self._arrived.wait()

    def advance(self, seconds: float) -> None:
        """Move both clocks and wake, in the order of their time, the sleepers that are due."""
        self._elapsed_s += seconds
        while self._sleepers and self._sleepers[0][0] <= self._elapsed_s:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)


class RecordingSink:
    """A sink that plays a script: one outcome a `deliver`, None for success; after the script all succeed.

    Attributes:
        attempts: every batch that was handed in, taken or not.
        events: what is durable "at the destination", in order of arrival, repetitions included.
        opened: how often `open` was called.
        closed: how often `close` was called.
        open_error: raised by `open` and `check` while set.
    """

    def __init__(self, outcomes: Iterable[Outcome | None] = ()) -> None:
        self._script = list(outcomes)
        self._gate = asyncio.Event()
        self._gate.set()
        self._changed = asyncio.Event()
        self.attempts: list[tuple[Event, ...]] = []
        self.events: list[Event] = []
        self.opened = 0
        self.closed = 0
        self.open_error: Exception | None = None

    def then(self, *outcomes: Outcome | None) -> None:
        """Add to the script."""
        self._script += outcomes

    def hold(self) -> None:
        """Let `deliver` wait, as at a slow destination, until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Let waiting deliveries go on."""
        self._gate.set()

    async def open(self) -> None:
        """Count, or raise `open_error`."""
        self.opened += 1
        if self.open_error is not None:
            raise self.open_error

    async def check(self) -> None:
        """Raise `open_error`, if there is one."""
        if self.open_error is not None:
            raise self.open_error

    async def deliver(self, events: Sequence[Event]) -> None:
        """Play the next outcome; what it names as `delivered` is recorded as durable."""
        self.attempts.append(tuple(events))
        self._changed.set()
        await self._gate.wait()
        outcome = self._script.pop(0) if self._script else None
        taken = range(len(events)) if outcome is None else sorted(outcome.delivered)
        self.events += [events[index] for index in taken]
        self._changed.set()
        if outcome is not None:
            raise outcome

    async def close(self) -> None:
        """Count."""
        self.closed += 1

    async def wait_for_events(self, count: int) -> None:
        """Return once at least `count` events are durable."""
        await self._until(lambda: len(self.events) >= count)

    async def wait_for_attempts(self, count: int) -> None:
        """Return once `deliver` has been called at least `count` times."""
        await self._until(lambda: len(self.attempts) >= count)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self._changed.clear()
            await self._changed.wait()


class MemoryJournal:
    """`ports.Journal` in memory: the whole contract but surviving the process. `close` and `open` play a restart."""

    def __init__(self) -> None:
        self._open = False
        self._last_sequence = 0
        self._events: list[Event] = []
        self._values: dict[tuple[str, str], LastValue] = {}
        self._sessions: dict[str, SessionState] = {}
        self._cursors: dict[str, int] = {}
        self._dead: dict[tuple[str, int], DeadLetter] = {}
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

    async def append(self, batch: JournalBatch) -> int:
        """Store the batch; returns the sequence of its last event."""
        self._require_open()
        if (error := self._next_failure()) is not None:
            raise error
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

    async def last_values(self, chat_ids: Collection[str]) -> list[LastValue]:
        """Every last value of these chats."""
        self._require_open()
        return [value for value in self._values.values() if value.chat_id in chat_ids]

    async def sessions(self) -> dict[str, SessionState]:
        """Per account, its session."""
        self._require_open()
        return dict(self._sessions)

    async def forget_session(self, account: str) -> None:
        """Drop an account's session."""
        self._require_open()
        self._sessions.pop(account, None)

    async def dead_letters(self, sink: str | None = None) -> list[DeadLetter]:
        """The dead letters, oldest first."""
        self._require_open()
        found = [letter for letter in self._dead.values() if sink in (None, letter.sink)]
        return sorted(found, key=lambda letter: (letter.at_ms, letter.sequence, letter.sink))

    async def retain(self, *, before_ms: int, keep_for: Collection[str]) -> int:
        """Delete old events and values; see the port."""
        self._require_open()
        floor = min([self._last_sequence, *(self._cursors.get(sink, 0) for sink in keep_for)])
        old = itertools.takewhile(lambda event: event.sequence <= floor and event.received_ms < before_ms, self._events)
        deleted = len(list(old))
        del self._events[:deleted]
        young = {value.chat_id for value in self._values.values() if value.received_ms >= before_ms}
        self._values = {place: value for place, value in self._values.items() if value.chat_id in young}
        return deleted

    async def stats(self) -> JournalStats:
        """Figures; `bytes` counts the events' data."""
        self._require_open()
        oldest = self._events[0] if self._events else None
        sinks = [letter.sink for letter in self._dead.values()]
        return JournalStats(
            first_sequence=oldest.sequence if oldest else 0,
            last_sequence=self._last_sequence,
            events=len(self._events),
            bytes=sum(len(event.data) for event in self._events),
            cursors=dict(self._cursors),
            dead_letters={sink: sinks.count(sink) for sink in sinks},
            oldest_ms=oldest.received_ms if oldest else None,
        )

    def _require_open(self) -> None:
        if not self._open:
            raise JournalError("journal: not open")
