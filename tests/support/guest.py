"""A client of the session at a simulated site, over real loopback HTTP."""

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import aiohttp

from listener.cometd.client import BatchClient
from listener.cometd.engine import Engine
from listener.cometd.facts import Batch, Fact, PollingEnded, Subscribed
from listener.cometd.protocol import Resume, Session
from listener.cometd.transport import Link
from listener.runtime.backoff import Backoff
from listener.runtime.host import Host
from listener.simulator import Simulator
from support.bareserver import new_http
from support.script import TOPIC

F = TypeVar("F", bound=Fact)


class QuickClock:
    """The time of the loop; no pause is longer than a twentieth of a second."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(min(delay_s, 0.05))


class Guest:
    """One agent's client. Logged in by Basic on every request, so that nothing but CometD is at work.

    Attributes:
        facts: what has been taken so far.
    """

    def __init__(
        self, sim: Simulator, http: aiohttp.ClientSession, *, resume: Resume | None = None, **link: Any
    ) -> None:
        self.http = http
        self.session = Session(topics=[TOPIC], connection_type="long-polling")
        if resume is not None:
            self.session.resume(resume)
        self.engine = Engine(
            session=self.session,
            host=Host(clock=QuickClock()),
            spread_s=0.01,
            handshake_backoff=Backoff(first_s=0.01, limit_s=0.05),
        )
        self.link = Link(engine=self.engine, http=http, **{"margin_s": 2.0, **link})
        self.client = BatchClient(url=f"{sim.url}/api/v2/notifications", link=self.link)
        self.facts: list[Fact] = []

    async def until(self, kind: type[F], fits: Callable[[F], bool] = lambda _: True) -> F:
        """Take facts up to one of this kind; batches on the way are confirmed, the one that is returned is not."""
        async with asyncio.timeout(10):
            async for fact in self.client.facts():
                self.facts.append(fact)
                if isinstance(fact, kind) and fits(fact):
                    return fact
                if isinstance(fact, Batch):
                    fact.confirm()
        raise AssertionError("facts end with their caller only")

    async def certain(self) -> Subscribed:
        return await self.until(Subscribed)

    async def heard(self, *numbers: int) -> None:
        """Take facts until events of these numbers have been heard."""
        async with asyncio.timeout(10):
            while set(numbers) - set(self.numbers):
                (await self.until(Batch)).confirm()

    async def end_polling(self) -> PollingEnded:
        await self.client.end_polling()
        return await self.until(PollingEnded)

    @property
    def numbers(self) -> list[int]:
        """`n` of every event so far, doubles and all."""
        batches = [fact for fact in self.facts if isinstance(fact, Batch)]
        return [json.loads(bytes(payload))["n"] for batch in batches for payload in batch.payloads]


@asynccontextmanager
async def guest_http(user: str = "agent1") -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP session that logs in with every request."""
    credentials = b64encode(f"{user}:secret".encode()).decode()
    async with new_http(headers={"Authorization": f"Basic {credentials}"}) as http:
        yield http


@asynccontextmanager
async def running(guest: Guest, *, disconnect: bool = False) -> AsyncIterator[Guest]:
    """The client at work; cancelled at the end, as its owner does it."""
    task = asyncio.create_task(guest.client.run(disconnect=disconnect), name="client under test")
    try:
        yield guest
    finally:
        task.cancel()
        await asyncio.wait((task,))
        if not task.cancelled():
            task.result()
