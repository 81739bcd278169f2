"""What the process takes from its machine: time, chance, and threads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom

from listener.runtime.clock import SYSTEM_CLOCK, Clock
from listener.runtime.worker import Worker

_SYSTEM_RANDOM = SystemRandom()
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # random(4)


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """Handed down from the composition root, so that a simulation can run everything in its own time and by its seed.

    Attributes:
        clock: all time.
        random: all chance; the system's own by default, which secrets may be made of.
        boot_id: names the start of the machine since which the monotonic clock runs; empty where it has no name.
        new_worker: makes a thread for what blocks, by its name. Its owner shuts it down.
    """

    clock: Clock = SYSTEM_CLOCK
    random: Random = _SYSTEM_RANDOM
    boot_id: str = field(default_factory=_boot_id)
    new_worker: Callable[[str], Worker] = Worker

    def token(self, size: int) -> str:
        """So many random bytes in hexadecimal digits."""
        return self.random.randbytes(size).hex()

    def time_s(self) -> float:
        """The wall clock in epoch seconds."""
        return self.clock.now_ms() / 1000


THIS_HOST = Host()
