"""The clock that stands still."""

import asyncio

import pytest

from listener.testing import ManualClock


async def test_both_clocks_stand_still_until_advanced():
    clock = ManualClock(start_ms=1_000)
    assert (clock.now_ms(), clock.monotonic_s()) == (1_000, 0.0)
    clock.advance(2.5)
    assert (clock.now_ms(), clock.monotonic_s()) == (3_500, 2.5)


async def test_sleepers_wake_when_they_are_due_in_the_order_of_their_time():
    clock = ManualClock()
    woken = []

    async def sleeper(name, delay_s):
        await clock.sleep(delay_s)
        woken.append(name)

    tasks = [asyncio.ensure_future(sleeper(name, delay_s)) for name, delay_s in (("c", 3), ("a", 1), ("b", 2))]
    await asyncio.wait_for(clock.wait_for_sleepers(3), 1)
    clock.advance(0.999)
    await asyncio.sleep(0)
    assert woken == []
    clock.advance(1.001)
    await asyncio.wait_for(asyncio.gather(*tasks[1:]), 1)
    assert woken == ["a", "b"]
    assert clock.sleepers == 1
    clock.advance(1)
    await asyncio.wait_for(tasks[0], 1)


async def test_a_cancelled_sleeper_is_no_longer_counted():
    clock = ManualClock()
    task = asyncio.ensure_future(clock.sleep(5))
    await clock.wait_for_sleepers()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.sleepers == 0
    clock.advance(10)


@pytest.mark.parametrize("delay_s", [0, -1])
async def test_no_delay_lets_others_run_and_returns(delay_s):
    clock = ManualClock()
    others = asyncio.ensure_future(asyncio.sleep(0, "ran"))
    await asyncio.wait_for(clock.sleep(delay_s), 1)
    assert await others == "ran"
    assert clock.sleepers == 0
