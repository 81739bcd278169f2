"""The contract of `journal.shared.Database`, sentence by sentence, for every implementation."""

import asyncio
import inspect
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from listener.errors import JournalError
from listener.journal.shared.database import Database
from listener.model.event import (
    EVERY_DEAD_LETTER,
    Change,
    DeadLetter,
    DeadLetterFilter,
    JournalBatch,
    LaneState,
    LastValue,
    SessionState,
)
from listener.model.filter import EVERY_EVENT, EventFilter
from listener.model.replica import Grant, Offer
from listener.testing import SAMPLE_MS, ManualClock, MemoryConnection, MemoryDatabase, sample_event, sample_gap
from support.pgbouncer import PgBouncer
from support.postgresjournal import PostgresWorld, fenced
from support.postgresserver import PostgresServer

CALLS = [name for name, value in vars(Database).items() if inspect.iscoroutinefunction(value)]
LEASE_S = 5.0  # what the tests take by themselves is nothing against it


@pytest.fixture(scope="module")
def server():
    with PostgresServer(fsync="off") as server:  # no test cuts its power
        time.sleep(LEASE_S)  # nobody is late within a lease after its start
        yield server


class MemoryWorld:
    """The database in memory, by a clock that moves when it is told to."""

    def __init__(self):
        self.clock = ManualClock()
        self.database = MemoryDatabase(lambda: self.clock.now_ms() / 1000)

    async def opened(self):
        connection = MemoryConnection(self.database)
        await connection.open()
        return connection

    async def is_up_for(self, seconds):
        """It is."""

    async def pass_s(self, seconds):
        self.clock.advance(seconds)

    async def end(self):
        pass


@pytest.fixture(scope="module")
def bouncer(server):
    with PgBouncer(server) as bouncer:
        yield bouncer


@pytest.fixture(params=["postgres", "pooler", "memory"])
async def world(request):
    match request.param:
        case "postgres":
            world = PostgresWorld(request.getfixturevalue("server"))
        case "pooler":
            bouncer = request.getfixturevalue("bouncer")
            world = PostgresWorld(request.getfixturevalue("server"), port=bouncer.port, pooler=True)
        case _:
            world = MemoryWorld()
    yield world
    await world.end()


@pytest.fixture
async def database(world):
    return await world.opened()


class Replica:
    """A replica that beats when it is told to, and remembers what it was given."""

    def __init__(self, database, me):
        self.database = database
        self.me = me
        self.held = {}
        self.number = 0

    async def beat(self, **told):
        seen = max(self.held.values(), default=0)
        beaten = await self.database.beat(self.me, seen=seen, **told)
        self.held.update({grant.duty: grant.epoch for grant in beaten.granted})
        return beaten

    async def offer(self, *duties, only=None):
        await self.database.offer(self.me, [Offer(duty=duty, only=only) for duty in duties])

    async def release(self, *duties):
        await self.database.release(self.me, [Grant(duty, self.held.pop(duty)) for duty in duties])

    async def append(self, *numbers, **more):
        self.number += 1
        return await self.database.append(self.me, self.number, batch(*numbers, **more), {}, {})


async def joined(database, name="one", lease_s=LEASE_S):
    return Replica(database, (await database.join(name, version="1", lease_s=lease_s)).incarnation)


async def steady(world, *replicas):
    """They beat for more than a lease, at a server that has been there for two."""
    await world.is_up_for(LEASE_S * 2)
    for _ in range(4):
        await world.pass_s(LEASE_S * 0.4)
        for replica in replicas:
            await replica.beat()


@pytest.fixture
async def one(database):
    return await joined(database)


@pytest.fixture
async def two(world, one):
    """On connections of its own."""
    return await joined(await world.opened(), "two")


def batch(*numbers, values=(), sessions=(), at_ms=SAMPLE_MS):
    events = tuple(sample_event(number, received_ms=at_ms) for number in numbers)
    return JournalBatch(events=events, values=tuple(values), sessions=tuple(sessions))


def value(chat, text, *, key="DispositionCode", received_ms=1):
    return LastValue(chat_id=chat, key=key, value=text, account="agent1", server_time_ms=None, received_ms=received_ms)


def session(account, **more):
    fields = {
        "url": "http://127.0.0.1/api/v2/notifications",
        "topic": "/v2/me/chats",
        "client_id": f"client-of-{account}",
        "connection_type": "long-polling",
        "seen_ms": 1_800_000_000_000,
        "ack": 1,
    }
    return SessionState(account=account, **{**fields, **more})


def letter(sink, sequence, *, at_ms=5, **more):
    text = {"event_id": f"event-{sequence}", "reason": "HTTP 422", "attempts": 1, **more}
    return DeadLetter(sink=sink, sequence=sequence, at_ms=at_ms, **text)


async def sequences(database):
    return [event.sequence for event in await database.read(0, 100_000)]


@pytest.mark.parametrize("name", CALLS)
def test_every_call_is_described(name: str):
    assert inspect.getdoc(getattr(Database, name))


# --- open and close ---------------------------------------------------------------------------------------------------


async def test_closed_twice_every_call_is_an_error(one, database):
    await database.close()
    await database.close()
    for call in (
        database.join("two", version="1", lease_s=1.0),
        database.beat(one.me, seen=0),
        database.append(one.me, 1, batch(1), {}, {}),
        database.read(0, 1),
        database.heard(0),
    ):
        with pytest.raises(JournalError):
            await call


async def test_closed_it_can_be_opened_again_and_joined_anew(one, database):
    """As it is where the start of a replica fails in the middle, and is tried again."""
    await one.append(1)
    await database.close()
    await database.open()
    again = await joined(database, "one")
    assert again.me > one.me
    await again.beat()
    assert (await again.append(2)).last_sequence == 2
    assert await sequences(database) == [1, 2]
    assert await database.heard(0) == 2
    await fenced(lambda: one.append(3))


async def test_what_is_stored_is_there_for_whoever_opens_it_later(world, one, database):
    await one.append(1, 2)
    await database.close()
    assert await sequences(await world.opened()) == [1, 2]


# --- join, leave, evict -----------------------------------------------------------------------------------------------


async def test_an_incarnation_is_a_number_that_was_never_used_before(database):
    used = set()
    for name in ("one", "two", "one", "two"):
        replica = await joined(database, name)
        assert replica.me not in used
        used.add(replica.me)
    await replica.database.leave(replica.me)
    assert (await joined(database, "two")).me not in used


async def test_whoever_joins_learns_the_newest_sequence(one, database):
    await one.append(1, 2, 3)
    assert (await database.join("two", version="1", lease_s=1.0)).last_sequence == 3


async def test_an_older_replica_of_the_name_is_evicted(one, database):
    await one.offer("account/a")
    await one.beat()
    again = await joined(database)
    await fenced(one.beat)
    assert [report.incarnation for report in await database.replicas()] == [again.me]


async def test_whoever_has_not_beaten_for_a_lease_is_evicted_by_one_that_has(world, one, two):
    await steady(world, one)
    await fenced(two.beat)


async def test_whoever_is_late_by_less_is_not(world, one, two):
    await steady(world, one, two)
    await world.pass_s(LEASE_S * 0.6)
    await one.beat()
    await two.beat()


async def test_the_lease_that_counts_is_that_of_whoever_is_late(world, one, database):
    patient = await joined(await world.opened(), "patient", lease_s=LEASE_S * 10)
    await steady(world, one)
    await patient.beat()


async def test_whoever_was_late_itself_evicts_nobody_until_it_was_steady_for_a_lease(world, one, two):
    """After a restart of the database everybody is late."""
    await steady(world, one, two)
    await world.pass_s(LEASE_S * 10)
    await one.beat()
    await world.pass_s(LEASE_S * 0.8)
    await one.beat()
    await two.beat()
    for _ in range(2):  # under load its own beats have breaks, which excuse others
        await steady(world, one)
    await fenced(two.beat)


async def test_nor_does_whoever_was_nearly_late_itself(world, one, two):
    """After an outage that is shorter than the lease some are late, and others are not."""
    await steady(world, one, two)
    await world.pass_s(LEASE_S * 0.3)
    await one.beat()
    await world.pass_s(LEASE_S * 0.8)
    await one.beat()
    await two.beat()


async def test_whoever_beats_slowly_evicts_all_the_same(world, one, two):
    """A host under load is not steady for long, and what others had is not to wait for that."""
    await steady(world, one, two)
    for _ in range(4):
        await world.pass_s(LEASE_S * 0.7)
        await one.beat()
    await fenced(two.beat)


async def test_whoever_has_just_joined_evicts_nobody(world, one):
    await world.pass_s(LEASE_S * 10)
    two = await joined(await world.opened(), "two")
    await two.beat()
    await one.beat()


async def test_nothing_of_an_evicted_replica_is_stored(world, one, two):
    await two.append(1)
    await two.database.begin_above(two.me, 2, 5, (1, 2))
    await two.offer("account/a")
    grants = [Grant("account/a", 1)]
    await steady(world, one)
    calls = (
        lambda: two.database.append(two.me, 2, batch(2, values=[value("c", "A")]), {}, {}),
        lambda: two.database.append(two.me, 1, batch(1), {}, {}),
        lambda: two.database.advance(two.me, "crm", 1, [letter("crm", 1)]),
        lambda: two.database.settle_replays(two.me, "crm", [1], []),
        lambda: two.database.store_lane_state(two.me, LaneState(sink="crm")),
        lambda: two.database.begin_above(two.me, 9, 10, (1, 2)),
        lambda: two.database.settle_losses(two.me, [5]),
        lambda: two.database.retain(two.me, before_ms=2**50, keep_for=[], max_bytes=None),
        lambda: two.database.offer(two.me, [Offer(duty="account/b")]),
        lambda: two.database.release(two.me, grants),
        lambda: two.database.beat(two.me, seen=0),
        lambda: two.database.leave(two.me),
    )
    for call in calls:
        await fenced(call)
    database = one.database
    assert await sequences(database) == [1]
    assert await database.last_values(["c"]) == ([], {})
    assert (await database.cursors(), await database.dead_letters(EVERY_DEAD_LETTER)) == ({}, [])
    assert await database.lane_states() == {}
    assert await database.losses() == {5: (1, 2)}
    assert await database.duties() == []


async def test_whoever_has_left_is_gone_at_once_and_what_it_had_is_free(one, two):
    await one.offer("account/a")
    await two.offer("account/a")
    await one.beat()
    assert (await two.beat()).granted == ()
    await one.database.leave(one.me)
    assert [grant.duty for grant in (await two.beat()).granted] == ["account/a"]
    assert [report.name for report in await two.database.replicas()] == ["two"]
    await fenced(lambda: one.append(1))


async def test_replicas_are_told_by_name(world, one, two):
    await one.offer("account/a", "account/b", "lane/x", "housekeeping")
    await one.beat(report=b'{"of": "one"}')
    await world.pass_s(LEASE_S * 2)
    await two.beat()
    first, second = await one.database.replicas()
    assert (first.name, first.incarnation, first.state, first.version) == ("one", one.me, "late", "1")
    assert (first.accounts, first.lanes, first.housekeeping, first.report) == (2, 1, True, b'{"of": "one"}')
    assert LEASE_S * 2 <= first.beat_age_s < LEASE_S * 2 + 30
    assert (second.name, second.state, second.accounts, second.housekeeping) == ("two", "alive", 0, False)
    assert second.report == b""
    assert 0 <= second.beat_age_s < 30
    assert abs(second.joined_ms - first.joined_ms) < 60_000


async def test_a_report_stays_until_there_is_another(one, database):
    await one.beat(report=b'{"n": 1}')
    await one.beat()
    assert [report.report for report in await database.replicas()] == [b'{"n": 1}']
    await one.beat(report=b'{"n": 2}')
    assert [report.report for report in await database.replicas()] == [b'{"n": 2}']


# --- duties -----------------------------------------------------------------------------------------------------------


async def test_what_is_free_and_offered_is_claimed(one):
    await one.offer("account/a", "lane/x", "housekeeping")
    beaten = await one.beat()
    assert sorted(grant.duty for grant in beaten.granted) == ["account/a", "housekeeping", "lane/x"]
    assert (beaten.more, beaten.wanted_back, beaten.orders, beaten.draining, beaten.others) == (False, (), (), False, 0)


async def test_epochs_rise_with_every_grant_and_are_told_lowest_first(one):
    await one.offer("account/a", "account/b")
    first = (await one.beat()).granted
    assert [grant.epoch for grant in first] == sorted({grant.epoch for grant in first})
    await one.release("account/a")
    second = (await one.beat()).granted
    assert [grant.duty for grant in second] == ["account/a"]
    assert second[0].epoch > first[-1].epoch


async def test_what_has_arrived_is_not_told_again_and_what_has_not_is(one, database):
    await one.offer("account/a", "account/b")
    first = (await database.beat(one.me, seen=0)).granted
    assert (await database.beat(one.me, seen=0)).granted == first
    assert (await database.beat(one.me, seen=first[0].epoch)).granted == first[1:]
    assert (await database.beat(one.me, seen=first[1].epoch)).granted == ()


async def test_a_thousand_grants_are_told_at_a_time(one):
    await one.offer(*(f"account/{number:04}" for number in range(2300)))
    told = [await one.beat() for _ in range(4)]
    assert [len(beaten.granted) for beaten in told] == [1000, 1000, 300, 0]
    assert [beaten.more for beaten in told] == [True, True, False, False]
    assert len(one.held) == 2300


async def test_each_has_a_fair_share_of_each_kind_rounded_up(world, one, two):
    three = await joined(await world.opened(), "three")
    duties = [f"account/{n}" for n in range(10)] + [f"lane/{n}" for n in range(2)] + ["housekeeping"]
    for replica in (one, two, three):
        await replica.offer(*duties)
    for replica in (one, two, three):
        await replica.beat()
    accounts = [sum(duty.startswith("account/") for duty in replica.held) for replica in (one, two, three)]
    assert accounts == [4, 4, 2]
    assert [sum(duty.startswith("lane/") for duty in replica.held) for replica in (one, two, three)] == [1, 1, 0]
    assert ["housekeeping" in replica.held for replica in (one, two, three)] == [True, False, False]
    assert sorted([*one.held, *two.held, *three.held]) == sorted(duties), "each is one's"


async def test_what_only_one_may_do_it_has_whatever_the_share(one, two):
    for replica in (one, two):
        await replica.database.offer(
            replica.me, [Offer(duty=f"lane/{n}", only="two" if n < 4 else None) for n in range(6)]
        )
    await one.beat()
    await two.beat()
    assert sorted(two.held) == [f"lane/{n}" for n in range(4)]
    assert sorted(one.held) == ["lane/4", "lane/5"]
    assert (await two.beat()).wanted_back == ()


async def test_what_only_one_offers_it_has_whatever_the_share(one, two):
    """A new configuration arrives at one replica after the other: nothing of it may be nobody's meanwhile."""
    await one.offer(*(f"account/{n}" for n in range(6)))
    await two.offer()
    await two.beat()
    await one.beat()
    assert len(one.held) == 6
    assert (await one.beat()).wanted_back == (), "nobody else could take it"


async def test_nothing_is_left_free_where_those_who_could_have_their_share(world, one, two):
    three = await joined(await world.opened(), "three")
    for replica in (one, two):
        await replica.offer(*(f"account/{n}" for n in range(9)))
    for _ in range(4):
        for replica in (one, two, three):
            beaten = await replica.beat()
            await replica.release(*beaten.wanted_back)
    assert sorted([*one.held, *two.held]) == [f"account/{n}" for n in range(9)]


async def test_of_what_is_above_the_share_ten_of_a_kind_are_asked_back_always_the_same(one, two):
    duties = [f"account/{n:02}" for n in range(50)]
    await one.offer(*duties)
    await one.beat()
    assert len(one.held) == 50
    await two.offer(*duties)
    wanted = (await one.beat()).wanted_back
    assert len(set(wanted)) == 10
    await two.beat()
    assert (await one.beat()).wanted_back == wanted
    await one.release(*wanted[:4])
    assert set(wanted[4:]) <= set((await one.beat()).wanted_back)
    while wanted := (await one.beat()).wanted_back:
        await one.release(*wanted)
        await two.beat()
    await two.beat()
    assert (len(one.held), len(two.held)) == (25, 25)
    assert sorted([*one.held, *two.held]) == duties


async def test_duties_of_the_evicted_are_free_at_once(world, one, two):
    duties = [f"account/{n}" for n in range(6)]
    for replica in (one, two):
        await replica.offer(*duties)
    await one.beat()
    await two.beat()
    assert (len(one.held), len(two.held)) == (3, 3)
    await steady(world, one)
    assert sorted(one.held) == duties
    assert len(set(one.held.values())) == 6


async def test_a_duty_is_there_while_any_replica_offers_it(one, two):
    await one.offer("account/a", "account/b")
    await two.offer("account/b")
    assert [report.duty for report in await one.database.duties()] == ["account/a", "account/b"]
    await one.offer("account/b")
    assert [report.duty for report in await one.database.duties()] == ["account/b"]
    await one.database.leave(one.me)
    assert [report.duty for report in await two.database.duties()] == ["account/b"]
    await two.offer()
    assert await two.database.duties() == []


async def test_what_is_offered_no_longer_stays_its_owners_until_it_is_released(one, two):
    await one.offer("account/a")
    await one.beat()
    await one.offer()
    await two.offer("account/a")
    assert (await two.beat()).granted == ()
    await one.release("account/a")
    assert (await one.beat()).granted == ()
    assert [grant.duty for grant in (await two.beat()).granted] == ["account/a"]


async def test_releasing_what_was_granted_anew_changes_nothing(one, database):
    await one.offer("account/a")
    old = (await one.beat()).granted
    await one.release("account/a")
    await one.beat()
    await database.release(one.me, old)
    await database.release(one.me, [Grant("account/unknown", 1)])
    assert [report.replica for report in await database.duties()] == ["one"]


async def test_releasing_what_others_have_changes_nothing(one, two):
    await one.offer("account/a")
    granted = (await one.beat()).granted
    await two.database.release(two.me, granted)
    assert [report.replica for report in await one.database.duties()] == ["one"]


async def test_duties_are_told_with_their_owner_and_what_it_says(one, two):
    await one.offer("account/a", "account/b")
    assert [(d.duty, d.replica, d.report) for d in await one.database.duties()] == [
        ("account/a", None, b""),
        ("account/b", None, b""),
    ]
    await one.beat()
    await two.beat(reports={"account/a": b'"of two"'})
    await one.beat(reports={"account/a": b'"of one"'})
    first, second = await two.database.duties()
    assert (first.replica, first.epoch, first.report) == ("one", one.held["account/a"], b'"of one"')
    assert second.report == b""


async def test_whoever_drains_is_asked_for_all_and_gets_nothing(one, two):
    duties = [f"account/{n:02}" for n in range(30)]
    for replica in (one, two):
        await replica.offer(*duties)
    await one.beat()
    await two.beat()
    assert await two.database.drain("one", draining=True) is True
    beaten = await one.beat()
    assert beaten.draining
    assert sorted(beaten.wanted_back) == sorted(one.held)
    await one.release(*beaten.wanted_back)
    assert (await one.beat()).granted == ()
    assert (await two.beat()).others == 0
    assert sorted(two.held) == duties
    assert [report.state for report in await one.database.replicas()] == ["draining", "alive"]
    assert await two.database.drain("one", draining=False) is True
    assert (await one.beat()).draining is False
    assert len((await two.beat()).wanted_back) == 10
    assert await two.database.drain("nobody", draining=True) is False


async def test_a_beat_tells_how_many_others_are_there(world, one, two):
    assert (await one.beat()).others == 1
    await one.database.leave(one.me)
    assert (await two.beat()).others == 0


async def test_a_beat_tells_the_newest_sequence_whoever_wrote_it(one, two):
    await two.append(1, 2)
    assert (await one.beat()).last_sequence == 2


async def test_an_order_goes_to_whoever_has_the_duty_until_it_is_taken(one, two):
    await one.offer("lane/x")
    assert await two.database.order("lane/x", "resume") is None
    await one.beat()
    assert await two.database.order("lane/x", "replay") == "one"
    assert (await two.beat()).orders == ()
    orders = (await one.beat()).orders
    assert [(order.duty, order.what) for order in orders] == [("lane/x", "resume"), ("lane/x", "replay")]
    assert (await one.beat()).orders == orders
    assert (await one.beat(taken=[orders[0].number])).orders == orders[1:]
    assert (await one.beat(taken=[order.number for order in orders])).orders == ()


async def test_an_order_of_a_duty_that_moves_goes_with_it(one, two):
    for replica in (one, two):
        await replica.offer("lane/x")
    await one.beat()
    await two.database.order("lane/x", "resume")
    await one.database.leave(one.me)
    assert [order.what for order in (await two.beat()).orders] == ["resume"]


# --- append -----------------------------------------------------------------------------------------------------------


async def test_events_get_the_sequences_behind_the_newest(one, two):
    assert (await one.append(1, 2, 3)).last_sequence == 3
    assert (await two.append(4)).last_sequence == 4
    assert (await one.append()).last_sequence == 4
    assert await sequences(one.database) == [1, 2, 3, 4]


async def test_a_batch_without_events_is_stored_before_the_first_event_too(one, database):
    appended = await one.append(values=[value("c", "A")], sessions=())
    assert appended.last_sequence == 0
    assert (await database.last_values(["c"]))[0] == [value("c", "A")]


async def test_events_come_back_as_they_were(one, database):
    gap = replace(sample_gap(2), change=None)
    sent = [sample_event(1, chat="\N{SNOWMAN} \N{GRINNING FACE}", change=Change.CLEARED), gap]
    await database.append(one.me, 1, JournalBatch(events=tuple(sent)), {}, {})
    assert list(await database.read(0, 10)) == [replace(event, sequence=n) for n, event in enumerate(sent, 1)]


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chat=TEXTS, account=TEXTS, text=TEXTS, data=st.binary(max_size=50))
async def test_every_text_comes_back_as_it_was(world, chat, account, text, data):
    """Hypothesis runs this on one schema."""
    database = await world.opened()
    one = await joined(database)
    event = replace(sample_event(1), subject=chat, account=account, id=text, data=data)
    kept = LastValue(chat_id=chat, key=text, value=text, account=account, server_time_ms=None, received_ms=1)
    state = session(account, client_id=text, boot=chat)
    stored = JournalBatch(events=(event,), values=(kept,), sessions=(state,))
    known = (await database.last_values([chat]))[1]
    last = (await database.append(one.me, 1, stored, {chat: known.get(chat, 0)}, {account: 0})).last_sequence
    assert list(await database.read(last - 1, 10)) == [replace(event, sequence=last)]
    assert kept in (await database.last_values([chat]))[0]
    assert [found for found, _ in await database.sessions([account])] == [state]
    assert [one.sequence for one in (await database.search(EventFilter(chat=chat), before=None, limit=1)).events] in (
        [last],
        [],
    )
    dead = letter(f"sink{chat}", last, event_id=text, reason=text, answer=account)
    await database.advance(one.me, dead.sink, last, [dead])
    assert dead in await database.dead_letters(DeadLetterFilter(event_ids=(text,), sink=dead.sink))
    assert (await database.cursors())[dead.sink] == last
    await database.close()


async def test_a_number_that_was_stored_stores_nothing_again_and_has_the_first_answer(one, two):
    first = await one.database.append(one.me, 1, batch(1, 2, values=[value("c", "A")]), {"c": 0}, {})
    await two.append(3)
    again = await one.database.append(one.me, 1, batch(1, 2, values=[value("c", "A")]), {"c": 0}, {})
    assert again == first
    assert await sequences(one.database) == [1, 2, 3]
    assert (await one.database.append(one.me, 2, batch(4), {}, {})).last_sequence == 4


async def test_a_number_that_was_stale_stays_so(one, database):
    seen_as_new = JournalBatch(values=(value("c1", "A"),))
    await database.append(one.me, 1, seen_as_new, {"c1": 0}, {})
    stale = await database.append(one.me, 2, seen_as_new, {"c1": 0}, {})
    assert stale.stale == ("c1",)
    assert await database.retain(one.me, before_ms=2, keep_for=(), max_bytes=None) == 0
    assert await database.last_values(["c1"]) == ([], {})
    assert (await database.append(one.me, 2, seen_as_new, {"c1": 0}, {})).stale == ("c1",)
    assert await database.last_values(["c1"]) == ([], {})


async def test_a_number_that_comes_after_the_next_one_stores_nothing(one, database):
    await database.append(one.me, 2, batch(1), {}, {})
    with pytest.raises(JournalError, match="after 2"):
        await database.append(one.me, 1, batch(2), {}, {})
    assert await sequences(database) == [1]


async def test_each_incarnation_counts_from_one(one, two):
    await one.append(1)
    assert (await two.append(2)).last_sequence == 2
    again = await joined(one.database)
    assert (await again.append(3)).last_sequence == 3


async def test_where_a_revision_differs_nothing_is_stored(one, two):
    database = one.database
    first = await database.append(one.me, 1, batch(1, values=[value("c", "A")]), {"c": 0}, {})
    stale = await two.database.append(
        two.me,
        1,
        batch(2, values=[value("c", "B"), value("d", "B")], sessions=[session("a")]),
        {"c": 0, "d": 0},
        {"a": 0},
    )
    assert stale.stale == ("c",)
    assert stale.last_sequence == 0
    assert await sequences(database) == [1]
    assert await database.last_values(["c", "d"]) == ([value("c", "A")], {"c": first.revision})
    assert await database.sessions() == []
    learnt = await two.database.append(two.me, 2, batch(2, values=[value("c", "B")]), {"c": first.revision}, {})
    assert (learnt.stale, learnt.last_sequence) == ((), 2)
    late = await database.append(one.me, 2, batch(3), {"c": first.revision}, {})
    assert late.stale == ("c",)


async def test_a_revision_is_of_all_keys_of_a_chat(one, database):
    await database.append(one.me, 1, batch(values=[value("c", "A", key="x")]), {"c": 0}, {})
    second = await database.append(one.me, 2, batch(values=[value("c", "B", key="y")]), {"c": 1}, {})
    values, revisions = await database.last_values(["c", "d"])
    assert sorted(one.key for one in values) == ["x", "y"]
    assert revisions == {"c": second.revision}


async def test_a_chat_that_is_known_where_none_is_there_is_stale(one, database):
    appended = await database.append(one.me, 1, batch(1), {"c": 7}, {})
    assert appended.stale == ("c",)


async def test_of_several_values_or_sessions_the_last_counts(one, database):
    many = batch(values=[value("c", "A"), value("c", "B")], sessions=[session("a", ack=1), session("a", ack=2)])
    await database.append(one.me, 1, many, {"c": 0}, {"a": 0})
    assert (await database.last_values(["c"]))[0] == [value("c", "B")]
    assert [state.ack for state, _ in await database.sessions()] == [2]


async def test_a_session_is_as_old_as_it_was_and_grows_older(world, one, database):
    states = [session("a", cookies=(("name", "value", "host", "/"),), taken=((5, 70, "ab"),)), session("b", clean=True)]
    await database.append(one.me, 1, batch(sessions=states), {}, {"a": 5_000, "b": 0})
    await world.pass_s(10.0)
    found = await database.sessions()
    assert [state for state, _ in found] == states
    assert [age_ms // 30_000 for _, age_ms in found] == [0, 0]
    ages = {state.account: age_ms for state, age_ms in found}
    assert ages["a"] >= 15_000
    assert 10_000 <= ages["b"] < ages["a"]
    assert [state.account for state, _ in await database.sessions(["b", "c"])] == ["b"]
    assert await database.sessions([]) == []


async def test_sequences_go_on_above_what_is_lost_and_that_is_told_until_it_is_settled(database, one, two):
    await one.append(1, 2)
    assert await database.begin_above(one.me, 2, 100, (1, 2)) == 2
    assert await database.losses() == {}
    assert await database.begin_above(one.me, 5, 100, (3, 4)) == 100
    assert await two.database.begin_above(two.me, 4, 99, (5, 6)) == 100
    assert (await one.append(3)).last_sequence == 101
    assert await two.database.begin_above(two.me, 102, 200, (7, 8)) == 200
    assert await database.losses() == {100: (3, 4), 200: (7, 8)}
    await database.settle_losses(one.me, [100])
    assert await two.database.losses() == {200: (7, 8)}
    await database.settle_losses(one.me, [100, 200])
    assert await two.database.losses() == {}
    assert await sequences(database) == [1, 2, 101]
    stats = await database.stats()
    assert (stats.events, stats.holes) == (3, ((1, 0), (3, 100), (102, 200)))


async def test_no_event_gets_a_sequence_that_is_given_up_at_the_same_time(database, one, two):
    appends = [asyncio.create_task(one.append(number)) for number in range(1)]
    for known in range(10, 200, 10):
        found, _ = await asyncio.gather(two.database.begin_above(two.me, known, known + 5, (1, 2)), *appends)
        appends = [asyncio.create_task(one.append(known))]
        assert found == known + 5
    await asyncio.gather(*appends)
    stats = await database.stats()
    kept = await sequences(database)
    assert stats.events == len(kept) == len(set(kept)) == 20
    assert not [n for n in kept for first, last in stats.holes if first <= n <= last]


async def test_appends_at_once_leave_no_hole_and_show_in_order(world, one, two):
    three = await joined(await world.opened(), "three")
    reader = await world.opened()
    done = asyncio.Event()

    async def write(replica, base):
        for number in range(40):
            await replica.append(*range(base + number * 3, base + number * 3 + 3))

    async def watch():
        while not done.is_set():
            seen = await sequences(reader)
            assert seen == list(range(1, len(seen) + 1))

    watching = asyncio.create_task(watch())
    await asyncio.gather(write(one, 1000), write(two, 2000), write(three, 3000))
    done.set()
    await watching
    events = await reader.read(0, 1000)
    assert [event.sequence for event in events] == list(range(1, 361))
    for base in (1000, 2000, 3000):
        mine = [number for event in events if base <= (number := int(event.id.partition("-")[2])) < base + 1000]
        assert mine == list(range(base, base + 120))


# --- reading ----------------------------------------------------------------------------------------------------------


async def test_read_gives_at_most_the_limit_above_the_given_sequence(one, database):
    await one.append(*range(1, 1251))
    assert [event.sequence for event in await database.read(3, 4)] == [4, 5, 6, 7]
    assert len(await database.read(0, 2000)) == 1250
    assert list(await database.read(1250, 4)) == []
    assert list(await database.read(0, 0)) == []


async def test_search_brings_the_newest_that_are_meant(one, database):
    events = [
        sample_event(n, chat=f"chat-{n % 3}", disposition=f"Code{n % 2}", account=f"agent{n % 4}") for n in range(1, 13)
    ]
    await database.append(one.me, 1, JournalBatch(events=(*events, sample_gap(13))), {}, {})

    async def found(limit=100, before=None, **which):
        result = await database.search(EventFilter(**which), before=before, limit=limit)
        return [event.sequence for event in result.events]

    assert await found() == list(range(13, 0, -1))
    assert await found(limit=2, before=5) == [4, 3]
    assert await found(chat="chat-0") == [12, 9, 6, 3]
    assert await found(disposition="code1") == [11, 9, 7, 5, 3, 1]
    assert await found(agent="AGENT1", limit=2) == [13, 9], "a gap has an account"
    assert await found(change=Change.CLEARED) == []
    page = await database.search(EVERY_EVENT, before=None, limit=13)
    assert page.before is None
    page = await database.search(EVERY_EVENT, before=None, limit=12)
    assert (page.before, page.through_ms) == (2, SAMPLE_MS)
    assert (await database.search(EVERY_EVENT, before=1, limit=1)).through_ms is None


async def test_a_cursor_never_moves_back(one, database):
    await one.append(1, 2, 3)
    await database.advance(one.me, "crm", 2, [])
    await database.advance(one.me, "crm", 1, [])
    await database.advance(one.me, "bi", 3, [])
    assert await database.cursors() == {"bi": 3, "crm": 2}


async def test_a_letter_keeps_its_event_whatever_becomes_of_it(one, database):
    await one.append(1, 2)
    await database.advance(one.me, "crm", 2, [letter("crm", 1), letter("crm", 2)])
    assert await database.retain(one.me, before_ms=SAMPLE_MS + 1, keep_for=["crm"], max_bytes=None) == 2
    page = await database.dead_letter_page(after=0, limit=1, sink=None)
    assert page.more
    assert [one.letter for one in page.letters] == [letter("crm", 1)]
    assert [one.event for one in page.letters] == [replace(sample_event(1), sequence=1)]
    rest = await database.dead_letter_page(after=1, limit=5, sink="crm")
    assert ([one.letter.sequence for one in rest.letters], rest.more) == ([2], False)
    assert (await database.dead_letter_page(after=2, limit=5, sink=None)).letters == ()


async def test_a_page_of_letters_never_ends_within_an_event(one, database):
    await one.append(1, 2)
    await database.advance(one.me, "crm", 2, [letter("crm", 1), letter("crm", 2)])
    await database.advance(one.me, "bi", 2, [letter("bi", 1)])
    page = await database.dead_letter_page(after=0, limit=1, sink=None)
    assert [(one.letter.sequence, one.letter.sink) for one in page.letters] == [(1, "bi"), (1, "crm")]


async def test_letters_are_selected_by_every_condition(one, database):
    await one.append(*range(1, 6))
    await database.advance(one.me, "crm", 5, [letter("crm", n, at_ms=10 * n) for n in range(1, 6)])
    await database.advance(one.me, "bi", 5, [letter("bi", 1, at_ms=25)])

    async def found(**which):
        return [(one.sink, one.sequence) for one in await database.dead_letters(DeadLetterFilter(**which))]

    assert await found() == [("crm", 1), ("crm", 2), ("bi", 1), ("crm", 3), ("crm", 4), ("crm", 5)]
    assert await found(sink="bi") == [("bi", 1)]
    assert await found(event_ids=("event-1",)) == [("crm", 1), ("bi", 1)]
    assert await found(since_ms=20, until_ms=30) == [("crm", 2), ("bi", 1), ("crm", 3)]
    assert await found(after=4) == [("crm", 5)]
    assert (await database.stats()).dead_letters == {"bi": 1, "crm": 5}
    assert await database.drop_dead_letters(DeadLetterFilter(sink="crm", after=1)) == 4
    assert await found() == [("crm", 1), ("bi", 1)]
    assert (await database.stats()).dead_letters == {"bi": 1, "crm": 1}


async def test_replays_are_marked_ordered_and_settled(one, database):
    await one.offer("lane/crm", "lane/bi")
    await one.beat()
    await one.append(1, 2, 3)
    await database.advance(one.me, "crm", 3, [letter("crm", n) for n in (1, 2, 3)])
    await database.advance(one.me, "bi", 3, [letter("bi", 1)])
    await database.advance(one.me, "crm", 3, [letter("crm", 99)])
    assert await database.replay_dead_letters(DeadLetterFilter(sink="crm")) == 3, "one has no event"
    assert [(order.duty, order.what) for order in (await one.beat()).orders] == [("lane/crm", "replay")]
    assert [event.sequence for event in await database.replays("crm", 2)] == [1, 2]
    assert [event.sequence for event in await database.replays("bi", 2)] == []
    news = letter("crm", 2, at_ms=50, reason="again", answer="no", attempts=2)
    await database.settle_replays(one.me, "crm", [1], [news])
    assert [event.sequence for event in await database.replays("crm", 9)] == [3]
    assert await database.dead_letters(DeadLetterFilter(sink="crm", since_ms=50)) == [news]
    assert (await database.stats()).dead_letters == {"bi": 1, "crm": 3}


async def test_lane_states_are_replaced_also_by_a_command(one, database):
    await database.store_lane_state(one.me, LaneState(sink="crm", parked="HTTP 401", parked_ms=5))
    assert await database.lane_states() == {"crm": LaneState(sink="crm", parked="HTTP 401", parked_ms=5)}
    await database.store_lane_state(None, LaneState(sink="crm"))
    assert await database.lane_states() == {"crm": LaneState(sink="crm")}


async def test_retention_stops_at_what_is_young_or_not_done_with(one, database):
    await one.append(1, 2, at_ms=10)
    await one.append(3, at_ms=30)
    await one.append(4, at_ms=10)
    await database.advance(one.me, "crm", 4, [])
    await database.advance(one.me, "bi", 1, [])
    assert await database.retain(one.me, before_ms=20, keep_for=["crm", "bi"], max_bytes=None) == 1
    assert await database.retain(one.me, before_ms=20, keep_for=["crm", "new"], max_bytes=None) == 0
    assert await database.retain(one.me, before_ms=20, keep_for=["crm"], max_bytes=None) == 1
    assert await sequences(database) == [3, 4]
    assert await database.retain(one.me, before_ms=50, keep_for=[], max_bytes=None) == 2
    stats = await database.stats()
    assert (stats.first_sequence, stats.last_sequence, stats.events, stats.oldest_ms) == (0, 4, 0, None)
    assert (await one.append(5)).last_sequence == 5


async def test_retention_goes_on_while_there_are_too_many_bytes(one, database):
    for start in range(0, 40, 10):
        events = tuple(sample_event(n, data_bytes=10_000) for n in range(start, start + 10))
        await database.append(one.me, start + 1, JournalBatch(events=events), {}, {})
    assert await database.retain(one.me, before_ms=0, keep_for=[], max_bytes=500_000) == 0
    deleted = await database.retain(one.me, before_ms=0, keep_for=[], max_bytes=200_000)
    assert 20 <= deleted <= 24
    assert await sequences(database) == list(range(deleted + 1, 41))


async def test_last_values_of_chats_not_heard_of_go_and_their_revisions(one, database):
    values = [
        value("old", "A", received_ms=10),
        value("half", "A", key="x", received_ms=10),
        value("half", "A", key="y", received_ms=30),
    ]
    await database.append(one.me, 1, batch(values=values), {}, {})
    await database.retain(one.me, before_ms=20, keep_for=[], max_bytes=None)
    found, revisions = await database.last_values(["old", "half"])
    assert (len(found), list(revisions)) == (2, ["half"])


async def test_stats_are_those_of_the_journal(one, database):
    await one.append(1, 2, at_ms=77)
    await database.advance(one.me, "crm", 1, [])
    await database.store_lane_state(one.me, LaneState(sink="crm"))
    stats = await database.stats()
    assert (stats.first_sequence, stats.last_sequence, stats.events, stats.oldest_ms) == (1, 2, 2, 77)
    assert (stats.cursors, stats.dead_letters, stats.lanes) == ({"crm": 1}, {}, {"crm": LaneState(sink="crm")})
    assert stats.bytes > 0


async def test_what_is_there_is_heard_at_once(one, database):
    await one.append(1, 2)
    async with asyncio.timeout(30):
        assert await database.heard(0) == 2


async def test_what_others_append_is_heard(one, two):
    await one.append(1)
    assert await two.database.heard(0) == 1
    hearing = asyncio.create_task(two.database.heard(1))
    await asyncio.sleep(0.1)
    await one.append(2, 3)
    async with asyncio.timeout(30):
        while await hearing < 3:  # a hint may be of the past
            hearing = asyncio.create_task(two.database.heard(1))
