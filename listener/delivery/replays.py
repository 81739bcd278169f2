"""Replays dead letters at a person's command."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from listener.delivery.destination import Destination, error_text, left_of, pause_after, refused
from listener.delivery.policy import LanePolicy
from listener.errors import JournalError, Outcome, Park, Refusal, Reject, Retry
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
    stream continues, for no longer than the lane's horizon; a Park, or a time that the destination names, halts both.

    Args:
        name: the lane's name.
        destination: shared with the stream.
        journal: where letters and marks are.
        policy: most events at once, and the horizon.
        metrics: counts what is delivered.
        now_ms: epoch milliseconds, for stamps.
        monotonic: seconds that only run forward: the horizon's clock. It starts anew with the process.
        backoff: pauses between attempts, of their own.
    """

    def __init__(
        self,
        *,
        name: str,
        destination: Destination,
        journal: Journal,
        policy: LanePolicy,
        metrics: Metrics,
        now_ms: Callable[[], int],
        monotonic: Callable[[], float],
        backoff: Backoff,
    ) -> None:
        self._name = name
        self._destination = destination
        self._journal = journal
        self._policy = policy
        self._metrics = metrics
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._backoff = backoff
        self._wanted = asyncio.Event()
        self._attempts: Counter[int] = Counter()
        self._failed: set[int] = set()
        self._failing_since_s: dict[int, float] = {}
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
            self._failing_since_s.clear()
            self.last_error = None

    async def bring_first(self) -> None:
        """Deliver what an earlier process left, as far as it is brought at once: older events come before younger."""
        if events := await self._next():
            await self._deliver(events)

    async def _next(self) -> list[Event]:
        """Marked events that did not fail in this round; the next round begins when there are no more."""
        limit = _MOST_AT_ONCE + len(self._failed)
        marked = await self._retry_journal(lambda: self._journal.replays(self._name, limit))
        untried = [event for event in marked if event.sequence not in self._failed]
        if not untried:
            self._failed.clear()
        return (untried or marked)[:_MOST_AT_ONCE]

    async def _deliver(self, events: Sequence[Event]) -> None:
        """Deliver them before the stream goes on, up to the first batch that holds the rest up."""
        async with self._destination.turn:
            outcome = None
            for first in range(0, len(events), self._policy.batch):
                batch = events[first : first + self._policy.batch]
                outcome = await self._destination.hand_over(batch)
                await self._settle(batch, outcome)
                if outcome is not None and (not isinstance(outcome, Reject) or outcome.after_s is not None):
                    break
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
        left = {event.sequence for event in left_of(events, outcome)} - {letter.sequence for letter in dead}
        settled = [event.sequence for event in events if event.sequence not in left]
        if settled:
            delivered = sorted({*settled} - {letter.sequence for letter in dead})
            await self._retry_journal(lambda: self._journal.settle_replays(self._name, delivered, dead))
            self._metrics.count("sink_replayed_total", len(delivered), self._name)
            self._log.info("dead_letters_settled", delivered=len(delivered), rejected=len(dead))
            for sequence in settled:
                del self._attempts[sequence]
                self._failing_since_s.pop(sequence, None)
            self._backoff.reset()
        if isinstance(outcome, Retry | Park):
            self._failed |= left
            self.last_error = outcome.reason
        elif not self._failed:
            self.last_error = None

    async def _letters(self, events: Sequence[Event], outcome: Outcome | None) -> list[DeadLetter]:
        """The letters of what was rejected again, or is given up; the attempts are added to those that they had."""
        again = [*refused(events, outcome), *self._given_up(events, outcome)]
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

    def _given_up(self, events: Sequence[Event], outcome: Outcome | None) -> list[tuple[Event, Refusal]]:
        """What has failed for the whole horizon."""
        horizon_s, now_s = self._policy.retry_horizon_s, self._monotonic()
        if horizon_s is None or not isinstance(outcome, Retry):
            return []
        refusal = Refusal(self._policy.given_up, error_text(outcome))
        left = left_of(events, outcome)
        return [
            (event, refusal)
            for event in left
            if now_s - self._failing_since_s.setdefault(event.sequence, now_s) >= horizon_s
        ]

    async def _retry_journal(self, work: Callable[[], Awaitable[T]]) -> T:
        """The journal's answer, asked for as often as it takes."""
        while True:
            try:
                return await work()
            except JournalError as exc:
                self._log.warning("replays_delayed", error=str(exc))
                await asyncio.sleep(_JOURNAL_RETRY_S)
