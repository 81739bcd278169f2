"""The in-flight window: facts on their way from the engine to its user, and the bytes not yet durable."""

from collections import Counter
from collections.abc import Callable

import msgspec

from listener.cometd.facts import Batch, Confirm, Fact, Polled
from listener.cometd.taken import PART_EVENTS
from listener.runtime.clock import Moment
from listener.runtime.latch import Latch

MAX_BYTES_IN_FLIGHT = 2**20
"""How much one session may take from a server without acknowledgements while nothing becomes durable."""

MAX_FACTS = 256
_CROWDED = 16
_TOGETHER_S = 0.05  # batches that came within so little share a stamp, and a commit


_ANSWERS = (Batch, Polled)

Take = Callable[[Batch | Polled], bool]
"""Takes the answer of a poll; returns whether it did."""


def takes_nothing(_: Batch | Polled) -> bool:
    """For a user who takes one fact after the other."""
    return False


class InFlight:
    """Facts wait here until the user takes them.

    Attributes:
        bytes_in_flight: size of the response bodies whose batches are not durable yet.
        take: offered the answer of a poll in the step in which it came, where no fact waits before it.
    """

    __slots__ = ("_available", "_began", "_confirmed", "_facts", "_taken", "bytes_in_flight", "take")

    def __init__(self) -> None:
        self.bytes_in_flight = 0
        self.take: Take = takes_nothing
        self._facts: list[Fact] = []  # a deque takes 700 bytes, and one is there at most as a rule
        self._began = Moment(0, None)  # when the first batch came of those that wait together
        self._available = Latch()
        self._taken = Latch(is_open=True)
        self._confirmed = Latch(is_open=True)

    def put(self, fact: Fact) -> None:
        """Add a fact. If nobody takes them, an empty poll replaces the one before it, which says the same.

        A batch that waits takes in those that come right behind it: a websocket brings a burst in hundreds of frames,
        and a commit for each would take longer than the server waits for the next poll.
        """
        if not self._facts and isinstance(fact, _ANSWERS) and self.take(fact):
            return
        before = self._facts[-1] if self._facts else None
        if isinstance(fact, Polled) and isinstance(before, Polled) and len(self._facts) > _CROWDED:
            self._facts.pop()
        elif isinstance(fact, Batch):
            if isinstance(before, Batch) and self._belong_together(before, fact):
                self._facts.pop()
                fact = _together(before, fact)
            else:
                self._began = fact.at
        self._facts.append(fact)
        self._available.set()

    def _belong_together(self, before: Batch, batch: Batch) -> bool:
        return (
            before.client_id == batch.client_id
            and len(before.payloads) + len(batch.payloads) <= PART_EVENTS
            and 0 <= self._began.seconds_to(batch.at) <= _TOGETHER_S
        )

    async def next(self) -> Fact:
        """The next fact; cancelling loses none."""
        while not self._facts:
            self._available.clear()
            await self._available.wait()
        self._taken.set()
        return self._facts.pop(0)

    def pending(self) -> bool:
        """Whether facts wait to be taken."""
        return bool(self._facts)

    async def wait_for_room(self) -> None:
        """Return once fewer than MAX_FACTS wait."""
        while len(self._facts) >= MAX_FACTS:
            self._taken.clear()
            await self._taken.wait()

    def add_bytes(self, size: int) -> tuple[Latch, Callable[[], None]]:
        """Count a batch of this size until its `confirm`, the second of the two, opens the latch."""
        durable = Latch()
        self.bytes_in_flight += size

        def confirm() -> None:
            if not durable.is_set():
                durable.set()
                self.bytes_in_flight -= size
                self._confirmed.set()

        return durable, confirm

    async def drop_to(self, limit_bytes: int) -> None:
        """Return once at most `limit_bytes` are in flight."""
        while self.bytes_in_flight > limit_bytes:
            self._confirmed.clear()
            await self._confirmed.wait()


class _All:
    """Confirms several batches as one."""

    def __init__(self, *confirms: Confirm) -> None:
        self.confirms = list(confirms)

    def __call__(self, *, useful: bool = True) -> None:
        for confirm in self.confirms:
            confirm(useful=useful)


def _together(before: Batch, batch: Batch) -> Batch:
    """The two as one, under the number of the first: its place and theirs in it tell events apart that look alike."""
    all_of_them = before.confirm if isinstance(before.confirm, _All) else _All(before.confirm)
    all_of_them.confirms.append(batch.confirm)
    return msgspec.structs.replace(
        batch,
        payloads=before.payloads + batch.payloads,
        refused=dict(Counter(before.refused) + Counter(batch.refused)),
        repeated=before.repeated + batch.repeated,
        number=before.number,
        resume=batch.resume or before.resume,
        confirm=all_of_them,
    )
