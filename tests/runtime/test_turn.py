"""One at a time, in the order of asking, and nobody in between."""

import asyncio

import pytest

from listener.runtime.turn import Turn

pytestmark = pytest.mark.virtual


async def test_it_is_taken_at_once_where_nobody_has_it():
    turn = Turn()
    assert turn.take()
    assert turn.locked()
    assert not turn.take()
    turn.release()
    assert not turn.locked()


async def test_who_waits_gets_it_in_the_order_of_asking_and_nobody_comes_in_between():
    turn, had = Turn(), []

    async def have(name: int) -> None:
        async with turn:
            had.append(name)
            await asyncio.sleep(0)

    assert turn.take()
    tasks = [asyncio.create_task(have(number)) for number in range(3)]
    await asyncio.sleep(0)
    turn.release()
    assert not turn.take()  # it was given away in that step
    await asyncio.gather(*tasks)
    assert (had, turn.locked()) == ([0, 1, 2], False)


async def test_who_does_not_want_it_any_more_holds_up_nobody():
    turn = Turn()
    assert turn.take()
    first, second = (asyncio.create_task(turn.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait((first,))
    turn.release()
    await asyncio.wait_for(second, 1)
    assert turn.locked()


async def test_a_rest_ends_with_the_turn_or_with_its_time_and_takes_nothing():
    turn, loop = Turn(), asyncio.get_running_loop()
    assert turn.take()
    await turn.rest(loop.time() + 0.01)
    resting = asyncio.create_task(turn.rest(loop.time() + 60))
    await asyncio.sleep(0)
    assert not resting.done()
    turn.release()
    await asyncio.wait_for(resting, 1)
    assert turn.take()


async def test_who_is_cancelled_as_it_is_given_gives_it_on():
    turn = Turn()
    assert turn.take()
    first, second = (asyncio.create_task(turn.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    turn.release()
    first.cancel()
    await asyncio.wait((first,))
    await asyncio.wait_for(second, 1)
    assert first.cancelled()
    turn.release()
    assert not turn.locked()
