import asyncio

import asyncpg
import pytest

from listener.model.forms import CLOUD_EVENT
from listener.sinks.postgres.rows import row_of
from listener.sinks.postgres.session import connect
from listener.sinks.postgres.settings import PostgresSettings
from listener.sinks.registry import SinkContext
from listener.testing.events import sample_event


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
    profile = await session.profile()
    assert (profile.fsync, profile.encoding, profile.persistence) == ("on", "UTF8", None)
    assert not profile.standby
    await server.execute("CREATE UNLOGGED TABLE dispositions (id text)")
    assert (await session.profile()).persistence == "u"


async def test_the_probe_misses_what_a_row_needs(session, server):
    await server.execute("CREATE TABLE dispositions (id text)")
    with pytest.raises(asyncpg.UndefinedColumnError):
        await session.probe()


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(session, server):
    """So it does not go on, and hold what it has locked, when nobody waits for it any more."""
    columns = "source text, id text, type text, subject text, time timestamptz, sequence bigint, data jsonb, event text"
    await server.execute(f"CREATE TABLE dispositions ({columns}, PRIMARY KEY (source, id))")
    profile = await session.profile()
    async with server.client() as other, other.transaction():
        await other.execute("LOCK TABLE dispositions")
        with pytest.raises(asyncpg.QueryCanceledError):
            async with asyncio.timeout(10):
                await session.store([row_of(sample_event(1), CLOUD_EVENT)], profile)
    await session.store([row_of(sample_event(1), CLOUD_EVENT)], profile)
    assert len(await server.events()) == 1


async def test_a_session_can_be_closed_and_aborted_in_any_order(session):
    await session.close()
    session.abort()
    await session.close()
    with pytest.raises(asyncpg.InterfaceError):
        await session.profile()
