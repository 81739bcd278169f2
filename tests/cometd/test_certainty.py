"""While another process may have a session, nothing is asked for that is given only once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from listener.cometd.certainty import Certainty
from listener.cometd.protocol import Resume, Session
from listener.errors import JournalFenced
from support.eventually import eventually

pytestmark = pytest.mark.virtual


class Beats:
    """What says whether it is certain."""

    def __init__(self) -> None:
        self.is_certain = True
        self.is_over = False
        self.moved = asyncio.Event()
        self.running: asyncio.Task[None]
        self.certainty = Certainty(is_certain=lambda: self.is_certain, certainty=self._certain)

    async def _certain(self) -> None:
        while not self.is_certain:
            await self.moved.wait()
            self.moved.clear()
            if self.is_over:
                raise JournalFenced("over")

    def succeed(self) -> None:
        self.is_certain = True
        self.moved.set()

    def end(self) -> None:
        self.is_over = True
        self.moved.set()


def session(*, ack: bool, max_interval_ms: int = 10_000) -> Session:
    made = Session(topics=["/t"], connection_type="long-polling", want_ack=ack)
    made.resume(
        Resume(
            client_id="c",
            connection_type="long-polling",
            ack=7 if ack else None,
            max_interval_ms=max_interval_ms,
        )
    )
    return made


@pytest.fixture
async def beats() -> AsyncIterator[Beats]:
    beats = Beats()
    beats.running = asyncio.create_task(beats.certainty.run(), name="certainty")
    yield beats
    beats.running.cancel()
    await asyncio.wait((beats.running,))


@pytest.mark.parametrize("ack", [True, False])
async def test_where_it_is_certain_nothing_waits(beats: Beats, ack: bool):
    one = session(ack=ack)
    assert beats.certainty.allows(one)
    await asyncio.wait_for(beats.certainty.before_request(one), 0.1)


async def test_without_acknowledgements_nothing_is_asked_for_until_it_is_certain(beats: Beats):
    one = session(ack=False)
    beats.is_certain = False
    assert not beats.certainty.allows(one)
    waiting = asyncio.ensure_future(beats.certainty.before_request(one))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    beats.succeed()
    await asyncio.wait_for(waiting, 0.1)


async def test_with_acknowledgements_the_session_is_kept_alive_slowly(beats: Beats):
    one = session(ack=True, max_interval_ms=400)
    beats.is_certain = False
    assert beats.certainty.allows(one)
    began_s = asyncio.get_running_loop().time()
    await beats.certainty.before_request(one)
    assert 0.1 < asyncio.get_running_loop().time() - began_s < 0.4
    waiting = asyncio.ensure_future(beats.certainty.before_request(session(ack=True)))
    await asyncio.sleep(0)
    beats.succeed()
    await asyncio.wait_for(waiting, 0.1)


@pytest.mark.parametrize("ack", [True, False])
async def test_a_process_that_is_taken_for_gone_asks_for_nothing_more(beats: Beats, ack: bool):
    beats.is_certain = False
    waiting = asyncio.ensure_future(beats.certainty.before_request(session(ack=ack)))
    await asyncio.sleep(0)
    beats.end()
    await asyncio.wait((beats.running,))
    assert isinstance(beats.running.exception(), JournalFenced)
    assert not waiting.done()
    waiting.cancel()


async def test_thousands_go_on_a_few_at_a_time_and_only_while_it_is_certain(beats: Beats):
    beats.is_certain = False
    waiting = [asyncio.ensure_future(beats.certainty.before_request(session(ack=False))) for _ in range(300)]
    await asyncio.sleep(0.02)
    beats.succeed()
    await eventually(lambda: any(one.done() for one in waiting), interval_s=0)
    beats.is_certain = False
    await asyncio.sleep(0.05)
    done = sum(one.done() for one in waiting)
    assert 0 < done < 100
    beats.succeed()
    await asyncio.wait_for(asyncio.gather(*waiting), 5)


async def test_what_waits_in_vain_leaves_nothing_behind(beats: Beats):
    beats.is_certain = False
    for _ in range(50):
        await beats.certainty.before_request(session(ack=True, max_interval_ms=2))
    assert len(beats.certainty._gate._waiters) == 0
