"""Websocket: one socket for many exchanges; events come in frames of their own while a connect is held.

A frame is taken whole or not at all. A batch that is too large for one comes again for as long as it is not
acknowledged, so it is fetched by long-polling, where bodies stream. A session may change its transport:
`connectionType` belongs to each connect (Bayeux 1.0, 4.2.1).
"""

import asyncio
from collections import deque
from contextlib import suppress
from itertools import count
from typing import Any

import aiohttp
import msgspec
from aiocometd.constants import ConnectionType
from aiocometd.transports.registry import register_transport

from listener.cometd import messages as wire
from listener.cometd.longpolling import LongPollingTransport
from listener.cometd.payloads import Payload, Payloads
from listener.cometd.protocol import Request, Step
from listener.cometd.transport import Link
from listener.errors import ExchangeFailed
from listener.runtime.http_client import bare, describe

_ENCODER = msgspec.json.Encoder()
_FRAMES_A_TURN = 32
_MOST_PINGS = 1000  # and pongs, before a frame comes; aiohttp answers, and keeps, any number of them in one step
_MOST_HELD_BYTES = 16 * 2**20  # of frames that one exchange reads for another while it waits for its own


@register_transport(ConnectionType.WEBSOCKET)
class WebsocketTransport(LongPollingTransport):
    """Bayeux over one websocket; the session outlives the socket, a new one takes it up by its client id."""

    _socket: aiohttp.ClientWebSocketResponse | None = None
    _stuck_at: int | None = None  # what was acknowledged when a batch was too large for a frame

    def __init__(self, *, url: str, auth: Link, **of_aiocometd: Any) -> None:
        super().__init__(url=url, auth=auth, **of_aiocometd)
        self._receiving = asyncio.Lock()
        self._inboxes: dict[frozenset[str], deque[bytes]] = {}  # of the exchanges under way, the oldest first
        self._requests: dict[frozenset[str], Request] = {}
        self._left: deque[bytes] = deque()
        self._held_bytes = 0

    async def _exchange(self, request: Request) -> Payload | Payloads:
        """Frames; what is too large for one by long-polling, whose failures and payloads are as those of its own."""
        if request.step is not Step.CONNECT or self._stuck_at is None or self._stuck_at != self._session.acked:
            return self._frames(request)
        payload = [{**message, "connectionType": ConnectionType.LONG_POLLING.value} for message in request.payload]
        try:
            return await super()._exchange(msgspec.structs.replace(request, payload=payload))
        except ExchangeFailed as failure:
            if failure.http_status is not None:
                self._stuck_at = None  # the server may not poll at all
            raise

    async def _frames(self, request: Request) -> Payloads:
        """Frames, from the sending of the request until the caller has seen its reply.

        Raises ExchangeFailed: the socket could not be opened, closed, or stayed silent beyond the advised hold.
        """
        socket = None
        self._inboxes[request.ids], self._left = self._left, deque()
        self._requests[request.ids] = request
        try:
            async with asyncio.timeout(self.link.margin_s):
                socket = await self._open(request)
                self._before_sending()
                with suppress(
                    aiohttp.ClientError, OSError
                ):  # a socket that is gone says so once all it brought is read
                    await socket.send_str(_ENCODER.encode(request.payload).decode())
            for turn in count(1):
                async with asyncio.timeout(request.hold_ms / 1000 + self.link.margin_s):
                    frame = await self._next_frame(socket, request.ids)
                yield Payload(frame)
                if turn % _FRAMES_A_TURN == 0:
                    await asyncio.sleep(0)  # frames that have been received are there without waiting
        except (TimeoutError, aiohttp.ClientError, OSError) as exc:
            await self._drop(socket)
            silent = isinstance(exc, TimeoutError)
            text = (
                "no frame in time: the socket is dead" if silent else describe(exc, peer="the server", table="server")
            )
            status = exc.status if isinstance(exc, aiohttp.WSServerHandshakeError) else None
            raise ExchangeFailed(text, http_status=status, maybe_lost=socket is not None) from bare(exc)
        finally:
            del self._requests[request.ids]
            self._hand_over(self._inboxes.pop(request.ids))

    async def _next_frame(self, socket: aiohttp.ClientWebSocketResponse, ids: frozenset[str]) -> bytes:
        """The next frame for this exchange. Of several that wait one receives, for whomever the frame is."""
        inbox = self._inboxes[ids]
        while not inbox:
            async with self._receiving:
                if not inbox:
                    if self._held_bytes > _MOST_HELD_BYTES:
                        raise aiohttp.ClientConnectionError("more comes than can be taken")
                    frame = await self._receive(socket)
                    self._inboxes[self._addressee(frame)].append(frame)
                    self._held_bytes += len(frame)
        frame = inbox.popleft()
        self._held_bytes -= len(frame)
        return frame

    def _addressee(self, frame: bytes) -> frozenset[str]:
        """The exchange whose reply the frame holds, else the oldest: it is the held connect."""
        oldest, *others = self._inboxes
        envelope = wire.decode_sound(frame) if others else None
        if envelope is None:
            return oldest
        replies = [message for message in envelope.messages if not message.is_event]
        return next((ids for ids, one in self._requests.items() if any(map(one.is_answered_by, replies))), oldest)

    def _hand_over(self, frames: deque[bytes]) -> None:
        """What came behind the reply belongs to the next exchange."""
        heir = next(iter(self._inboxes.values()), self._left)
        heir.extend(frames)

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse) -> bytes:
        for _ in range(_MOST_PINGS):
            frame = await socket.receive()
            match frame.type:
                case aiohttp.WSMsgType.TEXT:
                    return str(frame.data).encode()
                case aiohttp.WSMsgType.BINARY:
                    return bytes(frame.data)
                case aiohttp.WSMsgType.PING:
                    await socket.pong(frame.data)
                case aiohttp.WSMsgType.PONG:
                    pass
                case aiohttp.WSMsgType.ERROR:
                    raise self._broken(frame.data)
                case _:
                    raise aiohttp.ClientConnectionError("the websocket was closed")
        raise aiohttp.ClientConnectionError(f"{_MOST_PINGS} pings or pongs came, and nothing else")

    def _broken(self, cause: object) -> aiohttp.ClientConnectionError:
        if not isinstance(cause, aiohttp.WebSocketError) or cause.code != aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            return aiohttp.ClientConnectionError(f"the websocket broke: {cause}")
        self._stuck_at = self._session.acked
        text = f"a frame of more than {self.link.max_message_bytes} bytes (server.max_message_bytes)"
        again = ": what it held is asked for by long-polling" if self._session.ack_granted else ""
        return aiohttp.ClientConnectionError(text + again)

    async def _open(self, request: Request) -> aiohttp.ClientWebSocketResponse:
        if self._socket is None or self._socket.closed:
            headers: dict[str, str] = {}
            await self.link.outgoing(request.payload, headers)
            self._socket = await self.link.http.ws_connect(
                self.url, headers=headers, max_msg_size=self.link.max_message_bytes, autoping=False
            )
        return self._socket

    async def _drop(self, socket: aiohttp.ClientWebSocketResponse | None) -> None:
        """Close a socket; another that has taken its place meanwhile stays."""
        if socket is None:
            return
        if self._socket is socket:
            self._socket = None
        with suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(1.0):
                await socket.close()

    async def close(self) -> None:
        """Stop, and close the socket."""
        await super().close()
        await self._drop(self._socket)
