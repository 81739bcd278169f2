"""aiocometd's transport, implemented by the engine, and the link that gives it our parts."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import aiohttp
from aiocometd.constants import ConnectionType, TransportState
from aiocometd.exceptions import TransportInvalidOperation
from aiocometd.extensions import AuthExtension
from aiocometd.transports.abc import Transport

from listener.cometd import messages as wire
from listener.cometd.certainty import Certainty
from listener.cometd.engine import Engine
from listener.cometd.payloads import Payload, Payloads
from listener.cometd.protocol import Phase, Request
from listener.errors import ExchangeFailed, ListenerError
from listener.runtime.gate import Gate
from listener.runtime.host import THIS_HOST
from listener.runtime.visitor import Http

_DISCONNECT_S = 2.0


class Polling(Protocol):
    """What the client needs of a transport that is connected."""

    async def poll(self) -> None:
        """Poll until cancelled."""

    async def disconnect(self) -> None:
        """Tell the server that the session is over."""

    async def close(self) -> None:
        """Stop polling."""


class Link(AuthExtension):
    """What the transports of one client share, over negotiation and re-handshakes.

    Args:
        engine: the cycle that they serve.
        http: with the account's cookies, on the shared connector.
        headers: what every POST must carry now (CSRF).
        connect_timeout_s: time for a connection to come about, if the session's lease allows.
        margin_s: time beyond the advised hold after which a silent connection counts as dead, likewise.
        max_message_bytes: the largest message that is taken.
        time_s: epoch seconds, for a Retry-After that names a date.
        certainty: what may be asked for now; None where no other process can have the session.
        others_first: shut while other sessions of the process wait for their first connect, without which they end; all
            take their steps by it.
    """

    def __init__(
        self,
        *,
        engine: Engine,
        http: Http,
        headers: Callable[[], Mapping[str, str]] = dict,
        connect_timeout_s: float = 10.0,
        margin_s: float = 10.0,
        max_message_bytes: int = 4 * 2**20,
        time_s: Callable[[], float] = THIS_HOST.time_s,
        certainty: Certainty | None = None,
        others_first: Gate | None = None,
    ) -> None:
        self.engine = engine
        self.certainty = certainty
        self.http = http
        self._connect_timeout_s = connect_timeout_s
        self._margin_s = margin_s
        self.max_message_bytes = max_message_bytes
        self.time_s = time_s
        self.others_first = others_first or Gate()
        self.transport: Polling | None = None
        self._headers = headers

    def connecting_s(self) -> float:
        """Time for the next connection to come about."""
        return self.engine.lease.connecting_s(self._connect_timeout_s)

    @property
    def margin_s(self) -> float:
        """Time beyond the advised hold after which the next exchange counts as dead."""
        return self.engine.lease.margin_s(self._margin_s)

    async def authenticate(self) -> None:
        """Log in again: aiocometd's hook for a failed authentication."""
        await self.engine.log_in()

    async def outgoing(self, _payload: list[dict[str, Any]], headers: dict[str, str]) -> None:
        """Add what the server wants to see on every POST."""
        headers.update(self._headers())

    async def incoming(self, _payload: list[dict[str, Any]], _headers: dict[str, str] | None = None) -> None:
        """Nothing: answers are decoded once, by the protocol core."""


class SessionTransport(Transport):
    """What aiocometd's Client opens, subscribes with and closes.

    aiocometd constructs it (`create_transport`) with keyword arguments of its own; the link arrives as `auth`.
    `handshake` and `connect` return once they succeeded, however long that takes: the engine reports each failure.
    """

    def __init__(self, *, url: str, auth: Link, **_of_aiocometd: Any) -> None:
        self.url = url
        self.link = auth
        self._engine: Engine = auth.engine
        self._session = auth.engine.session
        self._begun = False
        self._closed = False
        auth.transport = self
        auth.engine.exchange = self._exchange

    @abstractmethod
    async def _exchange(self, request: Request) -> Payload | Payloads:
        """See `listener.cometd.keep_alive.Exchange`."""

    def _before_sending(self) -> None:
        """The last moment, for whatever is sent: also what goes beside the cycle may bring events with its answer.

        Raises ExchangeFailed: another process may have the session by now, since to connect took so long.
        """
        if self.link.certainty is not None and not self.link.certainty.allows(self._session):
            raise ExchangeFailed("another process may have this session", maybe_lost=False)

    @property
    def connection_type(self) -> ConnectionType:
        """What the class is registered as: `register_transport` puts its own answer in the place of this one."""
        raise NotImplementedError

    @property
    def endpoint(self) -> str:
        """URL of the CometD server."""
        return self.url

    @property
    def client_id(self) -> str | None:
        """The id that the server assigned."""
        return self._session.client_id

    @property
    def state(self) -> TransportState:
        """The session's phase in aiocometd's words."""
        if self._closed or not self._begun:
            return TransportState.DISCONNECTED
        return TransportState.CONNECTED if self._engine.connected.is_set() else TransportState.CONNECTING

    @property
    def subscriptions(self) -> set[str]:
        """The topics, while the subscription stands."""
        return set(self._session.topics) if self._session.phase in (Phase.SUBSCRIBED, Phase.CONNECTED) else set()

    @property
    def last_connect_result(self) -> dict[str, Any] | None:
        """Not kept: answers are decoded once and consumed."""
        return None

    @property
    def reconnect_advice(self) -> dict[str, Any]:
        """The merged advice."""
        return self._session.advice

    @property
    def http_session(self) -> aiohttp.ClientSession | None:
        """None: ours is the link's."""
        return None

    @http_session.setter
    def http_session(self, _value: aiohttp.ClientSession | None) -> None:
        """Ignored: aiocometd moves its own session between transports."""

    async def wait_for_state(self, state: TransportState) -> None:
        """Return once connected; no other state is ever waited for."""
        if state is not TransportState.CONNECTED:
            raise TransportInvalidOperation(f"only CONNECTED can be waited for, not {state.name}")
        await self._engine.connected.wait()

    async def handshake(self, _connection_types: list[ConnectionType]) -> dict[str, Any]:
        """Try until there is a session, or take up the saved one; returns what aiocometd reads of a reply."""
        await self._engine.handshake()
        return {
            "channel": wire.HANDSHAKE,
            "successful": True,
            "clientId": self._session.client_id,
            "supportedConnectionTypes": self._session.supported_connection_types,
        }

    async def connect(self) -> dict[str, Any]:
        """Run the cycle until the first connect was answered; `poll` is how it goes on."""
        if self._begun:
            raise TransportInvalidOperation("the transport is connected already")
        self._begun = True
        while not self._engine.connected.is_set():
            await self.link.others_first.in_step()
            await self._engine.step()
        return {"channel": wire.CONNECT, "successful": True}

    async def poll(self) -> None:
        """The cycle in the caller's task, until cancelled."""
        while True:
            await self.link.others_first.in_step()
            await self._engine.step()

    async def disconnect(self) -> None:
        """Tell the server that the session is over; best effort.

        Events may ride on the answer. They are handed out as usual, but nobody may be left to take them.
        """
        self._engine.connected.clear()
        if self._session.client_id is not None:
            with suppress(ListenerError, TimeoutError):
                async with asyncio.timeout(_DISCONNECT_S):
                    await self._engine.single(self._session.request(wire.DISCONNECT))
            self._session.expire()

    async def close(self) -> None:
        """No more: whoever polled has stopped. The session on the server is left as it is."""
        self._closed = True
        self._engine.connected.clear()

    async def subscribe(self, channel: str) -> dict[str, Any]:
        """Subscribe now and after every handshake. Raises ExchangeFailed."""
        if channel not in self._session.topics:
            self._session.topics.append(channel)
        return await self._engine.single(self._session.request(wire.SUBSCRIBE, subscription=channel))

    async def unsubscribe(self, channel: str) -> dict[str, Any]:
        """Unsubscribe now and for good. Raises ExchangeFailed."""
        if channel in self._session.topics:
            self._session.topics.remove(channel)
        return await self._engine.single(self._session.request(wire.UNSUBSCRIBE, subscription=channel))

    async def publish(self, channel: str, data: dict[str, Any]) -> dict[str, Any]:
        """Publish `data`. Raises ExchangeFailed."""
        return await self._engine.single(self._session.request(channel, data=data))
