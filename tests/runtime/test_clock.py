"""The clocks of this machine."""

import time

from listener.runtime.clock import SYSTEM_CLOCK, Moment
from listener.testing import ManualClock


async def test_the_clock_stamps_and_waits():
    before_ms, before_s = time.time_ns() // 1_000_000, SYSTEM_CLOCK.monotonic_s()
    await SYSTEM_CLOCK.sleep(0.01)
    assert SYSTEM_CLOCK.monotonic_s() - before_s >= 0.01
    assert before_ms <= SYSTEM_CLOCK.now_ms() <= time.time_ns() // 1_000_000


def test_a_moment_is_read_from_both_clocks():
    clock = ManualClock(start_ms=5000)
    clock.advance(2.5)
    assert Moment.of(clock) == Moment(7500, 2.5)
    assert Moment.of(clock).earlier(0.5) == Moment(7000, 2.0)


def test_how_long_it_is_between_two_moments_the_monotonic_clock_says_where_it_can():
    first, second = Moment(1000, 10.0), Moment(500_000, 12.0)
    assert first.seconds_to(second) == 2.0
    assert Moment(1000, None).seconds_to(second) == first.seconds_to(Moment(500_000, None)) == 499.0
    assert Moment(1000, None).earlier(1.0) == Moment(0, None)


def test_what_only_the_wall_clock_tells_was_before_whatever_the_monotonic_clock_has_shown():
    stored, earlier, later = Moment(9000, None), Moment(500, 1.0), Moment(200, 2.0)  # the wall clock was set back
    assert sorted([later, stored, earlier], key=lambda one: one.order) == [stored, earlier, later]
    assert Moment(8000, None).order < stored.order
