"""The latch: what waits goes on, what gives up leaves nothing behind."""

import asyncio

import pytest

from listener.runtime.latch import Latch

pytestmark = pytest.mark.virtual


async def test_an_open_latch_holds_nobody():
    latch = Latch(is_open=True)
    await latch.wait()
    assert latch.is_set()
    assert await latch.within(0.0)


async def test_opening_wakes_everyone_even_if_it_is_shut_again_at_once():
    latch = Latch()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        for n in range(3):
            tasks.create_task(latch.wait(), name=f"waiter {n}")
        await asyncio.sleep(0)
        latch.set()
        latch.clear()
    assert not latch.is_set()


async def test_a_shut_latch_holds_again():
    latch = Latch(is_open=True)
    latch.clear()
    assert not await latch.within(0.01)


async def test_a_limited_wait_tells_whether_the_latch_opened():
    latch = Latch()
    assert not await latch.within(0.01)
    asyncio.get_running_loop().call_later(0.01, latch.set)
    assert await latch.within(5.0)


async def test_a_waiter_that_was_cancelled_disturbs_no_other():
    latch = Latch()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(latch.wait(), name="gone")
        tasks.create_task(latch.wait(), name="patient")
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait((gone,))
        latch.set()
    with pytest.raises(asyncio.CancelledError):
        gone.result()
