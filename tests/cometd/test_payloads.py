"""Payloads are decoded where that holds nobody up, and what was refused of them is counted."""

import asyncio
import json
import threading
from unittest.mock import patch

import pytest

from listener.cometd import messages as wire
from listener.cometd.payloads import Payload, added, decode
from listener.errors import ExchangeFailed

SOUND = json.dumps([{"channel": "/c", "data": 1}] * 1000).encode()
DAMAGED = SOUND + b"}"


@pytest.mark.parametrize(("body", "elsewhere"), [(SOUND, False), (DAMAGED, True), (DAMAGED[-100:], False)])
async def test_what_takes_long_is_decoded_in_a_thread(body: bytes, elsewhere: bool):
    threads = []

    def salvage(*args, **options):
        threads.append(threading.current_thread())
        return well(*args, **options)

    well = wire.salvage
    with patch.object(wire, "salvage", salvage):
        await decode(Payload(body))
    assert [thread is not threading.main_thread() for thread in threads] == ([elsewhere] if body is not SOUND else [])


async def test_a_cut_payload_counts_no_last_element_and_needs_no_message():
    assert await decode(Payload(b'[{"channel": "/c', whole=False)) == wire.Envelope([])
    assert (await decode(Payload(b'[{"a": 1}, {"b', whole=False))).refused == {"not_a_message": 1}


async def test_only_a_whole_answer_has_to_hold_a_message():
    with pytest.raises(ExchangeFailed):
        await decode(Payload(b'[{"a": 1}]'))
    assert (await decode(Payload(b'[{"a": 1}]', more=True))).refused == {"not_a_message": 1}


async def test_what_was_skipped_counts_too():
    refused = {"too_large": 1, "not_a_message": 1}
    assert (await decode(Payload(b'[{"a": 1}]', more=True, refused=refused))).refused == {
        "too_large": 1,
        "not_a_message": 2,
    }
    assert (await decode(Payload(b"[]", refused=refused))).refused == refused
    assert added({"a": 1}, {}) == {"a": 1}


async def test_the_loop_goes_on_meanwhile():
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    await decode(Payload(b'{"a":1},' * 20_000, more=True))
    turning.cancel()
    assert turns > 2
