"""Connections of one purpose: one statement a call, and what its failures mean."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import asyncpg
from asyncpg import DataError, InterfaceError, InternalClientError, PostgresError

from listener.errors import JournalError, JournalFenced, JournalFull, JournalUncertain, ListenerError, StartError
from listener.journal.postgres.options import PostgresOptions
from listener.runtime.postgres import code_of, described

TROUBLE = (PostgresError, InterfaceError, InternalClientError, OSError)
"""What the client library raises on failures, a timeout included."""

APPLICATION = "disposition-listener"
"""The name of connections; those of a replica that has joined have `/INCARNATION` behind it."""

_REPEATABLE = {"40P01", "40001"}  # a deadlock, or such: the others went first, and nothing was done

# The library's words for a connection that the server has ended while it was idle: it has sent nothing on it.
_NOT_ASKED = "cannot switch to state"
_REPEATS = 3
_CLOSE_S = 1.0

# Through a pooler a client may freeze between the steps of a transaction, and nobody else can end its session.
_SILENCE_MS = 2000

# The wait for standbys was ended by somebody: committed here, but not there. It is told as a warning only.
_WAIT_FOR_STANDBYS = "SyncRepWaitForLSN"

# A server that acknowledges commits before they are on its disk does not, to us.
DURABLE = "SELECT set_config('synchronous_commit', 'on', {local}) WHERE current_setting('synchronous_commit') = 'off'"

_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid = ANY ($1::int[]) AND starts_with(application_name, $2) AND usename = current_user"
)

# A plan that walks a table is made where the table is small, and kept while it grows; one with a bitmap reads all dead
# rows of an index again and again; and to compile one costs a tenth of a second.
_PLANS = {"enable_seqscan": "off", "enable_bitmapscan": "off", "jit": "off"}


class Lines:
    """At most `size` connections, made when they are needed and given up after any trouble.

    Args:
        options: where to.
        size: how many calls may be under way at once; the others wait for their turn.
        name: what a new connection is called by the server.
    """

    def __init__(self, options: PostgresOptions, *, size: int, name: Callable[[], str]) -> None:
        self._options = options
        self._name = name
        self._turns = asyncio.Semaphore(size)
        self._free: list[asyncpg.Connection] = []
        self._busy: set[asyncpg.Connection] = set()
        self._given_up: list[int] = []
        self._unreplicated: set[asyncpg.Connection] = set()
        self._closed = False

    async def fetch(self, statement: str, *values: Any, timeout_s: float | None = None) -> list[Any]:
        """The rows of a statement, which is one transaction.

        Raises:
            JournalUncertain: it may have been done.
            JournalFenced, JournalFull, JournalError: it was not.
        """
        for _ in range(_REPEATS - 1):
            try:
                return await self._fetch(statement, values, timeout_s or self._options.timeout_s)
            except JournalError as exc:
                if code_of(exc.__cause__) not in _REPEATABLE and not _was_not_asked(exc.__cause__):
                    raise
        return await self._fetch(statement, values, timeout_s or self._options.timeout_s)

    async def _fetch(self, statement: str, values: tuple[Any, ...], timeout_s: float) -> list[Any]:
        async with self._turns:
            connection = await self._connection()
            try:
                async with asyncio.timeout(timeout_s):
                    rows = await self._ask(connection, statement, values)
            except TROUBLE as exc:
                self._give_up(connection)
                raise self._error_of(exc) from exc
            except BaseException:
                self._give_up(connection)
                raise
            self._busy.remove(connection)
            if connection in self._unreplicated:
                self._give_up(connection)
                raise JournalUncertain(f"{self._options.place}: somebody ended the wait of a commit for the standbys")
            self._free.append(connection)
            return rows

    async def _ask(self, connection: asyncpg.Connection, statement: str, values: tuple[Any, ...]) -> list[Any]:
        if not self._options.pooler:
            return list(await connection.fetch(statement, *values))
        # The library asks in two steps, which the pooler might send to two servers, and nothing may outlast it there.
        await connection.execute(self._preface)
        rows = list(await connection.fetch(statement, *values))
        await connection.execute("COMMIT")
        return rows

    async def _connection(self) -> asyncpg.Connection:
        """One that is free, or a new one, which is busy from now on."""
        while self._free and not self._closed:
            connection = self._free.pop()
            if not connection.is_closed():
                self._busy.add(connection)
                return connection
        if self._closed:
            raise JournalError(f"{self._options.place}: not open")
        try:
            async with asyncio.timeout(self._options.timeout_s):
                connection = await self.connect()
        except TROUBLE as exc:
            raise JournalError(f"{self._options.place}: cannot connect: {described(exc)}") from exc
        self._busy.add(connection)
        return connection

    async def connect(self) -> asyncpg.Connection:
        """A new connection, with the credentials of this moment. Raises TROUBLE, JournalError."""
        options = self._options
        try:
            password = await asyncio.to_thread(options.password)
            tls = await asyncio.to_thread(options.tls)
        except (OSError, ValueError, StartError) as exc:
            raise JournalError(f"{options.place}: {exc}") from exc
        name = self._name()
        connection = await asyncpg.connect(
            host=options.host,
            port=options.port,
            database=options.database,
            user=options.username,
            password=password,  # never None: the library would look for one in the environment and in ~/.pgpass
            ssl=tls or False,
            timeout=options.timeout_s,
            statement_cache_size=0 if options.pooler else 100,
            server_settings={"application_name": APPLICATION} if options.pooler else self._settings(name),
        )
        try:
            connection.add_log_listener(self._heard)
            if not options.pooler:
                await connection.execute(DURABLE.format(local="false"))
                await self._end_given_up(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _settings(self, name: str) -> dict[str, str]:
        """Of a session: the server ends what its client has forgotten."""
        return {
            "application_name": name,
            **self._limits,
            **_PLANS,
            "tcp_keepalives_idle": "5",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
            "tcp_user_timeout": "20000",
        }

    @property
    def _limits(self) -> dict[str, str]:
        """In milliseconds, below that of the client: while the server answers, its answer is certain."""
        limit = str(max(1, int(self._options.timeout_s * 800)))
        return {"statement_timeout": limit, "lock_timeout": limit, "idle_in_transaction_session_timeout": limit}

    @property
    def _preface(self) -> str:
        limits = {**self._limits, "idle_in_transaction_session_timeout": str(_SILENCE_MS)}
        settings = "; ".join(f"SET LOCAL {name} = {value}" for name, value in {**limits, **_PLANS}.items())
        return f"BEGIN; {settings}; {DURABLE.format(local='true')}"

    async def _end_given_up(self, connection: asyncpg.Connection) -> None:
        """End what the server has not noticed to be given up: it may hold locks, or wait for them."""
        if self._given_up:
            await connection.fetch(_END, self._given_up, APPLICATION)
            self._given_up.clear()

    def _heard(self, connection: Any, message: Any) -> None:
        if message.server_source_function == _WAIT_FOR_STANDBYS:
            self._unreplicated.add(connection)

    def _give_up(self, connection: asyncpg.Connection) -> None:
        self._busy.discard(connection)
        self._unreplicated.discard(connection)
        if not connection.is_closed() and not self._options.pooler:
            self._given_up.append(connection.get_server_pid())
        connection.terminate()

    def _error_of(self, exc: Exception) -> ListenerError:
        """What the failure of a statement means."""
        closed = "not open any more: " if self._closed else ""
        text = f"{self._options.place}: {closed}{described(exc)}"
        if not _is_refusal(exc):
            return JournalUncertain(text)
        match code_of(exc):
            case "LF001":
                return JournalFenced(text)
            case "53100":
                return JournalFull(text)
        return JournalError(text)

    async def renew(self) -> None:
        """Give up what is free, so that what comes has the new name."""
        while self._free:
            await _say_goodbye(self._free.pop())

    async def close(self) -> None:
        """Calls that are under way fail. Idempotent."""
        self._closed = True
        for connection in self._busy:
            connection.terminate()
        await self.renew()


async def _say_goodbye(connection: asyncpg.Connection) -> None:
    with contextlib.suppress(*TROUBLE):
        await connection.close(timeout=_CLOSE_S)


def _is_refusal(exc: Exception) -> bool:
    """Whether the server said that a statement failed, or the library that it cannot ask it: then nothing was done.

    What ends the connection (FATAL) may come after the commit, while it waits for standbys.
    """
    severity = getattr(exc, "severity_en", None) or getattr(exc, "severity", None)
    refused = isinstance(exc, PostgresError) and severity == "ERROR"
    return refused or isinstance(exc, DataError) or _was_not_asked(exc)


def _was_not_asked(exc: BaseException | None) -> bool:
    return isinstance(exc, InternalClientError) and str(exc).startswith(_NOT_ASKED)
