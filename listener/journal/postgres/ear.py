"""Hears of new events from the database, where it can tell by itself."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from listener.errors import JournalError
from listener.journal.postgres.lines import TROUBLE, Lines
from listener.journal.postgres.options import PostgresOptions
from listener.runtime.postgres import described

PAUSE_S = 1.0
"""How long it is waited for a hint; then the database is asked."""


class Ear:
    """A connection that listens, made when it is needed. Through a pooler there is none: the database is asked.

    Args:
        lines: makes the connection.
        options: of the database.
        ask: the newest sequence, from the database.
    """

    def __init__(self, lines: Lines, options: PostgresOptions, ask: Callable[[], Awaitable[int]]) -> None:
        self._lines = lines
        self._options = options
        self._ask = ask
        self._connection: Any = None
        self._connecting = asyncio.Lock()
        self._last = 0
        self._news = asyncio.Event()
        self._closed = False

    async def heard(self, sequence: int) -> int:
        """The newest sequence, once it is above `sequence`, or after a pause."""
        self._require_open()
        if self._options.pooler or await self._begins_to_listen():
            self._last = max(self._last, await self._ask())
        if self._last > sequence:
            return self._last
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PAUSE_S):
                while self._last <= sequence and not self._closed:
                    await self._news.wait()
        self._require_open()
        if self._last <= sequence:
            self._last = max(self._last, await self._ask())
        return self._last

    async def _begins_to_listen(self) -> bool:
        """Listen, if it does not already; whether it does only now, so that something may have been missed."""
        async with self._connecting:
            if self._connection is not None and not self._connection.is_closed():
                return False
            try:
                async with asyncio.timeout(self._options.timeout_s):
                    connection = await self._lines.connect()
                    try:
                        await connection.add_listener(self._options.schema, self._note)
                    except BaseException:
                        connection.terminate()
                        raise
            except TROUBLE as exc:
                raise JournalError(f"{self._options.place}: cannot listen: {described(exc)}") from exc
            self._connection = connection
            return True

    def _note(self, _connection: Any, _pid: int, _channel: str, payload: Any) -> None:
        self._last = max(self._last, int(payload))
        self._news.set()
        self._news.clear()

    def _require_open(self) -> None:
        if self._closed:
            raise JournalError(f"{self._options.place}: not open")

    async def close(self) -> None:
        """Whoever waits gets a JournalError. Idempotent."""
        self._closed = True
        self._news.set()
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(*TROUBLE):
                await connection.close(timeout=PAUSE_S)
