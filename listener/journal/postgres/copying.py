"""Both sides of a copy on PostgreSQL: one transaction each, in which nobody else can join or write."""

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from asyncpg import Connection

from listener.errors import JournalError, JournalLocked, JournalUncertain
from listener.journal.copying import Page, Rest
from listener.journal.postgres import rows
from listener.journal.postgres.database import PostgresDatabase
from listener.journal.postgres.lines import APPLICATION, DURABLE, TROUBLE, Lines
from listener.journal.postgres.options import PostgresOptions
from listener.journal.shared.moments import ages_ms, by_clocks_of
from listener.model.event import Event, LastValue
from listener.model.filter import Undelivered
from listener.runtime.clock import Moment
from listener.runtime.host import THIS_HOST, Host
from listener.runtime.postgres import described

GONE_S = 30.0
"""A replica that has not beaten for so long, and for three leases, is taken for dead."""

_EVENT = (
    *("sequence", "received_ms", "id", "type", "source", "subject", "time", "kind", "account", "change", "origin"),
    "data",
)
_VALUE = ("chat_id", "key", "value", "account", "server_time_ms", "received_ms", "revision")
_LETTER = ("sink", "sequence", "event_id", "reason", "attempts", "at_ms", "answer", "replaying")
_COPY = ("received_ms", "type", "source", "subject", "time", "kind", "account", "change", "origin", "data")

T = TypeVar("T")


class PostgresSide:
    """What a transaction sees; see `copying.Side`."""

    def __init__(self, *, connection: Connection, options: PostgresOptions, host: Host) -> None:
        self._connection = connection
        self._options = options
        self._host = host
        self._statements = _statements(options)

    async def size(self) -> int:
        """How many events, last values and dead letters there are."""
        return int((await self._ask("copied_rows"))[0][0])

    async def events(self, after: int, limit: int) -> list[Event]:
        """See `copying.Side`; as the next ones."""
        return [rows.event_of(row) for row in await self._ask("read", after, limit)]

    async def values(self, after: tuple[str, str] | None, limit: int) -> list[LastValue]:
        """See there."""
        place = () if after is None else rows.texts(after)
        return [rows.value_of(row) for row in await self._behind("values_behind", "(chat_id, key)", place, limit)]

    async def letters(self, after: tuple[int, str] | None, limit: int) -> list[Undelivered]:
        """See there."""
        place = () if after is None else (after[0], rows.escaped(after[1]))
        found = await self._behind("letters_behind", "(sequence, sink)", place, limit)
        return [rows.undelivered_of(row) for row in found]

    async def _behind(self, name: str, columns: str, place: Sequence[Any], limit: int) -> list[Any]:
        meant = f"{columns} > ($2, $3)" if place else "TRUE"
        statement = self._statements[name].replace(":meant", meant)
        return list(await self._do(self._connection.fetch(statement, limit, *place)))

    async def has_losses(self) -> bool:
        """Whether any is pending; see `Database.losses`."""
        return bool(await self._ask("losses"))

    async def rest(self) -> Rest:
        """See there."""
        asked_at = Moment.of(self._host.clock)
        sessions = [rows.session_of(row) for row in await self._ask("sessions", None)]
        states = [rows.lane_state_of(row) for row in await self._ask("lane_states")]
        return Rest(
            last_sequence=(await self._ask("last_sequence"))[0][0],
            holes=tuple((first, last) for first, last in await self._ask("holes")),
            cursors={rows.unescaped(sink): sequence for sink, sequence in await self._ask("cursors")},
            lanes={state.sink: state for state in states},
            sessions=by_clocks_of(self._host, asked_at, sessions),
        )

    async def _ask(self, name: str, *values: Any) -> list[Any]:
        return list(await self._do(self._connection.fetch(self._statements[name], *values)))

    async def _do(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except TROUBLE as exc:
            raise JournalError(f"{self._options.place}: {described(exc)}") from exc
        except UnicodeEncodeError as exc:
            raise JournalError(f"{self._options.place}: a text that is no Unicode") from exc


class PostgresTarget(PostgresSide):
    """An empty journal, filled in a transaction that `keep` commits; see `copying.Target`."""

    async def add(self, page: Page) -> None:
        """See `copying.Target`; as the next ones."""
        await self._store("event", _EVENT, [_event(row) for row in page if isinstance(row, Event)])
        await self._store("last_value", _VALUE, [_value(row) for row in page if isinstance(row, LastValue)])
        letters = [_letter(row) for row in page if isinstance(row, Undelivered)]
        await self._store("dead_letter", (*_LETTER, *_COPY), letters)

    async def complete(self, rest: Rest) -> None:
        """See there."""
        ages = ages_ms(rest.sessions.values(), self._host)
        await self._ask(
            "restore_sessions",
            rows.texts(ages),
            [rows.session_text(rest.sessions[account]) for account in ages],
            list(ages.values()),
        )
        cursors = [(rows.escaped(sink), sequence) for sink, sequence in rest.cursors.items()]
        await self._store("sink_cursor", ("sink", "sequence"), cursors)
        lanes = [(rows.escaped(sink), rows.lane_state_text(state)) for sink, state in rest.lanes.items()]
        await self._store("lane_state", ("sink", "state"), lanes)
        await self._store("hole", ("first_sequence", "last_sequence"), list(rest.holes))
        await self._ask("restore_head", rest.last_sequence)

    async def keep(self) -> None:
        """See there. Raises JournalUncertain as well."""
        try:
            await self._connection.execute("COMMIT")
        except TROUBLE as exc:
            text = f"{self._options.place}: {described(exc)}: the copy was compared, but its commit was not answered"
            raise JournalUncertain(f"{text}; `journal stats` tells whether it is there") from exc

    async def _store(self, table: str, columns: Sequence[str], records: Sequence[Any]) -> None:
        if records:
            await self._do(
                self._connection.copy_records_to_table(
                    table, schema_name=self._options.schema, columns=columns, records=records
                )
            )


@asynccontextmanager
async def opened_source(options: PostgresOptions, host: Host = THIS_HOST) -> AsyncIterator[PostgresSide]:
    """The journal in a database, kept from everybody else until the end.

    Raises:
        JournalLocked: a replica lives.
        JournalError: it cannot be opened, or there is none; or a replica has gaps to put on record.
    """
    async with _transaction(options, must_be_there=True) as connection:
        side = PostgresSide(connection=connection, options=options, host=host)
        if await side.has_losses():
            what = "has lost events, and the gaps of that are not on record yet"
            raise JournalError(f"{options.place}: it {what}; run a replica on it once, which records them")
        yield side
        await connection.execute("COMMIT")  # whoever was taken out stays out


@asynccontextmanager
async def opened_target(options: PostgresOptions, host: Host = THIS_HOST) -> AsyncIterator[PostgresTarget]:
    """A journal in a database, which is made if need be; what is not kept is rolled back.

    Raises:
        JournalLocked: a replica lives.
        JournalError: it cannot be opened, or holds something.
    """
    async with _transaction(options, must_be_there=False) as connection:
        target = PostgresTarget(connection=connection, options=options, host=host)
        if not await _is_empty(target):
            raise JournalError(f"{options.place}: holds a journal already: a copy wants an empty schema")
        yield target


async def _is_empty(target: PostgresTarget) -> bool:
    rest = await target.rest()
    used = rest.last_sequence or rest.cursors or rest.lanes or rest.sessions
    return not used and await target.size() == 0


@asynccontextmanager
async def _transaction(options: PostgresOptions, *, must_be_there: bool) -> AsyncIterator[Connection]:
    lines = Lines(options, size=1, name=lambda: APPLICATION)
    try:
        connection = await lines.connect()
        try:
            schema = f"{options.quoted_schema}.schema_version"
            if must_be_there and await connection.fetchval("SELECT to_regclass($1)", schema) is None:
                raise JournalError(f"{options.place}: no journal is there")
            database = PostgresDatabase(options)
            await database.open()  # makes the schema, or brings it up to date
            await database.close()
            await _dead(connection, options)  # those that live are not even held up
            await connection.execute(_begin(options))
            await _take_out(connection, options, await _dead(connection, options))
            yield connection
        finally:
            connection.terminate()  # rolls back what is not committed
    except TROUBLE as exc:
        raise JournalError(f"{options.place}: {described(exc)}") from exc


def _begin(options: PostgresOptions) -> str:
    """Before the first look at anything: whoever joins or writes is over, or waits, and what is seen is one moment."""
    locked = ", ".join(f"{options.quoted_schema}.{table}" for table in ("membership", "head", "replica", "pulse"))
    return (
        "BEGIN ISOLATION LEVEL REPEATABLE READ;"
        f" SET LOCAL search_path = {options.quoted_schema}, pg_temp;"
        " SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;"
        " SET LOCAL lock_timeout = '10s'; SET LOCAL enable_seqscan = off;"
        f" LOCK TABLE {locked} IN SHARE ROW EXCLUSIVE MODE; {DURABLE.format(local='true')}"
    )


def _statements(options: PostgresOptions) -> dict[str, str]:
    schema = options.quoted_schema
    return rows.statements(schema) | rows.statements(schema, "copying.sql")


async def _dead(connection: Connection, options: PostgresOptions) -> list[Any]:
    """The replicas that are there and do not live. Raises JournalLocked: one lives."""
    found = await connection.fetch(_statements(options)["living"], GONE_S)
    if living := [
        f"{rows.unescaped(row['name'])} (heard of {row['age_s']:.0f} s ago)" for row in found if row["lives"]
    ]:
        raise JournalLocked(f"{options.place}: is in use by replica {', '.join(living)}; stop all of them first")
    return list(found)


async def _take_out(connection: Connection, options: PostgresOptions, dead: Iterable[Any]) -> None:
    """So that a process which thaws later can write no more."""
    for row in dead:
        if not await connection.fetchval("SELECT evict($1, false)", row["incarnation"]):
            raise JournalLocked(f"{options.place}: replica {rows.unescaped(row['name'])} is in the middle of a write")


def _event(event: Event) -> tuple[Any, ...]:
    return (
        event.sequence,
        event.received_ms,
        *rows.texts((event.id, event.type, event.source, event.subject, event.time)),
        event.kind._value_,
        rows.escaped(event.account),
        None if event.change is None else event.change._value_,
        event.origin._value_,
        event.data,
    )


def _value(value: LastValue) -> tuple[Any, ...]:
    text = None if value.value is None else rows.escaped(value.value)
    chat, key, account = rows.texts((value.chat_id, value.key, value.account))
    return chat, key, text, account, value.server_time_ms, value.received_ms, 1


def _letter(one: Undelivered) -> tuple[Any, ...]:
    letter = tuple(column[0] for column in rows.letter_parameters([one.letter]))
    if one.event is None:
        return (*letter, *(None for _ in _COPY))
    _, received_ms, _, *others = _event(one.event)
    return (*letter, received_ms, *others)
