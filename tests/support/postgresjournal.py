"""The database of a shared journal on a real PostgreSQL: schemas of their own on one server, and time that passes."""

import contextlib
import itertools
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from listener.errors import JournalFenced, JournalUncertain
from listener.journal.postgres.database import PostgresDatabase
from listener.journal.postgres.options import PostgresOptions
from support.postgresserver import PostgresServer

_NUMBERS = itertools.count(1)
_MOMENTS = {"pulse": ("beat_at", "steady_since", "paused_at"), "replica": ("joined_at",), "session": ("seen_at",)}


async def fenced(call: Callable[[], Awaitable[Any]], *, tries: int = 5) -> None:
    """Assert that a call is refused because its replica was evicted.

    The server ends the connections of that one just then: a call that meets the end of one does not know what became of
    it, and is made again.
    """
    for _ in range(tries):
        with contextlib.suppress(JournalUncertain):
            with pytest.raises(JournalFenced):
                await call()
            return
    raise AssertionError("the server ended one connection after another")


class PostgresWorld:
    """A schema of a server, which nobody else uses, and clients of it.

    Args:
        server: where; the schema is made with the first client.
        options: of the clients.
    """

    def __init__(self, server: PostgresServer, **options: Any) -> None:
        self.server = server
        self.schema = f"journal_{next(_NUMBERS)}"
        self._options = {
            "host": "127.0.0.1",
            "port": server.port,
            "database": "postgres",
            "username": "admin",
            **options,
        }
        self._clients: list[PostgresDatabase] = []

    def options(self, **other: Any) -> PostgresOptions:
        return PostgresOptions(**{**self._options, "schema": self.schema, **other})

    def client(self, **other: Any) -> PostgresDatabase:
        """One that is not open."""
        client = PostgresDatabase(self.options(**other))
        self._clients.append(client)
        return client

    async def opened(self, **other: Any) -> PostgresDatabase:
        client = self.client(**other)
        await client.open()
        return client

    async def pass_s(self, seconds: float) -> None:
        """As if so much time had gone by: all that is stored is older."""
        statements = []
        for table, columns in _MOMENTS.items():
            changes = ", ".join(f"{column} = {column} - interval '{seconds} seconds'" for column in columns)
            statements.append(f"UPDATE {self.schema}.{table} SET {changes}")  # noqa: S608 - the tests' own tables
        await self.server.execute(*statements)

    async def is_up_for(self, seconds: float) -> None:
        """Wait until the server is: nobody is late by what was before its start, and that is not for us to move."""
        rest = f"extract(epoch FROM pg_postmaster_start_time() - clock_timestamp()) + {seconds}"
        await self.server.execute(f"SELECT pg_sleep(greatest(0, {rest}))")

    async def end(self) -> None:
        """Close the clients. The schema goes with its server: to drop it would cost as much as a third of making it."""
        for client in self._clients:
            await client.close()


class HalfSent:
    """A client of the server that froze in the middle of a statement: it is executed, and its end never comes.

    Nothing of the server ends that: between two messages of one statement it waits for its client without a limit.

    Args:
        port: of the server.
        name: what it is called by the server.
        statement: without parameters.
    """

    def __init__(self, port: int, name: str, statement: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        words = ("user", "admin", "database", "postgres", "application_name", name)
        start = b"\x00\x03\x00\x00" + b"".join(word.encode() + b"\0" for word in words) + b"\0"
        self._socket.sendall(struct.pack("!i", len(start) + 4) + start)
        self.until(b"Z")
        self._send(b"P", b"\0" + statement.encode() + b"\0\0\0")
        self._send(b"B", b"\0\0\0\0\0\0\0\0")
        self._send(b"E", b"\0\0\0\0\0")
        self._send(b"H", b"")
        self.until(b"C")

    def _send(self, kind: bytes, content: bytes) -> None:
        self._socket.sendall(kind + struct.pack("!i", len(content) + 4) + content)

    def until(self, kind: bytes) -> None:
        """Read up to a message of this kind. Raises ConnectionError once the server has hung up."""
        while True:
            found = self._read(1)
            content = self._read(struct.unpack("!i", self._read(4))[0] - 4)
            if found == kind:
                return
            if found == b"E":
                raise ConnectionError(content.replace(b"\0", b" ").decode())

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            part = self._socket.recv(size - len(content))
            if not part:
                raise ConnectionError("the server has hung up")
            content += part
        return content

    def go_on(self) -> None:
        """The end comes after all; returns once the statement is committed."""
        self._send(b"S", b"")
        self.until(b"Z")

    def close(self) -> None:
        self._socket.close()
