"""The contract of `ports.Journal`, sentence by sentence, for every implementation."""

import asyncio
from collections import Counter
from functools import partial

import msgspec
import pytest
from msgspec.structs import replace

from listener.errors import JournalError, JournalFull, JournalLocked, JournalStale
from listener.journal.shared import Membership, SharedJournal
from listener.journal.sqlite import SqliteJournal, dead_letters
from listener.journal.sqlite.lock import Known
from listener.model.event import (
    EVERY_DEAD_LETTER,
    Change,
    Damage,
    DeadLetter,
    DeadLetterFilter,
    JournalBatch,
    Kind,
    LaneState,
    LastValue,
    Origin,
    SessionState,
)
from listener.model.filter import EVERY_EVENT, DeadLetterGroup, EventFilter
from listener.model.holes import JUMP, events_between
from listener.runtime.host import Host
from listener.testing import (
    SAMPLE_MS,
    ManualClock,
    MemoryConnection,
    MemoryDatabase,
    MemoryJournal,
    sample_event,
    sample_gap,
)
from support import postgresjournal
from support.plans import no_scans
from support.postgresserver import PostgresServer

DAY_MS = 86_400_000
LIMIT_BYTES = 2**20
SESSION_MS, SESSION_MONOTONIC_MS, BOOT = 1_800_000_000_000, 5_000, "a-start"


class World:
    """A journal of one kind.

    Attributes:
        lag_ms: by how much the moment of a session may seem older than it is, since the engine has a clock of its own.
    """

    lag_ms = 0

    async def open(self):
        await self.journal.open()

    async def end(self):
        """It is closed, and nobody needs it any more."""


class SqliteWorld(World):
    """The journal on a file: a restart is a new object on the same file."""

    def __init__(self, folder):
        self.path = folder / "journal.db"
        self.journal = self.build()

    def build(self, **options):
        return SqliteJournal(path=self.path, **options)

    async def limited(self):
        """A journal that has room for some hundred events."""
        await self.journal.close()
        self.journal = self.build(max_bytes=LIMIT_BYTES)
        await self.journal.open()
        return self.journal

    async def restart(self, **options):
        await self.journal.close()
        self.journal = self.build(**options)
        await self.journal.open()
        return self.journal

    async def hurt(self, damage):
        """As if the last open had found this damage."""
        await self.journal._change(lambda connection: dead_letters.insert_damage(connection, damage))

    def unstorable(self, *events):
        """A batch whose last event the engine itself refuses: a column that may not be empty would be."""
        return JournalBatch(events=(*events, msgspec.structs.replace(sample_event(0), subject=None)))


class MemoryWorld(World):
    """The journal in memory: a restart is close and open."""

    def __init__(self, folder):
        self.journal = MemoryJournal()

    async def limited(self):
        """A journal that has room for some hundred events."""
        await self.journal.close()
        self.journal = MemoryJournal(max_bytes=LIMIT_BYTES)
        await self.journal.open()
        return self.journal

    async def restart(self):
        await self.journal.close()
        await self.journal.open()
        return self.journal

    async def hurt(self, damage):
        self.journal.damage(damage)

    def unstorable(self, *events):
        self.journal.fail_appends(JournalError("on request"), times=1)
        return JournalBatch(events=(*events, sample_event(0)))


class SharedWorld(World):
    """The journal that replicas share: a restart is the next incarnation of one of them."""

    def __init__(self, folder):
        self.clock = ManualClock(start_ms=SESSION_MS - SESSION_MONOTONIC_MS)
        self.clock.advance(SESSION_MONOTONIC_MS / 1000)
        self.refusals = []
        self.database = MemoryDatabase(self.now_s)
        self.journal = self.build()

    def now_s(self):
        return self.clock.now_ms() / 1000

    def connect(self):
        return MemoryConnection(self.database, self.link)

    def build(self, **options):
        host = Host(clock=self.clock, boot_id=BOOT)
        database = self.connect()
        self.membership = Membership(database=database, name="one", version="1", host=host)
        return SharedJournal(database=database, membership=self.membership, host=host, **options)

    async def link(self, call):
        if call.func.__name__ == "append" and self.refusals:
            raise self.refusals.pop()
        await asyncio.sleep(0)
        return call()

    async def open(self):
        await self.journal.open()
        await self.journal.last_values([sample_event(1).subject])  # an event says what became of what is known
        return self.journal

    async def limited(self):
        """A journal that has room for some hundred events."""
        self.database = MemoryDatabase(self.now_s, max_bytes=LIMIT_BYTES)
        return await self.restart()

    async def restart(self, **options):
        await self.membership.leave()
        await self.journal.close()
        self.journal = self.build(**options)
        return await self.open()

    def unstorable(self, *events):
        self.refusals.append(JournalError("on request"))
        return JournalBatch(events=(*events, sample_event(0)))


class PostgresWorld(SharedWorld):
    """Likewise, on a real PostgreSQL."""

    lag_ms = 10_000

    def __init__(self, server):
        self.schema = postgresjournal.PostgresWorld(server)
        super().__init__(None)

    def connect(self):
        return self.schema.client()

    def unstorable(self, *events):
        """A batch with a text that is none: half a character."""
        return JournalBatch(events=(*events, msgspec.structs.replace(sample_event(0), id="\ud800")))

    async def end(self):
        await self.schema.end()


@pytest.fixture(scope="module")
def server():
    with PostgresServer(fsync="off") as server:  # no test cuts its power
        yield server


async def opened(request, tmp_path, monkeypatch):
    kind = request.param
    world = kind(request.getfixturevalue("server") if kind is PostgresWorld else tmp_path)
    with no_scans(monkeypatch):
        await world.open()
        yield world
        await world.journal.close()
    await world.end()


def worlds(*kinds):
    return pytest.fixture(params=kinds, ids=lambda kind: kind.__name__.removesuffix("World").lower())


@worlds(SqliteWorld, MemoryWorld, SharedWorld, PostgresWorld)
async def world(request, tmp_path, monkeypatch):
    async for world in opened(request, tmp_path, monkeypatch):
        yield world


@worlds(SqliteWorld, MemoryWorld, SharedWorld)
async def bounded(request, tmp_path, monkeypatch):
    """With a limit of its size."""
    async for world in opened(request, tmp_path, monkeypatch):
        yield world


@worlds(SqliteWorld, MemoryWorld)
async def alone(request, tmp_path, monkeypatch):
    """Of one process, which writes in the order of the calls, and of one machine, which may lose what was durable."""
    async for world in opened(request, tmp_path, monkeypatch):
        yield world


@worlds(SqliteWorld, SharedWorld, PostgresWorld)
async def lasting(request, tmp_path, monkeypatch):
    """What has been durable there may be missing at the next start, and somebody else may know of it."""
    async for world in opened(request, tmp_path, monkeypatch):
        yield world


@pytest.fixture
def journal(world):
    return world.journal


def batch(*numbers, at_ms=SAMPLE_MS):
    return JournalBatch(events=tuple(sample_event(number, received_ms=at_ms) for number in numbers))


def value(chat, text, *, key="DispositionCode", received_ms=1):
    return LastValue(chat_id=chat, key=key, value=text, account="agent1", server_time_ms=None, received_ms=received_ms)


def session(account, *, ack=1, cookies=()):
    return SessionState(
        account=account,
        url="http://127.0.0.1/api/v2/notifications",
        topic="/v2/me/chats",
        client_id=f"client-of-{account}",
        connection_type="long-polling",
        ack=ack,
        seen_ms=SESSION_MS,
        max_interval_ms=30_000,
        cookies=cookies,
        clean=bool(cookies),
        seen_monotonic_ms=SESSION_MONOTONIC_MS if cookies else None,
        boot=BOOT if cookies else "",
        taken=((500, 70_000, "0123456789abcdef"),) if cookies else (),
    )


def letter(sink, sequence, *, at_ms=5):
    return DeadLetter(
        sink=sink, sequence=sequence, event_id=f"event-{sequence}", reason="HTTP 422", attempts=1, at_ms=at_ms
    )


async def everything(journal):
    return list(await journal.read(0, 100_000))


async def test_an_empty_journal_has_nothing(journal):
    assert journal.last_sequence == 0
    assert list(await journal.read(0, 10)) == []
    assert await journal.cursors() == {}
    assert await journal.sessions() == {}
    assert await journal.dead_letters() == []
    assert await journal.last_values(["chat-1"]) == []


async def test_append_returns_the_sequence_of_its_last_event(journal):
    assert await journal.append(batch(1, 2, 3)) == 3
    assert await journal.append(batch(4)) == 4
    assert journal.last_sequence == 4


async def test_a_batch_without_events_returns_the_sequence_before_it(journal):
    await journal.append(batch(1, 2))
    assert await journal.append(JournalBatch(sessions=(session("agent1"),))) == 2
    assert await journal.append(JournalBatch()) == 2


async def test_events_come_back_as_they_were_with_their_sequence(journal):
    chat = "\N{SNOWMAN} \N{GRINNING FACE}"
    sent = [sample_event(n, chat=chat) for n in range(1, 4)]
    await journal.last_values([chat])  # nobody says what became of a chat without asking what it was
    await journal.append(JournalBatch(events=tuple(sent)))
    assert await everything(journal) == [msgspec.structs.replace(e, sequence=n) for n, e in enumerate(sent, 1)]


async def test_a_gap_event_comes_back_without_a_change(journal):
    gap = msgspec.structs.replace(sample_event(1), change=None, kind=Kind.GAP, origin=Origin.RECONCILED)
    await journal.append(JournalBatch(events=(gap,)))
    assert await everything(journal) == [msgspec.structs.replace(gap, sequence=1)]


async def test_the_callers_event_is_not_changed(journal):
    one = sample_event(1)
    await journal.append(JournalBatch(events=(one, one)))
    assert one.sequence == 0
    assert [event.sequence for event in await everything(journal)] == [1, 2]


async def test_read_gives_at_most_the_limit_above_the_given_sequence(journal):
    await journal.append(batch(*range(1, 11)))
    assert [event.sequence for event in await journal.read(3, 4)] == [4, 5, 6, 7]
    assert list(await journal.read(10, 4)) == []
    assert list(await journal.read(99, 4)) == []
    assert list(await journal.read(0, 0)) == []


async def test_everything_survives_a_restart(world):
    cookie = ("JSESSIONID", "abc", "127.0.0.1", "/")
    whole = JournalBatch(
        events=(sample_event(1),),
        values=(value("chat-1", "A"),),
        sessions=(session("agent1", cookies=(cookie,)),),
        new_chats=("chat-1",),
    )
    await world.journal.append(whole)
    await world.journal.advance("crm", 1, [letter("crm", 1)])
    before = await everything(world.journal)
    journal = await world.restart()
    assert await everything(journal) == before
    assert await journal.last_values(["chat-1"]) == [value("chat-1", "A")]
    (found,) = (await journal.sessions()).values()
    lag_ms = SESSION_MS - found.seen_ms
    assert 0 <= lag_ms <= world.lag_ms
    assert found.seen_monotonic_ms == SESSION_MONOTONIC_MS - lag_ms
    at = {"seen_ms": SESSION_MS, "seen_monotonic_ms": SESSION_MONOTONIC_MS}
    assert msgspec.structs.replace(found, **at) == session("agent1", cookies=(cookie,))
    assert await journal.cursors() == {"crm": 1}
    assert await journal.dead_letters() == [letter("crm", 1)]
    assert journal.last_sequence == 1


async def test_sequences_go_on_after_a_restart(world):
    await world.journal.append(batch(1, 2))
    journal = await world.restart()
    assert await journal.append(batch(3)) == 3


async def test_sequences_are_not_used_again_when_retention_took_everything(world):
    await world.journal.append(batch(1, 2, 3))
    assert await world.journal.retain(before_ms=SAMPLE_MS + 1, keep_for=()) == 3
    assert world.journal.last_sequence == 3
    journal = await world.restart()
    assert journal.last_sequence == 3
    assert await journal.append(batch(4)) == 4


async def test_no_new_event_lies_below_a_cursor_after_a_restart(alone):
    await alone.journal.append(batch(1))
    await alone.journal.advance("crm", 50)
    journal = await alone.restart()
    assert await journal.append(batch(2)) == 51


async def test_values_replace_those_of_the_same_chat_and_key(journal):
    values = value("c", "A"), value("c", "other", key="Reason"), value("d", "D")
    await journal.append(JournalBatch(values=values, new_chats=("c", "d")))
    await journal.append(JournalBatch(values=(value("c", "B"), value("c", None))))
    found = {(one.chat_id, one.key): one.value for one in await journal.last_values(["c", "unknown"])}
    assert found == {("c", "DispositionCode"): None, ("c", "Reason"): "other"}


async def test_last_values_of_many_chats_at_once(journal):
    chats = [f"chat-{n}" for n in range(1200)]
    await journal.append(JournalBatch(values=tuple(value(chat, chat) for chat in chats), new_chats=tuple(chats)))
    assert {one.value for one in await journal.last_values([*chats, "chat-0"])} == set(chats)
    assert len(await journal.last_values([*chats, "chat-0"])) == 1200


async def test_a_batch_that_takes_a_known_chat_for_new_leaves_nothing(world):
    await world.journal.append(JournalBatch(values=(value("c1", "x"), value("c2", "x")), new_chats=("c1", "c2")))
    batch = JournalBatch(
        events=(sample_event(1),),
        values=(value("c0", "y"), value("c2", "y")),
        sessions=(session("agent1"),),
        new_chats=("c0", "c2"),
    )
    with pytest.raises(JournalStale) as refused:
        await world.journal.append(batch)
    assert refused.value.chat_ids == ("c2",)
    assert await world.journal.last_values(["c0", "c2"]) == [value("c2", "x")]
    assert (world.journal.last_sequence, await world.journal.sessions()) == (0, {})
    await world.journal.append(msgspec.structs.replace(batch, new_chats=("c0",)))
    assert await world.journal.last_values(["c0"]) == [value("c0", "y")]
    assert world.journal.last_sequence == 1


async def test_of_two_that_take_a_chat_for_new_the_first_is_right_and_costs_its_neighbours_nothing(journal):
    batches = [
        JournalBatch(events=(sample_event(n),), values=(value(chat, str(n)),), new_chats=(chat,))
        for n, chat in enumerate(("c1", "c1", "c2"), 1)
    ]
    done = await asyncio.gather(*(journal.append(batch) for batch in batches), return_exceptions=True)
    assert done[0] == 1
    assert isinstance(done[1], JournalStale)
    assert done[2] == 2
    assert [event.id for event in await journal.read(0, 10)] == ["event-1", "event-3"]


async def test_thousands_of_chats_are_new_at_once(journal):
    chats = [f"chat-{n}" for n in range(2000)]
    values = tuple(value(chat, "x") for chat in chats)
    await journal.append(JournalBatch(values=values[:1999], new_chats=tuple(chats[:1999])))
    with pytest.raises(JournalStale) as refused:
        await journal.append(JournalBatch(values=values, new_chats=tuple(chats)))
    assert len(refused.value.chat_ids) == 1999


async def test_sessions_replace_those_of_the_same_account(journal):
    await journal.append(JournalBatch(sessions=(session("a", ack=1), session("b", ack=None))))
    await journal.append(JournalBatch(sessions=(session("a", ack=2), session("a", ack=3))))
    assert {name: one.ack for name, one in (await journal.sessions()).items()} == {"a": 3, "b": None}


async def test_calls_of_one_moment_take_effect_in_their_order(alone):
    """A letter holds a copy of its event where that is there by then, and only such a letter can be replayed."""
    journal = alone.journal
    await asyncio.gather(journal.append(batch(1)), journal.advance("crm", 1, [letter("crm", 1)]))
    assert await journal.replay_dead_letters(EVERY_DEAD_LETTER) == 1
    await asyncio.gather(journal.advance("crm", 1, [letter("crm", 2)]), journal.append(batch(2)))
    assert await journal.replay_dead_letters(EVERY_DEAD_LETTER) == 1


async def test_many_appenders_get_consecutive_sequences_in_the_order_of_their_calls(journal):
    async def append(first):
        return await journal.append(batch(first, first + 1, first + 2))

    results = await asyncio.gather(*(append(n * 3) for n in range(200)))
    assert results == [n * 3 + 3 for n in range(200)]
    found = await everything(journal)
    assert [event.id for event in found] == [f"event-{n}" for n in range(600)]
    assert [event.sequence for event in found] == list(range(1, 601))


async def test_an_acknowledged_event_can_be_read_at_once(journal):
    async def append_and_read(n):
        last = await journal.append(batch(n))
        return (await journal.read(last - 1, 1))[0].id == f"event-{n}"

    assert all(await asyncio.gather(*(append_and_read(n) for n in range(50))))


async def test_a_batch_that_cannot_be_stored_leaves_nothing(world):
    await world.journal.append(batch(1))
    with pytest.raises(JournalError):
        await world.journal.append(world.unstorable(sample_event(2), sample_event(3)))
    assert world.journal.last_sequence == 1
    assert await world.journal.append(batch(4)) == 2
    assert [event.id for event in await everything(world.journal)] == ["event-1", "event-4"]


async def test_a_bad_batch_does_not_fail_its_neighbours(world):
    bad = world.unstorable(sample_event(100))
    results = await asyncio.gather(
        world.journal.append(bad), *(world.journal.append(batch(n)) for n in range(20)), return_exceptions=True
    )
    assert isinstance(results[0], JournalError)
    assert results[1:] == list(range(1, 21))
    assert [event.id for event in await everything(world.journal)] == [f"event-{n}" for n in range(20)]


async def test_a_cancelled_append_happens_whole_or_not_at_all(world):
    tasks = [asyncio.ensure_future(world.journal.append(batch(n * 2, n * 2 + 1))) for n in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    journal = await world.restart()
    found = [int(event.id.removeprefix("event-")) for event in await everything(journal)]
    assert all(Counter(n // 2 for n in found)[n] in {0, 2} for n in range(50))
    assert set(range(1, 50, 2)) <= {n // 2 for n in found}


async def test_wait_beyond_returns_at_once_when_there_is_more(journal):
    await journal.append(batch(1))
    await asyncio.wait_for(journal.wait_beyond(0), 1)


async def test_wait_beyond_returns_when_the_sequence_is_passed_and_not_before(journal):
    waiting = asyncio.ensure_future(journal.wait_beyond(2))
    await journal.append(batch(1, 2))
    await asyncio.sleep(0)
    assert not waiting.done()
    await journal.append(batch(3))
    await asyncio.wait_for(waiting, 1)
    assert len(await journal.read(2, 10)) == 1


async def test_a_cancelled_waiter_disturbs_nobody(journal):
    cancelled, waiting = (asyncio.ensure_future(journal.wait_beyond(0)) for _ in range(2))
    await asyncio.sleep(0)
    cancelled.cancel()
    await journal.append(batch(1))
    await asyncio.wait_for(waiting, 1)
    assert cancelled.cancelled()


async def test_a_cursor_moves_forward_and_never_back(world):
    await world.journal.append(batch(*range(10)))
    await world.journal.advance("crm", 5)
    await world.journal.advance("crm", 3)
    await world.journal.advance("audit", 2)
    assert await world.journal.cursors() == {"crm": 5, "audit": 2}
    await world.journal.advance("crm", 7)
    assert await (await world.restart()).cursors() == {"crm": 7, "audit": 2}


async def test_dead_letters_are_kept_per_sink_oldest_first(journal):
    await journal.append(batch(1, 2, 3))
    await journal.advance("crm", 3, [letter("crm", 3, at_ms=9), letter("crm", 1, at_ms=7)])
    await journal.advance("bi", 2, [letter("bi", 2, at_ms=8)])
    assert [one.sequence for one in await journal.dead_letters()] == [1, 2, 3]
    assert await journal.dead_letters(DeadLetterFilter(sink="crm")) == [
        letter("crm", 1, at_ms=7),
        letter("crm", 3, at_ms=9),
    ]
    assert await journal.dead_letters(DeadLetterFilter(sink="unknown")) == []


async def test_dead_letters_of_a_repeated_advance_are_stored_once(journal):
    await journal.append(batch(1))
    await journal.advance("crm", 1, [letter("crm", 1)])
    await journal.advance("crm", 1, [letter("crm", 1)])
    assert len(await journal.dead_letters()) == 1


FILTERS = [
    (EVERY_DEAD_LETTER, [1, 2, 3, 4]),
    (DeadLetterFilter(sink="crm"), [1, 2, 3]),
    (DeadLetterFilter(event_ids=("event-2", "event-4", "unknown")), [2, 4]),
    (DeadLetterFilter(event_ids=("event-2", "event-4"), sink="crm"), [2]),
    (DeadLetterFilter(since_ms=20), [2, 3, 4]),
    (DeadLetterFilter(until_ms=20), [1, 2]),
    (DeadLetterFilter(since_ms=20, until_ms=30, sink="crm"), [2, 3]),
    (DeadLetterFilter(after=2), [3, 4]),
    (DeadLetterFilter(after=2, sink="crm"), [3]),
    (DeadLetterFilter(sink="unknown"), []),
]


@pytest.fixture
async def letters_of_two(world):
    """Four letters: three of crm, one of bi; at 10, 20, 30 and 40 milliseconds."""
    await world.journal.append(batch(1, 2, 3, 4))
    await world.journal.advance("crm", 3, [letter("crm", n, at_ms=n * 10) for n in (3, 1, 2)])
    await world.journal.advance("bi", 4, [letter("bi", 4, at_ms=40)])
    return world


def sequences(found):
    return [one.sequence for one in found]


@pytest.mark.parametrize(("which", "expected"), FILTERS)
async def test_a_filter_means_the_letters_that_each_of_its_conditions_holds_for(letters_of_two, which, expected):
    journal = letters_of_two.journal
    assert sequences(await journal.dead_letters(which)) == expected
    assert await journal.replay_dead_letters(which) == len(expected)
    assert sequences(one for one in await journal.dead_letters() if one.replaying) == expected
    assert await journal.drop_dead_letters(which) == len(expected)
    assert sequences(await journal.dead_letters()) == [n for n in (1, 2, 3, 4) if n not in expected]


@pytest.mark.parametrize(("which", "expected"), FILTERS[::4])
async def test_letters_are_counted_by_sink_and_reason_as_a_filter_means_them(letters_of_two, which, expected):
    journal = letters_of_two.journal
    await journal.advance("crm", 3, [replace(letter("crm", 2, at_ms=20), reason="413")])
    await journal.replay_dead_letters(DeadLetterFilter(sink="bi"))
    counted = await journal.dead_letter_groups(which)
    meant: dict[tuple[str, str], list[DeadLetter]] = {}
    for one in await journal.dead_letters(which):
        meant.setdefault((one.sink, one.reason), []).append(one)
    assert {(one.sink, one.reason): one for one in counted} == {
        (sink, reason): DeadLetterGroup(
            sink=sink,
            reason=reason,
            count=len(of_it),
            first_sequence=min(one.sequence for one in of_it),
            last_sequence=max(one.sequence for one in of_it),
            first_ms=min(one.at_ms for one in of_it),
            last_ms=max(one.at_ms for one in of_it),
            replaying=sum(one.replaying for one in of_it),
        )
        for (sink, reason), of_it in meant.items()
    }
    assert [one.count for one in counted] == sorted((one.count for one in counted), reverse=True)
    assert sum(one.count for one in counted) == len(expected)


async def test_letters_are_replayed_in_journal_order_and_after_a_restart(letters_of_two):
    await letters_of_two.journal.replay_dead_letters(DeadLetterFilter(sink="crm"))
    journal = await letters_of_two.restart()
    events = await everything(journal)
    assert await journal.replays("crm", 10) == events[:3]
    assert await journal.replays("crm", 2) == events[:2]
    assert await journal.replays("bi", 10) == []


async def test_a_letter_can_be_replayed_when_retention_took_its_event(letters_of_two):
    journal = letters_of_two.journal
    events = await everything(journal)
    assert await journal.retain(before_ms=SAMPLE_MS + 1, keep_for=()) == 4
    assert await journal.replay_dead_letters(DeadLetterFilter(sink="crm")) == 3
    assert await journal.replays("crm", 10) == events[:3]


async def test_a_letter_without_an_event_cannot_be_replayed(journal):
    await journal.advance("crm", 9, [letter("crm", 9)])
    assert await journal.replay_dead_letters(EVERY_DEAD_LETTER) == 0
    assert await journal.replays("crm", 10) == []
    assert len(await journal.dead_letters()) == 1


async def test_replays_that_are_settled_are_gone_or_letters_with_news(letters_of_two):
    journal = letters_of_two.journal
    await journal.replay_dead_letters(EVERY_DEAD_LETTER)
    news = msgspec.structs.replace(letter("crm", 3, at_ms=99), reason="HTTP 400", attempts=7, answer="no")
    unknown = letter("crm", 4)
    await journal.settle_replays("crm", [1, 4], [news, unknown])
    journal = await letters_of_two.restart()
    assert {(one.sink, one.sequence): one.replaying for one in await journal.dead_letters()} == {
        ("crm", 2): True,
        ("crm", 3): False,
        ("bi", 4): True,
    }
    assert (await journal.dead_letters(DeadLetterFilter(since_ms=99))) == [news]
    assert sequences(await journal.replays("crm", 10)) == [2]


async def test_a_marked_letter_that_is_marked_again_counts(letters_of_two):
    assert await letters_of_two.journal.replay_dead_letters(DeadLetterFilter(sink="crm")) == 3
    assert await letters_of_two.journal.replay_dead_letters(DeadLetterFilter(sink="crm")) == 3


# --- looking for events and letters -----------------------------------------------------------------------------------


async def looks(journal, which, *, limit, before=None):
    """All looks one after the other, until the journal has nothing older."""
    found = [await journal.search(which, before=before, limit=limit)]
    while found[-1].before is not None:
        found.append(await journal.search(which, before=found[-1].before, limit=limit))
    return found


async def various(journal):
    """Ten events: dispositions of two chats by two accounts with three changes, and two gaps."""
    changes = (Change.SET, Change.CHANGED, Change.CLEARED)
    events = [
        sample_gap(n, account=f"agent{n % 2}")
        if n in (4, 9)
        else sample_event(
            n,
            chat=f"c{n % 2}",
            account=f"agent{n % 2}",
            change=changes[n % 3],
            disposition=f"Code{n}",
            received_ms=SAMPLE_MS + n,
        )
        for n in range(1, 11)
    ]
    await journal.last_values(["c0", "c1"])
    await journal.append(JournalBatch(events=tuple(events)))


async def test_a_search_of_an_empty_journal_finds_nothing(journal):
    found = await journal.search(limit=10)
    assert (found.events, found.before, found.through_ms) == ((), None, None)


SEARCHES = {
    "every": (EVERY_EVENT, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]),
    "chat": (EventFilter(chat="c1"), [7, 5, 3, 1]),
    "agent": (EventFilter(agent="AGENT1"), [9, 7, 5, 3, 1]),
    "disposition": (EventFilter(disposition="code1*"), [10, 1]),
    "key": (EventFilter(key="DispositionCode"), [10, 8, 7, 6, 5, 3, 2, 1]),
    "another key": (EventFilter(key="Reason"), []),
    "change": (EventFilter(change=Change.CHANGED), [10, 7, 1]),
    "several": (EventFilter(chat="c1", change=Change.CHANGED, agent="*", disposition="*7"), [7]),
}


@pytest.mark.parametrize(("which", "expected"), SEARCHES.values(), ids=SEARCHES)
async def test_a_search_brings_what_is_meant_newest_first_whatever_its_limit(journal, which, expected):
    await various(journal)
    stored = {event.sequence: event for event in await everything(journal)}
    for limit in (1, 2, 3, 10, 500):
        found = await looks(journal, which, limit=limit)
        assert [event for look in found for event in look.events] == [stored[number] for number in expected]
        assert all(len(look.events) <= limit for look in found)


async def test_a_search_tells_how_far_it_has_looked(journal):
    await various(journal)
    found = await journal.search(EventFilter(chat="c1"), limit=2)
    assert (sequences(found.events), found.before, found.through_ms) == ([7, 5], 5, SAMPLE_MS + 5)
    found = await journal.search(EventFilter(chat="c1"), before=found.before, limit=3)
    assert (sequences(found.events), found.before, found.through_ms) == ([3, 1], None, SAMPLE_MS + 1)
    found = await journal.search(EventFilter(chat="c1"), before=1, limit=3)
    assert (found.events, found.before, found.through_ms) == ((), None, None)


async def test_a_search_looks_at_a_bounded_number_of_events(journal):
    for start in range(0, 21_000, 1_000):
        await journal.append(JournalBatch(events=tuple(sample_event(n) for n in range(start, start + 1_000))))
    found = await journal.search(EventFilter(disposition="none"), limit=1)
    assert found.events == ()
    assert found.before is not None
    assert found.before > 10_000
    assert (
        sum([len(look.events) for look in await looks(journal, EventFilter(disposition="Iss*"), limit=500)]) == 21_000
    )
    assert len(await looks(journal, EventFilter(chat="none"), limit=1)) > 1


async def test_a_search_goes_on_where_retention_has_deleted_meanwhile(journal):
    await various(journal)
    found = await journal.search(limit=3)
    assert await journal.retain(before_ms=SAMPLE_MS + 6, keep_for=()) == 5
    found = await journal.search(before=found.before, limit=3)
    assert (sequences(found.events), found.before) == ([7, 6], None)
    assert await journal.retain(before_ms=SAMPLE_MS + 99, keep_for=()) == 5
    assert (await journal.search(before=6, limit=3)).before is None


async def test_letters_come_by_the_page_in_journal_order_with_their_events(letters_of_two):
    journal = letters_of_two.journal
    await journal.retain(before_ms=SAMPLE_MS + 1, keep_for=())
    page = await journal.dead_letter_page(limit=3)
    assert [(one.letter.sink, one.letter.sequence, one.event.id) for one in page.letters] == [
        ("crm", 1, "event-1"),
        ("crm", 2, "event-2"),
        ("crm", 3, "event-3"),
    ]
    assert page.more
    page = await journal.dead_letter_page(after=3, limit=3)
    assert [one.letter for one in page.letters] == [letter("bi", 4, at_ms=40)]
    assert not page.more
    assert await journal.dead_letter_page(after=4, limit=3) == await journal.dead_letter_page(limit=3, sink="nobody")
    page = await journal.dead_letter_page(limit=1, sink="bi")
    assert [(one.letter.sequence, page.more) for one in page.letters] == [(4, False)]


async def test_a_page_of_letters_never_ends_within_an_event(journal):
    await journal.append(batch(1, 2, 3))
    for sink in ("a", "b", "c"):
        await journal.advance(sink, 3, [letter(sink, n) for n in (1, 2)])
    await journal.advance("a", 3, [letter("a", 3)])
    page = await journal.dead_letter_page(limit=4)
    assert [(one.letter.sequence, one.letter.sink) for one in page.letters] == [(n, s) for n in (1, 2) for s in "abc"]
    assert page.more
    page = await journal.dead_letter_page(after=1, limit=3)
    assert (sequences(one.letter for one in page.letters), page.more) == ([2, 2, 2], True)
    page = await journal.dead_letter_page(after=2, limit=3)
    assert (sequences(one.letter for one in page.letters), page.more) == ([3], False)


async def test_a_letter_without_an_event_is_on_its_page(journal):
    await journal.advance("crm", 9, [letter("crm", 9)])
    (one,) = (await journal.dead_letter_page(limit=1)).letters
    assert (one.letter, one.event) == (letter("crm", 9), None)


async def test_a_lanes_state_is_replaced_and_survives_a_restart(world):
    assert await world.journal.lane_states() == {}
    parked = LaneState(sink="crm", parked="HTTP 410", parked_ms=7, disabled=True)
    failing = LaneState(
        sink="bi", sequence=4, attempts=5, failing_ms=6, last_error="HTTP 503", quiet_from_ms=8, quiet_until_ms=9
    )
    failing = replace(failing, resend_after=2, resend_through=3)
    for state in (LaneState(sink="crm"), parked, failing):
        await world.journal.store_lane_state(state)
    journal = await world.restart()
    assert await journal.lane_states() == {"crm": parked, "bi": failing}
    assert (await journal.stats()).lanes == {"crm": parked, "bi": failing}


async def test_damage_is_pending_until_it_is_settled_and_stays_on_record(alone):
    damages = [Damage(at_ms=n, set_aside=f"aside-{n}", kept=n, stretches=((1, 2), (3, 4))) for n in (1, 2, 3)]
    for damage in damages[:2]:
        await alone.hurt(damage)
    journal = await alone.restart()
    assert await journal.pending_damages() == damages[:2]
    await journal.settle_damages(damages[1:])
    assert await journal.pending_damages() == damages[:1]
    await journal.settle_damages(damages[:1])
    assert await journal.pending_damages() == []
    await alone.hurt(damages[2])
    assert await (await alone.restart()).pending_damages() == damages[2:]
    assert (await alone.journal.stats()).damages == tuple(damages)


async def test_a_journal_that_ends_before_what_is_known_of_it_goes_on_above_and_tells_of_the_loss(lasting):
    """Also the next process does, if one dies with the gaps of some accounts on record, and not those of the others."""
    await lasting.journal.append(batch(1, 2))
    journal = await lasting.restart(known=lambda: Known(26, SAMPLE_MS))
    damages = await journal.pending_damages()
    assert [since_ms for damage in damages for since_ms, _ in damage.stretches] == [SAMPLE_MS]
    assert journal.last_sequence == 26 + JUMP
    last = await journal.append(batch(3))
    assert last == 27 + JUMP
    journal = await lasting.restart(known=lambda: Known(26, SAMPLE_MS))
    assert await journal.pending_damages() == damages
    assert [event.sequence for event in await journal.read(0, 10)] == [1, 2, last]
    assert (await journal.stats()).events == journal.events_between(0, last) == 3
    await journal.settle_damages(damages)
    for _ in range(2):
        assert await journal.pending_damages() == []
        journal = await lasting.restart(known=lambda: Known(26, SAMPLE_MS))


def large(*numbers):
    return JournalBatch(events=tuple(sample_event(number, data_bytes=20_000) for number in numbers))


async def test_retention_by_size_takes_the_oldest_down_to_nine_tenths(world):
    await world.journal.append(large(*range(50)))
    assert await world.journal.retain(before_ms=0, keep_for=(), max_bytes=5_000_000) == 0
    deleted = await world.journal.retain(before_ms=0, keep_for=(), max_bytes=600_000)
    assert 20 <= deleted <= 34
    assert (await everything(world.journal))[0].sequence == deleted + 1
    assert await world.journal.retain(before_ms=0, keep_for=(), max_bytes=600_000) == 0


async def test_retention_by_size_never_passes_the_slowest_cursor(world):
    await world.journal.append(large(*range(50)))
    await world.journal.advance("fast", 50)
    await world.journal.advance("slow", 4)
    assert await world.journal.retain(before_ms=0, keep_for=("fast", "slow"), max_bytes=1) == 4
    assert await world.journal.retain(before_ms=0, keep_for=("fast", "new"), max_bytes=1) == 0
    assert len(await everything(world.journal)) == 46


async def test_retention_deletes_what_is_older_and_keeps_the_rest(world):
    await world.journal.append(batch(1, 2))
    boundary_ms = SAMPLE_MS + DAY_MS
    await world.journal.append(batch(3, at_ms=boundary_ms))
    assert await world.journal.retain(before_ms=boundary_ms, keep_for=()) == 2
    assert [event.id for event in await everything(world.journal)] == ["event-3"]
    assert await world.journal.retain(before_ms=boundary_ms, keep_for=()) == 0
    assert [event.id for event in await everything(await world.restart())] == ["event-3"]


async def test_retention_stops_at_the_first_event_that_stays(world):
    await world.journal.append(batch(1, at_ms=1))
    await world.journal.append(batch(2, at_ms=9))
    await world.journal.append(batch(3, at_ms=1))
    assert await world.journal.retain(before_ms=5, keep_for=()) == 1
    assert [event.sequence for event in await everything(world.journal)] == [2, 3]


async def test_retention_never_passes_the_slowest_cursor(world):
    await world.journal.append(batch(*range(1, 11)))
    await world.journal.advance("fast", 10)
    await world.journal.advance("slow", 4)
    await world.journal.advance("removed from the configuration", 1)
    assert await world.journal.retain(before_ms=SAMPLE_MS + 1, keep_for=("fast", "slow")) == 4
    assert (await everything(world.journal))[0].sequence == 5


async def test_a_sink_without_a_cursor_keeps_everything(world):
    await world.journal.append(batch(1))
    await world.journal.advance("fast", 1)
    assert await world.journal.retain(before_ms=SAMPLE_MS + 1, keep_for=("fast", "new")) == 0
    assert len(await everything(world.journal)) == 1


async def test_retention_of_thousands_beside_appends_loses_none_of_the_new(world):
    for start in range(0, 5000, 500):
        await world.journal.append(batch(*range(start, start + 500)))
    boundary_ms = SAMPLE_MS + 1
    deleted, *_ = await asyncio.gather(
        world.journal.retain(before_ms=boundary_ms, keep_for=()),
        *(world.journal.append(batch(n, at_ms=boundary_ms)) for n in range(20)),
    )
    assert deleted == 5000
    assert [event.sequence for event in await everything(world.journal)] == list(range(5001, 5021))


async def test_retention_drops_values_only_of_chats_not_heard_of(world):
    boundary_ms = 1_000
    values = [value("old", "A", received_ms=999), value("young", "B", received_ms=1_000)]
    values += [value("both", "C", received_ms=1), value("both", "D", key="Reason", received_ms=2_000)]
    values += [value(f"many-{n}", "E", received_ms=n % 2 * 5_000) for n in range(2_500)]
    new = tuple({one.chat_id: None for one in values})
    await world.journal.append(JournalBatch(values=tuple(values), new_chats=new))
    await world.journal.retain(before_ms=boundary_ms, keep_for=())
    left = await world.journal.last_values(["old", "young", "both"])
    assert sorted(one.value for one in left) == ["B", "C", "D"]
    many = await world.journal.last_values([f"many-{n}" for n in range(2_500)])
    assert {one.chat_id for one in many} == {f"many-{n}" for n in range(1, 2_500, 2)}


async def test_stats_tell_what_is_there(world):
    empty = await world.journal.stats()
    assert (empty.first_sequence, empty.last_sequence, empty.events, empty.oldest_ms) == (0, 0, 0, None)
    await world.journal.append(batch(1, 2, 3))
    await world.journal.append(batch(4))
    await world.journal.advance("crm", 2, [letter("crm", 1), letter("crm", 2)])
    stats = await world.journal.stats()
    assert (stats.first_sequence, stats.last_sequence, stats.events, stats.oldest_ms) == (1, 4, 4, SAMPLE_MS)
    assert (stats.cursors, stats.dead_letters) == ({"crm": 2}, {"crm": 2})
    assert stats.bytes > 0
    await world.journal.retain(before_ms=SAMPLE_MS + 1, keep_for=("crm",))
    later = await world.journal.stats()
    assert (later.first_sequence, later.last_sequence, later.events) == (3, 4, 2)


async def test_events_between_two_sequences_are_counted_but_for_those_that_are_deleted(world):
    await world.journal.append(batch(*range(1, 11)))
    assert [world.journal.events_between(*ends) for ends in ((0, 10), (3, 7), (7, 3), (10, 10))] == [10, 4, 0, 0]
    await world.journal.advance("crm", 4)
    await world.journal.retain(before_ms=SAMPLE_MS + 1, keep_for=("crm",))
    stats = await world.journal.stats()
    assert [events_between(*ends, stats.holes) for ends in ((0, 10), (3, 7), (0, 3))] == [6, 3, 0]
    assert [world.journal.events_between(*ends) for ends in ((0, 10), (3, 7), (0, 3))] == [6, 3, 0]
    await world.restart()
    assert world.journal.events_between(0, 10) == 6


async def test_closing_finishes_what_is_queued(world):
    appends = [asyncio.ensure_future(world.journal.append(batch(n))) for n in range(30)]
    await asyncio.sleep(0)
    await world.journal.close()
    assert [await one for one in appends] == list(range(1, 31))


async def test_closing_twice_or_before_opening_is_fine(world):
    await world.journal.close()
    await asyncio.gather(world.journal.close(), world.journal.close())


@pytest.mark.parametrize(
    "call",
    [
        lambda journal: journal.append(batch(1)),
        lambda journal: journal.read(0, 1),
        lambda journal: journal.search(limit=1),
        lambda journal: journal.dead_letter_page(limit=1),
        lambda journal: journal.wait_beyond(0),
        lambda journal: journal.cursors(),
        lambda journal: journal.advance("crm", 1),
        lambda journal: journal.last_values(["c"]),
        lambda journal: journal.sessions(),
        lambda journal: journal.dead_letters(),
        lambda journal: journal.replay_dead_letters(EVERY_DEAD_LETTER),
        lambda journal: journal.drop_dead_letters(EVERY_DEAD_LETTER),
        lambda journal: journal.replays("crm", 1),
        lambda journal: journal.settle_replays("crm", [1]),
        lambda journal: journal.lane_states(),
        lambda journal: journal.store_lane_state(LaneState(sink="crm")),
        lambda journal: journal.retain(before_ms=1, keep_for=()),
        lambda journal: journal.stats(),
    ],
)
async def test_a_closed_journal_refuses(journal, call):
    await journal.close()
    with pytest.raises(JournalError, match="not open"):
        await call(journal)


async def test_a_closed_journal_tells_of_no_damage(alone):
    await alone.journal.close()
    for call in (alone.journal.pending_damages, partial(alone.journal.settle_damages, ())):
        with pytest.raises(JournalError, match="not open"):
            await call()


async def test_closing_ends_the_waiting(journal):
    waiting = asyncio.ensure_future(journal.wait_beyond(0))
    await asyncio.sleep(0)
    await journal.close()
    with pytest.raises(JournalError, match="not open"):
        await asyncio.wait_for(waiting, 1)


async def test_an_open_journal_cannot_be_opened_again(journal):
    with pytest.raises(JournalLocked):
        await journal.open()
    assert await journal.append(batch(1)) == 1


def test_full_is_an_error_of_the_journal():
    assert issubclass(JournalFull, JournalError)


# --- the limit of its size --------------------------------------------------------------------------------------------


async def fill(journal):
    """Append until the journal is full; returns how many events it took."""
    for number in range(1, 10_000):
        try:
            await journal.append(JournalBatch(events=(sample_event(number, data_bytes=4000),)))
        except JournalFull:
            return number - 1
    raise AssertionError("it never was full")


async def test_a_full_journal_refuses_events_and_loses_none(bounded):
    journal = await bounded.limited()
    taken = await fill(journal)
    assert taken > 50
    assert journal.last_sequence == taken
    assert len(await journal.read(0, 10_000)) == taken


async def test_a_full_journal_takes_what_makes_room(bounded):
    journal = await bounded.limited()
    taken = await fill(journal)
    await journal.append(JournalBatch(sessions=(session("agent1"),)))
    await journal.advance("crm", taken, [letter("crm", 1)])
    assert await journal.cursors() == {"crm": taken}


async def test_room_comes_from_what_is_delivered_everywhere_and_appends_go_on(bounded):
    journal = await bounded.limited()
    taken = await fill(journal)
    assert await journal.retain(before_ms=0, keep_for=["crm"], max_bytes=LIMIT_BYTES // 2) == 0, "nothing is delivered"
    with pytest.raises(JournalFull):
        await journal.append(batch(1))
    await journal.advance("crm", taken - 10)
    deleted = await journal.retain(before_ms=0, keep_for=["crm"], max_bytes=LIMIT_BYTES // 2)
    assert 0 < deleted <= taken - 10
    assert (await journal.read(0, 1))[0].sequence == deleted + 1
    assert await journal.append(batch(1)) == taken + 1


async def test_a_journal_within_its_size_keeps_what_is_young(bounded):
    journal = await bounded.limited()
    await journal.append(batch(1, 2, 3))
    await journal.advance("crm", 3)
    assert await journal.retain(before_ms=0, keep_for=["crm"], max_bytes=LIMIT_BYTES) == 0


async def test_it_answers_when_it_is_asked_whether_it_gets_on(journal):
    async with asyncio.timeout(10):
        await journal.ping()
