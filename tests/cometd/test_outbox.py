"""Facts wait in order, and no more of them than memory is given to."""

import asyncio

from listener.cometd.facts import Polled, Trouble
from listener.cometd.outbox import MOST_FACTS, Outbox
from listener.cometd.protocol import Resume

RESUME = Resume(client_id="c1", connection_type="long-polling", ack=None)


def trouble(number: int) -> Trouble:
    return Trouble(reason="network", text=str(number), retry_in_s=1.0)


async def test_facts_are_taken_in_their_order():
    outbox = Outbox()
    for number in range(3):
        outbox.tell(trouble(number))
    assert [(await outbox.next()).text for _ in range(3)] == ["0", "1", "2"]
    assert not outbox.pending()


async def test_a_cancelled_taker_loses_nothing():
    outbox = Outbox()
    taker = asyncio.create_task(outbox.next())
    await asyncio.sleep(0)
    taker.cancel()
    await asyncio.wait((taker,))
    outbox.tell(trouble(1))
    assert (await outbox.next()).text == "1"


async def test_empty_polls_that_nobody_takes_do_not_pile_up():
    outbox = Outbox()
    for at_ms in range(10_000):
        outbox.tell(Polled(at_ms=at_ms, resume=RESUME))
    taken = []
    while outbox.pending():
        taken.append((await outbox.next()).at_ms)
    assert len(taken) < MOST_FACTS
    assert taken[-1] == 9_999


async def test_there_is_room_again_once_a_fact_is_taken():
    outbox = Outbox()
    for number in range(MOST_FACTS):
        outbox.tell(trouble(number))
    waiting = asyncio.create_task(outbox.room())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await outbox.next()
    await asyncio.wait_for(waiting, 1)


async def test_what_is_confirmed_twice_counts_once():
    outbox = Outbox()
    _, first = outbox.hold(10)
    landed, second = outbox.hold(5)
    waiting = asyncio.create_task(outbox.below(4))
    second()
    second()
    await asyncio.sleep(0.01)
    assert (landed.is_set(), outbox.held_bytes, waiting.done()) == (True, 10, False)
    first()
    await asyncio.wait_for(waiting, 1)
    assert outbox.held_bytes == 0
