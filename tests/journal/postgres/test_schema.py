"""The schema in the database: made once, migrated, refused."""

import asyncio

import pytest

from listener.errors import JournalError
from listener.journal.postgres import schema
from listener.journal.postgres.schema import MIGRATIONS, VERSION, Migration

ADDS = Migration(VERSION + 1, 1, "CREATE TABLE added (one integer)")
TAKES_AWAY = Migration(VERSION + 2, VERSION + 1, "DROP TABLE added")


async def prepare(world, *more, **login):
    async with world.server.client(**login) as connection:
        await schema.prepare(connection, world.options(), [*MIGRATIONS, *more])


async def version(world):
    ((version, least),) = await world.server.fetch(f"SELECT version, least FROM {world.schema}.schema_version")  # noqa: S608 - ours
    return version, least


def test_versions_count_from_one_without_a_gap():
    assert [step.number for step in MIGRATIONS] == list(range(1, VERSION + 1))
    assert all(1 <= step.least <= step.number for step in MIGRATIONS)


async def test_it_is_made_by_whoever_comes_first(world):
    clients = [world.client() for _ in range(5)]
    await asyncio.gather(*(client.open() for client in clients))
    assert (await version(world))[0] == VERSION
    for client in clients:
        assert await client.read(0, 1) == []


async def test_a_step_that_only_adds_is_taken_while_older_replicas_run(world):
    older = await world.opened()
    me = (await older.join("older", version="1", lease_s=60.0)).incarnation
    await prepare(world, ADDS)
    assert await version(world) == (VERSION + 1, 1)
    await older.beat(me, seen=0)
    await (await world.opened()).join("older too", version="1", lease_s=60.0)


async def test_a_step_that_takes_away_waits_until_they_are_gone(world):
    older = await world.opened()
    me = (await older.join("older", version="1", lease_s=60.0)).incarnation
    await prepare(world, ADDS, TAKES_AWAY)
    assert await version(world) == (VERSION + 1, 1)
    await older.leave(me)
    await prepare(world, ADDS, TAKES_AWAY)
    assert await version(world) == (VERSION + 2, VERSION + 1)


async def test_a_schema_that_is_for_newer_software_is_refused(world):
    await prepare(world, ADDS, TAKES_AWAY)
    with pytest.raises(JournalError, match=f"needs software for at least {VERSION + 1}.*update it"):
        await world.client().open()


async def test_a_step_that_fails_leaves_everything_as_it_was(world):
    await prepare(world)
    before = await version(world)
    wrong = Migration(VERSION + 1, 1, "CREATE TABLE added (one integer); SELECT nothing")
    with pytest.raises(Exception, match="nothing"):
        await prepare(world, wrong)
    assert await version(world) == before
    await prepare(world, ADDS)


async def test_without_the_right_it_is_told_what_to_grant(world):
    await world.server.execute("DROP ROLE IF EXISTS nobody", "CREATE ROLE nobody LOGIN")
    nobody = world.client(username="nobody")
    with pytest.raises(JournalError, match=f'CREATE SCHEMA "{world.schema}" AUTHORIZATION "nobody"'):
        await nobody.open()
    await world.server.execute(f'CREATE SCHEMA "{world.schema}" AUTHORIZATION "nobody"')
    nobody = world.client(username="nobody")
    await nobody.open()
    me = (await nobody.join("one", version="1", lease_s=60.0)).incarnation
    assert (await nobody.beat(me, seen=0)).granted == ()
    await nobody.close()


async def test_another_encoding_is_refused(world):
    await world.server.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(JournalError, match="LATIN1"):
        await world.client(database="latin").open()
