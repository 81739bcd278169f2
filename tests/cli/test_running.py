"""Event loop and signals of a command."""

import asyncio
import os
import signal

import pytest

from listener.cli import running


async def answer():
    return asyncio.get_running_loop()


def test_the_loop_is_uvloops_where_it_is_installed():
    uvloop = pytest.importorskip("uvloop")
    assert isinstance(running.run(answer()), uvloop.Loop)


def test_without_uvloop_the_standard_loop_does(monkeypatch):
    monkeypatch.setattr(running, "new_event_loop", None)
    assert isinstance(running.run(answer()), asyncio.SelectorEventLoop)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_does_not_interrupt(number):
    async def main():
        asked = asyncio.Event()
        running.on_request(asked.set)
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await asked.wait()
        return "in order"

    assert running.run(main()) == "in order"


def test_a_hangup_is_told_each_time_and_ends_nothing():
    async def main():
        heard = asyncio.Queue()
        running.on_hangup(lambda: heard.put_nowait("again"))
        async with asyncio.timeout(5):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGHUP)
                assert await heard.get() == "again"
        return "alive"

    assert running.run(main()) == "alive"


def test_work_is_cancelled_on_request_and_cleans_up():
    cleaned = []

    async def work():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)
        finally:
            cleaned.append(True)

    assert running.run(running.until_request(work())) is False
    assert cleaned == [True]


def test_work_that_ends_by_itself_or_fails_does_so():
    async def fail():
        raise LookupError("no")

    assert running.run(running.until_request(asyncio.sleep(0))) is True
    with pytest.raises(LookupError):
        running.run(running.until_request(fail()))


def test_a_cancellation_that_nobody_asked_for_goes_on():
    async def cancel():
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        running.run(running.until_request(cancel()))
