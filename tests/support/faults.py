"""The faults of the matrix: what is done to a session in the middle of a stream, and what it must survive."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from support.eventually import eventually
from support.rigs import CometdRig, Rig, SimulatedRig
from support.wallclock import faketime_library

SERVERS = ("simulator", "cometd")
BETWEEN_S = 0.4  # hits of one fault
BACKOFF_S = 30.0  # how long the daemon may pause at the most; what is asked for by number of answers takes as long
REVOKED_S = 3.0
FOUND = 302
HTML = "<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
ACCESS_DENIED = '{"statusCode": 20, "statusMessage": "Access denied"}'


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One row of the matrix.

    Attributes:
        play: does it to a rig; returns when it is over.
        hits: how often, each time once events flow again.
        through: what the daemon comes through, a TCP link or an HTTP gateway.
        ends_session: the server forgets the session, or asks the client to give it up: what was queued is gone then,
            acknowledged or not, and has to be on record.
        servers: where it can be played.
        margin_s: the daemon's `poll_margin_s`.
        max_interval_ms: how long the server keeps a session that does not poll.
        pause_s: the publisher's pause; long faults have fewer events a second.
        max_message_bytes: the daemon's.
        sets_clock: the daemon's wall clock is set; it has one of its own then.
        csrf: the site wants a CSRF token.
    """

    name: str
    play: Callable[[Any], Awaitable[None]]
    hits: int = 1
    through: Literal["link", "gateway"] = "link"
    ends_session: bool = False
    servers: Sequence[str] = SERVERS
    margin_s: float = 1.0
    max_interval_ms: int = 10_000
    pause_s: float = 0.08
    max_message_bytes: int = 2**24
    sets_clock: bool = False
    csrf: bool = False


async def _used_up(rig: Rig) -> None:
    await eventually(lambda: not rig.pending, timeout_s=BACKOFF_S, interval_s=0.02, what="every spoilt answer taken")


async def _drop(rig: Rig) -> None:
    for _ in range(5):
        rig.link.drop_next_response()
        await eventually(lambda: not rig.link.cut_pending, timeout_s=BACKOFF_S)
        await asyncio.sleep(BETWEEN_S)


async def _cut(rig: Rig) -> None:
    """In the status line, in the headers, in the first event, further on."""
    for after_bytes in (10, 120, 400, 1000, 2000):
        rig.link.cut_next_response(after_bytes=after_bytes)
        await eventually(lambda: not rig.link.cut_pending, timeout_s=BACKOFF_S)
        await asyncio.sleep(BETWEEN_S)


async def _reset(rig: Rig) -> None:
    for hit in range(6):
        rig.link.reset()
        await asyncio.sleep(BETWEEN_S + 0.013 * hit)


async def _blackhole(rig: Rig) -> None:
    with rig.link.blackhole():
        await asyncio.sleep(3.5)


async def _latency(rig: Rig) -> None:
    with rig.link.latency(30.0, answers_only=True):
        await asyncio.sleep(32.0)


async def _drip(rig: Rig) -> None:
    with rig.link.drip(3000):
        await asyncio.sleep(1.5)
    with rig.link.drip(400):
        await asyncio.sleep(3.0)


async def _bad_gateway(rig: Rig) -> None:
    """Where the server never saw the request, and where its answer was lost behind the gateway."""
    for acted in (False, True):
        rig.gateway.fail(502, body=HTML, acted=acted)
        await _used_up(rig)
        await asyncio.sleep(BETWEEN_S)


def _in_place_of_the_answer(*statuses: int, body: str | None) -> Callable[[Rig], Awaitable[None]]:
    async def play(rig: Rig) -> None:
        for status in statuses:
            rig.gateway.fail(
                status, body=body, headers={"Location": "/elsewhere"} if status == FOUND else {}, acted=True
            )
            await _used_up(rig)
            await asyncio.sleep(BETWEEN_S)

    return play


async def _refused(rig: Rig) -> None:
    async with rig.link.refused():
        await asyncio.sleep(7.0)


async def _queue(rig: Rig) -> None:
    """The server gathers what is many times larger than what one message may be."""
    with rig.link.blackhole():
        await asyncio.sleep(3.5)


async def _unauthorized(rig: Rig) -> None:
    rig.gateway.fail(401, body=ACCESS_DENIED, content_type="application/json", count=5)
    await _used_up(rig)


async def _unauthorized_in_bayeux(rig: Rig) -> None:
    for error in ("401::Authentication invalid", "403::Handshake denied"):
        rig.gateway.refuse(error, count=2)
        await _used_up(rig)


async def _csrf_expired(rig: Rig) -> None:
    await rig.reject_csrf()
    await _used_up(rig)


async def _unavailable(rig: Rig) -> None:
    rig.gateway.fail(503, body=HTML, headers={"Retry-After": "1"}, count=3)
    await _used_up(rig)


async def _expire(rig: Rig) -> None:
    await rig.expire()


async def _set_clock_back(rig: Rig) -> None:
    """By an hour, while the server has forgotten the session and cannot be reached."""
    async with rig.link.refused():
        await rig.expire()
        await asyncio.sleep(BETWEEN_S)
        assert rig.clock is not None
        rig.clock.jump(-3600)
        await asyncio.sleep(1.0 + BETWEEN_S)  # the daemon sees it within a second


async def _restart(rig: Rig) -> None:
    await rig.restart(down_s=0.7)


async def _lose_cookies(rig: Rig) -> None:
    with rig.gateway.without_cookies():
        await asyncio.sleep(1.5)


def _advise(kind: str) -> Callable[[Rig], Awaitable[None]]:
    async def play(rig: Rig) -> None:
        rig.advise(kind, count=1)
        await _used_up(rig)

    return play


async def _duplicate(rig: Rig) -> None:
    rig.duplicate(8)
    await _used_up(rig)


async def _shuffle(rig: Rig) -> None:
    with rig.gateway.shuffled():
        await asyncio.sleep(2.0)


async def _read_amid_trouble(rig: SimulatedRig) -> None:
    """After a gap the chats cannot be read at first, and are when polls fail: newer than what the session holds."""
    rig.simulator.control("fail", status=503, target="rest")
    rig.gateway.fail(502, body=HTML, acted=True)
    await asyncio.sleep(9.5)  # the second reading comes 10 s after the first
    rig.gateway.fail(503, body=HTML, headers={"Retry-After": "3"})
    await asyncio.sleep(3.0)


async def _revoke_logins(rig: SimulatedRig) -> None:
    rig.revoke_logins(REVOKED_S)
    await asyncio.sleep(REVOKED_S)


FAULTS = (
    Fault(name="response dropped", play=_drop),
    Fault(name="cut after n bytes", play=_cut),
    Fault(name="RST", play=_reset),
    Fault(name="black hole", play=_blackhole),
    Fault(name="30 s latency", play=_latency, max_interval_ms=60_000, pause_s=0.5),
    Fault(name="30 s latency, waited for", play=_latency, margin_s=35.0, max_interval_ms=60_000, pause_s=0.5),
    Fault(name="slow drip", play=_drip),
    Fault(name="refused for 7 s", play=_refused),
    Fault(name="long queue, short messages", play=_queue, max_message_bytes=2**16),
    Fault(
        name="HTTP 202, 203, 206, body kept", play=_in_place_of_the_answer(202, 203, 206, body=None), through="gateway"
    ),
    Fault(
        name="HTTP 302, 404, 408 for an answer",
        play=_in_place_of_the_answer(302, 404, 408, body=HTML),
        through="gateway",
    ),
    Fault(
        name="HTTP 401, 403, 503 for an answer",
        play=_in_place_of_the_answer(401, 403, 503, body=HTML),
        through="gateway",
    ),
    Fault(name="401, 403 in Bayeux", play=_unauthorized_in_bayeux, through="gateway"),
    Fault(name="HTTP 502, HTML", play=_bad_gateway, hits=2, through="gateway"),
    Fault(name="HTTP 401, JSON", play=_unauthorized, hits=3, through="gateway"),
    Fault(name="HTTP 403, CSRF expired", play=_csrf_expired, hits=3, through="gateway", csrf=True),
    Fault(name="HTTP 503, Retry-After", play=_unavailable, through="gateway"),
    Fault(name="session expired", play=_expire, hits=3, ends_session=True),
    Fault(
        name="clock set back in a gap",
        play=_set_clock_back,
        ends_session=True,
        servers=SERVERS if faketime_library() is not None else (),
        sets_clock=True,
    ),
    Fault(name="server restarted", play=_restart, hits=2, ends_session=True),
    Fault(name="cookies lost", play=_lose_cookies, through="gateway", ends_session=True),
    Fault(name="advice none", play=_advise("none"), hits=2, through="gateway", ends_session=True),
    Fault(name="advice handshake", play=_advise("handshake"), hits=3, through="gateway", ends_session=True),
    Fault(name="advice interval 1000", play=_advise("interval"), hits=2, through="gateway"),
    Fault(name="advice multiple-clients", play=_advise("multiple-clients"), hits=2, through="gateway"),
    Fault(name="duplicate batch", play=_duplicate, through="gateway"),
    Fault(name="replies reordered", play=_shuffle, through="gateway"),
    Fault(name="chats read amid 503", play=_read_amid_trouble, through="gateway", servers=("simulator",)),
    Fault(name="login revoked", play=_revoke_logins, servers=("simulator",), max_interval_ms=20_000),
)

LEFT_OUT = {
    "chats read amid 503": "a bare CometD server has no chats that could be read",
    "login revoked": "a bare CometD server has no login that could be revoked",
}


def new_rig(server: str, fault: Fault, *, ack: bool) -> Rig:
    """The rig that a fault is played on; `server` is one of SERVERS."""
    if server == "cometd":
        return CometdRig(ack=ack, max_interval_ms=fault.max_interval_ms)
    return SimulatedRig(ack=ack, max_interval_ms=fault.max_interval_ms, csrf=fault.csrf)
