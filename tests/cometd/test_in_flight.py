"""Facts wait in order, and no more of them than memory is given to."""

import asyncio

from listener.cometd.facts import Polled, SessionProblem
from listener.cometd.in_flight import MAX_FACTS, InFlight
from listener.cometd.protocol import Resume
from listener.runtime.clock import Moment

RESUME = Resume(client_id="c1", connection_type="long-polling", ack=None)


def trouble(number: int) -> SessionProblem:
    return SessionProblem(reason="network", text=str(number), retry_in_s=1.0)


async def test_facts_are_taken_in_their_order():
    in_flight = InFlight()
    for number in range(3):
        in_flight.put(trouble(number))
    assert [(await in_flight.next()).text for _ in range(3)] == ["0", "1", "2"]
    assert not in_flight.pending()


async def test_a_cancelled_taker_loses_nothing():
    in_flight = InFlight()
    taker = asyncio.create_task(in_flight.next())
    await asyncio.sleep(0)
    taker.cancel()
    await asyncio.wait((taker,))
    in_flight.put(trouble(1))
    assert (await in_flight.next()).text == "1"


async def test_empty_polls_that_nobody_takes_do_not_pile_up():
    in_flight = InFlight()
    for at_ms in range(10_000):
        in_flight.put(Polled(at=Moment(at_ms, 0.0), resume=RESUME))
    taken = []
    while in_flight.pending():
        taken.append((await in_flight.next()).at.wall_ms)
    assert len(taken) < MAX_FACTS
    assert taken[-1] == 9_999


async def test_there_is_room_again_once_a_fact_is_taken():
    in_flight = InFlight()
    for number in range(MAX_FACTS):
        in_flight.put(trouble(number))
    waiting = asyncio.create_task(in_flight.wait_for_room())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await in_flight.next()
    await asyncio.wait_for(waiting, 1)


async def test_what_is_confirmed_twice_counts_once():
    in_flight = InFlight()
    _, first = in_flight.add_bytes(10)
    durable, second = in_flight.add_bytes(5)
    waiting = asyncio.create_task(in_flight.drop_to(4))
    second()
    second()
    await asyncio.sleep(0.01)
    assert (durable.is_set(), in_flight.bytes_in_flight, waiting.done()) == (True, 10, False)
    first()
    await asyncio.wait_for(waiting, 1)
    assert in_flight.bytes_in_flight == 0
