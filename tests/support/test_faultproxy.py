"""The bad link is bad in the way that it says, and whole again afterwards."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest

from support.faultproxy import FaultProxy
from support.receiver import Answer, Receiver

BODY = b"x" * 1000


@pytest.fixture
async def link(receiver: Receiver, link_to: Callable[[int], Awaitable[FaultProxy]]) -> FaultProxy:
    receiver.answers = Answer(body=BODY)
    return await link_to(receiver.port)


async def post(link: FaultProxy, *, timeout_s: float = 5.0) -> bytes:
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession(timeout=timeout) as http, http.post(link.url, data=b"hello") as response:
        return await response.read()


async def test_a_healthy_link_passes_everything_on(link: FaultProxy, receiver: Receiver):
    assert await post(link) == BODY
    assert receiver.posts[0].body == b"hello"
    assert link.accepted == 1


async def test_latency_delays_each_way(link: FaultProxy):
    start = time.monotonic()
    with link.latency(0.1):
        await post(link)
    assert time.monotonic() - start >= 0.2


async def test_a_narrow_link_takes_its_time(link: FaultProxy):
    start = time.monotonic()
    with link.rate(5_000):
        await post(link)
    assert time.monotonic() - start >= len(BODY) / 5_000


async def test_answers_alone_can_be_late(link: FaultProxy, receiver: Receiver):
    now_s = asyncio.get_running_loop().time
    start_s = now_s()
    with link.latency(0.5, answers_only=True):
        await post(link)
    assert 0.5 <= now_s() - start_s < 1.0


async def test_an_answer_that_trickles_comes_in_pieces(link: FaultProxy, receiver: Receiver):
    start = time.monotonic()
    async with aiohttp.ClientSession() as http:
        with link.drip(5_000, piece_bytes=50):
            async with http.post(link.url, data=b"hello") as response:
                pieces = [piece async for piece in response.content.iter_any()]
    assert b"".join(pieces) == BODY
    assert len(pieces) > 5
    assert time.monotonic() - start >= len(BODY) / 5_000


async def test_what_still_trickles_comes_at_once_when_the_link_is_well(link: FaultProxy):
    with link.drip(10):
        waiting = asyncio.create_task(post(link))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
    assert await waiting == BODY


async def test_a_dropped_response_was_a_request_all_the_same(link: FaultProxy, receiver: Receiver):
    link.drop_next_response()
    with pytest.raises(aiohttp.ClientError):
        await post(link)
    assert len(receiver.posts) == 1
    assert not link.cut_pending
    assert await post(link) == BODY


async def test_a_cut_response_breaks_in_its_body(link: FaultProxy):
    link.cut_next_response(after_bytes=300)
    with pytest.raises(aiohttp.ClientPayloadError):
        await post(link)


async def test_a_healed_link_forgets_the_cut(link: FaultProxy):
    link.drop_next_response()
    link.heal()
    assert await post(link) == BODY


async def test_a_black_hole_takes_the_connection_and_stays_silent(link: FaultProxy, receiver: Receiver):
    with link.blackhole():
        with pytest.raises(TimeoutError):
            await post(link, timeout_s=0.1)
        assert receiver.posts == []
    assert await post(link) == BODY


async def test_what_was_sent_into_a_black_hole_arrives_when_it_ends(link: FaultProxy):
    with link.blackhole():
        waiting = asyncio.create_task(post(link))
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done
    assert await waiting == BODY


async def test_a_refused_port_listens_again_on_the_same_number(link: FaultProxy):
    async with link.refused():
        with pytest.raises(aiohttp.ClientConnectorError):
            await post(link)
    assert await post(link) == BODY


async def test_a_reset_is_seen_by_the_client_that_waits(link: FaultProxy, receiver: Receiver):
    receiver.answers = Answer(delay_s=30)
    waiting = asyncio.create_task(post(link))
    await receiver.received(1)
    assert link.reset() == 2
    with pytest.raises(aiohttp.ClientError):
        await waiting


async def test_a_link_can_lead_to_another_server(link: FaultProxy, owned: AsyncExitStack):
    assert await post(link) == BODY
    other = await owned.enter_async_context(Receiver())
    link.lead_to(other.port)
    assert await post(link) == b""
    assert len(other.posts) == 1
