"""What the process takes from its machine: time, chance, and threads."""

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from random import Random, SystemRandom

from listener.runtime.clock import SYSTEM_CLOCK, Clock

_SYSTEM_RANDOM = SystemRandom()


def one_worker(name: str) -> Executor:
    """A thread of this name that does one thing after the other; it starts with the first."""
    return ThreadPoolExecutor(1, thread_name_prefix=name)


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """Handed down from the composition root, so that a simulation can run everything in its own time and by its seed.

    Attributes:
        clock: all time.
        random: all chance; the system's own by default, which secrets may be made of.
        new_executor: makes a worker for what blocks, by its name. Its owner shuts it down.
    """

    clock: Clock = SYSTEM_CLOCK
    random: Random = _SYSTEM_RANDOM
    new_executor: Callable[[str], Executor] = one_worker

    def token(self, size: int) -> str:
        """So many random bytes in hexadecimal digits."""
        return self.random.randbytes(size).hex()

    def time_s(self) -> float:
        """The wall clock in epoch seconds."""
        return self.clock.now_ms() / 1000


THIS_HOST = Host()
