"""What a person wants to be delivered again of the journal, as far as it is left."""

from collections.abc import Sequence

import structlog

from listener.delivery.policy import LanePolicy
from listener.delivery.retry_state import RetryState
from listener.model.event import DeadLetter, DeadLetterFilter, Event
from listener.ports import Journal
from listener.runtime.metrics import Metrics

_AT_ONCE = 50  # events: the stream waits for that long
_STORED_EVERY_S = 1.0  # a crash repeats as much


class Resends:
    """The events of a lane that are to be delivered again, in journal order; a `replays.Source`.

    Its position is in the state of the lane, so that a restart goes on there. What fails is tried again before what
    comes behind it. Dead letters are left out, since they were not delivered, and have their own replay; what is
    refused now becomes one.

    Args:
        name: the lane's name.
        journal: where the events are.
        policy: which of them the sink gets.
        retry_state: has the stretch.
        metrics: counts what is delivered.
    """

    def __init__(
        self, *, name: str, journal: Journal, policy: LanePolicy, retry_state: RetryState, metrics: Metrics
    ) -> None:
        self._name = name
        self._journal = journal
        self._policy = policy
        self._retry_state = retry_state
        self._metrics = metrics
        self._window: dict[int, Event] = {}
        self._end = self._turn = 0
        self._log = structlog.get_logger(__name__).bind(sink=name)

    @property
    def left(self) -> int:
        """How many events are still to be delivered again."""
        state = self._retry_state.state
        return self._journal.events_between(state.resend_after, state.resend_through)

    async def begin(self, after: int, through: int) -> None:
        """Resend what is above `after`, up to `through`, instead of what was to be. Raises JournalError."""
        self._window, self._end = {}, 0
        self._turn += 1
        await self._retry_state.resend(after, through)
        self._log.info("resend_started", after=after, through=through)

    async def cancel(self) -> int:
        """Resend nothing more; returns how many events were left. Raises JournalError."""
        await self._retry_state.restored.wait()
        left = self.left
        self._window, self._end = {}, 0
        self._turn += 1
        await self._retry_state.resend(0, 0)
        if left:
            self._log.info("resend_cancelled", left=left)
        return left

    async def next(self) -> list[Event]:
        """See `replays.Source`."""
        while not self._window and (state := self._retry_state.state).resend_left:
            turn = self._turn
            events = [
                event
                for event in await self._journal.read(state.resend_after, _AT_ONCE)
                if event.sequence <= state.resend_through
            ]
            wanted = await self._without_letters(self._policy.wanted(events))
            if turn != self._turn:
                continue
            end = events[-1].sequence if events else state.resend_through
            if wanted:
                self._window, self._end = {event.sequence: event for event in wanted}, end
            else:
                await self._move_to(end)
        return list(self._window.values())

    async def _without_letters(self, events: list[Event]) -> list[Event]:
        if not events:
            return []
        which = DeadLetterFilter(sink=self._name, event_ids=tuple(event.id for event in events))
        letters = {letter.event_id for letter in await self._journal.dead_letters(which)}
        return [event for event in events if event.id not in letters]

    async def settle(self, delivered: Sequence[int], dead: Sequence[DeadLetter]) -> None:
        """See `replays.Source`. A cursor never moves back."""
        if dead:
            await self._journal.advance(self._name, 0, dead)
            self._metrics.count("sink_dead_letters_total", len(dead), self._name)
        self._metrics.count("sink_resent_total", len(delivered), self._name)
        for sequence in (*delivered, *(letter.sequence for letter in dead)):
            self._window.pop(sequence, None)
        if self._end and not self._window:
            await self._move_to(self._end)

    def failed(self, left: set[int]) -> None:
        """See `replays.Source`: they stay the next ones."""

    async def _move_to(self, sequence: int) -> None:
        self._end = 0
        if await self._retry_state.resent_to(sequence, every_s=_STORED_EVERY_S):
            self._log.info("resend_finished", through=sequence)
