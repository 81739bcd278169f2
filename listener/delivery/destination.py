"""A sink as its lane sees it: one call at a time, the meaning of its outcome, pauses, and parking."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from enum import Enum, auto
from typing import NamedTuple

import structlog

from listener.delivery.attempts import Attempts
from listener.delivery.policy import LanePolicy
from listener.delivery.retry_state import RetryState
from listener.errors import Outcome, Park, Refusal, Reject, Retry, StartError
from listener.model.condition import Exchange
from listener.model.event import Event
from listener.ports import Reopens, ShowsExchanges, Sink
from listener.runtime.backoff import Backoff
from listener.runtime.metrics import Metrics
from listener.runtime.turn import Turn

_CLOSE_S = 5.0
_TEST_EVENT_S = 30.0
_WORTH_STORING_S = 1.0
_A_CENTURY_DAYS = 36_525


async def hand_over(sink: Sink, events: Sequence[Event]) -> Outcome | None:
    """One call of `deliver`; None if everything was taken."""
    try:
        await sink.deliver(events)
    except Exception as exc:  # noqa: BLE001 - the bug of a foreign sink stops its own lane, visibly, and nothing else
        return outcome_of(exc, len(events))
    return None


class Tested(NamedTuple):
    """What came of a test event: None if it was taken, and the exchanges of a sink that can show them."""

    outcome: Outcome | None
    exchanges: tuple[Exchange, ...] = ()


async def try_out(sink: Sink, event: Event) -> Tested:
    """Deliver one event that is not from the journal."""
    exchanges: list[Exchange] = []
    if isinstance(sink, ShowsExchanges):
        sink.show_to(exchanges.append)
    try:
        return Tested(await hand_over(sink, [event]), tuple(exchanges))
    finally:
        if isinstance(sink, ShowsExchanges):
            sink.show_to(None)


def outcome_of(exc: Exception, events: int = 0) -> Outcome:
    """The outcome that an exception of a sink stands for; the one place that decides it."""
    if isinstance(exc, Reject) and (strange := [index for index in exc.letters if not 0 <= index < events]):
        return Retry(f"the sink rejects event {strange[0]} of {events}: {exc.reason}", delivered=exc.delivered)
    if isinstance(exc, Outcome):
        return exc
    return Retry(f"the sink failed unexpectedly: {type(exc).__name__}: {exc}")


def refused(batch: Sequence[Event], outcome: Outcome | None) -> list[tuple[Event, Refusal]]:
    """The events of a batch that can never be taken, in its order, each with the reason."""
    if not isinstance(outcome, Reject):
        return []
    return [(batch[index], refusal) for index, refusal in outcome.letters.items()]


def left_of(batch: Sequence[Event], outcome: Outcome | None) -> list[Event]:
    """What is left of a batch: neither delivered nor rejected."""
    if outcome is None:
        return []
    done = set(outcome.delivered)
    if isinstance(outcome, Reject):
        done |= outcome.letters.keys()
    return [event for index, event in enumerate(batch) if index not in done]


def pause_after(outcome: Outcome, backoff: Backoff | None) -> float:
    """Seconds until the next attempt: the time that the destination names, after a Retry no less than the backoff.

    A Park needs more than a pause: 0.0.
    """
    named_s = retry_after_of(outcome)
    return max(named_s, backoff.next() if backoff is not None and isinstance(outcome, Retry) else 0.0)


def retry_after_of(outcome: Outcome) -> float:
    """The pause in seconds that the destination asked for; 0.0 if it did not."""
    match outcome:
        case Retry(after_s=float() | int() as after_s) | Reject(after_s=float() | int() as after_s):
            return max(0.0, after_s) if math.isfinite(after_s) else 0.0
    return 0.0


def _with_pause(outcome: Outcome, pause_s: float) -> Outcome:
    """The outcome with this pause in place of the one that was named; a reason that holds no event tells both."""
    match outcome:
        case Retry():
            reason = f"{outcome.reason} and {_too_long(retry_after_of(outcome), pause_s)}"
            return Retry(reason, after_s=pause_s, delivered=outcome.delivered, detail=outcome.detail)
        case Reject():
            return Reject(
                outcome.index,
                outcome.reason,
                rejected=outcome.rejected,
                after_s=pause_s,
                delivered=outcome.delivered,
                detail=outcome.detail,
                in_a_row=outcome.in_a_row,
            )
    return outcome


def _too_long(named_s: float, kept_s: float) -> str:
    days = named_s / 86_400
    named = f"{days:.3g} days" if days < _A_CENTURY_DAYS else "more than a century"
    return f"asks for a pause of {named}, of which {kept_s / 3600:.3g} h are kept"


def error_text(outcome: Outcome) -> str:
    """The destination's answer that named no event: for the dead letter of an event that it did not take in time."""
    return f"{outcome.reason}: {outcome.detail}" if outcome.detail else outcome.reason


class Halt(Enum):
    """Why a lane does not deliver although there may be events."""

    NONE = auto()
    PARKED = auto()
    DISABLED = auto()
    QUIET = auto()


class Destination:
    """The sink, shared by the stream of the journal and by replayed dead letters.

    `has_answered` is set once it is known whether the host lets the sink be opened: it is, or waits for something else.

    Whoever delivers holds `turn`, also in the pause after a failure if the failure concerns both. A test event needs no
    turn: it goes between two calls.

    Args:
        name: the sink's name.
        sink: the sink.
        retry_state: stores parking, and pauses that the destination asks for.
        metrics: counts attempts and failures.
        policy: what may leave the process, the longest pause, and whether a StartError is retried too.
        on_park: called when the sink is parked.
        is_failing: whether deliveries fail already.
        attempts: keeps the last ones.
        certainty: as of `Lane`.
    """

    def __init__(
        self,
        *,
        name: str,
        sink: Sink,
        retry_state: RetryState,
        metrics: Metrics,
        policy: LanePolicy,
        on_park: Callable[[], None],
        is_failing: Callable[[], bool],
        attempts: Attempts,
        certainty: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._name = name
        self._sink = sink
        self._retry_state = retry_state
        self._certainty = certainty
        self._metrics = metrics
        self._policy = policy
        self._has_told = False
        self._on_park = on_park
        self._is_failing = is_failing
        self._failing_since_s = 0.0  # by the clock of the event loop, as what follows
        self._pauses: list[float] = []  # their ends: the stream and what is delivered again may each wait
        self.attempts = attempts
        self._resumed = asyncio.Event()
        self._log = structlog.get_logger(__name__).bind(sink=name)
        self.turn = Turn()
        self._calls = Turn()
        self._opened = False
        self.has_answered = asyncio.Event()
        self._halt = Halt.NONE
        self._quiet_until_s = 0.0  # by the clock of the event loop, which is what is waited by
        self.parked: str | None = None
        self.failures = 0
        self.opening_error: str | None = None
        metrics.expect_sink(name)

    async def wait_on(self) -> None:
        """Before the first attempt: stay parked, or paused, if an earlier process was."""
        state = self._retry_state.state
        self._failing_since_s = _loop_s() - state.failing_ms / 1000
        if state.parked is not None:
            await self._park(Park(state.parked, disabled=state.disabled))
        if quiet_s := min(self._retry_state.quiet_s, self._policy.longest_pause_s):
            self._log.info("delivery_paused", reason=state.last_error, for_s=round(quiet_s, 1))
            await self._stay_quiet(quiet_s)

    async def open(self, backoff: Backoff) -> None:
        """Open the sink, as often as it takes. Raises StartError if the host refuses, unless that is retried."""
        while True:
            began = self.attempts.begin()
            try:
                await self._sink.open()
            except StartError as exc:
                if not self._policy.retry_start_errors:
                    raise
                await self._wait_to_open(Retry(str(exc)), backoff, began)
            except Exception as exc:  # noqa: BLE001 - a foreign sink's bug concerns its own lane alone
                await self._wait_to_open(outcome_of(exc), backoff, began)
            else:
                break
        self._opened = True
        self.has_answered.set()
        if self.opening_error is not None:
            self._log.info("delivery_recovered")
        self.opening_error = None

    async def _wait_to_open(self, outcome: Outcome, backoff: Backoff, began: tuple[int, float]) -> None:
        self.attempts.note(began, (), outcome)
        outcome = self._bounded(outcome)
        self.has_answered.set()
        self._count(outcome)
        self.opening_error = outcome.reason
        await self.wait_after(outcome, pause_after(outcome, backoff))

    async def close(self) -> None:
        """Close the sink. One that cannot be closed delays nobody; being cancelled meanwhile waits for that too.

        What the sink holds, such as the lock of a file, has to be free for the next lane of this process.
        """
        closing = asyncio.create_task(self._close(), name=f"close {self._name}")
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing
            raise

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._sink.close()
        except Exception as exc:  # noqa: BLE001 - a foreign sink's bug at the end delays nobody
            self._log.error("sink_not_closed", error=f"{type(exc).__name__}: {exc}")

    async def hand_over(self, events: Sequence[Event]) -> Outcome | None:
        """One attempt; None if the sink has taken everything. Raises JournalFenced: it is another's to deliver."""
        if self._certainty is not None:
            await self._certainty()
        self._metrics.count("sink_attempts_total", 1, self._name)
        async with self._calls:
            theirs = list(self._policy.shape(events))  # a foreign sink may change its list; the lane counts in its own
            began = self.attempts.begin()
            outcome = await hand_over(self._sink, theirs)
            self.attempts.note(began, events, outcome)
        if outcome is None:
            self._has_told = False
            return None
        self._count(outcome)
        return self._bounded(outcome)

    def _bounded(self, outcome: Outcome) -> Outcome:
        """The outcome with a pause that can be meant; a longer one is told once until the sink takes something."""
        named_s, kept_s = retry_after_of(outcome), self._policy.longest_pause_s
        if named_s <= kept_s:
            return outcome
        if not self._has_told:
            self._has_told = True
            self._log.warning("pause_too_long", reason=_too_long(named_s, kept_s), kept_s=kept_s)
        return _with_pause(outcome, kept_s)

    async def send_test_event(self, event: Event) -> Tested:
        """Deliver an event that is not from the journal: at once, whatever the lane waits for."""
        if not self._opened:
            why = self.parked or self.opening_error or "the lane is starting"
            return Tested(Retry(f"the sink is not open yet: {why}"))
        try:
            async with asyncio.timeout(_TEST_EVENT_S), self._calls:
                return await try_out(self._sink, event)
        except TimeoutError:
            return Tested(Retry(f"the sink did not decide within {_TEST_EVENT_S:g} s"))

    def _count(self, outcome: Outcome) -> None:
        if not isinstance(outcome, Reject) and not self._is_failing():
            self._failing_since_s = _loop_s()
        self.failures += 1
        self._metrics.count("sink_failures_total", 1, self._name, type(outcome).__name__.lower())

    async def wait_after(self, outcome: Outcome, pause_s: float) -> None:
        """Take the pause after a failure; after a Park, wait until a person resumes the sink."""
        if isinstance(outcome, Park):
            await self._park(outcome)
            return
        if isinstance(outcome, Reject) and not pause_s:
            return
        self._log.warning("delivery_failed", reason=outcome.reason, retry_in_s=round(pause_s, 2))
        if retry_after_of(outcome) >= _WORTH_STORING_S:
            await self._retry_state.be_quiet(pause_s)
            await self._stay_quiet(pause_s)
        else:
            await self._pause(pause_s)

    async def _stay_quiet(self, seconds: float) -> None:
        self._quiet_until_s = _loop_s() + seconds
        self._halt = Halt.QUIET
        self.has_answered.set()
        try:
            await self._pause(seconds)
        finally:
            self._halt = Halt.NONE
        self._retry_state.end_quiet()

    async def _pause(self, seconds: float) -> None:
        """Until the next attempt, or until a person wants it at once."""
        if not seconds:
            await asyncio.sleep(0)  # others have their turn, and nobody could end it sooner
            return
        until_s = _loop_s() + seconds
        self._pauses.append(until_s)
        self._resumed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._resumed.wait()
            self._log.info("sink_resumed")
        except TimeoutError:
            pass
        finally:
            self._pauses.remove(until_s)

    async def _park(self, outcome: Park) -> None:
        self.parked = outcome.reason
        self._halt = Halt.DISABLED if outcome.disabled else Halt.PARKED
        self._resumed.clear()
        self.has_answered.set()
        self._on_park()
        self._metrics.set("sink_parked", 1, self._name)
        until = "sinks resume" if outcome.disabled else "sinks resume, SIGHUP or a restart"
        self._log.error("sink_parked", reason=outcome.reason, effect="events are kept", until=until)
        try:
            await self._retry_state.park(outcome.reason, disabled=outcome.disabled)
            await self._resumed.wait()
        finally:
            self.parked = None
            self._halt = Halt.NONE
            self._metrics.set("sink_parked", 0, self._name)
        await self._retry_state.resume()
        self._log.info("sink_resumed")

    @property
    def quiet_s(self) -> float:
        """How much longer the lane waits because the destination asked for it; 0.0 if it does not."""
        if self._halt is not Halt.QUIET:
            return 0.0
        return max(0.0, self._quiet_until_s - _loop_s())

    @property
    def failing_s(self) -> float:
        """How long deliveries have failed, if they do; what an earlier process counted is included."""
        return max(0.0, _loop_s() - self._failing_since_s)

    @property
    def next_attempt_s(self) -> float | None:
        """How much longer the lane pauses after a failure; None if it does not."""
        return round(max(0.0, min(self._pauses) - _loop_s()), 1) if self._pauses else None

    def reopen(self) -> None:
        """Let a sink that writes to files reopen them; other sinks have nothing to do."""
        if self._opened and isinstance(self._sink, Reopens):
            self._sink.reopen()

    def resume(self, *, by_command: bool) -> bool:
        """Resume a parked sink; returns whether it was parked.

        Args:
            by_command: a person named this lane. That also ends what a reload (SIGHUP) leaves alone: a sink that is
                disabled, or a pause that its destination asked for.
        """
        ends = {Halt.PARKED, Halt.DISABLED, Halt.QUIET} if by_command else {Halt.PARKED}
        resumed = self._halt in ends
        if resumed:
            self._resumed.set()
        return resumed

    def try_now(self) -> bool:
        """End the pause after a failure; returns whether there was one."""
        if self._pauses:
            self._resumed.set()
        return bool(self._pauses)


def _loop_s() -> float:
    """The clock of the event loop, which is what is waited by."""
    return asyncio.get_running_loop().time()
