"""What real servers tell of themselves, and what the sink makes of it."""

import pytest
from structlog.testing import capture_logs

from listener.errors import Retry
from listener.testing.events import sample_event
from support.eventually import eventually

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
    assert line["risks"] == ["fsync is off: a power cut loses what was committed last, or all of it"]


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
