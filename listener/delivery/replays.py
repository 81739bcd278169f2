"""Replays dead letters at a person's command."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from listener.delivery.destination import Destination, left_of, pause_after, refused
from listener.errors import JournalError, Outcome, Park, Retry
from listener.model.event import DeadLetter, DeadLetterFilter, Event
from listener.ports import Journal
from listener.runtime.backoff import Backoff
from listener.runtime.metrics import Metrics

_MOST_AT_ONCE = 50  # the stream waits for that long, and a crash repeats as many
_JOURNAL_RETRY_S = 1.0

T = TypeVar("T")


class Replays:
    """Brings the letters of a lane that are marked for replay to its sink, between the batches of its stream.

    A replayed event is the one it was, its id and sequence included, and comes after younger ones of its chat: that
    is what the person decided who replays it. What is delivered is a letter no more; what is rejected again stays one,
    unmarked. A Retry leaves the mark, and the letter is tried again behind all others, with growing pauses in which the
    stream continues; a Park, or a time that the destination names, halts both.

    Args:
        name: the lane's name.
        destination: shared with the stream.
        journal: where letters and marks are.
        batch: most events at once.
        metrics: counts what is delivered.
        now_ms: epoch milliseconds, for stamps.
        backoff: pauses between attempts, of their own.
    """

    def __init__(
        self,
        *,
        name: str,
        destination: Destination,
        journal: Journal,
        batch: int,
        metrics: Metrics,
        now_ms: Callable[[], int],
        backoff: Backoff,
    ) -> None:
        self._name = name
        self._destination = destination
        self._journal = journal
        self._batch = min(batch, _MOST_AT_ONCE)
        self._metrics = metrics
        self._now_ms = now_ms
        self._backoff = backoff
        self._wanted = asyncio.Event()
        self._attempts: Counter[int] = Counter()
        self._failed: set[int] = set()
        self._log = structlog.get_logger(__name__).bind(sink=name)
        self.last_error: str | None = None

    def wake(self) -> None:
        """Letters were marked."""
        self._wanted.set()

    async def run(self) -> None:
        """Deliver what is marked, at once what an earlier process left; then whenever it is woken. Until cancelled."""
        self.wake()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while events := await self._next():
                await self._deliver(events)
            self._attempts.clear()
            self.last_error = None

    async def _next(self) -> list[Event]:
        """Marked events that did not fail in this round; the next round begins when there are no more."""
        limit = self._batch + len(self._failed)
        marked = await self._retry_journal(lambda: self._journal.replays(self._name, limit))
        untried = [event for event in marked if event.sequence not in self._failed]
        if not untried:
            self._failed.clear()
        return (untried or marked)[: self._batch]

    async def _deliver(self, events: Sequence[Event]) -> None:
        async with self._destination.turn:
            outcome = await self._destination.hand_over(events)
            await self._settle(events, outcome)
            if outcome is None:
                return
            pause_s = pause_after(outcome, self._backoff)
            theirs_alone = isinstance(outcome, Retry) and outcome.after_s is None
            if not theirs_alone:
                await self._destination.wait_after(outcome, pause_s)
        if theirs_alone:
            await self._destination.wait_after(outcome, pause_s)

    async def _settle(self, events: Sequence[Event], outcome: Outcome | None) -> None:
        """Store the result."""
        self._attempts.update(event.sequence for event in events)
        dead = await self._letters(events, outcome)
        left = {event.sequence for event in left_of(events, outcome)}
        settled = [event.sequence for event in events if event.sequence not in left]
        if settled:
            delivered = sorted({*settled} - {letter.sequence for letter in dead})
            await self._retry_journal(lambda: self._journal.settle_replays(self._name, delivered, dead))
            self._metrics.count("sink_replayed_total", len(delivered), self._name)
            self._log.info("dead_letters_settled", delivered=len(delivered), rejected=len(dead))
            for sequence in settled:
                del self._attempts[sequence]
            self._backoff.reset()
        if isinstance(outcome, Retry | Park):
            self._failed |= left
            self.last_error = outcome.reason
        elif not self._failed:
            self.last_error = None

    async def _letters(self, events: Sequence[Event], outcome: Outcome | None) -> list[DeadLetter]:
        """The letters of what was rejected again; the attempts are added to those that they had."""
        again = refused(events, outcome)
        if not again:
            return []
        which = DeadLetterFilter(sink=self._name, event_ids=tuple(event.id for event, _ in again))
        found = await self._retry_journal(lambda: self._journal.dead_letters(which))
        before = {letter.sequence: letter.attempts for letter in found}
        return [
            DeadLetter(
                sink=self._name,
                sequence=event.sequence,
                event_id=event.id,
                reason=refusal.reason,
                answer=refusal.answer,
                attempts=before.get(event.sequence, 0) + self._attempts[event.sequence],
                at_ms=self._now_ms(),
            )
            for event, refusal in again
        ]

    async def _retry_journal(self, work: Callable[[], Awaitable[T]]) -> T:
        """The journal's answer, asked for as often as it takes."""
        while True:
            try:
                return await work()
            except JournalError as exc:
                self._log.warning("replays_delayed", error=str(exc))
                await asyncio.sleep(_JOURNAL_RETRY_S)
