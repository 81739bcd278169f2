"""One connection to a PostgreSQL server: how it is made, and what is done over it."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from listener.sinks.postgres.answers import TROUBLE
from listener.sinks.postgres.profile import QUESTION, Profile, profile_of
from listener.sinks.postgres.rows import Row, by_column, insertion, portions
from listener.sinks.postgres.settings import PostgresSettings
from listener.sinks.registry import SinkContext

_CLOSE_S = 1.0


class Session:
    """A connection that is used until something is wrong with it, and then given up. See `connect`.

    Each method raises one of `answers.TROUBLE` where it does not work.

    Args:
        connection: an open one.
        settings: the sink's keys.
    """

    def __init__(self, connection: asyncpg.Connection, settings: PostgresSettings) -> None:
        self._connection = connection
        self._insertion = insertion(settings.quoted_table)
        self._table = settings.quoted_table
        self._timeout_ms = max(1, int(settings.timeout_s * 1000))

    async def profile(self) -> Profile:
        """What the server is."""
        record: Mapping[str, Any] | None = await self._connection.fetchrow(QUESTION, self._table)
        return profile_of(dict(record or {}))

    async def create(self, statements: str) -> None:
        """Execute statements in one transaction."""
        await self._connection.execute(statements)

    async def probe(self) -> None:
        """Find out whether rows can be stored: by their columns, the primary key, the rights. Stores nothing."""
        await self._connection.fetch(f"EXPLAIN {self._insertion}", *by_column([]))

    async def store(self, rows: Sequence[Row], profile: Profile) -> None:
        """Store rows in one transaction, which is durable on return.

        Args:
            rows: those that are there already change nothing.
            profile: of this server.
        """
        async with self._connection.transaction():
            # Of this transaction alone: a pooler in between may lend the server's connection to others afterwards.
            await self._connection.execute(self._preface(profile))
            stored = 0
            for portion in portions(rows):
                status = await self._connection.execute(self._insertion, *by_column(portion))
                stored += int(status.rpartition(" ")[2])
            if stored < len(rows) and profile.synchronous_standbys:
                # What was there may have been committed here and not on the standbys; a transaction that writes nothing
                # does not wait for them (PostgreSQL, RecordTransactionCommit). One that writes any record does.
                await self._connection.execute("SELECT pg_logical_emit_message(true, 'disposition-listener', '')")

    def _preface(self, profile: Profile) -> str:
        limits = f"SET LOCAL statement_timeout = {self._timeout_ms}"
        return f"{limits}; SET LOCAL synchronous_commit = 'on'" if profile.commits_late else limits

    async def close(self) -> None:
        """Say goodbye where that is possible at once. Idempotent."""
        with contextlib.suppress(*TROUBLE):
            await self._connection.close(timeout=_CLOSE_S)

    def abort(self) -> None:
        """Close without a word. Idempotent."""
        self._connection.terminate()


async def connect(context: SinkContext, settings: PostgresSettings) -> Session:
    """Connect once, with the credentials of this moment.

    Raises:
        answers.TROUBLE: it did not work.
        Retry, StartError: a file with the password or a certificate cannot be used.
    """
    tls = await asyncio.to_thread(settings.ssl_context, context) if settings.encrypted else False
    connection = await asyncpg.connect(
        **settings.address,
        user=settings.username,
        # Never None: the library would look for one in the environment and in ~/.pgpass.
        password=await settings.password_now(context) or "",
        ssl=tls,
        timeout=settings.timeout_s,
        statement_cache_size=0,  # a pooler in between may not know prepared statements
        server_settings={"application_name": "disposition-listener"},
    )
    return Session(connection, settings)
