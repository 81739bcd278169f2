"""A TCP link that can go bad: it stands before a real server, and its faults are context managers.

Conditions hold while their block runs; what `drop` and `cut` announce happens once.

    async with FaultProxy(server.port) as link:        # clients use link.port
        with link.latency(0.2): ...                    # each way, or `answers_only`
        with link.drip(300): ...                       # answers come in small pieces, so many bytes a second
        with link.blackhole(): ...                     # established, silent; what was sent arrives afterwards
        with link.end_unseen(): ...                    # a connection that the server closes stays open here
        async with link.refused(): ...                 # nobody listens, and every connection is reset
        link.drop_next_response()                      # the server acted, the client does not get to know
        link.cut_next_response(after_bytes=100)        # half an answer
        link.reset()                                   # RST on every connection now
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Self

CHUNK = 2**16
LINGER_0 = struct.pack("ii", 1, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """The state of the link, for both directions or for what comes from the server. No `piece_bytes`: all at once."""

    latency_s: float = 0.0
    bytes_per_s: float | None = None
    piece_bytes: int | None = None
    answers_only: bool = False

    def delay_s(self, size: int) -> float:
        return self.latency_s + (size / self.bytes_per_s if self.bytes_per_s else 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """What becomes of the next bytes from the server: the first `after_bytes` pass, then the connection ends."""

    after_bytes: int
    reset: bool


class FaultProxy:
    """Forwards connections on `port` to `upstream_port`, both on the loopback.

    Attributes:
        accepted: connections taken so far.
        to_client_bytes: what has been passed on from the server so far.
    """

    def __init__(self, upstream_port: int, *, port: int = 0) -> None:
        self.port = port
        self.accepted = 0
        self.to_client_bytes = 0
        self._upstream_port = upstream_port
        self._conditions = Conditions()
        self._cut: Cut | None = None
        self._passing = asyncio.Event()
        self._passing.set()
        self._ending = asyncio.Event()
        self._ending.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._refuse()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    @contextlib.contextmanager
    def _under(self, conditions: Conditions) -> Iterator[None]:
        before, self._conditions = self._conditions, conditions
        try:
            yield
        finally:
            self._conditions = before

    def latency(self, seconds: float, *, answers_only: bool = False) -> contextlib.AbstractContextManager[None]:
        """Delay each chunk, in each direction or in that of the answers."""
        return self._under(replace(self._conditions, latency_s=seconds, answers_only=answers_only))

    def drip(self, bytes_per_s: float, *, piece_bytes: int = 16) -> contextlib.AbstractContextManager[None]:
        """Let answers trickle; what has not come through at the end of the block comes at once."""
        conditions = Conditions(bytes_per_s=bytes_per_s, piece_bytes=piece_bytes, answers_only=True)
        return self._under(conditions)

    def rate(self, bytes_per_s: float) -> contextlib.AbstractContextManager[None]:
        """Make the link narrow."""
        return self._under(replace(self._conditions, bytes_per_s=bytes_per_s))

    def blackhole(self) -> contextlib.AbstractContextManager[None]:
        """Connections stay open, new ones are taken, nothing arrives before the end (TCP sends it again)."""
        return _shut(self._passing)

    def end_unseen(self) -> contextlib.AbstractContextManager[None]:
        """What the server says before it closes a connection arrives, but its end does not before that of the block."""
        return _shut(self._ending)

    @contextlib.asynccontextmanager
    async def refused(self) -> AsyncIterator[None]:
        """Nobody listens on the port, and the connections there were are reset."""
        self._refuse()
        try:
            yield
        finally:
            await self._listen()

    def lead_to(self, upstream_port: int) -> None:
        """Another server from now on, as a name or an address that moves; the connections there were are reset."""
        self._upstream_port = upstream_port
        self.reset()

    def drop_next_response(self) -> None:
        """Swallow the next bytes from the server and reset the connection: did the server act?"""
        self._cut = Cut(after_bytes=0, reset=True)

    def cut_next_response(self, *, after_bytes: int) -> None:
        """Pass only the first `after_bytes` of the next bytes from the server, then close the connection."""
        self._cut = Cut(after_bytes=after_bytes, reset=False)

    def reset(self) -> int:
        """RST on every connection; returns how many sockets that were."""
        writers = list(self._writers)
        for writer in writers:
            _reset(writer)
        return len(writers)

    def heal(self) -> None:
        """Forget a cut that has not happened yet."""
        self._cut = None

    @property
    def cut_pending(self) -> bool:
        """Whether a dropped or cut response is still to come."""
        return self._cut is not None

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled at the end of the link alone, which is no error; asyncio's callback would report it as one.
        with contextlib.suppress(asyncio.CancelledError):
            await self._carry(reader, writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        writers = [writer]
        self._writers.add(writer)
        try:
            await self._passing.wait()
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
            writers.append(up_writer)
            self._writers.add(up_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._to_server(reader, up_writer), name="to server")
                both.create_task(self._to_client(up_reader, writer), name="to client")
        except* OSError:
            for each in writers:
                _reset(each)
        finally:
            for each in writers:
                each.close()
            self._writers.difference_update(writers)
            self._handlers.discard(task)

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            await self._pass(data, writer, answer=False)
        writer.write_eof()

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            cut, self._cut = self._cut, None
            await self._pass(data if cut is None else data[: cut.after_bytes], writer, answer=True)
            if cut is not None:
                if not cut.reset:
                    writer.close()
                    await writer.wait_closed()
                raise ConnectionAbortedError
            self.to_client_bytes += len(data)
        await self._ending.wait()
        writer.write_eof()

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter, *, answer: bool) -> None:
        while data:
            spared = self._conditions.answers_only and not answer
            conditions = Conditions() if spared else self._conditions
            piece, data = data[: conditions.piece_bytes], data[len(data[: conditions.piece_bytes]) :]
            await asyncio.sleep(conditions.delay_s(len(piece)))
            await self._passing.wait()
            writer.write(piece)
            await writer.drain()


@contextlib.contextmanager
def _shut(gate: asyncio.Event) -> Iterator[None]:
    gate.clear()
    try:
        yield
    finally:
        gate.set()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    writer.transport.abort()
