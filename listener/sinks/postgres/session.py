"""One connection to a PostgreSQL server: what the server is, what is stored over it, and what its errors mean."""

import asyncio
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import asyncpg
from asyncpg import InterfaceError, InternalClientError, PostgresError

from listener.errors import Outcome, Park, Refusal, Retry
from listener.model.event import Event
from listener.model.forms import Form
from listener.runtime import postgres
from listener.runtime.postgres import PROFILE, code_of, described
from listener.sinks.postgres.settings import PostgresSettings
from listener.sinks.registry import SinkContext

_PORTION_BYTES = 16 * 1024 * 1024
_REPLACEMENT = "\ufffd"

# \u0000 behind an even number of backslashes: behind an odd one it is a backslash and a text.
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
_CLOSE_S = 1.0

_PERSISTENCE = "(SELECT relpersistence::text FROM pg_class WHERE oid = to_regclass($1)) AS persistence"
QUESTION = f"{PROFILE}, current_setting('transaction_read_only')::boolean AS read_only, {_PERSISTENCE}"
"""What `profile_of` needs the answer to; its parameter is the table's quoted name."""

TROUBLE = (PostgresError, InterfaceError, InternalClientError, OSError)
"""What the client library raises on failures; the third when a connection ends during an exchange."""

# Classes of codes: the data of a row, and limits of the server that a row is beyond.
_OF_A_ROW = {"22", "54"}

# Login, database, schema, and whatever is wrong with the statement, so with the table; a constraint of the site's own.
_NEED_A_PERSON = {"28", "3D", "3F", "42", "23", "0A"}
_DATABASE_DROPPED = "57P04"

_NO_TLS = "rejected SSL upgrade"


class Row(NamedTuple):
    """What is stored of an event. PostgreSQL takes no NUL in texts; `event` is JSON or one line and has none."""

    source: str
    id: str
    type: str
    subject: str
    time: str
    sequence: int
    data: str
    event: str


class Profile(postgres.Profile, frozen=True, kw_only=True):
    """A server, and a table of it.

    Attributes:
        read_only: whether transactions begin so, as they do on a standby.
        persistence: `p` of a table that is logged, `u` of one that is not, `t` of a temporary one, None of none.
    """

    read_only: bool
    persistence: str | None

    def risks(self) -> Iterator[str]:
        """How an event that it has acknowledged may still be lost, a sentence each."""
        yield from super().risks()
        if self.persistence == "u":
            yield "the table is unlogged: a crash of PostgreSQL empties it"


def profile_of(record: Mapping[str, Any]) -> Profile:
    """The server that gave this answer to `QUESTION`."""
    return Profile(**record)


class Session:
    """A connection that is used until something is wrong with it, and then given up. See `connect`.

    Each method raises one of `answers.TROUBLE` where it does not work.

    Args:
        connection: an open one.
        settings: the sink's keys.
        profile: of the server and its table.

    Attributes:
        profile: as of the last `ask_profile`.
    """

    def __init__(self, connection: asyncpg.Connection, settings: PostgresSettings, profile: Profile) -> None:
        self.profile = profile
        self._connection = connection
        self._insertion = insertion(settings.quoted_table)
        self._table = settings.quoted_table
        self._timeout_ms = max(1, int(settings.timeout_s * 1000))

    async def ask_profile(self) -> Profile:
        """What the server and the table are now."""
        self.profile = await _profile_of(self._connection, self._table)
        return self.profile

    async def create(self, statements: str) -> None:
        """Execute statements in one transaction."""
        await self._connection.execute(statements)

    async def probe(self) -> None:
        """Find out whether rows can be stored: by their columns, the primary key, the rights. Stores nothing."""
        await self._connection.fetch(f"EXPLAIN {self._insertion}", *by_column([]))

    async def store(self, rows: Sequence[Row]) -> None:
        """Store rows in one transaction, which is durable on return; those that are there already change nothing."""
        async with self._connection.transaction():
            # Of this transaction alone: a pooler in between may lend the server's connection to others afterwards.
            await self._connection.execute(self._preface())
            stored = 0
            for portion in portions(rows):
                status = await self._connection.execute(self._insertion, *by_column(portion))
                stored += int(status.rpartition(" ")[2])
            if stored < len(rows) and self.profile.synchronous_standbys:
                # What was there may have been committed here and not on the standbys; a transaction that writes nothing
                # does not wait for them (PostgreSQL, RecordTransactionCommit). One that writes any record does.
                await self._connection.execute("SELECT pg_logical_emit_message(true, 'disposition-listener', '')")

    def _preface(self) -> str:
        limits = f"SET LOCAL statement_timeout = {self._timeout_ms}"
        return f"{limits}; SET LOCAL synchronous_commit = 'on'" if self.profile.commits_late else limits

    async def close(self) -> None:
        """Say goodbye where that is possible at once. Idempotent."""
        with contextlib.suppress(*TROUBLE):
            await self._connection.close(timeout=_CLOSE_S)

    async def abort(self) -> None:
        """Close without a word. Idempotent."""
        self._connection.terminate()


def row_of(event: Event, form: Form) -> Row:
    """The row of an event, written in a form."""
    return Row(
        source=_text(event.source),
        id=_text(event.id),
        type=_text(event.type),
        subject=_text(event.subject),
        time=_text(event.time),
        sequence=event.sequence,
        data=_NUL.sub(rb"\1\\ufffd", event.data).decode(),
        event=_text(form.body(event).decode()),
    )


def _text(value: str) -> str:
    return value.replace("\0", _REPLACEMENT)


def insertion(table: str) -> str:
    """The statement that stores rows, which are its parameters by column; what is there already is left alone.

    Everything is brought as text and read by the server, so that a value which is none is an error of its own.

    Args:
        table: its name, quoted.
    """
    columns = ", ".join(Row._fields)
    arrays = ", ".join(f"${n}::{'bigint' if name == 'sequence' else 'text'}[]" for n, name in enumerate(Row._fields, 1))
    casts = {"time": "time::timestamptz", "data": "data::jsonb"}
    values = ", ".join(casts.get(name, name) for name in Row._fields)
    return (
        f"INSERT INTO {table} ({columns}) "  # noqa: S608 - the table is quoted, the rest is ours
        f"SELECT {values} FROM unnest({arrays}) WITH ORDINALITY AS brought ({columns}, number) ORDER BY number "
        "ON CONFLICT (source, id) DO NOTHING"
    )


def portions(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """The rows in their order, in as many portions as keep a message far below PostgreSQL's limit of 1 GiB."""
    portion: list[Row] = []
    size = 0
    for row in rows:
        length = len(row.data) + len(row.event)
        if portion and size + length > _PORTION_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += length
    yield portion


def by_column(rows: Sequence[Row]) -> list[list[str | int]]:
    """The parameters of `insertion`."""
    return [[row[column] for row in rows] for column in range(len(Row._fields))]


async def connect(context: SinkContext, settings: PostgresSettings) -> Session:
    """Connect once, with the credentials of this moment, and ask the server what it is.

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
    try:
        return Session(connection, settings, await _profile_of(connection, settings.quoted_table))
    except BaseException:
        connection.terminate()
        raise


async def _profile_of(connection: asyncpg.Connection, table: str) -> Profile:
    record: Mapping[str, Any] | None = await connection.fetchrow(QUESTION, table)
    return profile_of(dict(record or {}))


def is_of_a_row(error: PostgresError) -> bool:
    """Whether an event is to blame, so that the others can be stored without it."""
    return code_of(error)[:2] in _OF_A_ROW


def refusal_of(place: str, error: PostgresError) -> Refusal:
    """Of an event that is to blame; what PostgreSQL says quotes it."""
    return Refusal(f"{place}: a value that PostgreSQL does not take: {described(error)}", str(error))


def outcome_of(place: str, error: Exception) -> Outcome:
    """Park where a person is needed, Retry of the rest: it ends or starts, has too many connections, is read-only.

    Args:
        place: what the text begins with.
        error: one of `TROUBLE`.
    """
    if isinstance(error, PostgresError):
        code = code_of(error)
        kind = Park if code[:2] in _NEED_A_PERSON or code == _DATABASE_DROPPED else Retry
        return kind(f"{place}: {described(error)}")
    if _NO_TLS in str(error):
        return Park(f"{place}: the server offers no TLS; tls = false does without")
    return Retry(f"{place}: {described(error)}")
