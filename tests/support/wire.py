"""A server of bytes: each connection is a talk, for answers that no HTTP library would give."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ByteServer:
    """Listens on a free port; `async with`. At the end talks that go on are cut.

    Args:
        talk: gets each connection.
    """

    def __init__(self, talk: Talk) -> None:
        self._talk_to = talk
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    async def _begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._talk_to(reader, writer)
        writer.close()


@contextlib.asynccontextmanager
async def talking(talk: Talk) -> AsyncIterator[str]:
    """Listen on a free port; `talk` gets each connection once a request's head has come. Yields the URL."""

    async def talk_behind_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await talk(reader, writer)

    async with ByteServer(talk_behind_a_head) as server:
        yield server.url


def saying(*parts: bytes, for_ever: bytes = b"") -> Talk:
    """Write these bytes, then `for_ever` again and again, and hang up."""

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.writelines(parts)
        await writer.drain()
        while for_ever:
            writer.write(for_ever)
            await writer.drain()

    return talk
