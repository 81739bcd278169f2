"""A thread for what blocks, asked from the event loop and from elsewhere."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from concurrent.futures import CancelledError

import pytest

from listener.runtime.worker import Worker


def name():
    return threading.current_thread().name


@pytest.fixture
def worker():
    worker = Worker("tidy")
    yield worker
    worker.shutdown()


@pytest.fixture
def held(worker):
    """Keeps the worker busy until it is set."""
    held = threading.Event()
    worker.submit(held.wait, 10)
    yield held
    held.set()


async def test_it_does_one_thing_after_the_other_in_a_thread_of_its_name(worker, held):
    done = []
    asked = [worker.run(done.append, 1), asyncio.wrap_future(worker.submit(done.append, 2)), worker.run(done.append, 3)]
    held.set()
    await asyncio.gather(*asked)
    assert done == [1, 2, 3]
    assert {await worker.run(name), worker.submit(name).result()} == {"tidy"}


async def test_the_loop_is_told_what_came_of_it(worker):
    told = asyncio.get_running_loop().create_future()
    worker.then(lambda result: told.set_result((result, name())), lambda *given: (*given, name()), 1, 2)
    assert await told == ((1, 2, "tidy"), threading.current_thread().name)


async def test_what_is_raised_reaches_who_asked_and_the_thread_goes_on(worker):
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 / 0)
    with pytest.raises(SystemExit):
        worker.submit(sys.exit).result()
    assert await worker.run(name) == "tidy"


async def test_what_was_cancelled_before_its_turn_is_not_done(worker, held):
    done = []
    one, other = worker.run(done.append, 1), worker.submit(done.append, 2)
    one.cancel()
    other.cancel()
    held.set()
    await worker.run(done.append, 3)
    assert done == [3]


async def test_what_is_cancelled_while_it_is_done_comes_to_its_end(worker):
    done, begun, may_end = [], threading.Event(), threading.Event()

    def work():
        begun.set()
        may_end.wait(10)
        done.append(1)

    one = worker.run(work)
    await asyncio.to_thread(begun.wait, 10)
    one.cancel()
    may_end.set()
    await worker.run(name)
    assert done == [1]
    assert one.cancelled()


async def test_shut_down_it_does_what_is_queued_and_takes_nothing_more():
    worker, done = Worker("tidy"), []
    asked = worker.run(done.append, 1)
    worker.shutdown(wait=False)
    with pytest.raises(RuntimeError):
        worker.run(done.append, 2)
    await asked
    worker.shutdown()
    assert done == [1]


async def test_shut_down_at_once_it_cancels_what_is_queued():
    worker, begun, may_end, done = Worker("tidy"), threading.Event(), threading.Event(), []
    first = worker.run(lambda: (begun.set(), may_end.wait(10)))
    one, other = worker.run(done.append, 1), worker.submit(done.append, 2)
    worker.then(done.append, done.append, 3)
    await asyncio.to_thread(begun.wait, 10)
    worker.shutdown(wait=False, cancel_futures=True)
    may_end.set()
    await first
    with pytest.raises(CancelledError):
        other.result()
    worker.shutdown()
    assert one.cancelled()
    assert done == []


async def test_it_keeps_nothing_alive_that_is_done(worker):
    class Load: ...

    load = Load()
    kept = weakref.ref(load)
    await worker.run(id, load)
    await worker.run(name)
    del load
    gc.collect()
    assert kept() is None


async def test_a_worker_that_nobody_has_any_more_ends():
    worker = Worker("forgotten")
    thread = worker._thread
    del worker
    gc.collect()
    await asyncio.to_thread(thread.join, 5)
    assert not thread.is_alive()


def test_a_worker_that_was_never_shut_down_keeps_no_process_from_its_end():
    code = "import time; from listener.runtime.worker import Worker; w = Worker('x'); w.submit(time.sleep, 60)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)


def test_who_does_not_wait_until_a_loop_is_closed_does_no_harm(worker, held):
    async def ask():
        worker.run(name)

    asyncio.run(ask())
    held.set()
    assert worker.submit(name).result() == "tidy"
