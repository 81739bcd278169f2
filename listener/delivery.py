"""Delivery lanes: each takes the journal to one sink at its own pace, and keeps everything until the sink has it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
import structlog

from listener.backoff import Backoff
from listener.errors import JournalError, Outcome, Park, Reject, Retry, StartError
from listener.metrics import Metrics
from listener.model import Change, DeadLetter, Event, Kind, LaneStatus
from listener.ports import Journal, Sink

log = structlog.get_logger(__name__)

_CLOSE_S = 5.0
_NAMED_AT_MOST = 10  # sequences in one log line
_PARKED_S = 300.0  # who mends a destination need not tell us: a parked lane looks for itself now and then
_DISTANCE_S = 0.02
_CURSOR_LAG_S = 0.05
_JOURNAL_RETRY_S = 1.0


class LanePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What a lane does whatever its sink: which events go there, how many at once."""

    batch: int = 500
    changes_only: bool = False
    gaps: bool = True

    def wants(self, event: Event) -> bool:
        """Whether the sink gets this event."""
        if event.kind is Kind.GAP:
            return self.gaps
        return not (self.changes_only and event.change is Change.UNCHANGED)


class Lane:
    """One sink's way through the journal.

    Events go in journal order; the cursor follows only what the sink has made durable, what it can never take (dead
    letters) and what its settings leave out. A sink that fails is tried again for ever, with growing pauses; one that
    needs a person parks the lane until `resume`.

    Args:
        name: the sink's name in the configuration.
        kind: its type.
        sink: the destination.
        journal: where events and the cursor are.
        policy: what goes there.
        metrics: counts deliveries.
        now_ms: epoch milliseconds, for stamps.
        backoff: pauses between attempts.
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
    ) -> None:
        self.name = name
        self._kind = kind
        self._sink = sink
        self._journal = journal
        self._policy = policy
        self._metrics = metrics
        self._now_ms = now_ms
        self._backoff = backoff or Backoff(first_s=0.5, limit_s=60.0)
        self._resumed = asyncio.Event()
        self._progress = asyncio.Event()
        self._moved = asyncio.Event()
        self._cursor = 0
        self._stored = 0
        self._delivered = 0
        self._failures = 0
        self._parked: str | None = None
        self._last_error: str | None = None
        self._log = log.bind(sink=name)
        metrics.set("sink_parked", 0, name)

    async def run(self) -> None:
        """Deliver until cancelled, which is safe at any point. The sink is closed on the way out."""
        try:
            self._cursor = self._stored = (await self._journal.cursors()).get(self.name, 0)
            await self._open()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry_all(), name=f"delivery {self.name}")
                tasks.create_task(self._store_cursor(), name=f"cursor {self.name}")
        finally:
            await self._close()

    async def drained(self) -> None:
        """Return once everything in the journal is delivered, and known to be; at once where the lane is parked."""
        while self._stored < self._journal.last_sequence and self._parked is None:
            self._progress.clear()
            await self._progress.wait()

    def resume(self) -> None:
        """A person has looked at it: try again."""
        self._resumed.set()

    def status(self) -> LaneStatus:
        """The lane at this moment."""
        return LaneStatus(
            sink=self.name,
            kind=self._kind,
            cursor=self._cursor,
            lag=max(0, self._journal.last_sequence - self._cursor),
            delivered=self._delivered,
            failures=self._failures,
            parked=self._parked,
            last_error=self._last_error,
        )

    async def _open(self) -> None:
        """Open the sink, as often as it takes. Raises StartError where the host refuses."""
        while True:
            try:
                await self._sink.open()
            except StartError:
                raise
            except Exception as exc:  # noqa: BLE001 - as in deliver: a foreign sink's bug is its own lane's matter
                await self._wait_after(outcome_of(exc))
            else:
                self._recovered()
                return

    async def _close(self) -> None:
        """Close the sink. One that cannot be closed holds nobody up."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._sink.close()
        except Exception as exc:  # noqa: BLE001 - as in deliver
            self._log.error("sink_not_closed", error=f"{type(exc).__name__}: {exc}")

    async def _carry_all(self) -> None:
        """The first event after a silence goes at once; in a stream, deliveries keep a distance and so grow."""
        while True:
            newest = self._journal.last_sequence
            try:
                events = await self._journal.read(self._cursor, self._policy.batch)
            except JournalError as exc:
                self._log.error("journal_cannot_be_read", error=str(exc))
                await asyncio.sleep(_JOURNAL_RETRY_S)
                continue
            if events:
                await self._carry(events)
                if len(events) < self._policy.batch:
                    await asyncio.sleep(_DISTANCE_S)
            elif newest > self._cursor:
                await self._skip_to(newest)
            else:
                await self._journal.wait_beyond(self._cursor)

    async def _skip_to(self, newest: int) -> None:
        """Nothing above the cursor is left up to there: retention took it before this sink was configured."""
        self._log.warning("events_no_longer_kept", after=self._cursor, up_to=newest)
        await self._advance(newest)
        self._cursor = newest

    async def _carry(self, events: Sequence[Event]) -> None:
        """Bring one batch to its end: delivered, dead or left out."""
        wanted = [event for event in events if self._policy.wants(event)]
        dead = await self._deliver(wanted) if wanted else 0
        self._cursor = events[-1].sequence
        self._moved.set()
        self._count(events, wanted, dead)

    async def _store_cursor(self) -> None:
        """Bring the cursor to the journal a little behind the deliveries: a commit for many batches, not for each.

        A crash in between costs repeated deliveries with the same ids.
        """
        while True:
            await self._moved.wait()
            await asyncio.sleep(_CURSOR_LAG_S)
            self._moved.clear()
            await self._advance(self._cursor)

    async def _advance(self, sequence: int, dead: Sequence[DeadLetter] = ()) -> None:
        """Store the cursor, as often as it takes: a full disk stops no lane."""
        while True:
            try:
                await self._journal.advance(self.name, sequence, dead)
            except JournalError as exc:
                self._log.warning("cursor_not_stored", error=str(exc))
                await asyncio.sleep(_JOURNAL_RETRY_S)
            else:
                self._stored = max(self._stored, sequence)
                self._progress.set()
                return

    def _count(self, events: Sequence[Event], wanted: Sequence[Event], dead: int) -> None:
        """Once a batch."""
        self._delivered += len(wanted) - dead
        self._metrics.set("sink_lag_events", self._journal.last_sequence - self._cursor, self.name)
        self._metrics.count("sink_delivered_total", len(wanted) - dead, self.name)
        self._metrics.count("sink_skipped_total", len(events) - len(wanted), self.name)
        if wanted:
            waited_s = max(0, self._now_ms() - wanted[0].received_ms) / 1000
            self._metrics.observe("sink_latency_seconds", waited_s, self.name)

    async def _deliver(self, wanted: list[Event]) -> int:
        """Hand the batch over until nothing of it is left; returns how many events the sink can never take."""
        left, attempts, buried = wanted, 0, 0
        while left:
            attempts += 1
            self._metrics.count("sink_attempts_total", 1, self.name)
            try:
                await self._sink.deliver(left)
            except Exception as exc:  # noqa: BLE001 - the bug of a foreign sink stops its own lane, loudly, and nothing else
                outcome = outcome_of(exc, len(left))
            else:
                break
            letters = outcome.letters if isinstance(outcome, Reject) else {}
            dead = [self._dead_letter(left[index], text, attempts) for index, text in letters.items()]
            buried += len(dead)
            left = _rest(left, outcome)
            if dead:
                sequences = [letter.sequence for letter in dead[:_NAMED_AT_MOST]]
                self._log.error("events_rejected", events=len(dead), sequences=sequences, reason=outcome.reason)
            await self._keep_progress(left, dead)
            await self._wait_after(outcome)
        self._recovered()
        return buried

    async def _keep_progress(self, left: Sequence[Event], dead: Sequence[DeadLetter]) -> None:
        """What is before the first event left is done with, and so are dead letters: neither waits for the rest."""
        done = left[0].sequence - 1 if left else self._cursor
        if dead or done > self._cursor:
            self._cursor = max(self._cursor, done)
            await self._advance(self._cursor, dead)

    async def _wait_after(self, outcome: Outcome) -> None:
        """Put an outcome on record and take the pause that it asks for."""
        self._failures += 1
        self._metrics.count("sink_failures_total", 1, self.name, type(outcome).__name__.lower())
        match outcome:
            case Reject():
                self._metrics.count("sink_dead_letters_total", len(outcome.letters), self.name)
            case Park():
                self._last_error = outcome.reason
                await self._park(outcome)
            case Retry():
                self._last_error = outcome.reason
                delay_s = max(self._backoff.next(), outcome.after_s or 0.0)
                self._log.warning("delivery_failed", reason=outcome.reason, retry_in_s=round(delay_s, 2))
                await asyncio.sleep(delay_s)

    async def _park(self, outcome: Park) -> None:
        self._parked = outcome.reason
        self._progress.set()
        self._metrics.set("sink_parked", 1, self.name)
        self._log.error("lane_parked", reason=outcome.reason, effect="events are kept", tried_again_in_s=_PARKED_S)
        self._resumed.clear()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PARKED_S):
                    await self._resumed.wait()
        finally:
            self._parked = None
            self._metrics.set("sink_parked", 0, self.name)
        self._log.info("lane_resumed")

    def _recovered(self) -> None:
        self._backoff.reset()
        if self._last_error is not None:
            self._log.info("delivery_recovered")
        self._last_error = None

    def _dead_letter(self, event: Event, reason: str, attempts: int) -> DeadLetter:
        return DeadLetter(
            sink=self.name,
            sequence=event.sequence,
            event_id=event.id,
            reason=reason,
            attempts=attempts,
            at_ms=self._now_ms(),
        )


def outcome_of(exc: Exception, events: int = 0) -> Outcome:
    """What an exception means that a sink raised over so many events; the one place that decides it."""
    if isinstance(exc, Reject) and (strange := [index for index in exc.letters if not 0 <= index < events]):
        return Retry(f"the sink rejects event {strange[0]} of {events}: {exc.reason}", delivered=exc.delivered)
    if isinstance(exc, Outcome):
        return exc
    return Retry(f"the sink failed unexpectedly: {type(exc).__name__}: {exc}")


def _rest(batch: Sequence[Event], outcome: Outcome) -> list[Event]:
    """What is left of a batch: neither delivered nor rejected."""
    done = set(outcome.delivered)
    if isinstance(outcome, Reject):
        done |= outcome.letters.keys()
    return [event for index, event in enumerate(batch) if index not in done]
