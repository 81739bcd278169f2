"""A sink that plays a script."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from listener.errors import Outcome
from listener.model.event import Event


class RecordingSink:
    """A sink that plays a script: one outcome a `deliver`, None for success; after the script all succeed.

    Attributes:
        attempts: every batch that was handed in, taken or not.
        events: what is durable "at the destination", in order of arrival, repetitions included.
        opened: how often `open` was called.
        closed: how often `close` was called.
        open_error: raised by `open` and `check` while set.
        trouble: raised by `deliver` while set, before the script is looked at.
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
        self.trouble: Outcome | None = None

    def then(self, *outcomes: Outcome | None) -> None:
        """Add to the script."""
        self._script += outcomes

    def hold(self) -> None:
        """Let `deliver` wait, as at a slow destination, until `release`."""
        self._gate.clear()

    def release(self) -> None:
        """Let waiting deliveries continue."""
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
        if self.trouble is not None:
            raise self.trouble
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
