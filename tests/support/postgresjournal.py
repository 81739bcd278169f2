"""The database of a shared journal on a real PostgreSQL: schemas of their own on one server, and time that passes."""

import itertools
from typing import Any

from listener.journal.postgres.database import PostgresDatabase
from listener.journal.postgres.options import PostgresOptions
from support.postgresserver import PostgresServer

_NUMBERS = itertools.count(1)
_MOMENTS = {"pulse": ("beat_at", "steady_since"), "replica": ("joined_at",), "session": ("seen_at",)}


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
        for table, columns in _MOMENTS.items():
            changes = ", ".join(f"{column} = {column} - interval '{seconds} seconds'" for column in columns)
            await self.server.execute(f"UPDATE {self.schema}.{table} SET {changes}")  # noqa: S608 - the tests' own tables

    async def end(self) -> None:
        for client in self._clients:
            await client.close()
        await self.server.execute(f"DROP SCHEMA IF EXISTS {self.schema} CASCADE")
