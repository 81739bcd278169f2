"""Brings events again at a person's command: dead letters, or what was delivered before."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

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


class Source(Protocol):
    """What is to be brought again. Its coroutines raise JournalError, and are called again until they do not."""

    async def next(self) -> list[Event]:
        """The next events, in the order in which they are to come; none while there is nothing."""

    async def settle(self, delivered: Sequence[int], dead: Sequence[DeadLetter]) -> None:
        """The sink has taken the events of these sequences, and never takes those of these letters."""

    def failed(self, left: set[int]) -> None:
        """The events of these sequences are still to be taken."""


class Letters:
    """The dead letters of a lane that are marked for replay.

    What is delivered is a letter no more; what is rejected again stays one, unmarked. What fails keeps the mark, and is
    tried again behind all others.

    Args:
        name: the lane's name.
        journal: where letters and marks are.
        metrics: counts what is delivered.
    """

    def __init__(self, *, name: str, journal: Journal, metrics: Metrics) -> None:
        self._name = name
        self._journal = journal
        self._metrics = metrics
        self._failed: set[int] = set()
        self._log = structlog.get_logger(__name__).bind(sink=name)

    async def next(self) -> list[Event]:
        """Marked events that did not fail in this round; the next round begins when there are no more."""
        marked = await self._journal.replays(self._name, _MOST_AT_ONCE + len(self._failed))
        untried = [event for event in marked if event.sequence not in self._failed]
        if not untried:
            self._failed.clear()
        return (untried or marked)[:_MOST_AT_ONCE]

    async def settle(self, delivered: Sequence[int], dead: Sequence[DeadLetter]) -> None:
        """See `Source`."""
        await self._journal.settle_replays(self._name, delivered, dead)
        self._metrics.count("sink_replayed_total", len(delivered), self._name)
        self._log.info("dead_letters_settled", delivered=len(delivered), rejected=len(dead))

    def failed(self, left: set[int]) -> None:
        """See `Source`."""
        self._failed |= left


class Replays:
    """Brings the events of a source to the sink, between the batches of the lane's stream.

    Such an event is the one it was, its id and sequence included, and comes after younger ones of its chat: that is
    what the person decided who wants it. What nobody has decided comes before the stream goes on: see `revive`. After a
    Retry it is tried again, with growing pauses in which the stream continues, for no longer than the lane's horizon; a
    Park, or a time that the destination names, halts both.

    Args:
        name: the lane's name.
        source: what is to be brought.
        hand_over: brings a batch; None if the sink has taken it.
        destination: shared with the stream.
        journal: where letters are.
        policy: most events at once, and the horizon.
        now_ms: epoch milliseconds, for stamps.
        monotonic: seconds that only run forward: the horizon's clock. It starts anew with the process.
        backoff: pauses between attempts, of their own.
    """

    def __init__(
        self,
        *,
        name: str,
        source: Source,
        hand_over: Callable[[list[Event]], Awaitable[Outcome | None]],
        destination: Destination,
        journal: Journal,
        policy: LanePolicy,
        now_ms: Callable[[], int],
        monotonic: Callable[[], float],
        backoff: Backoff,
    ) -> None:
        self._name = name
        self._source = source
        self._hand_over = hand_over
        self._destination = destination
        self._journal = journal
        self._policy = policy
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._backoff = backoff
        self._wanted = asyncio.Event()
        self._had_its_turn = asyncio.Event()
        self._had_its_turn.set()
        self._attempts: Counter[int] = Counter()
        self._failing: set[int] = set()
        self._failing_since_s: dict[int, float] = {}
        self._log = structlog.get_logger(__name__).bind(sink=name)
        self.last_error: str | None = None

    def wake(self) -> None:
        """There is something."""
        self._wanted.set()

    async def revive(self, ids: Sequence[str]) -> None:
        """Mark these dead letters; the stream waits until they were brought, or were tried in vain."""
        which = DeadLetterFilter(sink=self._name, event_ids=tuple(ids))
        await self._retry_journal(lambda: self._journal.replay_dead_letters(which))
        self._had_its_turn.clear()
        self.wake()

    async def take_turn_of_the_stream(self) -> None:
        """Take the turn at the destination, behind what was revived; whoever calls gives it back."""
        while True:
            await self._had_its_turn.wait()
            await self._destination.turn.acquire()
            if self._had_its_turn.is_set():  # whoever had it before may have parked the sink
                return
            self._destination.turn.release()

    async def run(self) -> None:
        """Deliver what there is, at once what an earlier process left; then whenever it is woken. Until cancelled."""
        self.wake()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while events := await self._retry_journal(self._source.next):
                await self._deliver(events)
            if not self._wanted.is_set():
                self._had_its_turn.set()
            self._attempts.clear()
            self._failing.clear()
            self._failing_since_s.clear()
            self.last_error = None

    async def bring_first(self) -> None:
        """Deliver what an earlier process left, as far as it is brought at once: older events come before younger."""
        if events := await self._retry_journal(self._source.next):
            await self._deliver(events)

    async def _deliver(self, events: Sequence[Event]) -> None:
        """Deliver them before the stream goes on, up to the first batch that holds the rest up."""
        async with self._destination.turn:
            outcome = None
            for first in range(0, len(events), self._policy.batch):
                batch = list(events[first : first + self._policy.batch])
                outcome = await self._hand_over(batch)
                await self._settle(batch, outcome)
                if outcome is not None and (not isinstance(outcome, Reject) or outcome.after_s is not None):
                    break
            if outcome is None:
                return
            self._had_its_turn.set()
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
            await self._retry_journal(lambda: self._source.settle(delivered, dead))
            for sequence in settled:
                del self._attempts[sequence]
                self._failing_since_s.pop(sequence, None)
            self._failing.difference_update(settled)
            self._backoff.reset()
        if isinstance(outcome, Retry | Park):
            self._source.failed(left)
            self._failing |= left
            self.last_error = outcome.reason
        elif not self._failing:
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
