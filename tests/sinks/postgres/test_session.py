import asyncio
import json

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from structlog.testing import capture_logs

from listener.errors import Park, Retry
from listener.model.forms import CLOUD_EVENT
from listener.sinks.postgres.session import (
    by_column,
    connect,
    insertion,
    is_of_a_row,
    outcome_of,
    portions,
    refusal_of,
    row_of,
)
from listener.sinks.postgres.settings import PostgresSettings
from listener.sinks.registry import SinkContext
from listener.testing.events import sample_event
from support.eventually import eventually


@pytest.fixture
def context(tmp_path):
    return SinkContext(name="bus", base=tmp_path)


@pytest.fixture
async def session(context, server):
    settings = PostgresSettings(url=server.address, username="admin", tls=False, timeout_s=0.5)
    session = await connect(context, settings)
    yield session
    await session.close()


async def test_a_server_and_a_table_tell_of_themselves(session, server):
    profile = session.profile
    assert (profile.fsync, profile.encoding, profile.persistence) == ("on", "UTF8", None)
    assert not profile.standby
    await server.execute("CREATE UNLOGGED TABLE dispositions (id text)")
    assert (await session.ask_profile()).persistence == "u"


async def test_the_probe_misses_what_a_row_needs(session, server):
    await server.execute("CREATE TABLE dispositions (id text)")
    with pytest.raises(asyncpg.UndefinedColumnError):
        await session.probe()


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(session, server):
    """So it does not go on, and hold what it has locked, when nobody waits for it any more."""
    columns = "source text, id text, type text, subject text, time timestamptz, sequence bigint, data jsonb, event text"
    await server.execute(f"CREATE TABLE dispositions ({columns}, PRIMARY KEY (source, id))")
    async with server.client() as other, other.transaction():
        await other.execute("LOCK TABLE dispositions")
        with pytest.raises(asyncpg.QueryCanceledError):
            async with asyncio.timeout(10):
                await session.store([row_of(sample_event(1), CLOUD_EVENT)])
    await session.store([row_of(sample_event(1), CLOUD_EVENT)])
    assert len(await server.events()) == 1


async def test_a_session_can_be_closed_and_aborted_in_any_order(session):
    await session.close()
    await session.abort()
    await session.close()
    with pytest.raises(asyncpg.InterfaceError):
        await session.ask_profile()


EVENTS = [sample_event(number, sequence=number) for number in range(1, 6)]
ALL = [event.id for event in EVENTS]


async def opened(sink):
    """The one line that it writes then."""
    with capture_logs() as logs:
        await sink.open()
    (line,) = logs
    return line


async def ids(server):
    return [event["id"] for event in await server.events()]


async def asking(server):
    """Whether it waits for the standby by now."""
    return [row for row in await server.fetch("SELECT sync_state FROM pg_stat_replication") if row[0] == "sync"]


async def given_up(server):
    """Whether one has ended that waited for the standby: it is committed here all the same, as after a restart."""
    query = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    return await server.fetch(query) and await ids(server) == ALL


async def test_a_server_that_writes_to_its_disk_at_once_is_told_without_a_warning(server, sink_to):
    line = await opened(sink_to(server))
    assert line["event"] == "sink_durability"
    assert line["destination"] == f"{server.address}, table dispositions"
    assert (line["fsync"], line["synchronous_commit"]) == ("on", "on")


async def test_a_server_without_fsync_is_warned_of(start_postgres, sink_to):
    line = await opened(sink_to(start_postgres(fsync="off")))
    assert (line["event"], line["log_level"]) == ("sink_durability_weak", "warning")
    assert line["risks"] == ["fsync is off: a power cut loses the last commits, or everything"]


async def test_an_unlogged_table_is_warned_of(server, sink_to):
    await sink_to(server).open()
    await server.execute("ALTER TABLE dispositions SET UNLOGGED")
    line = await opened(sink_to(server))
    assert line["risks"] == ["the table is unlogged: a crash of PostgreSQL empties it"]


async def test_a_database_that_commits_late_is_told_not_to(server, sink_to):
    await server.execute("ALTER ROLE admin SET synchronous_commit = off", "CREATE TABLE seen (how text)")
    try:
        sink = sink_to(server)
        line = await opened(sink)
        await server.execute(
            """CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                   INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$""",
            "CREATE TRIGGER noting BEFORE INSERT ON dispositions FOR EACH ROW EXECUTE FUNCTION note()",
        )
        await sink.deliver(EVENTS[:1])
        assert [row["how"] for row in await server.fetch("SELECT how FROM seen")] == ["on"]
    finally:
        await server.execute(
            "ALTER ROLE admin RESET synchronous_commit", "DROP TABLE seen, dispositions", "DROP FUNCTION note"
        )
    assert (line["event"], line["synchronous_commit"]) == ("sink_durability", "on")


async def test_a_standby_is_waited_for_where_the_server_says_so_by_a_repetition_too(start_postgres, sink_to):
    server = start_postgres(wal_level="replica", max_wal_senders=4)
    await sink_to(server).open()
    standby = start_postgres(follows=server)

    async def connected():
        return await server.fetch("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")

    await eventually(connected)
    line = await opened(sink_to(server))
    assert line["risks"] == [
        "synchronous_standby_names is empty: a standby that takes over may lack what was committed last"
    ]
    await server.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'", "SELECT pg_reload_conf()")
    await eventually(lambda: asking(server))
    sink = sink_to(server)
    assert (await opened(sink))["event"] == "sink_durability"
    hasty = sink_to(server, timeout_s=1)
    await hasty.open()
    async with standby.stall():
        with pytest.raises(Retry, match="no answer within"):
            await hasty.deliver(EVENTS)
        await eventually(lambda: given_up(server))
        with pytest.raises(Retry, match="no answer within"):
            await hasty.deliver(EVENTS)
    await sink.deliver(EVENTS)
    assert await ids(standby) == ALL
    with pytest.raises(Retry, match="is a standby"):
        await sink_to(standby).open()


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        asyncpg.CrashShutdownError("terminating connection because of crash of another server process"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.DiskFullError("could not extend file"),
        asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
        asyncpg.DeadlockDetectedError("deadlock detected"),
        asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("another operation is in progress"),
        ConnectionRefusedError(111, "Connect call failed"),
    ],
)
def test_what_passes_by_itself_is_tried_again(error):
    outcome = outcome_of("sinks.bus.url", error)
    assert isinstance(outcome, Retry)
    assert str(error) in outcome.reason


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InvalidPasswordError('password authentication failed for user "listener"'),
        asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry"),
        asyncpg.InvalidCatalogNameError('database "crm" does not exist'),
        asyncpg.UndefinedTableError('relation "dispositions" does not exist'),
        asyncpg.UndefinedColumnError('column "event" does not exist'),
        asyncpg.InsufficientPrivilegeError("permission denied for table dispositions"),
        asyncpg.InvalidColumnReferenceError("there is no unique or exclusion constraint"),
        asyncpg.exceptions.DatabaseDroppedError("the database was dropped"),
        ConnectionError('PostgreSQL server at "db:5432" rejected SSL upgrade'),
    ],
)
def test_what_needs_a_person_parks(error):
    assert isinstance(outcome_of("sinks.bus.url", error), Park)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.CheckViolationError("hush"),
        asyncpg.RaiseError("hush"),
        asyncpg.InvalidTextRepresentationError("hush"),
    ],
)
def test_a_text_that_may_quote_an_event_is_not_told(error):
    assert "hush" not in outcome_of("sinks.bus.url", error).reason


def test_a_value_that_is_refused_is_quoted_for_the_dead_letter_alone():
    error = asyncpg.NumericValueOutOfRangeError("hush")
    assert is_of_a_row(error)
    assert not is_of_a_row(asyncpg.UndefinedTableError(""))
    refusal = refusal_of("sinks.bus.url", error)
    assert (refusal.answer, "hush" in refusal.reason) == ("hush", False)
    assert "22003" in refusal.reason


EVENT = sample_event(1, sequence=1)
TEXTS = st.text(alphabet=st.sampled_from('\\"u0x\x00é'))


@given(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS)))
def test_data_is_kept_to_the_letter_but_for_nul(data):
    row = row_of(replace(EVENT, data=json.dumps(data).encode()), CLOUD_EVENT)

    def without(value):
        if isinstance(value, dict):
            return {without(name): without(item) for name, item in value.items()}
        return [without(item) for item in value] if isinstance(value, list) else value.replace("\0", "\ufffd")

    assert json.loads(row.data) == without(data)
    assert "\\u0000" not in row.data.replace("\\\\", "")


def test_the_event_is_kept_to_the_letter_and_other_columns_hold_no_nul():
    event = replace(EVENT, subject="a\0b", data=b'{"key":"\\u0000"}')
    row = row_of(event, CLOUD_EVENT)
    assert row.event == event.to_json().decode()
    assert row.subject == "a\ufffdb"
    assert not any("\0" in column for column in row if isinstance(column, str))


def test_parameters_stand_in_the_order_of_the_statement():
    rows = [row_of(EVENT, CLOUD_EVENT), row_of(sample_event(2, sequence=2), CLOUD_EVENT)]
    columns = by_column(rows)
    assert columns[1] == ["event-1", "event-2"]
    assert columns[5] == [1, 2]
    assert by_column([]) == [[]] * len(columns)
    assert insertion('"t"').startswith('INSERT INTO "t" (source, id, type, subject, time, sequence, data, event) ')


@pytest.mark.parametrize(("count", "expected"), [(1, [1]), (3, [3]), (25, [13, 12])])
def test_many_bytes_go_in_portions_of_their_order(count, expected):
    rows = [row_of(sample_event(n, sequence=n, data_bytes=620_000), CLOUD_EVENT) for n in range(1, count + 1)]
    found = list(portions(rows))
    assert [len(portion) for portion in found] == expected
    assert [row for portion in found for row in portion] == rows
