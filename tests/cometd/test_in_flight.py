"""Facts wait in order, and no more of them than memory is given to."""

import asyncio

import pytest

from listener.cometd.facts import Batch, Polled, SessionProblem
from listener.cometd.in_flight import MAX_FACTS, InFlight
from listener.cometd.protocol import Resume
from listener.cometd.taken import PART_EVENTS
from listener.runtime.clock import Moment

pytestmark = pytest.mark.virtual

RESUME = Resume(client_id="c1", connection_type="long-polling", ack=None)


def trouble(number: int) -> SessionProblem:
    return SessionProblem(reason="network", text=str(number), retry_in_s=1.0)


async def test_facts_are_taken_in_their_order():
    in_flight = InFlight()
    for number in range(3):
        in_flight.put(trouble(number))
    assert [(await in_flight.next()).text for _ in range(3)] == ["0", "1", "2"]
    assert not in_flight.pending()


async def test_an_answer_is_offered_at_once_and_only_where_nothing_waits_before_it():
    in_flight, offered = InFlight(), []

    def take(fact: Batch | Polled) -> bool:
        offered.append(fact)
        return fact.number == 1

    in_flight.take = take
    in_flight.put(batch(1))
    assert (len(offered), in_flight.pending()) == (1, False)
    in_flight.put(batch(2))  # not taken: it waits
    in_flight.put(batch(1, at_ms=1000))
    assert (len(offered), in_flight.pending()) == (2, True)
    assert [(await in_flight.next()).number for _ in range(2)] == [2, 1]
    in_flight.put(trouble(1))  # no answer of a poll
    assert (len(offered), in_flight.pending()) == (2, True)


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


def batch(
    number: int,
    *,
    at_ms: int = 0,
    size: int = 1,
    client_id: str = "c1",
    confirmed: list[tuple[int, bool]] | None = None,
):
    def confirm(*, useful: bool = True) -> None:
        if confirmed is not None:
            confirmed.append((number, useful))

    return Batch(
        payloads=[number] * size,
        refused={"x": 1},
        at=Moment(at_ms, at_ms / 1024),
        number=number,
        client_id=client_id,
        resume=RESUME if number == 2 else None,
        confirm=confirm,
    )


async def test_batches_that_come_within_a_moment_are_taken_together():
    """As the frames of a websocket do: with a commit for each, a burst would last longer than the session."""
    in_flight, confirmed = InFlight(), []
    for number in (1, 2, 3):
        in_flight.put(batch(number, at_ms=10 * number, confirmed=confirmed))
    taken = await in_flight.next()
    assert (taken.payloads, taken.refused, taken.number, taken.at.wall_ms) == ([1, 2, 3], {"x": 3}, 1, 30)
    assert taken.resume == RESUME
    assert not in_flight.pending()
    taken.confirm(useful=False)
    assert confirmed == [(1, False), (2, False), (3, False)]


async def test_batches_of_different_moments_or_sessions_stay_apart_and_none_becomes_too_large():
    for second in (batch(2, at_ms=60), batch(2, at_ms=-1), batch(2, client_id="c2"), batch(2, size=PART_EVENTS)):
        in_flight = InFlight()
        in_flight.put(batch(1))
        in_flight.put(second)
        assert [(await in_flight.next()).number for _ in range(2)] == [1, 2]


async def test_a_stream_without_a_pause_is_stamped_as_it_came():
    in_flight = InFlight()
    for at_ms in range(0, 200, 10):
        in_flight.put(batch(1, at_ms=at_ms))
    assert [(await in_flight.next()).at.wall_ms for _ in range(4)] == [50, 110, 170, 190]


async def test_thousands_of_batches_without_a_payload_are_one():
    in_flight, confirmed = InFlight(), []
    for number in range(5000):
        in_flight.put(batch(number, size=0, confirmed=confirmed))
    taken = await in_flight.next()
    taken.confirm()
    assert (in_flight.pending(), len(confirmed), taken.refused) == (False, 5000, {"x": 5000})


async def test_what_stands_between_two_batches_keeps_them_apart():
    in_flight = InFlight()
    for fact in (batch(1), trouble(1), batch(2)):
        in_flight.put(fact)
    assert [type(await in_flight.next()) for _ in range(3)] == [Batch, SessionProblem, Batch]
