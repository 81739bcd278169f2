"""A lane between a journal in memory and a sink that plays a script."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import Any

from listener.delivery import Lane, LanePolicy
from listener.errors import JournalError, Outcome, Retry
from listener.model.event import DeadLetter, DeadLetterFilter, Event, JournalBatch
from listener.runtime.backoff import Backoff
from listener.runtime.metrics import Metrics
from listener.testing import ManualClock, MemoryJournal, RecordingSink, sample_event

NOW_MS = 1_800_000_000_000
NO_PAUSE = {"first_s": 0.0, "limit_s": 0.0, "floor_s": 0.0}


HOUR_S = 3600.0


class CheckedJournal(MemoryJournal):
    """Checks at every move of a cursor that the sink has what lies below it.

    It can fail to read, to advance, and to store letters.

    Attributes:
        elsewhere: ids of events that the sink need not have.
    """

    def __init__(self, sink: RecordingSink) -> None:
        super().__init__()
        self._sink = sink
        self.elsewhere: set[str] = set()
        self.read_errors: list[JournalError] = []
        self.advance_errors: list[JournalError] = []
        self.letter_errors: list[JournalError] = []
        self.reads = 0

    async def read(self, after: int, limit: int) -> Sequence[Event]:
        self.reads += 1
        if self.read_errors:
            raise self.read_errors.pop(0)
        return await super().read(after, limit)

    async def advance(self, sink: str, sequence: int, dead: Sequence[Any] = ()) -> None:
        if self.advance_errors:
            raise self.advance_errors.pop(0)
        if dead and self.letter_errors:
            raise self.letter_errors.pop(0)
        await super().advance(sink, sequence, dead)
        done = {event.id for event in self._sink.events} | self.elsewhere
        done |= {letter.event_id for letter in await self.dead_letters(DeadLetterFilter(sink=sink))}
        below = await super().read(0, sequence)
        assert [event.id for event in below if event.sequence <= sequence and event.id not in done] == []


class World:
    """A lane and what is around it. `after` is the world before a restart: journal, sink and time go on."""

    def __init__(
        self, *outcomes: Outcome | None, sink: Any = None, after: "World | None" = None, **policy: Any
    ) -> None:
        self.sink = sink or (after.sink if after is not None else RecordingSink())
        self.sink.then(*outcomes)
        self.clock = after.clock if after is not None else ManualClock()
        self.journal = after.journal if after is not None else CheckedJournal(self.sink)
        self.metrics = Metrics()
        self.lane = Lane(
            name="crm",
            kind="webhook",
            sink=self.sink,
            journal=self.journal,
            policy=LanePolicy(**policy),
            metrics=self.metrics,
            now_ms=lambda: NOW_MS,
            backoff=Backoff(**NO_PAUSE),
            monotonic=self.clock.monotonic_s,
        )
        self.task: asyncio.Task[None]
        if isinstance(self.sink, Ailing):
            self.sink.advance = self.clock.advance

    async def end(self) -> None:
        """As the end of the daemon: the lane is cancelled, the journal closed."""
        self.task.cancel()
        try:
            await self.task
        finally:
            await self.journal.close()

    async def store(self, *events: Event) -> None:
        await self.journal.append(JournalBatch(events=events))

    async def number(self, *numbers: int) -> None:
        await self.store(*(sample_event(number) for number in numbers))

    async def drained(self) -> None:
        async with asyncio.timeout(10):
            await self.lane.drained()

    def delivered(self) -> list[int]:
        return [int(event.id.removeprefix("event-")) for event in self.sink.events]

    def attempts(self) -> list[list[int]]:
        return [[int(event.id.removeprefix("event-")) for event in batch] for batch in self.sink.attempts]

    async def cursor(self) -> int:
        return (await self.journal.cursors()).get("crm", 0)

    def count(self, name: str, *labels: str) -> float:
        return self.metrics.value(name, "crm", *labels)

    async def letters(self) -> list[DeadLetter]:
        return await self.journal.dead_letters(DeadLetterFilter(sink="crm"))


class Ailing(RecordingSink):
    """A destination that fails for some events, as a webhook does: the others of a batch are delivered.

    Each call takes `takes_s` of the clock that moves with it.

    Attributes:
        fails_for: ids of the events that it fails for; None is all.
    """

    def __init__(self, *, fails_for: Collection[str] | None = None, takes_s: float = HOUR_S) -> None:
        super().__init__()
        self.fails_for = fails_for
        self.takes_s = takes_s
        self.advance: Callable[[float], None] = lambda _: None

    async def deliver(self, events: Sequence[Event]) -> None:
        await asyncio.sleep(0)
        self.advance(self.takes_s)
        failing = {i for i, event in enumerate(events) if self.fails_for is None or event.id in self.fails_for}
        if failing:
            self.then(Retry("500", delivered=frozenset(range(len(events))) - failing, detail="boom"))
        await super().deliver(events)
