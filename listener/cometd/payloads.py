"""What an exchange brings, payload by payload, and decoding it without holding up the event loop."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

import msgspec

from listener.cometd import messages as wire

_LARGE_BYTES = 2**20  # to decode more takes some milliseconds,
_LARGE_DAMAGED_BYTES = 2**14  # and a hundred times as long if it is damaged


class Payload(msgspec.Struct, frozen=True):
    """One response body, a slice of one, or a websocket frame.

    `whole` is False for what a cut response had brought. With `more` the rest of the same answer follows. `refused`
    counts messages that were skipped, by reason.
    """

    body: bytes
    whole: bool = True
    more: bool = False
    refused: dict[str, int] = {}


Payloads = AsyncGenerator[Payload, None]
"""The payloads of one answer as they come. Raises ExchangeFailed if nothing more will come."""


async def all_of(answer: Payload | Payloads) -> Payloads:
    """The payloads of an answer, also if it is a single one."""
    if isinstance(answer, Payload):
        yield answer
        return
    async with aclosing(answer) as payloads:
        async for payload in payloads:
            yield payload


async def decode(payload: Payload) -> wire.Envelope:
    """What a payload holds, with all that was refused of it.

    Raises:
        ExchangeFailed: it is the whole answer, and no message is in it.
    """
    body = payload.body
    sound = wire.decode_sound(body) if payload.whole and len(body) <= _LARGE_BYTES else None
    if sound is not None:
        envelope = sound
    else:
        sole = payload.whole and not payload.more
        work = partial(wire.decode if payload.whole else partial(wire.salvage, cut=True), body, sole=sole)
        envelope = await asyncio.to_thread(work) if len(body) > _LARGE_DAMAGED_BYTES else work()
    if payload.refused:
        return wire.Envelope(envelope.messages, added(envelope.refused, payload.refused))
    return envelope


def added(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """Two counts by reason as one."""
    return {reason: one.get(reason, 0) + other.get(reason, 0) for reason in one | other} if other else one
