"""A connection to a syslog receiver: sends bytes, and learns from TCP and TLS whether they arrived.

It is made of a socket and not of asyncio's transport, which drops what has arrived when a write fails, and with it why.
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Self

_LOOK_S = 0.002
_BLOCK = 65_536
_TOO_SOON = "it closed the connection before it had everything"


class Connection:
    """One connection, and what can be known of the bytes that were written to it.

    `close` must be called in the end. An error of the connection is an OSError from any of the methods; what TLS says
    is an ssl.SSLError.
    """

    def __init__(self, connected: socket.socket, layer: "TlsLayer | None" = None) -> None:
        self._socket = connected
        self._layer = layer
        self._closed = False
        self._waited_for = False

    @classmethod
    async def to(cls, address: tuple[str, int], tls: ssl.SSLContext | None) -> Self:
        """Connect, with a TLS handshake where a context is given."""
        layer = TlsLayer(tls, address[0]) if tls is not None else None
        made = cls(await _connected(*address), layer)
        try:
            if layer is not None:
                await made._handshake(layer)
        except BaseException:
            made.close()
            raise
        return made

    @property
    def ended(self) -> bool:
        """Whether the receiver has ended it, as far as its host knows."""
        try:
            return self._take()
        except OSError:
            return True

    async def send(self, data: bytes) -> None:
        """Return when the kernel has all of it."""
        async with self._explained():
            await self._write(data if self._layer is None else self._layer.encrypted(data))

    async def finish(self) -> bool:
        """End it in order, and return when the receiver has read all and closed it too.

        Of a process that reads to the end, the close acknowledges ours, and so everything before it (TCP). One that
        died with something unread resets the connection; one that closes without having waited for our end leaves
        something unacknowledged. Over TLS it also answers our close_notify (RFC 5425, 4.4), which only a living process
        can, but which not all of them do: returns whether it did.
        """
        notified = False
        async with self._explained():
            if self._layer is not None:
                await self._write(self._layer.close_notify())
            self._socket.shutdown(socket.SHUT_WR)
        while data := await self._read():
            notified = self._layer is not None and self._layer.ended_by(data)
        if self._unacknowledged():
            raise ConnectionResetError(_TOO_SOON)
        return notified

    async def settle(self) -> None:
        """Return when the receiver's host has acknowledged all bytes."""
        while self._unacknowledged():
            if self._take():
                raise ConnectionResetError(_TOO_SOON)
            await asyncio.sleep(_LOOK_S)

    def close(self) -> None:
        """Give it up at once, and end what waits for it. Idempotent."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if not self._waited_for:  # a loop that waits for a descriptor would not learn that it is closed
            self._socket.close()

    async def _handshake(self, layer: "TlsLayer") -> None:
        try:
            while not layer.handshake():
                await self._write(layer.outgoing())
                layer.feed(await self._read())
        finally:
            with contextlib.suppress(ConnectionError):
                await self._write(layer.outgoing())  # our last word, or why there is none

    @contextlib.asynccontextmanager
    async def _explained(self) -> AsyncIterator[None]:
        """A write that fails comes too late for what the receiver has said before it closed: read that."""
        try:
            yield
        except OSError:
            with contextlib.suppress(ConnectionError):
                self._take()
            raise

    def _take(self) -> bool:
        """Read what has arrived; whether that was the end."""
        with contextlib.suppress(BlockingIOError):
            while data := self._socket.recv(_BLOCK):
                if self._layer is not None:
                    self._layer.ended_by(data)
            return True
        return False

    async def _write(self, data: bytes) -> None:
        with self._waiting():
            await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def _read(self) -> bytes:
        with self._waiting():
            return await asyncio.get_running_loop().sock_recv(self._socket, _BLOCK)

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        self._check_open()
        self._waited_for = True
        try:
            yield
        finally:
            self._waited_for = False
            if self._closed:
                self._socket.close()
        self._check_open()

    def _unacknowledged(self) -> int:
        """Bytes that TCP has not seen acknowledged, with our end as one (tcp(7), SIOCOUTQ); a reset leaves them."""
        self._check_open()
        (count,) = struct.unpack("i", ioctl(self._socket, TIOCOUTQ, bytes(4)))
        return int(count)

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionAbortedError("the sink was closed meanwhile")


async def _connected(host: str, port: int) -> socket.socket:
    """A socket that is connected to the first address of the host which lets it. Raises the last one's OSError."""
    loop = asyncio.get_running_loop()
    failure = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        try:
            await loop.sock_connect(made, address)
        except OSError as exc:
            made.close()
            failure = exc
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise failure


class TlsLayer:
    """TLS as bytes in and bytes out.

    That of asyncio takes a refusal which comes behind the handshake, as those of client certificates do (RFC 8446,
    4.4.2.4), for an orderly end.

    Args:
        context: of the client.
        name: the receiver's, which its certificate must hold.
    """

    def __init__(self, context: ssl.SSLContext, name: str) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_hostname=name)

    def feed(self, data: bytes) -> None:
        """What arrived; empty at the end of the stream."""
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def outgoing(self) -> bytes:
        """What is to be sent; taken once."""
        return self._out.read()

    def handshake(self) -> bool:
        """Go on with it; whether it is done."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def encrypted(self, data: bytes) -> bytes:
        """What to send for `data`."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._object.write(rest) :]
        return self.outgoing()

    def close_notify(self) -> bytes:
        """What to send at the end."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._object.unwrap()
        return self.outgoing()

    def ended_by(self, data: bytes) -> bool:
        """Whether a close_notify is in what arrived. The rest is of no interest, unless it is a refusal."""
        self.feed(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            try:
                while self._object.read(_BLOCK):
                    pass
            except ssl.SSLZeroReturnError:
                pass
            return True
        return False
