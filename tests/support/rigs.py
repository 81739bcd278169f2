"""A server behind a link or a gateway that can spoil things: what a fault needs, whichever server it is."""

import asyncio
import contextlib
from typing import Any, Protocol, Self

from listener.simulator import Simulator, SimulatorOptions
from support.bayeux import BayeuxServer
from support.faultproxy import FaultProxy
from support.gateway import Gateway
from support.ledger import KEY
from support.notifications import notification
from support.wallclock import WallClock

BUSY, QUIET = ("busy-a", "busy-b"), tuple(f"quiet-{number}" for number in range(40))
# Every other event is of a busy chat; of a quiet one re-reading finds what was missed, no later event having hidden it.
CHATS = tuple(chat for number, quiet in enumerate(QUIET) for chat in (BUSY[number % 2], quiet))
AGENT = "agent1"
CSRF_REFUSAL = "Missing or invalid Csrf token"
FILTERED_EVERY = 7  # a notification without a disposition among so many with one
HOLD_MS = 1000


class Rig(Protocol):
    """One server of its own, what stands before it, and the faults that the server itself can play.

    As a context manager it runs. Clients come through `link` or through `gateway`, which both lead to the server.

    Attributes:
        agent: who sets the dispositions, None where the server knows no agents.
        account: the name of the configured account.
        clock: the daemon's wall clock, where it has one that can be set.
    """

    link: FaultProxy
    gateway: Gateway
    agent: str | None
    account: str
    clock: WallClock | None

    async def __aenter__(self) -> Self:
        """Start."""

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop all of it."""

    def settings(self, url: str) -> dict[str, Any]:
        """The tables of the configuration that lead to this address of the link's or the gateway's."""

    async def send(self, number: int, chat: str, value: str) -> int | None:
        """Set a disposition (see `ledger.Send`)."""

    async def expire(self) -> None:
        """The server forgets every CometD session."""

    async def restart(self, *, down_s: float) -> None:
        """The server goes, and comes back with no session known."""

    async def reject_csrf(self) -> None:
        """The CSRF token has expired: the next POST is refused for that, with a plain text."""

    def advise(self, kind: str, *, count: int) -> None:
        """Give this advice with the next replies: none, handshake, interval (1000 ms) or multiple-clients."""

    def duplicate(self, count: int) -> None:
        """Bring the next batches twice."""

    @property
    def pending(self) -> int:
        """How much of what was asked for is still to come."""


class SimulatedRig:
    """The Web Services look-alike: login, REST API, notifications with the server's time."""

    agent = AGENT
    account = AGENT
    clock: WallClock | None = None

    def __init__(self, *, ack: bool, max_interval_ms: int, csrf: bool = False) -> None:
        options = SimulatorOptions(agents=1, ack=ack, csrf=csrf, timeout_ms=HOLD_MS, max_interval_ms=max_interval_ms)
        self.simulator = Simulator(options)
        for chat in (*BUSY, *QUIET):
            self.simulator.add_chat(chat)
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.simulator)
        self.link = await self._stack.enter_async_context(FaultProxy(self.simulator.port))
        self.gateway = await self._stack.enter_async_context(Gateway(self.simulator.port))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def settings(self, url: str) -> dict[str, Any]:
        account = {"username": AGENT, "password": self.simulator.options.password}
        return {"server": {"url": url}, "accounts": [account]}

    async def send(self, number: int, chat: str, value: str) -> int | None:
        if number % FILTERED_EVERY == 0:
            self.simulator.operate(AGENT, chat, "SendMessage", message="a line")
        entry = self.simulator.set_disposition(AGENT, chat, value, KEY)
        assert entry == self.simulator.ledger[-1]
        return entry.reference_id

    async def expire(self) -> None:
        self.simulator.control("expire")

    async def restart(self, *, down_s: float) -> None:
        await self.simulator.stop()
        await asyncio.sleep(down_s)
        await self.simulator.start()

    async def reject_csrf(self) -> None:
        self.simulator.control("set-csrf", enabled=True)

    def advise(self, kind: str, *, count: int) -> None:
        self.simulator.control("advice", kind=kind, interval_ms=1000, count=count)

    def duplicate(self, count: int) -> None:
        self.simulator.control("duplicate", count=count)

    @property
    def pending(self) -> int:
        return self.gateway.pending + sum(self.simulator.state()["pending"].values())

    def revoke_logins(self, seconds: float) -> None:
        """Nobody is logged in any more, and nobody can log in for so long."""
        self.simulator.control("invalidate-logins", seconds=seconds)


_ADVICE = {
    "none": {"reconnect": "none"},
    "handshake": {"reconnect": "handshake", "interval": 0},
    "interval": {"reconnect": "retry", "interval": 1000},
    "multiple-clients": {"multiple-clients": True, "reconnect": "retry", "interval": 1000},
}


class CometdRig:
    """The CometD project's own server: no login, no REST API, notifications as documented, without a time.

    What it cannot do by itself, the gateway does.
    """

    agent = None
    account = "listener"
    clock: WallClock | None = None

    def __init__(self, *, ack: bool, max_interval_ms: int) -> None:
        options = ("--timeout-ms", str(HOLD_MS), "--max-interval-ms", str(max_interval_ms))
        self.server = BayeuxServer("cometd" if ack else "cometd-no-ack", options=options)
        self._up = asyncio.Lock()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.server)
        self.link = await self._stack.enter_async_context(FaultProxy(self.server.port))
        self.gateway = await self._stack.enter_async_context(Gateway(self.server.port))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()

    def settings(self, url: str) -> dict[str, Any]:
        return {"server": {**self.server.settings, "url": url}}

    async def send(self, number: int, chat: str, value: str) -> int | None:
        data = notification(referenceId=number, chat={"id": chat, "userData": {KEY: value}})
        async with self._up:
            if number % FILTERED_EVERY == 0:
                await self.server.publish({"messageType": "MessageLogUpdated", "messages": []})
            await self.server.publish(data)
        return number

    async def expire(self) -> None:
        await self.server.expire()

    async def restart(self, *, down_s: float) -> None:
        async with self._up:  # a server that is down publishes nothing
            await self.server.stop()
            await asyncio.sleep(down_s)
            await self.server.start()

    async def reject_csrf(self) -> None:
        self.gateway.fail(403, body=CSRF_REFUSAL, content_type="text/plain")

    def advise(self, kind: str, *, count: int) -> None:
        self.gateway.advise(_ADVICE[kind], count=count)

    def duplicate(self, count: int) -> None:
        self.gateway.repeat(count)

    @property
    def pending(self) -> int:
        return self.gateway.pending
