"""The clocks of this machine."""

import time

from listener.runtime.clock import SYSTEM_CLOCK


async def test_the_clock_stamps_and_waits():
    before_ms, before_s = time.time_ns() // 1_000_000, SYSTEM_CLOCK.monotonic_s()
    await SYSTEM_CLOCK.sleep(0.01)
    assert SYSTEM_CLOCK.monotonic_s() - before_s >= 0.01
    assert before_ms <= SYSTEM_CLOCK.now_ms() <= time.time_ns() // 1_000_000
