import asyncio
from collections import Counter
from contextlib import suppress

import pytest

from listener.runtime.gate import Gate
from support.eventually import eventually

pytestmark = pytest.mark.virtual


class Queue:
    """So many who wait before a gate; `through` is in the order in which they came through."""

    def __init__(self, gate: Gate, count: int, *, limit_s: float = 60.0) -> None:
        self.through: list[int] = []
        self.tasks = [asyncio.create_task(self.wait(gate, number, limit_s)) for number in range(count)]

    async def wait(self, gate: Gate, number: int, limit_s: float) -> None:
        await gate.within(limit_s)
        self.through.append(number)

    async def stands(self) -> None:
        await asyncio.sleep(0.01)


async def test_an_open_gate_holds_nobody():
    gate = Gate()
    await asyncio.wait_for(gate.within(60.0), 0.1)


async def test_all_are_let_through_in_their_order_but_not_at_once():
    gate = Gate()
    gate.shut()
    queue = Queue(gate, 100)
    await queue.stands()
    assert queue.through == []
    opening = asyncio.create_task(gate.open())
    await eventually(lambda: queue.through, interval_s=0)
    assert len(queue.through) < 50
    await opening
    await asyncio.wait(queue.tasks)
    assert queue.through == list(range(100))
    await asyncio.wait_for(gate.within(60.0), 0.1)


async def test_who_comes_while_it_opens_stands_behind_the_others():
    gate = Gate()
    gate.shut()
    queue = Queue(gate, 30)
    await queue.stands()
    opening = asyncio.create_task(gate.open())
    await eventually(lambda: queue.through, interval_s=0)
    late = Queue(gate, 1)
    await asyncio.wait(late.tasks)
    assert len(queue.through) == 30
    await opening


async def test_nobody_waits_for_longer_than_he_may():
    gate = Gate()
    gate.shut()
    await gate.within(0.05)
    assert asyncio.get_running_loop().time() == 0.05


async def test_whom_an_opening_that_is_cancelled_leaves_there_goes_when_he_has_waited_long_enough():
    gate = Gate()
    gate.shut()
    queue = Queue(gate, 1000, limit_s=0.2)
    await queue.stands()
    opening = asyncio.create_task(gate.open())
    await eventually(lambda: queue.through, interval_s=0)
    opening.cancel()
    await asyncio.wait((opening,))
    assert len(queue.through) < 500
    await asyncio.wait(queue.tasks, timeout=5.0)
    assert len(queue.through) == 1000


async def test_who_gave_up_holds_up_nobody():
    gate = Gate()
    gate.shut()
    queue = Queue(gate, 2)
    await queue.stands()
    queue.tasks[0].cancel()
    await gate.open()
    await asyncio.wait(queue.tasks)
    assert queue.through == [1]


async def test_those_who_come_all_at_once_go_on_in_many_steps_of_the_event_loop_and_in_order():
    gate, step, through = Gate(), 0, list[tuple[int, int]]()

    async def come(number: int) -> None:
        await gate.in_step()
        through.append((step, number))

    tasks = [asyncio.create_task(come(number)) for number in range(500)]
    tasks[70].cancel()
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        step += 1
    assert [number for _, number in through] == [number for number in range(500) if number != 70]
    assert max(Counter(at for at, _ in through).values()) <= 50
    await asyncio.wait_for(gate.in_step(), 0.1)


async def test_who_comes_alone_waits_for_no_step():
    gate, has_come = Gate(), False
    for _ in range(49):
        await gate.in_step()

    async def come() -> None:
        nonlocal has_come
        await gate.in_step()
        has_come = True

    with suppress(StopIteration):
        come().send(None)
    assert has_come
