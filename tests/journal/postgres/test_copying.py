"""A journal goes into PostgreSQL and comes back as it was; what lives on either side is not touched."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from listener.errors import JournalError, JournalLocked
from listener.journal.copying import Held, copy
from listener.journal.postgres import copying as postgres
from listener.journal.postgres.database import PostgresDatabase
from listener.journal.postgres.options import PostgresOptions
from listener.journal.sqlite import SqliteJournal
from listener.journal.sqlite import copying as sqlite
from listener.model.event import DeadLetter, JournalBatch, LastValue
from listener.model.holes import events_between
from listener.runtime.host import THIS_HOST
from support.copies import holds, make_rich_journal
from support.events import disposition_event
from support.postgresjournal import fenced
from support.postgresserver import PostgresServer


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(fsync="off") as server:
        yield server


@pytest.fixture
def options(server: PostgresServer, request: pytest.FixtureRequest) -> PostgresOptions:
    """A schema of its own for each test."""
    return PostgresOptions(
        host="127.0.0.1",
        port=server.port,
        database="postgres",
        username="admin",
        schema=f"s{abs(hash(request.node.nodeid)):x}",
    )


@pytest.fixture
async def rich(tmp_path: Path) -> Path:
    await make_rich_journal(tmp_path / "rich.db")
    return tmp_path / "rich.db"


async def into(options: PostgresOptions, path: Path) -> Held:
    async with sqlite.opened_source(path) as given, postgres.opened_target(options) as made:
        return await copy(given, made)


async def back(options: PostgresOptions, path: Path) -> Held:
    async with postgres.opened_source(options) as given, sqlite.opened_target(path) as made:
        return await copy(given, made)


async def test_a_journal_comes_back_as_it_was(options: PostgresOptions, rich: Path, tmp_path: Path):
    there = await into(options, rich)
    assert await back(options, tmp_path / "back.db") == there
    assert holds(tmp_path / "back.db") == holds(rich)


async def test_through_a_pooler_a_copy_is_one_transaction_too(options: PostgresOptions, rich: Path, tmp_path: Path):
    pooled = PostgresOptions(**{name: getattr(options, name) for name in options.__slots__} | {"pooler": True})
    await into(pooled, rich)
    await back(pooled, tmp_path / "back.db")
    assert holds(tmp_path / "back.db") == holds(rich)


async def test_replicas_go_on_where_the_file_ended(options: PostgresOptions, rich: Path):
    await into(options, rich)
    database = PostgresDatabase(options)
    await database.open()
    try:
        joined = await database.join("a", version="1", lease_s=1.0)
        assert joined.last_sequence == 40
        values, revisions = await database.last_values(["chät-1"])
        batch = JournalBatch(events=(disposition_event(0, chat="chät-1"),), values=(values[0],))
        done = await database.append(joined.incarnation, 1, batch, revisions, {})
        assert (done.last_sequence, done.stale) == (41, ())
        assert [event.id for event in await database.replays("crm", 10)] == ["event-6"]
        stats = await database.stats()
        assert (stats.first_sequence, stats.last_sequence, stats.events) == (5, 41, 24)
        assert events_between(0, 41, stats.holes) == events_between(4, 41, stats.holes) == 24
        assert stats.dead_letters == {"crm": 4, "bi": 2}
    finally:
        await database.close()


async def test_how_long_ago_a_session_was_seen_survives_both_ways(options: PostgresOptions, tmp_path: Path):
    await make_rich_journal(tmp_path / "rich.db", seen_ms=THIS_HOST.clock.now_ms() - 60_000)
    await into(options, tmp_path / "rich.db")
    await back(options, tmp_path / "back.db")
    async with sqlite.opened_source(tmp_path / "back.db") as side:
        (session, *_) = (await side.rest()).sessions.values()
    age_ms = THIS_HOST.clock.now_ms() - session.seen_ms
    assert 60_000 <= age_ms < 90_000
    assert session.boot == THIS_HOST.boot_id


async def test_a_schema_that_holds_something_is_no_target(options: PostgresOptions, rich: Path, tmp_path: Path):
    await into(options, rich)
    with pytest.raises(JournalError, match="holds a journal already"):
        await into(options, rich)
    await back(options, tmp_path / "back.db")
    assert holds(tmp_path / "back.db") == holds(rich)


async def test_a_database_without_a_journal_is_no_source(options: PostgresOptions, tmp_path: Path):
    with pytest.raises(JournalError, match="no journal is there"):
        await back(options, tmp_path / "back.db")
    assert not (tmp_path / "back.db").exists()


async def test_replicas_that_live_are_named_and_go_on(options: PostgresOptions, rich: Path, tmp_path: Path):
    database = PostgresDatabase(options)
    await database.open()
    try:
        joined = await database.join("node-a", version="1", lease_s=1.0)
        in_use = r"in use by replica node-a \(heard of \d+ s ago\); stop all of them"
        for work in (into(options, rich), back(options, tmp_path / "back.db")):
            with pytest.raises(JournalLocked, match=in_use):
                await work
        await database.beat(joined.incarnation, seen=0)
    finally:
        await database.close()


async def test_a_replica_that_is_long_dead_is_taken_out_and_fenced(
    options: PostgresOptions, rich: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    await into(options, rich)
    database = PostgresDatabase(options)
    await database.open()
    try:
        joined = await database.join("node-a", version="1", lease_s=0.05)
        monkeypatch.setattr(postgres, "GONE_S", 0.1)
        await asyncio.sleep(0.3)
        await back(options, tmp_path / "back.db")
        await fenced(
            lambda: database.append(joined.incarnation, 1, JournalBatch(events=(disposition_event(0),)), {}, {})
        )
    finally:
        await database.close()


async def test_nobody_joins_while_it_is_copied(options: PostgresOptions, rich: Path):
    await into(options, rich)
    impatient = PostgresOptions(**{name: getattr(options, name) for name in options.__slots__} | {"timeout_s": 0.5})
    async with postgres.opened_source(options):
        database = PostgresDatabase(impatient)
        await database.open()
        with pytest.raises(JournalError):
            await database.join("node-a", version="1", lease_s=1.0)
        await database.close()


async def test_what_has_a_loss_to_put_on_record_is_not_copied(options: PostgresOptions, tmp_path: Path):
    database = PostgresDatabase(options)
    await database.open()
    me = (await database.join("node-a", version="1", lease_s=1.0)).incarnation
    await database.begin_above(me, 5, 9, (1, 2))
    await database.leave(me)
    await database.close()
    with pytest.raises(JournalError, match="not on record yet"):
        await back(options, tmp_path / "back.db")


async def test_what_ends_early_leaves_an_empty_schema(options: PostgresOptions, rich: Path):
    async with sqlite.opened_source(rich) as given, postgres.opened_target(options) as made:
        await made.add(await given.events(0, 10))
    async with postgres.opened_target(options) as made:
        assert await made.size() == 0


async def test_a_server_that_is_away_is_named(rich: Path):
    nowhere = PostgresOptions(host="127.0.0.1", port=1, database="x", username="x")
    with pytest.raises(JournalError, match=r"postgresql://127\.0\.0\.1:1/x"):
        await into(nowhere, rich)


@pytest.mark.parametrize("way", ["into", "back"])
async def test_a_server_that_dies_in_the_middle_leaves_no_copy(
    rich: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    side, call = (postgres.PostgresTarget, "complete") if way == "into" else (postgres.PostgresSide, "letters")
    with PostgresServer() as server:
        here = PostgresOptions(host="127.0.0.1", port=server.port, database="postgres", username="admin")
        if way == "back":
            await into(here, rich)
        asked = getattr(side, call)

        async def dying(self, *values):
            await asyncio.to_thread(server.kill)
            return await asked(self, *values)

        monkeypatch.setattr(side, call, dying)
        with pytest.raises(JournalError, match=r"postgresql://127\.0\.0\.1"):
            await (into(here, rich) if way == "into" else back(here, tmp_path / "back.db"))
        monkeypatch.undo()
        assert not (tmp_path / "back.db").exists()
        if way == "into":
            await asyncio.to_thread(server.start)
            async with postgres.opened_target(here) as made:
                assert await made.size() == 0


async def test_a_side_that_does_not_keep_what_it_is_given_is_found_out(
    options: PostgresOptions, rich: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = postgres.PostgresTarget.complete

    async def careless(self, rest):
        await whole(self, replace(rest, cursors={**rest.cursors, "audit": 1}))

    monkeypatch.setattr(postgres.PostgresTarget, "complete", careless)
    with pytest.raises(JournalError, match="the copy is not what was copied: digest_of_others"):
        await into(options, rich)
    async with postgres.opened_target(options) as made:
        assert await made.size() == 0


TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)


@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    events=st.lists(st.tuples(TEXTS, TEXTS, st.binary(max_size=20)), max_size=6),
    values=st.dictionaries(st.tuples(TEXTS, TEXTS), st.none() | TEXTS, max_size=6),
    letters=st.dictionaries(st.tuples(st.integers(1, 8), TEXTS), st.tuples(TEXTS, TEXTS), max_size=6),
)
def test_whatever_texts_there_are_come_back(options, tmp_path_factory, events, values, letters):
    """NUL, the escape of NUL, quotes, and the order of both sides' indexes."""
    asyncio.run(_there_and_back(options, tmp_path_factory.mktemp("texts"), events, values, letters))


async def _there_and_back(options, folder, events, values, letters):
    connection = await asyncpg.connect(
        host=options.host, port=options.port, database=options.database, user=options.username
    )
    await connection.execute(f"DROP SCHEMA IF EXISTS {options.quoted_schema} CASCADE")
    await connection.close()
    journal = SqliteJournal(path=folder / "texts.db")
    await journal.open()
    made = [replace(disposition_event(0), id=id_, subject=chat, data=data) for id_, chat, data in events]
    stored = [LastValue(chat, key, text, "a\0b", None, 1) for (chat, key), text in values.items()]
    await journal.append(JournalBatch(events=tuple(made), values=tuple(stored)))
    for (sequence, sink), (id_, answer) in letters.items():
        letter = DeadLetter(
            sink=sink, sequence=sequence, event_id=id_, reason="r", attempts=1, at_ms=1, answer=answer, replaying=True
        )
        await journal.advance(sink, len(made), [letter])
    await journal.close()
    await into(options, folder / "texts.db")
    await back(options, folder / "back.db")
    assert holds(folder / "back.db") == holds(folder / "texts.db")
