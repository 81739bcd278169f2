"""What PostgreSQL adds to the contract: clients that freeze, servers that die, answers that get lost."""

import asyncio
import os
import signal
import time

import asyncpg
import pytest

from listener.errors import JournalError, JournalFenced, JournalFull, JournalUncertain
from listener.journal.postgres.database import PostgresDatabase
from listener.model.event import JournalBatch, LastValue, SessionState
from listener.model.replica import Offer
from listener.testing import sample_event
from support.eventually import eventually
from support.faultproxy import FaultProxy
from support.pgbouncer import PgBouncer
from support.postgresjournal import HalfSent, PostgresWorld, fenced
from support.postgresserver import PostgresServer

LEASE_S = 1.5
BEAT_S = 0.2
SESSIONS = "SELECT pid, wait_event_type FROM pg_stat_activity WHERE application_name = 'disposition-listener/{}'"


class Replica:
    """One that beats by itself, and appends."""

    def __init__(self, database: PostgresDatabase, me: int) -> None:
        self.database = database
        self.me = me
        self.number = 0
        self.acknowledged: list[str] = []
        self.fenced_at: float | None = None
        self.beats: list[float] = []
        self.held: set[str] = set()

    @classmethod
    async def of(cls, world, name, **options):
        database = await world.opened(**options)
        return cls(database, (await database.join(name, version="1", lease_s=LEASE_S)).incarnation)

    async def keep_beating(self):
        seen = 0
        while True:
            began = time.monotonic()
            try:
                beaten = await self.database.beat(self.me, seen=seen)
            except JournalFenced:
                self.fenced_at = time.monotonic()
                return
            except JournalError:
                await asyncio.sleep(BEAT_S)
                continue
            self.beats.append(time.monotonic() - began)
            self.held |= {grant.duty for grant in beaten.granted}
            seen = max([seen, *(grant.epoch for grant in beaten.granted)])
            await asyncio.sleep(BEAT_S)

    async def append(self, *ids, size=1):
        """Until there is an answer."""
        self.number += 1
        names = ids or [f"{self.me}-{self.number}-{n}" for n in range(size)]
        batch = JournalBatch(events=tuple(event(name) for name in names))
        while True:
            try:
                appended = await self.database.append(self.me, self.number, batch, {}, {})
            except JournalError:
                await asyncio.sleep(0.05)
                continue
            self.acknowledged += names
            return appended.last_sequence

    async def keep_appending(self, until):
        while not until.is_set():
            await self.append(size=3)


def event(name):
    return sample_event(0).__class__(**{**as_dict(sample_event(0)), "id": name})


def as_dict(one):
    return {field: getattr(one, field) for field in one.__struct_fields__}


def append_statement(schema, me):
    return (
        f"SELECT * FROM {schema}.append({me}, 1, '{{1}}', '{{late}}', '{{t}}', '{{s}}', '{{c}}', '{{x}}',"  # noqa: S608 - ours
        " '{disposition}', '{a}', '{set}', '{notification}', ARRAY['{}'::bytea], '{}', '{}', '{}', '{}', '{}', '{}',"
        " '{}', '{}', '{}', '{}', '{}')"
    )


@pytest.fixture
def freeze(world):
    """Makes clients of a replica that freeze in the middle of a statement."""
    frozen = []

    async def make(me, statement):
        name = f"disposition-listener/{me}"
        frozen.append(await asyncio.to_thread(HalfSent, world.server.port, name, statement))
        return frozen[-1]

    yield make
    for one in frozen:
        one.close()


@pytest.fixture
async def beating():
    """Has replicas beat until the test is over."""
    async with asyncio.TaskGroup() as tasks:
        started = []

        def start(*replicas):
            started.extend(tasks.create_task(replica.keep_beating()) for replica in replicas)

        yield start
        for task in started:
            task.cancel()


async def test_a_client_that_froze_with_the_gate_is_ended_and_refused(world, beating, freeze):
    one, two = await Replica.of(world, "one"), await Replica.of(world, "two")
    frozen = await freeze(two.me, append_statement(world.schema, two.me))
    beating(one)
    began = time.monotonic()
    await one.append("waited")
    took = time.monotonic() - began
    print(f"an append waited {took:.2f} s for a frozen client, with a lease of {LEASE_S} s")
    assert took < 10 * LEASE_S
    with pytest.raises(ConnectionError):
        await asyncio.to_thread(frozen.go_on)
    assert [event.id for event in await one.database.read(0, 10)] == ["waited"]
    await eventually(lambda: len(one.beats) > 3, what="it goes on beating")
    await fenced(lambda: two.database.append(two.me, 1, JournalBatch(events=(event("late"),)), {}, {}))


async def test_behind_a_pooler_a_client_that_froze_with_the_gate_is_ended_by_the_server(world):
    with PgBouncer(world.server) as bouncer:
        pooled = {"port": bouncer.port, "pooler": True}
        one, two = await Replica.of(world, "one", **pooled), await Replica.of(world, "two", **pooled)
        frozen = await two.database._appends.connect()
        await frozen.execute(two.database._appends._preface)
        await frozen.fetch(append_statement(world.schema, two.me))
        began = time.monotonic()
        await one.append("waited")
        print(f"through a pooler an append waited {time.monotonic() - began:.2f} s for a frozen client")
        assert [event.id for event in await one.database.read(0, 10)] == ["waited"]
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
            await frozen.execute("COMMIT")
        frozen.terminate()
        await one.database.close()
        await two.database.close()


async def test_a_client_that_froze_and_wakes_in_time_has_what_it_wrote(world, freeze):
    one, two = await Replica.of(world, "one"), await Replica.of(world, "two")
    frozen = await freeze(two.me, append_statement(world.schema, two.me))
    waiting = asyncio.create_task(one.append("second"))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await asyncio.to_thread(frozen.go_on)
    assert await waiting == 2
    assert [event.id for event in await one.database.read(0, 10)] == ["late", "second"]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM {schema}.membership FOR UPDATE",
        "SELECT * FROM {schema}.beat({me}, 0, '{{}}', NULL, '{{}}', '{{}}')",
        "SELECT {schema}.offer_duties({me}, '{{account/a}}', '{{account}}', '{{NULL}}')",
    ],
)
async def test_a_client_that_froze_with_the_lock_on_membership_stops_nobody(world, beating, freeze, statement):
    one, two = await Replica.of(world, "one"), await Replica.of(world, "two")
    await two.database.offer(two.me, [Offer(duty="account/a")])
    await two.database.beat(two.me, seen=0)
    await one.database.offer(one.me, [Offer(duty="account/a")])
    frozen = await freeze(two.me, statement.format(schema=world.schema, me=two.me))
    beating(one)
    began = time.monotonic()
    await eventually(lambda: "account/a" in one.held, what="what the frozen one had is taken over")
    print(f"taken over after {time.monotonic() - began:.2f} s, longest beat {max(one.beats):.2f} s")
    with pytest.raises(ConnectionError):
        await asyncio.to_thread(frozen.go_on)


def session(account):
    return SessionState(
        account=account, url="u", topic="t", client_id="c", connection_type="long-polling", ack=1, seen_ms=0
    )


async def test_a_session_grows_older_while_its_append_waits_for_the_gate(world):
    one = await Replica.of(world, "one")
    state = session("a")
    async with world.server.client() as gate:
        await gate.execute(f"BEGIN; UPDATE {world.schema}.head SET revision = revision")  # noqa: S608 - the tests' own table
        began = time.monotonic()
        appending = asyncio.create_task(one.database.append(one.me, 1, JournalBatch(sessions=(state,)), {}, {"a": 100}))
        await asyncio.sleep(1.0)
        await gate.execute("COMMIT")
        await appending
    ((_, age_ms),) = await one.database.sessions()
    assert 1_000 < age_ms < 200 + (time.monotonic() - began) * 1000


async def test_a_session_grows_older_while_its_append_is_on_its_way(world):
    """A gap that another replica records begins no later than it did."""
    async with FaultProxy(world.server.port) as link:
        one, two = await Replica.of(world, "one", port=link.port), await world.opened()
        await one.append("before")
        began = time.monotonic()
        await one.database.beat(one.me, seen=0)
        with link.latency(0.3):
            batch = JournalBatch(sessions=tuple(session(account) for account in "ab"))
            await one.database.append(one.me, 2, batch, {}, {"a": 100, "b": 900})
        ages = {state.account: age_ms for state, age_ms in await two.sessions()}
        ended = time.monotonic()
        for account, age_ms in (("a", 100), ("b", 900)):
            assert age_ms + 600 <= ages[account] <= age_ms + 5 + (ended - began) * 1000
        await one.database.close()


@pytest.mark.long
async def test_a_killed_server_keeps_every_append_that_it_acknowledged(beating):
    with PostgresServer() as server:
        world = PostgresWorld(server)
        replicas = [await Replica.of(world, name) for name in ("one", "two", "three")]
        beating(*replicas)
        done = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for replica in replicas:
                tasks.create_task(replica.keep_appending(done))
            for _ in range(2):
                await asyncio.sleep(1.0)
                async with server.outage():
                    await asyncio.sleep(1.0)
            await asyncio.sleep(1.0)
            done.set()
        events = await replicas[0].database.read(0, 100_000)
        ids = [event.id for event in events]
        acknowledged = [name for replica in replicas for name in replica.acknowledged]
        print(f"{len(acknowledged)} acknowledged over two kills, {len(ids)} stored")
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert len(set(ids)) == len(ids), "stored twice"
        assert sorted(ids) == sorted(acknowledged)
        assert [replica.fenced_at for replica in replicas] == [None] * 3, "whoever was there stays"
        await world.end()


async def test_an_append_whose_connection_is_ended_is_uncertain_and_its_number_settles_it(world, freeze):
    one, two = await Replica.of(world, "one"), await Replica.of(world, "two")
    frozen = await freeze(two.me, append_statement(world.schema, two.me))
    batch = JournalBatch(events=(event("a"),))
    waiting = asyncio.create_task(one.database.append(one.me, 1, batch, {}, {}))
    end = f"SELECT pg_terminate_backend(pid) FROM ({SESSIONS.format(one.me)}) session WHERE wait_event_type = 'Lock'"  # noqa: S608 - ours
    ((ended,),) = await eventually(lambda: world.server.fetch(end), what="it waits for the gate")
    assert ended
    with pytest.raises(JournalUncertain):
        await waiting
    await asyncio.to_thread(frozen.go_on)
    assert (await one.database.append(one.me, 1, batch, {}, {})).last_sequence == 2
    assert (await one.database.append(one.me, 1, batch, {}, {})).last_sequence == 2
    assert len(await one.database.read(0, 10)) == 2


async def test_an_append_that_takes_too_long_is_uncertain_and_leaves_no_session_behind(world, monkeypatch):
    one, two = await Replica.of(world, "one"), await Replica.of(world, "two")
    await one.append("a")
    named = SESSIONS.format(one.me)
    ((stopped, _),) = await world.server.fetch(named)
    os.kill(stopped, signal.SIGSTOP)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(one.database._appends, "_options", world.options(timeout_s=0.5))
            with pytest.raises(JournalUncertain, match="no answer in time"):
                await one.database.append(one.me, 2, JournalBatch(events=(event("b"),)), {}, {})
        assert (await one.database.append(one.me, 2, JournalBatch(events=(event("b"),)), {}, {})).last_sequence == 2
        assert await two.append("c") == 3
    finally:
        os.kill(stopped, signal.SIGCONT)

    async def is_gone():
        return stopped not in [pid for pid, _ in await world.server.fetch(named)]

    await eventually(is_gone, what="the session that was given up is ended")
    assert [event.id for event in await two.database.read(0, 10)] == ["a", "b", "c"]


async def test_a_commit_whose_wait_for_standbys_somebody_ended_is_uncertain():
    """PostgreSQL tells it as a success, with a warning."""
    local = {"server_settings": {"synchronous_commit": "local"}}
    with PostgresServer(synchronous_standby_names="standby", synchronous_commit="local") as server:
        world = PostgresWorld(server)
        one = await Replica.of(world, "one")
        await server.execute("ALTER ROLE admin SET synchronous_commit = 'on'")

        async def end_wait():
            return await server.fetch(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'", **local
            )

        for _ in range(2):  # the repetition waits as well
            waiting = asyncio.create_task(
                one.database.append(one.me, 1, JournalBatch(events=(event("a"),)), {}, {}),
            )
            await eventually(end_wait, what="it waits for the standby")
            with pytest.raises(JournalUncertain, match="standbys"):
                await waiting
        await server.execute("ALTER ROLE admin RESET synchronous_commit", **local)
        one.number = 1
        assert await one.append("b") == 2
        await world.end()


async def test_whoever_joined_before_a_standby_was_promoted_is_refused(server):
    """The standby may lack what was told last: who has what is settled anew."""
    with PostgresServer() as first:
        world = PostgresWorld(first)
        one = await Replica.of(world, "one")
        await one.append("a")
        with PostgresServer(follows=first) as second:
            standby = PostgresWorld(second)
            standby.schema = world.schema
            with pytest.raises(JournalError, match="standby"):
                await standby.opened()
            await second.execute("SELECT pg_promote()")
            database = await standby.opened()
            for call in (
                lambda: database.append(one.me, 2, JournalBatch(events=(event("b"),)), {}, {}),
                lambda: database.beat(one.me, seen=0),
                lambda: database.advance(one.me, "crm", 1, []),
            ):
                await fenced(call)
            again = await database.join("one", version="1", lease_s=LEASE_S)
            assert again.incarnation > one.me
            assert (await database.append(again.incarnation, 1, JournalBatch(events=(event("b"),)), {}, {})).stale == ()
            await database.close()
        await world.end()


@pytest.mark.long
async def test_after_the_servers_clock_was_set_back_the_dead_are_found_all_the_same(world, beating):
    one, two = await Replica.of(world, "one"), await Replica.of(world, "two")
    await world.pass_s(-3600)
    beating(one)
    await asyncio.sleep(4 * LEASE_S)
    await fenced(lambda: two.database.beat(two.me, seen=0))


async def test_a_full_disk_is_told_as_such(world):
    one = await Replica.of(world, "one")
    await world.server.execute(
        f"CREATE FUNCTION {world.schema}.full_disk() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$",
        f"CREATE TRIGGER full_disk BEFORE INSERT ON {world.schema}.event EXECUTE FUNCTION {world.schema}.full_disk()",
    )
    with pytest.raises(JournalFull, match="no space left"):
        await one.database.append(one.me, 1, JournalBatch(events=(event("a"),)), {}, {})
    await world.server.execute(f"DROP TRIGGER full_disk ON {world.schema}.event")
    assert await one.append("a") == 1


async def test_an_error_names_no_values(world):
    one = await Replica.of(world, "one")
    await world.server.execute(f"ALTER TABLE {world.schema}.event ADD CHECK (id <> 'secret')")
    with pytest.raises(JournalError) as raised:
        await one.database.append(one.me, 1, JournalBatch(events=(event("secret"),)), {}, {})
    assert not isinstance(raised.value, JournalUncertain)
    assert "secret" not in str(raised.value)
    assert "23514" in str(raised.value)


async def test_a_text_that_is_no_unicode_is_refused_and_nothing_is_stored(world):
    one = await Replica.of(world, "one")
    values = (LastValue("\ud800", "k", "v", "a", None, 1),)
    with pytest.raises(JournalError) as raised:
        await one.database.append(one.me, 1, JournalBatch(events=(event("a"),), values=values), {}, {})
    assert not isinstance(raised.value, JournalUncertain)
    assert await one.database.read(0, 10) == []


async def test_a_call_that_is_cancelled_leaves_the_others_their_turn(world):
    one = await Replica.of(world, "one")
    for _ in range(3):
        reading = asyncio.create_task(one.database.heard(0))
        await asyncio.sleep(0.05)
        reading.cancel()
        appending = asyncio.create_task(one.database.append(one.me, 1, JournalBatch(events=(event("a"),)), {}, {}))
        await asyncio.sleep(0)
        appending.cancel()
        await asyncio.gather(reading, appending, return_exceptions=True)
    async with asyncio.timeout(20):
        assert (await one.database.append(one.me, 1, JournalBatch(events=(event("a"),)), {}, {})).last_sequence == 1
