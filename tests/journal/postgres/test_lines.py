"""Connections: the login, their settings, what is given up."""

import asyncio
import shutil
import ssl
from functools import partial

import pytest

from listener.errors import JournalError, JournalUncertain, StartError
from listener.journal.postgres.lines import Lines
from support.authority import Authority
from support.eventually import eventually
from support.pgbouncer import PgBouncer
from support.postgresjournal import PostgresWorld
from support.postgresserver import PostgresServer


@pytest.fixture(scope="module")
def server():
    with PostgresServer(hba="host all guarded all scram-sha-256", synchronous_commit="off") as server:
        yield server


@pytest.fixture
def world(server):
    return PostgresWorld(server)


@pytest.fixture
async def lines(world):
    lines = Lines(world.options(), size=2, name=lambda: "disposition-listener/7")
    yield lines
    await lines.close()


async def test_a_connection_has_its_name_and_limits(lines):
    (row,) = await lines.fetch(
        "SELECT current_setting('application_name'), current_setting('statement_timeout'),"
        " current_setting('idle_in_transaction_session_timeout'), current_setting('enable_seqscan')"
    )
    assert tuple(row) == ("disposition-listener/7", "8s", "8s", "off")


async def test_our_commits_are_durable_where_those_of_others_are_not(lines, server, world):
    question = "SELECT current_setting('synchronous_commit')"
    assert [tuple(row) for row in await server.fetch(question)] == [("off",)]
    assert [tuple(row) for row in await lines.fetch(question)] == [("on",)]
    with PgBouncer(server) as bouncer:
        pooled = Lines(world.options(port=bouncer.port, pooler=True), size=1, name=lambda: "any")
        assert [tuple(row) for row in await pooled.fetch(question)] == [("on",)]
        limits = "SELECT current_setting('lock_timeout'), current_setting('enable_seqscan')"
        assert [tuple(row) for row in await pooled.fetch(limits)] == [("8s", "off")]
        await pooled.close()
        async with server.client(port=bouncer.port, statement_cache_size=0) as other:
            assert await other.fetchval(question) == "off", "nothing outlasts a call"


async def test_calls_use_connections_again_and_no_more_than_there_may_be(lines):
    pids = await asyncio.gather(*(lines.fetch("SELECT pg_backend_pid() FROM pg_sleep(0.05)") for _ in range(6)))
    assert len({rows[0][0] for rows in pids}) == 2


async def test_after_a_failure_the_next_call_has_another_connection(lines):
    before = (await lines.fetch("SELECT pg_backend_pid()"))[0][0]
    with pytest.raises(JournalError, match="22012"):
        await lines.fetch("SELECT 1 / 0")
    assert (await lines.fetch("SELECT pg_backend_pid()"))[0][0] != before


async def test_what_was_not_sent_on_a_connection_that_the_server_has_ended_is_sent_on_another(server, world, link_to):
    link = await link_to(server.port)
    lines = Lines(world.options(port=link.port), size=1, name=lambda: "any")
    ((pid,),) = await lines.fetch("SELECT pg_backend_pid()")
    with link.end_unseen():
        told = link.to_client_bytes
        await server.execute(f"SELECT pg_terminate_backend({pid})")
        await eventually(lambda: link.to_client_bytes > told, what="the server says that it ends the connection")
        await asyncio.sleep(0.2)  # and the library has read it
        ((other,),) = await lines.fetch("SELECT pg_backend_pid()")
    assert other != pid
    await lines.close()


async def test_a_deadlock_is_tried_again(lines, server, world):
    await server.execute(
        f"CREATE SCHEMA {world.schema}",
        f"CREATE SEQUENCE {world.schema}.tries",
        f"CREATE FUNCTION {world.schema}.unlucky() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('{world.schema}.tries') < 3 THEN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END IF;"
        " RETURN 1; END $$",
    )
    assert (await lines.fetch(f"SELECT {world.schema}.unlucky()"))[0][0] == 1
    await world.end()


async def test_a_statement_that_the_server_ends_for_its_time_was_not_done(world):
    lines = Lines(world.options(timeout_s=10.0), size=1, name=lambda: "any")
    assert [tuple(row) for row in await lines.fetch("SHOW statement_timeout")] == [("8s",)], "before the client's"
    await lines.fetch("SELECT set_config('statement_timeout', '50', false)")  # or it would be waited for
    with pytest.raises(JournalError, match="57014") as raised:
        await lines.fetch("SELECT pg_sleep(30)")
    assert not isinstance(raised.value, JournalUncertain)
    await lines.close()


async def test_a_password_is_asked_for_each_time_and_never_told(server, world):
    await server.execute("DROP ROLE IF EXISTS guarded", "CREATE ROLE guarded LOGIN PASSWORD 'right-secret'")
    given = iter(["wrong-secret", "right-secret"])
    lines = Lines(world.options(username="guarded", password=lambda: next(given)), size=1, name=lambda: "any")
    with pytest.raises(JournalError, match="28P01") as raised:
        await lines.fetch("SELECT 1")
    assert "secret" not in str(raised.value)
    assert not isinstance(raised.value, JournalUncertain)
    assert await lines.fetch("SELECT 1")
    await lines.close()


@pytest.mark.parametrize("error", [OSError("cannot read it"), ValueError("it is empty"), StartError("no certificate")])
async def test_a_secret_that_cannot_be_read_is_told(world, error):
    def refuse():
        raise error

    for options in (world.options(password=refuse), world.options(tls=refuse)):
        lines = Lines(options, size=1, name=lambda: "any")
        with pytest.raises(JournalError, match=str(error)):
            await lines.fetch("SELECT 1")


async def test_a_server_that_is_not_there_is_told_and_nothing_was_done(world):
    lines = Lines(world.options(port=1), size=1, name=lambda: "any")
    with pytest.raises(JournalError, match=r"127\.0\.0\.1:1/postgres.*cannot connect") as raised:
        await lines.fetch("SELECT 1")
    assert not isinstance(raised.value, JournalUncertain)


@pytest.fixture
async def secured(tmp_path):
    """A server that takes nobody without TLS, and its authority."""
    authority = Authority(tmp_path)
    with PostgresServer(listen_addresses="127.0.0.1,127.0.0.2", hba="hostssl all all all trust") as server:
        shutil.copy(authority.issue("server"), server.data / "server.pem")
        shutil.chown(server.data / "server.pem", server.data.owner(), server.data.group())
        (server.data / "server.pem").chmod(0o600)
        files = {"ssl_cert_file": "server.pem", "ssl_key_file": "server.pem", "ssl": "on"}
        await server.execute(*(f"ALTER SYSTEM SET {name} = '{value}'" for name, value in files.items()))
        server.stop()
        server.start()
        await server.execute("CREATE ROLE guarded LOGIN")
        yield server, partial(ssl.create_default_context, cafile=str(authority.ca_file))


async def test_over_tls_the_server_is_verified(secured):
    server, context = secured

    async def ask(**other):
        options = PostgresWorld(server, username="guarded", **other).options()
        lines = Lines(options, size=1, name=lambda: "any")
        try:
            return (await lines.fetch("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))[0][0]
        finally:
            await lines.close()

    assert await ask(tls=context) is True
    with pytest.raises(JournalError, match="certificate verify failed"):
        await ask(tls=ssl.create_default_context)
    with pytest.raises(JournalError, match="IP address mismatch"):
        await ask(tls=context, host="127.0.0.2")
    with pytest.raises(JournalError, match="pg_hba"):
        await ask()


async def test_a_server_without_tls_is_sent_nothing(server, world, tmp_path):
    context = Authority(tmp_path).ca_file
    lines = Lines(
        world.options(tls=partial(ssl.create_default_context, cafile=str(context))), size=1, name=lambda: "any"
    )
    with pytest.raises(JournalError, match="rejected SSL upgrade"):
        await lines.fetch("SELECT 1")
