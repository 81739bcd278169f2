"""Websocket: one socket for many exchanges; events come in frames of their own while a connect is held."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import aiohttp
import msgspec
from aiocometd.constants import ConnectionType
from aiocometd.transports.registry import register_transport

from listener.cometd.engine import Payload
from listener.cometd.protocol import Request
from listener.cometd.transport import SessionTransport
from listener.errors import ExchangeFailed

_ENCODER = msgspec.json.Encoder()


@register_transport(ConnectionType.WEBSOCKET)
class WebsocketTransport(SessionTransport):
    """Bayeux over one websocket; the session outlives the socket, a new one takes it up by its client id."""

    _socket: aiohttp.ClientWebSocketResponse | None = None

    async def _exchange(self, request: Request) -> AsyncGenerator[Payload, None]:
        """Frames, from the sending of the request until the caller has seen its reply.

        Raises ExchangeFailed: the socket could not be opened, closed, or stayed silent beyond the advised hold.
        """
        opened = False
        try:
            async with asyncio.timeout(self.link.margin_s):
                socket = await self._open(request)
                opened = True
                await socket.send_str(_ENCODER.encode(request.payload).decode())
            while True:
                yield Payload(await self._frame(socket, request.hold_ms / 1000 + self.link.margin_s))
        except (TimeoutError, aiohttp.ClientError, OSError) as exc:
            await self._drop()
            text = "no frame in time: the socket is dead" if isinstance(exc, TimeoutError) else str(exc)
            status = exc.status if isinstance(exc, aiohttp.WSServerHandshakeError) else None
            raise ExchangeFailed(text or type(exc).__name__, http_status=status, maybe_lost=opened) from exc

    async def _open(self, request: Request) -> aiohttp.ClientWebSocketResponse:
        if self._socket is None or self._socket.closed:
            headers: dict[str, str] = {}
            await self.link.outgoing(request.payload, headers)
            self._socket = await self.link.http.ws_connect(
                self.url, headers=headers, max_msg_size=self.link.max_bytes, autoping=True
            )
        return self._socket

    async def _frame(self, socket: aiohttp.ClientWebSocketResponse, timeout_s: float) -> bytes:
        async with asyncio.timeout(timeout_s):
            frame = await socket.receive()
        match frame.type:
            case aiohttp.WSMsgType.TEXT:
                return str(frame.data).encode()
            case aiohttp.WSMsgType.BINARY:
                return bytes(frame.data)
            case _:
                raise aiohttp.ClientConnectionError("the websocket was closed")

    async def _drop(self) -> None:
        if self._socket is not None:
            socket, self._socket = self._socket, None
            with suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(1.0):
                    await socket.close()

    async def close(self) -> None:
        """Stop, and close the socket."""
        await super().close()
        await self._drop()
