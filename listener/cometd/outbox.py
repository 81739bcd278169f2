"""Facts on their way from the engine to its user: in order, bounded, with a count of what is not durable yet."""

from collections import deque
from collections.abc import Callable

from listener.cometd.facts import Fact, Polled
from listener.runtime.latch import Latch

HELD_BYTES = 2**20
"""How much one session may take from a server without acknowledgements while nothing becomes durable."""

MOST_FACTS = 256
_CROWDED = 16


class Outbox:
    """What is told waits here until the user takes it.

    Attributes:
        held_bytes: size of the response bodies whose batches are not durable yet.
    """

    def __init__(self) -> None:
        self.held_bytes = 0
        self._facts: deque[Fact] = deque()
        self._told = Latch()
        self._taken = Latch(is_open=True)
        self._landed = Latch(is_open=True)

    def tell(self, fact: Fact) -> None:
        """Add a fact. Where nobody takes them, an empty poll replaces the one before it, which says no more."""
        if len(self._facts) > _CROWDED and isinstance(fact, Polled) and isinstance(self._facts[-1], Polled):
            self._facts.pop()
        self._facts.append(fact)
        self._told.set()

    async def next(self) -> Fact:
        """The next fact; cancelling loses none."""
        while not self._facts:
            self._told.clear()
            await self._told.wait()
        self._taken.set()
        return self._facts.popleft()

    def pending(self) -> bool:
        """Whether facts wait to be taken."""
        return bool(self._facts)

    async def room(self) -> None:
        """Return once fewer than MOST_FACTS wait."""
        while len(self._facts) >= MOST_FACTS:
            self._taken.clear()
            await self._taken.wait()

    def hold(self, size: int) -> tuple[Latch, Callable[[], None]]:
        """Count a batch of so many bytes until its `confirm`, the second of the two, opens the latch."""
        landed = Latch()
        self.held_bytes += size

        def confirm() -> None:
            if not landed.is_set():
                landed.set()
                self.held_bytes -= size
                self._landed.set()

        return landed, confirm

    async def below(self, limit_bytes: int) -> None:
        """Return once no more than `limit_bytes` are not durable."""
        while self.held_bytes > limit_bytes:
            self._landed.clear()
            await self._landed.wait()
