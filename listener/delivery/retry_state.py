"""The retry state of a lane: what fails now, for how long, and whether it is parked; kept over restarts."""

import asyncio
import math
from collections.abc import Callable

import structlog
from msgspec.structs import replace

from listener.delivery.policy import LanePolicy
from listener.errors import JournalError
from listener.model.event import LaneState
from listener.ports import Journal

_STORED_EVERY_S = 10.0
_LONGEST_ATTEMPT_S = 3600.0
_LEAST_ATTEMPTS = 10


class RetryState:
    """The state of one lane, and the clock of its horizon.

    The clock belongs to the event at the head of what fails: it starts again when that event is taken or rejected, so
    that a destination which takes a little now and then is never given up. It runs from failure to failure, by the
    monotonic clock: neither a jump of the wall clock nor the time in which the lane is parked or the daemon down
    counts, and a machine that was suspended for days has made one attempt of an hour at most. Of a pause no more than
    a tenth of the horizon counts, so that nothing is given up after fewer than ten attempts, however long the
    destination asks to be left alone.

    Attributes:
        restored: set once what an earlier process stored is taken up.

    Args:
        sink: the lane's name.
        journal: where the state is stored.
        policy: after how long `is_over`, and after how long it `may_be_one_event`.
        now_ms: epoch milliseconds, for stamps.
        monotonic: seconds that only run forward.
    """

    def __init__(
        self,
        *,
        sink: str,
        journal: Journal,
        policy: LanePolicy,
        now_ms: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._horizon_s = policy.retry_horizon_s
        self._event_after_s = policy.retry_event_after_s
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._state = self._stored = LaneState(sink=sink)
        self._stored_at_s = -math.inf
        self._head = 0
        self._failing_s = 0.0
        self._failed_at_s: float | None = None
        self._pause_s = 0.0
        self.restored = asyncio.Event()
        self._log = structlog.get_logger(__name__).bind(sink=sink)

    @property
    def state(self) -> LaneState:
        """As it is now."""
        return self._state

    @property
    def attempts(self) -> int:
        """How often the present batch has failed."""
        return self._state.attempts

    @property
    def is_over(self) -> bool:
        """Whether the head has failed for the whole horizon."""
        return self._has_failed_for(self._horizon_s)

    @property
    def may_be_one_event(self) -> bool:
        """Whether the head has failed for so long that it is worth finding out whether it is the only one."""
        return self._has_failed_for(self._event_after_s)

    def _has_failed_for(self, seconds: float | None) -> bool:
        return seconds is not None and self._state.sequence != 0 and self._failing_s >= seconds

    async def restore(self) -> None:
        """Take up what an earlier process stored.

        But for a park of a sink that is not disabled: who starts a daemon wants it to try.
        """
        found = (await self._journal.lane_states()).get(self._state.sink, self._state)
        self._stored = found
        self._state = found if found.disabled else replace(found, parked=None, parked_ms=0)
        self._failing_s = found.failing_ms / 1000
        self.restored.set()
        await self.store()

    def begin(self, head: int) -> None:
        """A batch is to be tried, with this event at its head: the one that failed last, or another."""
        self._head = head
        self._failed_at_s = None
        if self._state.sequence not in (0, head):
            self.clear()

    def move_to(self, head: int) -> None:
        """What stood before this event of the batch is taken or rejected."""
        if head != self._head:
            self._head = head
            self._failed_at_s = None
            self._failing_s = 0.0
            self._set_head()

    def give_up(self, head: int) -> None:
        """What stood before this event of the batch is given up; this one has failed as long, and once less often."""
        self._head = head
        self._state = replace(self._state, attempts=self._state.attempts - 1)
        self._set_head()

    def _set_head(self) -> None:
        if self._state.sequence:
            self._state = replace(self._state, sequence=self._head, failing_ms=round(self._failing_s * 1000))

    def failed(self, error: str, pause_s: float) -> None:
        """The batch was tried, not all of it was taken, and the next attempt is to come after this pause."""
        now_s = self._monotonic()
        if self._failed_at_s is not None:
            self._failing_s += min(now_s - self._failed_at_s, self._pause_s + _LONGEST_ATTEMPT_S)
        counted_s = pause_s if self._horizon_s is None else min(pause_s, self._horizon_s / _LEAST_ATTEMPTS)
        self._failed_at_s, self._pause_s = now_s, counted_s
        self._state = replace(
            self._state,
            sequence=self._head,
            attempts=self._state.attempts + 1,
            failing_ms=round(self._failing_s * 1000),
            last_error=error,
        )

    def clear(self) -> None:
        """Nothing fails any more."""
        self._failing_s = 0.0
        self._failed_at_s = None
        if self._state.sequence or self._state.last_error is not None:  # mostly nothing did
            self._state = replace(self._state, sequence=0, attempts=0, failing_ms=0, last_error=None)

    async def park(self, reason: str, *, disabled: bool = False) -> None:
        """The lane waits for a person from now on; where it is `disabled`, also over restarts."""
        self._state = replace(self._state, parked=reason, parked_ms=self._now_ms(), disabled=disabled)
        await self.store()

    async def resume(self) -> None:
        """It no longer does."""
        self._failed_at_s = None
        self._state = replace(self._state, parked=None, parked_ms=0, disabled=False)
        await self.store()

    async def be_quiet(self, seconds: float) -> None:
        """The destination asked for this pause; it lasts over restarts too."""
        now_ms = self._now_ms()
        self._state = replace(self._state, quiet_from_ms=now_ms, quiet_until_ms=now_ms + math.ceil(seconds * 1000))
        await self.store()

    def end_quiet(self) -> None:
        """It need no longer be."""
        self._state = replace(self._state, quiet_from_ms=0, quiet_until_ms=0)

    @property
    def quiet_s(self) -> float:
        """How long it is still to be left alone; by a wall clock that was set back, no longer than it asked for."""
        state = self._state
        return max(0, state.quiet_until_ms - max(self._now_ms(), state.quiet_from_ms)) / 1000

    async def resend(self, after: int, through: int) -> None:
        """What is above a sequence, up to another, is to be delivered again, once this returns. Raises JournalError."""
        before = self._state
        self._state = replace(before, resend_after=after, resend_through=through)
        try:
            await self._journal.store_lane_state(self._state)
        except JournalError:
            self._state = replace(self._state, resend_after=before.resend_after, resend_through=before.resend_through)
            raise

    async def resent_to(self, sequence: int, *, every_s: float) -> bool:
        """It is, up to this one; stored every few seconds, and at the end. Returns whether that is all."""
        is_all = sequence >= self._state.resend_through
        after, through = (0, 0) if is_all else (sequence, self._state.resend_through)
        self._state = replace(self._state, resend_after=after, resend_through=through)
        await (self.store() if is_all else self.store_now_and_then(every_s))
        return is_all

    async def store_now_and_then(self, every_s: float = _STORED_EVERY_S) -> None:
        """Store it, unless it was stored a moment ago: a lane that tries often would write often."""
        if self._monotonic() - self._stored_at_s >= every_s:
            await self.store()

    async def store(self) -> None:
        """Store it where it is not. A journal that cannot take it now costs at most that: the next time it may."""
        state = self._state
        if state == self._stored:
            return
        try:
            await self._journal.store_lane_state(state)
        except JournalError as exc:
            self._log.warning("sink_state_not_stored", error=str(exc))
        else:
            self._stored = state
            self._stored_at_s = self._monotonic()
