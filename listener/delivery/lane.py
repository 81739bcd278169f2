"""The delivery worker of one sink."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog

from listener.delivery.attempts import Attempts
from listener.delivery.destination import Destination, Tested, error_text, left_of, pause_after, refused, retry_after_of
from listener.delivery.pace import Pace
from listener.delivery.policy import LanePolicy, first_of_others
from listener.delivery.refusals import Refusals
from listener.delivery.replays import Letters, Replays, Source
from listener.delivery.resends import Resends
from listener.delivery.retry_state import RetryState
from listener.errors import JournalError, Outcome, Park, Refusal, Reject, Retry
from listener.model.condition import Attempt
from listener.model.event import DeadLetter, DeadLetterFilter, Event, LaneStatus, epoch_ms
from listener.ports import Journal, Sink
from listener.runtime.backoff import Backoff
from listener.runtime.clock import SYSTEM_CLOCK
from listener.runtime.metrics import Metrics

_NAMED_AT_MOST = 10  # sequences in one log line
_WITNESSES = 2
_CURSOR_LAG_S = 0.05
_JOURNAL_RETRY_S = 1.0


class Lane:
    """The delivery worker of one sink.

    Events go in journal order. The cursor moves past an event once the sink has made it durable, has rejected it (a
    dead letter), or its settings exclude it. A failed batch is retried with growing pauses, for ever or up to the
    policy's horizon; then the rest of it is tried one last time, event by event, and whatever fails becomes a dead
    letter. If an event becomes one while an earlier event of its batch is still retried, the cursor waits but the dead
    letter is stored: no later start delivers that event again, after younger ones of its chat. A sink that needs a
    person is parked until `resume`. Replayed dead letters, and what is resent, go between the batches.

    Args:
        name: the sink's name in the configuration.
        kind: its type.
        sink: the destination.
        journal: where events, the cursor, letters and the lane's state are.
        policy: what goes there.
        metrics: counts deliveries.
        now_ms: epoch milliseconds, for stamps.
        backoff: pauses between attempts.
        monotonic: seconds that only run forward: the horizon's clock.
        certainty: returns once no other process can have the lane; awaited before each attempt. See `Duties`.
        on_delivered: told once a batch how many events were, and how many seconds ago the oldest was received.
    """

    def __init__(
        self,
        *,
        name: str,
        kind: str,
        sink: Sink,
        journal: Journal,
        policy: LanePolicy,
        metrics: Metrics,
        now_ms: Callable[[], int],
        backoff: Backoff | None = None,
        monotonic: Callable[[], float] = SYSTEM_CLOCK.monotonic_s,
        certainty: Callable[[], Awaitable[None]] | None = None,
        on_delivered: Callable[[int, float], None] | None = None,
    ) -> None:
        self.name = name
        self._kind, self._on_delivered = kind, on_delivered
        self._journal, self._policy, self._metrics = journal, policy, metrics
        self._now_ms, self._monotonic, self._moved_at_s = now_ms, monotonic, monotonic()
        self._backoff = backoff or Backoff(first_s=0.5, limit_s=60.0)
        self._progress, self._moved, self._at_rest = asyncio.Event(), asyncio.Event(), asyncio.Event()
        state = RetryState(sink=name, journal=journal, policy=policy, now_ms=now_ms, monotonic=monotonic)
        self._retry_state, self._pace, self._refusals = state, Pace(monotonic), Refusals(policy.park_after_refusals)
        self._destination = Destination(
            name=name,
            sink=sink,
            retry_state=state,
            metrics=metrics,
            policy=policy,
            on_park=self._progress.set,
            is_failing=lambda: self._is_failing,
            attempts=Attempts(now_ms=now_ms, monotonic=monotonic),
            certainty=certainty,
        )
        self._replays = self._again(Letters(name=name, journal=journal, metrics=metrics), self._destination.hand_over)
        self._resends = Resends(name=name, journal=journal, policy=policy, retry_state=state, metrics=metrics)
        self._resending = self._again(self._resends, self._hand_over)
        self._cursor = self._stored = self._oldest_ms = self._delivered = self._batch_end = 0
        self._already_dead, self._ahead = set[tuple[int, str]](), set[int]()
        self._last_error: str | None = None
        self._idle = self._is_to_rest = False
        self._log = structlog.get_logger(__name__).bind(sink=name)

    def _again(self, source: Source, hand_over: Callable[[list[Event]], Awaitable[Outcome | None]]) -> Replays:
        return Replays(
            name=self.name,
            source=source,
            hand_over=hand_over,
            destination=self._destination,
            journal=self._journal,
            policy=self._policy,
            now_ms=self._now_ms,
            monotonic=self._monotonic,
            backoff=copy.copy(self._backoff),
        )

    async def run(self) -> None:
        """Deliver until cancelled, which is safe at any point. The sink is closed on the way out."""
        try:
            self._cursor = self._stored = (await self._journal.cursors()).get(self.name, 0)
            self._already_dead = await self._dead_ahead()
            await self._retry_state.restore()
            self._last_error = self._retry_state.state.last_error
            await self._find_oldest()
            await self._destination.wait_on()
            await self._destination.open(self._backoff)
            self._backoff.reset(self._retry_state.attempts)
            await self._replays.bring_first()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry_all(tasks), name=f"delivery {self.name}")
                tasks.create_task(self._store_cursor(), name=f"cursor {self.name}")
                tasks.create_task(self._replays.run(), name=f"replays {self.name}")
                tasks.create_task(self._resending.run(), name=f"resends {self.name}")
        finally:
            await self._destination.close()

    async def _dead_ahead(self) -> set[tuple[int, str]]:
        """Events above the cursor that an earlier process made dead letters; with their ids, to be certain."""
        letters = await self._journal.dead_letters(DeadLetterFilter(sink=self.name, after=self._cursor))
        return {(letter.sequence, letter.event_id) for letter in letters}

    async def answered(self) -> None:
        """Return once the sink is open, or waits for something; where the host refuses it, `run` raises."""
        await self._destination.has_answered.wait()

    async def drained(self) -> None:
        """Return once everything in the journal is delivered and the cursor stored; at once if the sink is parked."""
        while self._stored < self._journal.last_sequence and self._destination.parked is None:
            self._progress.clear()
            await self._progress.wait()

    async def rest(self) -> None:
        """Return once the batch under way is done with; none follows. One that is tried in vain may be for ever."""
        self._is_to_rest = True
        if self._idle:
            self._at_rest.set()
        await self._at_rest.wait()

    def resume(self, *, by_command: bool = False) -> bool:
        """Resume after a park; returns whether the sink was parked. See `Destination.resume`."""
        resumed = self._destination.resume(by_command=by_command)
        if resumed:
            self._note_progress()
            if by_command:
                self._refusals.excuse()
        return resumed

    def try_now(self) -> bool:
        """Make the next attempt at once; returns whether the lane waited for it after a failure."""
        return self._destination.try_now()

    def reopen(self) -> None:
        """Files may have been rotated: reopen them."""
        self._destination.reopen()

    async def send_test_event(self, event: Event) -> Tested:
        """Send a test event to the sink, ahead of waiting events; None if it was taken."""
        return await self._destination.send_test_event(event)

    def replay(self) -> None:
        """Dead letters of this sink have been marked for replay in the journal."""
        self._replays.wake()

    async def resend(self, after: int, through: int) -> None:
        """Deliver again what is above `after`, up to `through`, as far as it was delivered, beside what is new.

        It replaces what is still to be delivered again, and is on record once this returns. Raises JournalError.
        """
        await self._retry_state.restored.wait()
        await self._resends.begin(after, min(through, self._cursor))
        self._resending.wake()

    async def cancel_resend(self) -> int:
        """Deliver nothing again any more; returns how many events were left. Raises JournalError."""
        return await self._resends.cancel()

    def attempts(self, limit: int) -> tuple[Attempt, ...]:
        """The last attempts, newest first."""
        return self._destination.attempts.newest(limit)

    def status(self) -> LaneStatus:
        """The lane at this moment."""
        return LaneStatus(
            sink=self.name,
            kind=self._kind,
            cursor=self._cursor,
            lag=self._lag,
            delivered=self._delivered,
            failures=self._destination.failures,
            parked=self._destination.parked,
            last_error=self._trouble,
            stalled_s=self._stalled_s(),
            quiet_s=round(self._destination.quiet_s, 1),
            lag_s=self._lag_s(),
            resend_left=self._resends.left,
            failing_s=round(self._destination.failing_s, 1) if self._is_failing else None,
            next_attempt_s=self._destination.next_attempt_s,
        )

    @property
    def _trouble(self) -> str | None:
        stream = self._destination.opening_error or self._last_error
        return stream or self._replays.last_error or self._resending.last_error

    @property
    def _is_failing(self) -> bool:
        """Not where nothing is left of what failed in the stream, as when a reload excludes it."""
        return self._trouble is not None and (self._lag > 0 or self._last_error is None)

    @property
    def _lag(self) -> int:
        return self._journal.events_between(self._cursor, self._journal.last_sequence)

    def _stalled_s(self) -> float:
        if self._idle or not self._lag or self._destination.parked is not None:
            return 0.0
        return round(self._monotonic() - self._moved_at_s, 1)

    def _lag_s(self) -> float:
        """Age of the oldest event not delivered; between two batches, that of the last one which is."""
        if not self._lag or not self._oldest_ms:
            return 0.0
        return max(0, self._now_ms() - self._oldest_ms) / 1000

    async def _find_oldest(self) -> None:
        """Set the age of the oldest waiting event: nothing is read before the sink is open. Tell what was deleted."""
        with suppress(JournalError):
            for event in await self._journal.read(self._cursor, 1):
                self._oldest_ms = event.received_ms
                if 0 < self._cursor < event.sequence - 1 and event in await self._journal.read(0, 1):
                    self._log.warning("events_already_deleted", after=self._cursor, up_to=event.sequence - 1)

    def _note_progress(self) -> None:
        self._moved_at_s = self._monotonic()

    async def _carry_all(self, tasks: asyncio.TaskGroup) -> None:
        """Batch after batch. Far behind, the next one is read while one is delivered."""
        following: Sequence[Event] = ()
        while not self._is_to_rest:
            newest = self._journal.last_sequence
            try:
                events = following or await self._journal.read(self._cursor, self._policy.batch)
            except JournalError as exc:
                self._log.error("journal_cannot_be_read", error=str(exc))
                await asyncio.sleep(_JOURNAL_RETRY_S)
                continue
            following = ()
            if len(events) == self._policy.batch:
                reading = tasks.create_task(self._read_ahead(events[-1].sequence), name=f"reading for {self.name}")
                await self._carry(events)
                following = await reading
            elif events:
                await self._carry(events)
                if pause_s := self._pace.pause_s(len(events)):
                    await asyncio.sleep(pause_s)
            elif newest > self._cursor:
                await self._skip_to(newest)
            else:
                await self._wait_for_events()
        self._at_rest.set()

    async def _wait_for_events(self) -> None:
        self._idle = True
        await self._journal.wait_beyond(self._cursor)
        self._idle = False
        self._note_progress()

    async def _skip_to(self, newest: int) -> None:
        """Skip events that retention deleted while this sink was not configured."""
        self._log.warning("events_already_deleted", after=self._cursor, up_to=newest)
        await self._advance(newest)
        self._cursor = newest

    async def _carry(self, events: Sequence[Event]) -> None:
        """Settle one batch: delivered, dead or excluded."""
        self._oldest_ms, self._batch_end = events[0].received_ms, events[-1].sequence
        wanted = self._policy.wanted(events)
        dead = await self._deliver(wanted) if wanted else 0
        self._cursor, self._oldest_ms = events[-1].sequence, events[-1].received_ms
        self._note_progress()
        self._moved.set()
        self._count(events, wanted, dead)

    async def _store_cursor(self) -> None:
        """Store the cursor a little behind the deliveries: one commit for many batches.

        A crash in between costs repeated deliveries with the same ids.
        """
        while True:
            await self._moved.wait()
            await asyncio.sleep(_CURSOR_LAG_S)
            self._moved.clear()
            await self._advance(self._cursor)
            await self._retry_state.store()

    async def _advance(self, sequence: int, dead: Sequence[DeadLetter] = ()) -> None:
        """Store the cursor, as often as it takes: a full disk stops no delivery."""
        logged = False
        while True:
            try:
                await self._journal.advance(self.name, sequence, dead)
            except JournalError as exc:
                if not logged:
                    self._log.warning("cursor_not_stored", error=str(exc), effect="retried until it is stored")
                logged = True
                await asyncio.sleep(_JOURNAL_RETRY_S)
            else:
                self._stored = max(self._stored, sequence)
                self._progress.set()
                return

    def _count(self, events: Sequence[Event], wanted: Sequence[Event], dead: int) -> None:
        """Once a batch."""
        self._delivered += len(wanted) - dead
        self._metrics.count("sink_delivered_total", len(wanted) - dead, self.name)
        self._metrics.count("sink_skipped_total", len(events) - len(wanted), self.name)
        if wanted:
            now_ms, first = self._now_ms(), wanted[0]
            since_ms = {"sink_latency_seconds": first.received_ms, "end_to_end_latency_seconds": epoch_ms(first.time)}
            for name, began_ms in since_ms.items():
                self._metrics.observe(name, max(0, now_ms - began_ms) / 1000, self.name)
            if self._on_delivered is not None:
                self._on_delivered(len(wanted) - dead, max(0, now_ms - first.received_ms) / 1000)

    async def _deliver(self, wanted: list[Event]) -> int:
        """Deliver the batch until nothing of it is left; returns how many of its events are dead."""
        left, dead = wanted, 0
        if self._already_dead:
            left = [event for event in wanted if (event.sequence, event.id) not in self._already_dead]
            dead = len(wanted) - len(left)
        if self._ahead:
            left = [event for event in left if event.sequence not in self._ahead]
            self._ahead = {sequence for sequence in self._ahead if sequence > self._batch_end}
        if not left:
            return dead
        self._retry_state.begin(left[0].sequence)
        while left:
            await self._replays.take_turn_of_the_stream()
            try:
                left, died = await self._attempt(left)
            finally:
                self._destination.turn.release()
            dead += died
        self._recovered()
        return dead

    async def _attempt(self, left: list[Event]) -> tuple[list[Event], int]:
        """Try what is left of a batch; at the end of the horizon its first event alone, one last time.

        Returns what is left then, after the pause that a failure asks for, and how many events have died.
        """
        last = self._retry_state.is_over
        if self._retry_state.may_be_one_event and not last:
            return await self._single_out(left)
        brought, later = (left[:1], left[1:]) if last else (left, [])
        outcome = await self._hand_over(brought)
        if outcome is not None:
            return await self._fail(brought, later, outcome, given_up=self._policy.given_up if last else None)
        await self._move_on(brought, later)
        return later, 0

    async def _single_out(self, left: list[Event]) -> tuple[list[Event], int]:
        """Bring the events singly, and set the first aside that fails although another chat's was just taken.

        Where none of the others is taken either, or there is none, it is not the event: the lane waits on.
        """
        while left:
            taken, trouble = await self._take_another(left)
            left = [event for event in left if event is not taken]
            if trouble is not None:
                return await self._fail([], left, trouble)
            outcome = await self._hand_over(left[:1])
            if outcome is not None:
                return await self._fail(left[:1], left[1:], outcome, given_up=self._policy.set_aside if taken else None)
            await self._move_on(left[:1], left[1:])
            left = left[1:]
        return [], 0

    async def _take_another(self, left: list[Event]) -> tuple[Event | None, Outcome | None]:
        """Bring the first event of another chat, of this batch or of the next; two of them are asked at most.

        Returns the one that was taken, which the lane passes over from now on, or what stops them all.
        """
        for event in (await self._others(left))[:_WITNESSES]:
            outcome = await self._hand_over([event])
            if outcome is None:
                self._ahead.add(event.sequence)
                return event, None
            if isinstance(outcome, Park) or retry_after_of(outcome):
                return None, outcome
        return None, None

    async def _others(self, left: list[Event]) -> list[Event]:
        """The first event of each chat but that of the head; of the next batch where this one has none."""
        following = [event for event in await self._read_ahead(self._batch_end) if self._is_due(event)]
        return first_of_others(left[0], left) or first_of_others(left[0], following)

    async def _read_ahead(self, after: int) -> Sequence[Event]:
        """A batch beyond the present one; nothing where it cannot be read now."""
        try:
            return await self._journal.read(after, self._policy.batch)
        except JournalError:
            return ()

    def _is_due(self, event: Event) -> bool:
        is_done = event.sequence in self._ahead or (event.sequence, event.id) in self._already_dead
        return not is_done and self._policy.wants(event)

    async def _hand_over(self, events: list[Event]) -> Outcome | None:
        """One call. Where it parks the sink for its refusals, the dead letters of that row come again with the rest."""
        outcome = self._refusals.judge(events, await self._destination.hand_over(events))
        if ids := self._refusals.revived():
            await self._replays.revive(ids)
        return outcome

    async def _move_on(self, taken: list[Event], later: list[Event]) -> None:
        """Keep what is taken before the rest is brought."""
        if later:
            self._retry_state.move_to(later[0].sequence)
            await self._keep_progress(taken, later, ())

    async def _fail(
        self, brought: list[Event], later: list[Event], outcome: Outcome, *, given_up: str | None = None
    ) -> tuple[list[Event], int]:
        """What a failure leads to; `given_up` is the reason in the letter of what is not to be tried again."""
        pause_s = pause_after(outcome, None if given_up else self._backoff)
        is_over = self._retry_state.is_over
        self._retry_state.failed(outcome.reason, pause_s)
        dead = [self._dead_letter(event, refusal) for event, refusal in refused(brought, outcome)]
        left = left_of(brought, outcome)
        gone = given_up is not None and isinstance(outcome, Retry) and bool(left)
        if gone:
            dead = [self._dead_letter(left.pop(), Refusal(given_up or "", error_text(outcome)))]
        left += later
        if left:
            move = self._retry_state.give_up if gone and is_over else self._retry_state.move_to
            move(left[0].sequence)
        self._log_failures(dead, outcome)
        await self._keep_progress(brought, left, dead)
        if len(left) < len(brought) + len(later):
            self._note_progress()
        if not isinstance(outcome, Reject):
            self._last_error = outcome.reason
            await self._retry_state.store_now_and_then()
        if pause_s or not gone:
            await self._destination.wait_after(outcome, pause_s)
        return left, len(dead)

    def _log_failures(self, dead: Sequence[DeadLetter], outcome: Outcome) -> None:
        """One line for all of them; the dead letters hold their own reasons."""
        if dead:
            self._metrics.count("sink_dead_letters_total", len(dead), self.name)
            event = "events_rejected" if isinstance(outcome, Reject) else "events_given_up"
            sequences = [letter.sequence for letter in dead[:_NAMED_AT_MOST]]
            self._log.error(event, events=len(dead), sequences=sequences, reason=outcome.reason)

    async def _keep_progress(self, brought: Sequence[Event], left: Sequence[Event], dead: Sequence[DeadLetter]) -> None:
        """What is before the first event left is done with, and so are dead letters: neither waits for the rest.

        `_cursor` comes after the letters: it may be stored by itself at any moment.
        """
        done = left[0].sequence - 1 if left else brought[-1].sequence
        self._oldest_ms = left[0].received_ms if left else self._oldest_ms
        if dead or done > self._cursor:
            await self._advance(max(self._cursor, done), dead)
            self._cursor = max(self._cursor, done)

    def _recovered(self) -> None:
        self._backoff.reset()
        self._retry_state.clear()
        if self._last_error is not None:
            self._log.info("delivery_recovered")
        self._last_error = None

    def _dead_letter(self, event: Event, refusal: Refusal) -> DeadLetter:
        return DeadLetter(
            sink=self.name,
            sequence=event.sequence,
            event_id=event.id,
            reason=refusal.reason,
            answer=refusal.answer,
            attempts=self._retry_state.attempts,
            at_ms=self._now_ms(),
        )
