"""Short outages of the network before a real CometD server: how many sessions are lost, with all they held."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from support.bayeux import BayeuxServer
from support.eventually import eventually
from support.faultproxy import FaultProxy
from support.listening import NUMBERED, Listening

ACCOUNTS = 10
HOLD_MS = 5000
MAX_INTERVAL_MS = 10_000
WHILE_AWAY = 5
AT_ONCE = 4


class Outcome(NamedTuple):
    """What became of the runs of one length: sums over all of them, and the longest outage and recovery."""

    seconds: float
    runs: int
    sessions: int
    lost: int
    missing: int
    gaps: int
    outage_s: float
    recovery_s: float


async def play(folder: Path, *, ack: bool, seconds: Sequence[float], runs: int) -> list[Outcome]:
    """So many outages of each length. The network refuses; what is published meanwhile has to arrive afterwards."""
    lengths = [length for length in seconds for _ in range(runs)]
    workers = min(AT_ONCE, len(lengths))
    parts = await asyncio.gather(
        *(_worker(folder / f"w{worker}", ack=ack, lengths=lengths[worker::workers]) for worker in range(workers))
    )
    found = [outcome for part in parts for outcome in part]
    return [_sum([one for one in found if one.seconds == length]) for length in seconds]


def _sum(outcomes: Sequence[Outcome]) -> Outcome:
    length, figures = outcomes[0].seconds, list(zip(*outcomes, strict=True))
    return Outcome(length, *(sum(column) for column in figures[1:-2]), *(max(column) for column in figures[-2:]))


async def _worker(folder: Path, *, ack: bool, lengths: Sequence[float]) -> list[Outcome]:
    """One server, one daemon, and an outage after the other."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    options = ("--timeout-ms", str(HOLD_MS), "--max-interval-ms", str(MAX_INTERVAL_MS))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(BayeuxServer("cometd" if ack else "cometd-no-ack", options=options))
        link = await stack.enter_async_context(FaultProxy(server.port))
        accounts = [{"username": f"agent{number}", "password": "x"} for number in range(ACCOUNTS)]
        settings = {**server.settings, "url": link.url, "ack": ack}
        listening = await stack.enter_async_context(Listening(folder, server=settings, accounts=accounts))
        await listening.start()
        await server.subscribed(ACCOUNTS)
        numbers = itertools.count(1)
        return [await _outage(server, link, listening, numbers, length) for length in lengths]


async def _outage(
    server: BayeuxServer, link: FaultProxy, listening: Listening, numbers: Iterator[int], length: float
) -> Outcome:
    handshakes, gaps = (await server.state())["handshakes"], len(listening.gaps)
    missed, marks = list(itertools.islice(numbers, WHILE_AWAY)), set()
    now_s = asyncio.get_running_loop().time
    began = now_s()
    async with link.refused():
        for number in missed:
            await server.publish(NUMBERED, first=number)
            await asyncio.sleep(length / WHILE_AWAY)
    ended = now_s()

    async def all_listen() -> bool:
        """Whether each account has heard one of the marks."""
        marks.add(mark := next(numbers))
        await server.publish(NUMBERED, first=mark)
        return any(count == ACCOUNTS for number, count in Counter(listening.numbers).items() if number in marks)

    await eventually(all_listen, timeout_s=60.0, interval_s=0.2, what=listening.daemon.output)
    heard = Counter(listening.numbers)
    return Outcome(
        length,
        1,
        ACCOUNTS,
        (await server.state())["handshakes"] - handshakes,
        sum(ACCOUNTS - heard[number] for number in missed),
        len(listening.gaps) - gaps,
        ended - began,
        now_s() - ended,
    )
