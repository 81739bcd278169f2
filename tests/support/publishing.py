"""Sites to run the daemon against, real CometD server or simulator: both publish numbered dispositions in one way."""

from typing import Any, Protocol

from listener.simulator import Simulator
from listener.simulator.state import FIRST_CHAT
from support.bayeux import BayeuxServer
from support.listening import CODE, NUMBERED


class Site(Protocol):
    """What the acceptance tests ask of a site."""

    @property
    def settings(self) -> dict[str, Any]:
        """The tables of the configuration that lead there."""

    async def publish(self, first: int, count: int = 1) -> None:
        """Change the disposition of one chat to code-FIRST, and on to the last number, as fast as it goes."""

    async def sessions(self) -> int:
        """How many CometD sessions there are."""

    async def handshakes(self) -> int:
        """How many there have been."""


class CometdSite:
    """A bare CometD server."""

    def __init__(self, server: BayeuxServer) -> None:
        self._server = server

    @property
    def settings(self) -> dict[str, Any]:
        return {"server": self._server.settings}

    async def publish(self, first: int, count: int = 1) -> None:
        await self._server.publish(NUMBERED, first=first, count=count, batch=7)

    async def sessions(self) -> int:
        return len((await self._server.state())["sessions"])

    async def handshakes(self) -> int:
        return (await self._server.state())["handshakes"]


class SimulatedSite:
    """The Web Services look-alike, with its login and its REST API."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    @property
    def settings(self) -> dict[str, Any]:
        account = {"username": "agent1", "password": self._simulator.options.password}
        return {"server": {"url": self._simulator.url}, "accounts": [account]}

    async def publish(self, first: int, count: int = 1) -> None:
        for number in range(first, first + count):
            self._simulator.set_disposition("agent1", FIRST_CHAT, f"{CODE}{number}")

    async def sessions(self) -> int:
        return len(self._simulator.state()["sessions"])

    def expire(self) -> None:
        """All sessions are over, as if nobody had polled for long."""
        self._simulator.control("expire")

    async def handshakes(self) -> int:
        return self._simulator.state()["handshakes"]
