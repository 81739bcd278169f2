"""The in-flight window: facts on their way from the engine to its user, and the bytes not yet durable."""

from collections import deque
from collections.abc import Callable

from listener.cometd.facts import Fact, Polled
from listener.runtime.latch import Latch

MAX_BYTES_IN_FLIGHT = 2**20
"""How much one session may take from a server without acknowledgements while nothing becomes durable."""

MAX_FACTS = 256
_CROWDED = 16


class InFlight:
    """Facts wait here until the user takes them.

    Attributes:
        bytes_in_flight: size of the response bodies whose batches are not durable yet.
    """

    def __init__(self) -> None:
        self.bytes_in_flight = 0
        self._facts: deque[Fact] = deque()
        self._available = Latch()
        self._taken = Latch(is_open=True)
        self._confirmed = Latch(is_open=True)

    def put(self, fact: Fact) -> None:
        """Add a fact. If nobody takes them, an empty poll replaces the one before it, which says the same."""
        if len(self._facts) > _CROWDED and isinstance(fact, Polled) and isinstance(self._facts[-1], Polled):
            self._facts.pop()
        self._facts.append(fact)
        self._available.set()

    async def next(self) -> Fact:
        """The next fact; cancelling loses none."""
        while not self._facts:
            self._available.clear()
            await self._available.wait()
        self._taken.set()
        return self._facts.popleft()

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
