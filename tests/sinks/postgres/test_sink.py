"""Delivery to tables of real servers, as they are made, changed, locked, forbidden and lost."""

import asyncio
from importlib.resources import files

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from listener.errors import Park, Reject, Retry, StartError
from listener.model.event import Change
from listener.testing.events import sample_event, sample_gap
from support.authority import Authority

EVENTS = [sample_event(number, sequence=number) for number in range(1, 6)]
ALL = [event.id for event in EVENTS]


async def ids(server, table="dispositions"):
    return [event["id"] for event in await server.events(table)]


def with_number(event, number):
    return replace(event, data=b'{"reference":' + number + b"," + event.data[1:])


# What is in the table.


async def test_what_people_ask_for_are_columns(server, sink_to):
    event = replace(sample_event(7, change=Change.CHANGED, disposition="Sold\0"), sequence=7)
    await sink_to(server).deliver([event, sample_gap(8, sequence=8)])
    disposition, gap = await server.fetch("SELECT *, time::text AS at FROM dispositions ORDER BY sequence")
    expected = {
        "source": event.source,
        "id": "event-7",
        "type": event.type,
        "subject": event.subject,
        "at": "2026-11-22 09:39:00.123+00",
        "sequence": 7,
        "account": "agent1",
        "key": "DispositionCode",
        "disposition": "Sold\ufffd",
        "previous": None,
        "change": "changed",
        "event": event.to_json().decode(),
    }
    assert {name: disposition[name] for name in expected} == expected
    assert (gap["account"], gap["subject"], gap["key"], gap["disposition"]) == ("agent1", "agent1", None, None)
    (asked,) = await server.fetch('SELECT id FROM dispositions WHERE data @> \'{"origin": "notification"}\'')
    assert asked["id"] == "event-7"


async def test_another_form_and_left_out_fields_are_stored_as_they_are(server, sink_to):
    event = replace(sample_event(1), data=b'{"disposition":"Sold"}')
    await sink_to(server, format="template", template="$chatId: $disposition").deliver([sample_event(2), event])
    rows = await server.fetch("SELECT event, account, disposition FROM dispositions ORDER BY id")
    assert [tuple(row) for row in rows] == [
        (": Sold", None, "Sold"),
        ("0000Na9B26EF003M: IssueResolved", "agent1", "IssueResolved"),
    ]


async def test_an_id_is_one_of_its_source_alone(server, sink_to):
    other = replace(EVENTS[0], source="http://other.example.com")
    sink = sink_to(server)
    for batch in ([EVENTS[0], other], [other, EVENTS[0], other]):
        await sink.deliver(batch)
    assert await ids(server) == ["event-1", "event-1"]


async def test_each_event_that_is_refused_is_named_and_the_others_are_stored(server, sink_to):
    """PostgreSQL's numbers have 131,072 digits before the point."""
    batch = [sample_event(number, sequence=number) for number in range(1, 101)]
    bad = {0, 41, 42, 99}
    batch = [with_number(event, b"1e200000") if index in bad else event for index, event in enumerate(batch)]
    with pytest.raises(Reject) as caught:
        await sink_to(server).deliver(batch)
    assert caught.value.letters.keys() == bad
    assert caught.value.delivered == set(range(100)) - bad
    assert "22003" in caught.value.reason
    assert await ids(server) == [event.id for index, event in enumerate(batch) if index not in bad]


async def test_what_postgresql_says_of_a_value_is_for_the_dead_letter_alone(server, sink_to):
    with capture_logs() as logs, pytest.raises(Reject) as caught:
        await sink_to(server).deliver([replace(EVENTS[0], time="hush")])
    assert "hush" in caught.value.letters[0].answer
    assert "hush" not in f"{caught.value.reason}{logs}"


# The table itself.


async def test_a_table_that_is_missing_parks_and_names_the_file_that_makes_it(server, sink_to):
    sink = sink_to(server, create_table=False)
    for attempt in (sink.check, sink.open):
        with pytest.raises(Park, match=r"sinks\.bus\.table: .*table\.sql.* create_table = true"):
            await attempt()
    await server.execute(files("listener.sinks.postgres").joinpath("table.sql").read_text())
    await sink.deliver(EVENTS)
    assert await ids(server) == ALL


async def test_the_probe_makes_no_table(server, sink_to):
    await sink_to(server).check()
    assert await server.fetch("SELECT 1 FROM pg_class WHERE relname = 'dispositions'") == []


async def test_many_may_make_the_table_at_the_same_moment(server, sink_to):
    async with asyncio.TaskGroup() as group:
        for event in EVENTS:
            group.create_task(sink_to(server).deliver([event]))
    assert await ids(server) == ALL


async def test_a_table_may_have_any_name_in_any_schema(server, sink_to):
    name = 'Audit.it"s; DROP TABLE dispositions; --'
    await sink_to(server).deliver(EVENTS[:1])
    await server.execute('DROP SCHEMA IF EXISTS "Audit" CASCADE', 'CREATE SCHEMA "Audit"')
    await sink_to(server, table=name).deliver(EVENTS)
    assert await ids(server, '"Audit"."it""s; DROP TABLE dispositions; --"') == ALL
    assert await ids(server) == ALL[:1]


COLUMNS = "source text, id text, type text, subject text, time timestamptz, sequence bigint, data jsonb, event text"


async def test_a_table_of_the_sites_own_is_enough_with_the_columns_that_are_written(server, sink_to):
    await server.execute(
        f"CREATE TABLE dispositions ({COLUMNS}, noted boolean DEFAULT false, PRIMARY KEY (source, id))"
    )
    await sink_to(server, create_table=False).deliver(EVENTS)
    assert await ids(server) == ALL


UNUSABLE = {
    "no primary key": f"CREATE TABLE dispositions ({COLUMNS})",
    "a column is missing": "CREATE TABLE dispositions (source text, id text, PRIMARY KEY (source, id))",
    "a column is of another type": (
        f"CREATE TABLE dispositions ({COLUMNS.replace('data jsonb', 'data bytea')}, PRIMARY KEY (source, id))"
    ),
}


@pytest.mark.parametrize("statement", UNUSABLE.values(), ids=UNUSABLE)
async def test_a_table_that_cannot_be_used_parks_at_the_start(server, sink_to, statement):
    await server.execute(statement)
    sink = sink_to(server)
    for attempt in (sink.check, sink.open):
        with pytest.raises(Park, match="42"):
            await attempt()


async def test_a_constraint_of_the_sites_own_parks_and_nothing_is_dropped(server, sink_to):
    sink = sink_to(server)
    await sink.open()
    await server.execute("ALTER TABLE dispositions ADD CONSTRAINT few CHECK (sequence < 3)")
    with pytest.raises(Park, match="CheckViolation"):
        await sink.deliver(EVENTS)
    await server.execute("ALTER TABLE dispositions DROP CONSTRAINT few")
    await sink.deliver(EVENTS)
    assert await ids(server) == ALL


# Who may write.


async def test_a_role_that_may_insert_and_select_is_enough(server, sink_to):
    await sink_to(server).open()
    await server.execute(
        "DROP ROLE IF EXISTS few", "CREATE ROLE few LOGIN", "GRANT INSERT, SELECT ON dispositions TO few"
    )
    sink = sink_to(server, username="few", create_table=False)
    await sink.check()
    await sink.deliver(EVENTS)
    await sink.deliver(EVENTS)
    assert await ids(server) == ALL
    await server.execute("REVOKE INSERT ON dispositions FROM few")
    with pytest.raises(Park, match="permission denied"):
        await sink.deliver(EVENTS)
    with pytest.raises(Park, match="permission denied"):
        await sink.check()
    await server.execute("DROP OWNED BY few", "DROP ROLE few")


async def test_a_login_is_made_with_the_password_of_its_moment_and_no_other(
    start_postgres, sink_to, tmp_path, monkeypatch
):
    server = start_postgres(hba="host all all all scram-sha-256", fsync="off")
    await server.execute("CREATE ROLE listener LOGIN SUPERUSER PASSWORD 'second'")
    (tmp_path / "pass").write_text("hush\n", encoding="utf-8")
    sink = sink_to(server, username="listener", password_file="pass")
    with capture_logs() as logs, pytest.raises(Park, match="password authentication failed") as caught:
        await sink.open()
    assert "hush" not in f"{caught.value.reason}{logs}"
    (tmp_path / "pass").write_text("second\n", encoding="utf-8")
    await sink.deliver(EVENTS)
    assert await ids(server) == ALL
    monkeypatch.setenv("PGPASSWORD", "second")
    with pytest.raises(Park):
        await sink_to(server, username="listener").check()


@pytest.mark.parametrize(("username", "database"), [("nobody", "postgres"), ("admin", "nowhere")])
async def test_a_role_or_a_database_that_is_not_there_parks(server, sink_to, username, database):
    sink = sink_to(server, username=username, url=f"postgresql://127.0.0.1:{server.port}/{database}")
    for attempt in (sink.check, sink.open):
        with pytest.raises(Park, match="does not exist"):
            await attempt()


async def test_a_database_that_cannot_hold_every_character_parks(server, sink_to):
    await server.execute("DROP DATABASE IF EXISTS latin")
    await server.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(Park, match="encoding LATIN1, it must be UTF8"):
        await sink_to(server, url=f"postgresql://127.0.0.1:{server.port}/latin").open()


# Troubles that pass.


async def test_a_connection_that_was_ended_is_made_anew(server, sink_to):
    sink = sink_to(server)
    await sink.deliver(EVENTS[:2])
    await server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'dispo%'")
    with pytest.raises(Retry):
        await sink.deliver(EVENTS)
    await sink.deliver(EVENTS)
    assert await ids(server) == ALL


async def test_too_many_connections_are_waited_for(server, sink_to):
    await server.execute("DROP ROLE IF EXISTS crowd", "CREATE ROLE crowd LOGIN CONNECTION LIMIT 0")
    with pytest.raises(Retry, match="too many connections"):
        await sink_to(server, username="crowd").open()
    await server.execute("DROP ROLE crowd")


async def test_a_database_that_is_read_only_is_waited_for(server, sink_to):
    sink = sink_to(server)
    await sink.open()
    await server.execute("ALTER ROLE admin SET default_transaction_read_only = on")
    try:
        for attempt in (sink.check, sink.open):
            with pytest.raises(Retry, match="read-only"):
                await attempt()
    finally:
        await server.execute("SET transaction_read_only = off; ALTER ROLE admin RESET default_transaction_read_only")
    await sink.deliver(EVENTS)
    assert await ids(server) == ALL


# Ways to a server.


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
async def secured(start_postgres, authority):
    """It takes only clients with a certificate of the authority."""
    server = start_postgres(
        fsync="off", listen_addresses="127.0.0.1,127.0.0.2", hba="hostssl all all all trust clientcert=verify-ca"
    )
    await server.secure(authority)
    await server.execute("CREATE ROLE listener LOGIN SUPERUSER")
    return server


async def test_over_tls_both_sides_are_verified(secured, sink_to, authority):
    own = {"username": "listener", "tls": True, "client_cert_file": authority.issue("client").name}
    await sink_to(secured, ca_file="ca.pem", **own).deliver(EVENTS)
    assert await ids(secured) == ALL
    with pytest.raises(Retry, match="certificate verify failed"):
        await sink_to(secured, **own).open()
    other_host = f"postgresql://127.0.0.2:{secured.port}/postgres"
    with pytest.raises(Retry, match="IP address mismatch"):
        await sink_to(secured, url=other_host, ca_file="ca.pem", **own).open()
    await sink_to(secured, verify=False, **own).check()
    with pytest.raises(Park, match="valid client certificate"):
        await sink_to(secured, username="listener", tls=True, ca_file="ca.pem").open()
    with pytest.raises(Park, match="pg_hba"):
        await sink_to(secured, username="listener").open()


async def test_a_server_without_tls_is_sent_nothing(server, sink_to, tmp_path):
    with pytest.raises(Park, match="offers no TLS; tls = false does without"):
        await sink_to(server, tls=True).open()
    (tmp_path / "ca.pem").write_text("no certificate", encoding="utf-8")
    with pytest.raises(StartError, match=r"sinks\.bus\.ca_file"):
        await sink_to(server, tls=True, ca_file="ca.pem").open()


async def test_a_socket_of_the_host_is_a_way_too(start_postgres, sink_to):
    server = start_postgres(fsync="off")
    link = server.folder / ".s.PGSQL.5432"  # the port is a part of the name
    link.symlink_to(f".s.PGSQL.{server.port}")
    await sink_to(server, url=f"postgresql:///postgres?host={server.folder}", tls=True).deliver(EVENTS)
    assert await ids(server) == ALL
