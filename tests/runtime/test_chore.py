import asyncio

import pytest

from listener.runtime.chore import Chore
from support.eventually import eventually

pytestmark = pytest.mark.virtual


class Work:
    def __init__(self) -> None:
        self.begun = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> None:
        self.begun += 1
        await self.gate.wait()


async def test_it_is_done_again_and_again_and_leaves_no_task_between():
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        chore = Chore(tasks, "sweep", work, every_s=0.01)
        assert not tasks._tasks
        await eventually(lambda: work.begun >= 3, interval_s=0.001)
        chore.end()


async def test_the_first_time_may_come_earlier():
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        chore = Chore(tasks, "sweep", work, every_s=60.0, first_s=0.0)
        await eventually(lambda: work.begun == 1)
        chore.end()


async def test_what_spreads_many_of_them_holds_until_the_first_time_that_comes_by_itself():
    """All are asked at a start, for instance: they would go on together."""
    work = Work()
    async with asyncio.TaskGroup() as tasks:
        chore = Chore(tasks, "sweep", work, every_s=60.0, first_s=0.01)
        chore.now()
        await eventually(lambda: work.begun == 2)
        await asyncio.sleep(0.05)
        assert work.begun == 2
        chore.end()


async def test_it_is_done_at_once_when_asked_but_never_twice_at_a_time():
    work = Work()
    work.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        chore = Chore(tasks, "sweep", work, every_s=0)
        await asyncio.sleep(0.01)
        assert work.begun == 0
        chore.now()
        chore.now()
        await eventually(lambda: work.begun)
        chore.now()
        await asyncio.sleep(0.01)
        assert work.begun == 1
        work.gate.set()
        await eventually(lambda: not tasks._tasks)
        chore.now()
        await eventually(lambda: work.begun == 2)


async def test_once_it_has_ended_nothing_is_done():
    work = Work()
    work.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        chore = Chore(tasks, "sweep", work, every_s=0.001)
        await eventually(lambda: work.begun)
        chore.end()
        chore.now()
        await asyncio.sleep(0.01)
        assert work.begun == 1


async def test_what_it_raises_ends_the_group():
    async def fail() -> None:
        raise ZeroDivisionError

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            Chore(tasks, "sweep", fail, every_s=0.001)
            await asyncio.sleep(5.0)

    with pytest.raises(ExceptionGroup):
        await group()
