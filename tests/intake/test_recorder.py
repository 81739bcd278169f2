"""Classification in one order, group commit over all accounts, and what an event looks like."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.errors import JournalError, JournalFull
from listener.intake.recorder import Recorder, classify, digest_of
from listener.model.event import (
    Change,
    Entry,
    Event,
    Gap,
    JournalBatch,
    LastValue,
    Observation,
    Origin,
    Participant,
    SessionState,
)
from listener.model.media import identity_of
from listener.runtime.backoff import Backoff
from listener.runtime.metrics import Metrics
from listener.testing import MemoryJournal
from listener.webservices.notifications import NotificationDecoder
from support.eventually import eventually
from support.notifications import DOCUMENTED
from support.replicas import Cluster, cluster
from support.virtual import in_virtual_time

CHAT = "0000Na9B26EF003M"
KEY = "DispositionCode"
RECEIVED_MS = 1_795_340_340_123
RECEIVED_AT = "2026-11-22T09:39:00.123Z"
NO_PAUSE = Backoff(first_s=0.0, limit_s=0.0, floor_s=0.0)


class SlowJournal(MemoryJournal):
    """Counts the appends, and holds them up while its gate is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.appends: list[JournalBatch] = []
        self.asked: list[set[str]] = []
        self.unreadable = 0

    async def append(self, batch: JournalBatch) -> int:
        self.appends.append(batch)
        await self.gate.wait()
        return await super().append(batch)

    async def last_values(self, chat_ids: Any) -> list[LastValue]:
        self.asked.append(set(chat_ids))
        if self.unreadable:
            self.unreadable -= 1
            raise JournalError("disk I/O error")
        return await super().last_values(chat_ids)


class World:
    """A recorder at work on a journal in memory."""

    def __init__(self, journal: SlowJournal | None = None) -> None:
        self.journal = journal or SlowJournal()
        self.metrics = Metrics()
        self.told: list[Event] = []
        self.recorder = Recorder(
            journal=self.journal,
            metrics=self.metrics,
            source="http://127.0.0.1/api/v2/me/chats",
            sources={"email": "http://127.0.0.1/api/v2/me/emails"},
            type_prefix="disposition-listener",
            backoff=NO_PAUSE,
            on_record=self.told.extend,
        )

    async def events(self) -> list[Event]:
        return list(await self.journal.read(0, 10_000))

    async def data(self) -> list[dict[str, Any]]:
        return [json.loads(event.data) for event in await self.events()]

    async def changes(self) -> list[tuple[str, str | None, str | None]]:
        """(change, previous, disposition) of every event in the journal."""
        return [(one["change"], one["previous"], one["disposition"]) for one in await self.data()]


def heard(value: str | None, **more: Any) -> Observation:
    return Observation(
        **{
            "account": "agent1",
            "chat_id": CHAT,
            "key": KEY,
            "value": value,
            "server_time_ms": None,
            "received_ms": RECEIVED_MS,
            "digest": b"0123456789abcdef",
            **more,
        }
    )


def entry(*observations: Observation, account: str = "agent1", origin_id: str = "c1:1", **more: Any) -> Entry:
    return Entry(account=account, observations=observations, origin_id=origin_id, **more)


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Any]]:
    """Start a recorder (on the journal of an earlier one, if given)."""
    async with AsyncExitStack() as stack:

        async def new(journal: SlowJournal | None = None) -> World:
            world = World(journal)
            if journal is None:
                await world.journal.open()
            task = asyncio.create_task(world.recorder.run(), name="recorder under test")

            async def end() -> None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

            stack.push_async_callback(end)
            return world

        yield new


@pytest.fixture
async def world(start: Callable[..., Any]) -> World:
    return await start()


# --- classification ---------------------------------------------------------------------------------------------------


def known(value: str | None, *, account: str = "agent1", at: int | None = 100, received_ms: int = 0) -> LastValue:
    return LastValue(chat_id=CHAT, key=KEY, value=value, account=account, server_time_ms=at, received_ms=received_ms)


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [
        (None, heard("A"), Change.SET),
        (known("A"), heard("B"), Change.CHANGED),
        (known("A"), heard("A"), Change.UNCHANGED),
        (known("A"), heard(None), Change.CLEARED),
        (None, heard(None), Change.CLEARED),
        (known(None), heard(None), Change.UNCHANGED),
        (known(None), heard("A"), Change.SET),
        # the same change as another session of the conference hears it, early, late, or with a clock that stands still
        (known("A", account="agent2", at=100), heard("A", server_time_ms=100), Change.UNCHANGED),
        (known("B", account="agent2", at=100), heard("A", server_time_ms=99), Change.UNCHANGED),
        (known("B", account="agent2", at=100), heard("A", server_time_ms=100), Change.CHANGED),
        (known("B", account="agent2", at=100), heard("A", server_time_ms=101), Change.CHANGED),
        (known("B", account="agent2", at=None), heard("A", server_time_ms=99), Change.CHANGED),
        (known("B", account="agent2", at=100), heard("A"), Change.CHANGED),
        # one session hears in order, whatever the server's clock does
        (known("B", at=100), heard("A", server_time_ms=99), Change.CHANGED),
        # what the wall clock says decides nothing
        (known("B", received_ms=5), heard("A", received_ms=4, origin=Origin.RECONCILED), Change.CHANGED),
        (known("B", received_ms=5), heard("A", received_ms=4), Change.CHANGED),
    ],
)
def test_a_value_is_classified_against_the_last_one(last: LastValue | None, now: Observation, expected: Change):
    change, newest = classify(last, now)
    assert change is expected
    assert (newest is None) == (change is Change.UNCHANGED)
    if newest is not None:
        assert (newest.value, newest.account, newest.server_time_ms) == (now.value, now.account, now.server_time_ms)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["chat1", "chat2"]),
        st.sampled_from([KEY, "Second"]),
        st.sampled_from(["A", "B", None]),
        st.sampled_from(["agent1", "agent2"]),
        st.booleans(),  # whether the entry ends here
    ),
    max_size=30,
)


def model(steps: list[Any]) -> list[tuple[str, str | None, str | None]]:
    """What the words of the specification say of a stream in which no clock is involved."""
    values: dict[tuple[str, str], str | None] = {}
    expected = []
    for chat, key, value, _account, _ends in steps:
        never, last = (chat, key) not in values, values.get((chat, key))
        if not never and last == value:
            change = "unchanged"
        elif value is None:
            change = "cleared"
        else:
            change = "changed" if last is not None else "set"
        expected.append((change, last, value))
        values[chat, key] = value
    return expected


@given(STEPS)
def test_a_stream_is_classified_as_the_specification_says_however_it_is_cut_into_entries(steps: list[Any]):
    async def play() -> list[tuple[str, str | None, str | None]]:
        world = World()
        await world.journal.open()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(world.recorder.run())
            collected: list[Observation] = []
            recording = []
            for chat, key, value, account, ends in steps:
                collected.append(heard(value, chat_id=chat, key=key, account=account))
                if ends:
                    recording.append(tasks.create_task(world.recorder.record(entry(*collected))))
                    await asyncio.sleep(0)
                    collected = []
            recording.append(tasks.create_task(world.recorder.record(entry(*collected))))
            await asyncio.gather(*recording)
            running.cancel()
        return await world.changes()

    assert asyncio.run(play()) == model(steps)


async def test_in_a_conference_the_second_to_hear_a_change_makes_no_second_one(world: World):
    for account in ("agent1", "agent2", "agent3"):
        await world.recorder.record(entry(heard("A", account=account, server_time_ms=100), account=account))
    assert await world.changes() == [("set", None, "A"), ("unchanged", "A", "A"), ("unchanged", "A", "A")]


async def test_an_echo_that_is_late_does_not_bring_an_old_value_back(world: World):
    await world.recorder.record(entry(heard("A", server_time_ms=100)))
    await world.recorder.record(entry(heard("B", server_time_ms=200)))
    await world.recorder.record(entry(heard("A", server_time_ms=100, account="agent2"), account="agent2"))
    await world.recorder.record(entry(heard("C", server_time_ms=300)))
    assert await world.changes() == [
        ("set", None, "A"),
        ("changed", "A", "B"),
        ("unchanged", "B", "A"),
        ("changed", "B", "C"),
    ]


async def test_previous_is_right_in_the_next_process(start: Callable[..., Any]):
    first = await start()
    await first.recorder.record(entry(heard("A")))
    second = await start(first.journal)
    await second.recorder.record(entry(heard("B"), heard("C")))
    assert await second.changes() == [("set", None, "A"), ("changed", "A", "B"), ("changed", "B", "C")]


async def test_a_chat_is_taken_for_new_once_and_the_journal_is_not_asked_before(world: World):
    for value in ("A", "B", "C"):
        await world.recorder.record(entry(heard(value), heard(value, chat_id="other")))
    assert world.journal.asked == []
    assert [set(batch.new_chats) for batch in world.journal.appends] == [{CHAT, "other"}, set(), set()]


async def test_what_the_journal_knows_of_a_chat_that_is_taken_for_new_is_learned(start: Callable[..., Any]):
    first = await start()
    await first.recorder.record(entry(heard("A")))
    second = await start(first.journal)
    await second.recorder.record(entry(heard("B"), heard("X", chat_id="new")))
    await second.recorder.record(entry(heard("C"), heard("Y", chat_id="new")))
    assert first.journal.asked == [{CHAT}]
    assert await second.changes() == [
        ("set", None, "A"),
        ("changed", "A", "B"),
        ("set", None, "X"),
        ("changed", "B", "C"),
        ("changed", "X", "Y"),
    ]


async def test_what_was_classified_as_the_first_of_a_chat_and_was_not_leaves_no_trace(start: Callable[..., Any]):
    """A first look holds from when it was made, unless it turns out to have brought nothing."""
    first = await start()
    await first.recorder.record(entry(heard("A")))
    second = await start(first.journal)
    await second.recorder.record(entry(heard("B", prime=True), as_of_s=10.0))
    (found,) = await second.recorder.differences([heard("C", origin=Origin.RECONCILED)], 9.0)
    assert (found.known, found.overtaken) == (True, False)


async def test_learning_waits_for_a_journal_that_cannot_be_read(start: Callable[..., Any]):
    first = await start()
    await first.recorder.record(entry(heard("A")))
    second = await start(first.journal)
    first.journal.unreadable = 2
    await second.recorder.record(entry(heard("B")))
    assert first.journal.unreadable == 0
    assert second.metrics.value("journal_commit_failures_total") == 2
    assert await second.changes() == [("set", None, "A"), ("changed", "A", "B")]


# --- what leaves no event ---------------------------------------------------------------------------------------------


async def test_a_first_look_at_the_chats_makes_last_values_and_no_events(world: World):
    await world.recorder.record(entry(heard("A", origin=Origin.RECONCILED), prime=True))
    assert await world.events() == []
    await world.recorder.record(entry(heard("B")))
    assert await world.changes() == [("changed", "A", "B")]


async def test_a_first_look_of_one_account_does_not_swallow_a_change_that_another_has_missed(world: World):
    await world.recorder.record(entry(heard("A")))
    later = {"origin": Origin.RECONCILED, "account": "agent2", "received_ms": RECEIVED_MS + 1}
    await world.recorder.record(entry(heard("B", **later), account="agent2", prime=True))
    assert await world.changes() == [("set", None, "A"), ("changed", "A", "B")]


async def test_what_is_found_by_re_reading_is_an_event_only_if_it_is_new(world: World):
    await world.recorder.record(entry(heard("A")))
    found = [
        heard(value, chat_id=chat, origin=Origin.RECONCILED, received_ms=RECEIVED_MS + 1)
        for chat, value in ((CHAT, "A"), ("missed", "B"), ("never set", None))
    ]
    await world.recorder.record(entry(*found))
    data = await world.data()
    assert [(one["chatId"], one["change"], one["origin"]) for one in data[1:]] == [("missed", "set", "reconciled")]
    assert world.metrics.value("reconciled_total") == 1
    assert world.metrics.value("events_total", "disposition", "set", "reconciled") == 1


async def test_a_value_that_was_cleared_in_a_gap_is_found(world: World):
    await world.recorder.record(entry(heard("A")))
    await world.recorder.record(entry(heard(None, origin=Origin.RECONCILED, received_ms=RECEIVED_MS + 1)))
    assert (await world.changes())[1:] == [("cleared", "A", None)]


# --- group commit and failures ----------------------------------------------------------------------------------------


async def test_what_arrives_during_a_commit_shares_the_next_one(world: World):
    world.journal.gate.clear()
    first = asyncio.create_task(world.recorder.record(entry(heard("0"))))
    await asyncio.sleep(0.01)
    others = [
        asyncio.create_task(world.recorder.record(entry(heard(str(n), account=f"agent{n}"), account=f"agent{n}")))
        for n in range(1, 51)
    ]
    await asyncio.sleep(0.01)
    assert not first.done()
    world.journal.gate.set()
    await asyncio.gather(first, *others)
    assert [len(batch.events) for batch in world.journal.appends] == [1, 50]
    assert await world.changes() == [
        ("set", None, "0"),
        *(("changed", str(n - 1), str(n)) for n in range(1, 51)),
    ]


async def test_a_commit_that_very_many_wait_for_wakes_a_few_of_them_in_a_step(world: World):
    world.journal.gate.clear()
    called: list[int] = []
    for number in range(500):
        world.recorder.submit(entry(heard(str(number), account=f"agent{number}")), partial(called.append, number))
    world.journal.gate.set()
    before, most = 0, 0
    while len(called) < 500:
        await asyncio.sleep(0)
        before, most = len(called), max(most, len(called) - before)
    assert called == list(range(500))
    assert most <= 50


async def test_recording_returns_only_when_the_entry_is_durable(world: World):
    world.journal.gate.clear()
    recording = asyncio.create_task(world.recorder.record(entry(heard("A"))))
    await asyncio.sleep(0.02)
    assert not recording.done()
    assert world.told == []
    world.journal.gate.set()
    await recording
    assert len(await world.events()) == 1


async def test_a_caller_that_is_cancelled_does_not_take_its_entry_back(world: World):
    world.journal.gate.clear()
    recording = asyncio.create_task(world.recorder.record(entry(heard("A"))))
    await asyncio.sleep(0.01)
    recording.cancel()
    await asyncio.wait((recording,))
    world.journal.gate.set()
    await world.recorder.record(entry(heard("B")))
    assert await world.changes() == [("set", None, "A"), ("changed", "A", "B")]


@pytest.mark.parametrize("error", [JournalFull("disk full"), JournalError("disk I/O error")])
async def test_a_journal_that_cannot_commit_is_tried_until_it_can_and_nothing_is_lost(
    world: World, error: JournalError
):
    await world.recorder.record(entry(heard("A")))
    world.journal.fail_appends(error)
    waiting = [asyncio.create_task(world.recorder.record(entry(heard(value)))) for value in ("B", "C")]
    await eventually(lambda: world.metrics.value("journal_commit_failures_total") >= 3)
    assert world.recorder.failing == str(error)
    assert not any(task.done() for task in waiting)
    late = asyncio.create_task(world.recorder.record(entry(heard("D"))))
    await asyncio.sleep(0)
    world.journal.heal()
    await asyncio.gather(*waiting, late)
    assert await world.changes() == [
        ("set", None, "A"),
        ("changed", "A", "B"),
        ("changed", "B", "C"),
        ("changed", "C", "D"),
    ]
    assert world.recorder.failing is None
    assert [event.sequence for event in await world.events()] == [1, 2, 3, 4]


async def test_a_group_that_failed_once_is_not_classified_against_itself(world: World):
    world.journal.fail_appends(JournalError("once"), times=1)
    await world.recorder.record(entry(heard("A"), heard("B")))
    assert await world.changes() == [("set", None, "A"), ("changed", "A", "B")]


async def test_only_the_newest_value_and_session_of_a_group_are_stored(world: World):
    sessions = [
        SessionState(
            account="agent1",
            url="u",
            topic="t",
            client_id="c1",
            connection_type="long-polling",
            ack=n,
            seen_ms=n,
        )
        for n in (1, 2)
    ]
    world.journal.gate.clear()
    tasks = [asyncio.create_task(world.recorder.record(entry(heard("0"))))]
    await asyncio.sleep(0.01)
    tasks += [
        asyncio.create_task(world.recorder.record(entry(heard(str(session.ack)), session=session)))
        for session in sessions
    ]
    await asyncio.sleep(0.01)
    world.journal.gate.set()
    await asyncio.gather(*tasks)
    batch = world.journal.appends[-1]
    assert [value.value for value in batch.values] == ["2"]
    assert batch.sessions == (sessions[1],)


async def test_a_session_is_stored_in_the_transaction_of_its_events(world: World):
    session = SessionState(
        account="agent1", url="u", topic="t", client_id="c1", connection_type="long-polling", ack=7, seen_ms=1
    )
    await world.recorder.record(entry(heard("A"), session=session))
    (batch,) = world.journal.appends
    assert (len(batch.events), batch.sessions) == (1, (session,))
    assert await world.journal.sessions() == {"agent1": session}


# --- the events -------------------------------------------------------------------------------------------------------


async def test_an_event_has_the_documented_fields_in_the_documented_order(world: World):
    observation = heard(
        "IssueResolved",
        chat_state="Chatting",
        chat_uri="http://localhost:8080/api/v2/chats/0000Na9B26EF003M",
        reference_id=34,
        participants=(Participant(nickname="TestName", type="Agent", participant_id="009052C73228006D"),),
        user_data={"Queue": "q1"},
    )
    await world.recorder.record(entry(observation))
    (event,) = await world.events()
    line = json.loads(event.to_json())
    assert list(line) == [
        *("specversion", "type", "source", "id", "subject", "time"),
        *("datacontenttype", "sequence", "data"),
    ]
    assert line == {
        "specversion": "1.0",
        "type": "disposition-listener.chat.disposition",
        "source": "http://127.0.0.1/api/v2/me/chats",
        "id": event.id,
        "subject": CHAT,
        "time": RECEIVED_AT,
        "datacontenttype": "application/json",
        "sequence": "1",
        "data": {
            "change": "set",
            "key": KEY,
            "disposition": "IssueResolved",
            "previous": None,
            "chatId": CHAT,
            "chatState": "Chatting",
            "chatUri": "http://localhost:8080/api/v2/chats/0000Na9B26EF003M",
            "referenceId": 34,
            "account": "agent1",
            "participants": [{"nickname": "TestName", "type": "Agent", "participantId": "009052C73228006D"}],
            "userData": {"Queue": "q1"},
            "receivedAt": RECEIVED_AT,
            "origin": "notification",
            "mediaType": "chat",
        },
    }
    assert list(line["data"]) == [
        *("change", "key", "disposition", "previous", "chatId", "chatState", "chatUri", "referenceId", "account"),
        *("participants", "userData", "receivedAt", "origin", "mediaType"),
    ]


async def test_gaps_of_two_media_in_one_moment_are_two_events(world: World):
    gaps = [
        Gap(account="agent1", from_="a", to=RECEIVED_AT, reason="topic_refused", closed_by="subscribe", media_type=one)
        for one in (None, "email", "sms")
    ]
    for gap in gaps:
        await world.recorder.record(Entry(account="agent1", gap=gap))
    assert len({event.id for event in await world.events()}) == 3
    assert [one.get("mediaType") for one in await world.data()] == [None, "email", "sms"]


async def test_a_chat_and_an_email_of_one_id_have_values_of_their_own(world: World):
    """The source is the topic of the medium."""
    for code in ("First", "Second"):
        email = heard(code + "Email", chat_id=identity_of("email", CHAT), media_type="email")
        await world.recorder.record(entry(heard(code), email))
    told = [json.loads(event.to_json()) for event in await world.events()]
    data = [(one["data"]["mediaType"], one["data"]["chatId"], one["data"]["previous"]) for one in told]
    assert data == [("chat", CHAT, None), ("email", CHAT, None), ("chat", CHAT, "First"), ("email", CHAT, "FirstEmail")]
    assert [one["subject"] for one in told[:2]] == [CHAT, f"email:{CHAT}"]
    assert len(await world.journal.last_values([CHAT, f"email:{CHAT}"])) == 2
    assert [one["source"].rpartition("/")[2] for one in told[:2]] == ["chats", "emails"]


async def test_the_time_of_an_event_is_the_servers_where_it_has_one(world: World):
    await world.recorder.record(entry(heard("A", server_time_ms=RECEIVED_MS - 1000)))
    (event,) = await world.events()
    assert event.time == "2026-11-22T09:38:59.123Z"
    assert json.loads(event.data)["receivedAt"] == RECEIVED_AT
    assert event.received_ms == RECEIVED_MS


async def test_a_gap_is_an_event_and_comes_before_what_was_found_because_of_it(world: World):
    gap = Gap(
        account="agent1",
        from_="2026-11-22T09:30:00.000Z",
        to=RECEIVED_AT,
        reason="session_expired",
        closed_by="handshake",
    )
    await world.recorder.record(entry(heard("A", origin=Origin.RECONCILED), gap=gap))
    event, found = await world.events()
    line = json.loads(event.to_json())
    assert (line["type"], line["subject"], line["time"]) == ("disposition-listener.chat.gap", "agent1", RECEIVED_AT)
    assert line["data"] == {
        "account": "agent1",
        "from": "2026-11-22T09:30:00.000Z",
        "to": RECEIVED_AT,
        "reason": "session_expired",
        "closedBy": "handshake",
    }
    assert (event.change, event.account, event.received_ms) == (None, "agent1", RECEIVED_MS)
    assert found.origin is Origin.RECONCILED
    assert world.metrics.value("events_total", "gap", "", "notification") == 1


async def test_whoever_watches_is_told_of_what_is_durable(world: World):
    await world.recorder.record(entry(heard("A")))
    await world.recorder.record(entry())
    assert [event.id for event in world.told] == [event.id for event in await world.events()]


# --- ids --------------------------------------------------------------------------------------------------------------


def observations(account: str = "agent1", *, server_time_ms: int | None = None, value: str = "A") -> list[Observation]:
    note: dict[str, Any] = {**DOCUMENTED, "chat": {**DOCUMENTED["chat"], "userData": {KEY: value, "Second": value}}}
    if server_time_ms is not None:
        note["metrics"] = {"eventProcessing": {"serverGenerationTimestamp": server_time_ms}}
    decoder = NotificationDecoder(keys=(KEY, "Second"))
    return decoder.decode([json.dumps(note).encode()], account=account, received_ms=RECEIVED_MS).observations


async def ids(start: Callable[..., Any], *entries: Entry) -> list[str]:
    world = await start()
    for one in entries:
        await world.recorder.record(one)
    return [event.id for event in await world.events()]


@pytest.mark.parametrize("server_time_ms", [None, RECEIVED_MS])
async def test_the_same_event_has_the_same_id_wherever_and_how_often_it_is_made(
    start: Callable[..., Any], server_time_ms: int | None
):
    one = entry(*observations(server_time_ms=server_time_ms))
    first = await ids(start, one)
    assert await ids(start, entry(heard("other")), one) == [(await ids(start, entry(heard("other"))))[0], *first]
    world = await start()
    world.journal.fail_appends(JournalError("once"), times=1)
    await world.recorder.record(one)
    assert [event.id for event in await world.events()] == first


async def test_with_the_servers_time_an_id_does_not_depend_on_session_or_batch(start: Callable[..., Any]):
    made = [
        await ids(start, entry(*observations(server_time_ms=5), origin_id=origin)) for origin in ("c1:1", "other:9")
    ]
    assert made[0] == made[1]


async def test_different_events_have_different_ids(start: Callable[..., Any]):
    alike = observations()
    stamped = observations(server_time_ms=5)
    made = await ids(
        start,
        entry(*alike, *alike, origin_id="c1:1"),  # two keys each, twice in one batch
        entry(*alike, origin_id="c1:2"),  # in the next batch
        entry(*alike, origin_id="c2:1"),  # in another session
        entry(*stamped, *stamped),  # the server sent the same twice, in one batch
        entry(*observations(server_time_ms=6)),
        entry(*observations("agent2"), account="agent2"),  # another account hears it
        entry(*observations("agent2", server_time_ms=5), account="agent2"),
        entry(*observations(value="B")),
    )
    assert len(made) == 20
    assert len(set(made)) == len(made)
    assert all(len(one) >= 32 and one.isalnum() for one in made)


# --- re-read chats, and what chats come with --------------------------------------------------------------------------


async def test_what_a_chat_came_with_is_what_its_first_change_follows_on(start: Callable[..., Any]):
    world = await start()
    await world.recorder.record(entry(heard("Transferred", prime=True)))
    assert world.told == []
    await world.recorder.record(entry(heard("Sold")))
    assert [json.loads(event.data)["previous"] for event in world.told] == ["Transferred"]


async def test_what_a_chat_came_with_changes_nothing_that_is_known(start: Callable[..., Any]):
    world = await start()
    await world.recorder.record(entry(heard("A")))
    await world.recorder.record(entry(heard("B", prime=True)))
    await world.recorder.record(entry(heard("A")))
    assert [event.change for event in world.told] == [Change.SET, Change.UNCHANGED]


async def test_an_entry_that_leaves_nothing_costs_no_commit(start: Callable[..., Any]):
    world = await start()
    await world.recorder.record(entry(heard("A")))
    before = len(world.journal.appends)
    await world.recorder.record(entry(heard("A", prime=True)))
    assert len(world.journal.appends) == before


async def test_the_differences_of_re_read_chats_are_told_and_not_stored(start: Callable[..., Any]):
    world = await start()
    await world.recorder.record(entry(heard("A"), heard("X", chat_id="chat-2")))
    found = await world.recorder.differences(
        [
            heard("B", origin=Origin.RECONCILED),
            heard("X", chat_id="chat-2", origin=Origin.RECONCILED),
            heard("N", chat_id="chat-3", origin=Origin.RECONCILED),
            heard(None, chat_id="chat-4", origin=Origin.RECONCILED),
        ],
        as_of_s=1.0,
    )
    assert [(one.observation.value, one.known) for one in found] == [("B", True), ("N", False)]
    assert len(world.told) == 2


async def test_what_was_heard_since_the_chats_were_asked_for_may_be_newer(start: Callable[..., Any]):
    world = await start()
    await world.recorder.record(entry(heard("B"), as_of_s=10.0))
    for as_of_s, overtaken in ((9.0, True), (11.0, False)):
        (found,) = await world.recorder.differences([heard("A", origin=Origin.RECONCILED)], as_of_s)
        assert found.overtaken is overtaken
    assert await world.recorder.differences([heard("B", origin=Origin.RECONCILED)], 9.0) == []


HEARD = st.tuples(st.sampled_from(["A", "B", None]), st.booleans(), st.integers(0, 20), st.integers(-3600, 3600))


@settings(max_examples=40)
@given(st.lists(HEARD, max_size=12))
async def test_a_look_loses_against_whatever_was_heard_since_it_was_asked_for_and_wins_against_all_else(
    script: list[Any],
):
    """Whatever the wall clock shows, and whether or not what was heard was a change."""
    journal = SlowJournal()
    await journal.open()
    world = World(journal)
    task = asyncio.create_task(world.recorder.run())
    last, newest_s = None, float("-inf")
    known = False
    for now_s, (value, is_read, age_s, clock_s) in enumerate(script, start=100):
        as_of_s = float(now_s - age_s if is_read else now_s)
        received_ms = RECEIVED_MS + clock_s * 1000
        origin = Origin.RECONCILED if is_read else Origin.NOTIFICATION
        await world.recorder.record(entry(heard(value, received_ms=received_ms, origin=origin), as_of_s=as_of_s))
        if not is_read or as_of_s >= newest_s or value == last:
            known = known or not is_read or value is not None
            last, newest_s = value, max(newest_s, as_of_s)
    dispositions = [one["disposition"] for one in await world.data()]
    task.cancel()
    assert (dispositions[-1] if dispositions else None) == last
    assert bool(dispositions) == known


# --- replicas that share a journal ------------------------------------------------------------------------------------


async def recorders(world: Cluster, stack: AsyncExitStack, count: int) -> list[Recorder]:
    """One for each of so many replicas, at work."""
    made = []
    for number in range(count):
        replica = await world.started(f"replica-{number}")
        recorder = Recorder(
            journal=replica.journal,
            metrics=Metrics(),
            source="http://127.0.0.1/api/v2/me/chats",
            type_prefix="disposition-listener",
            host=replica.host,
            is_alone=False,
        )
        task = asyncio.create_task(recorder.run())
        stack.callback(task.cancel)
        made.append(recorder)
    return made


def told_of(world: Cluster) -> list[dict[str, Any]]:
    return [json.loads(event.data) for event in world.database.store.read(0, 10_000)]


HEARD_BY = st.tuples(st.integers(0, 2), st.sampled_from(["c1", "c2"]), st.sampled_from("ABC"), st.booleans())


@settings(max_examples=60)
@given(st.lists(HEARD_BY, max_size=30), st.integers(0, 3))
def test_previous_is_that_of_the_event_before_whichever_replica_has_heard_it(script: list[Any], lost: int):
    async def work() -> None:
        async with cluster() as world, AsyncExitStack() as stack:
            made = await recorders(world, stack, 3)
            world.replicas[0].line.lose_answers["append"] = lost
            world.replicas[1].line.lose_requests["append"] = lost
            waiting = []
            for number, (which, chat, value, pauses) in enumerate(script):
                one = heard(value, chat_id=chat, digest=number.to_bytes(16), account=f"agent{which}")
                waiting.append(asyncio.create_task(made[which].record(entry(one, origin_id=f"c{which}:{number}"))))
                await asyncio.sleep(0.01 if pauses else 0)
            await asyncio.gather(*waiting)
            last: dict[str, str] = {}
            data = told_of(world)
            assert len(data) == len(script), "each was heard once"
            for one in data:
                before = last.get(one["chatId"])
                assert one["previous"] == before
                assert one["change"] == (
                    "set" if before is None else "unchanged" if before == one["disposition"] else "changed"
                )
                last[one["chatId"]] = one["disposition"]

    in_virtual_time(work)


def test_a_look_at_the_chats_does_not_bring_back_what_another_replica_has_heard_to_change():
    async def work() -> None:
        async with cluster() as world, AsyncExitStack() as stack:
            one, two = await recorders(world, stack, 2)
            await one.record(entry(heard("A")))
            await two.record(entry(heard("B", digest=b"2")))
            asked_s = asyncio.get_running_loop().time()
            await asyncio.sleep(1)
            await two.record(entry(heard("C", digest=b"3")))
            await one.record(entry(heard("B", origin=Origin.RECONCILED), as_of_s=asked_s))
            assert [data["disposition"] for data in told_of(world)] == ["A", "B", "C"]
            await asyncio.sleep(1)
            now_s = asyncio.get_running_loop().time()
            await one.record(entry(heard("B", origin=Origin.RECONCILED), as_of_s=now_s))
            assert [data["disposition"] for data in told_of(world)] == ["A", "B", "C", "B"]

    in_virtual_time(work)


def test_what_another_replica_has_heard_is_no_difference():
    """A look at the chats is held against the journal, not against what was remembered before others had them."""

    async def work() -> None:
        async with cluster() as world, AsyncExitStack() as stack:
            one, two = await recorders(world, stack, 2)
            await one.record(entry(heard("A")))
            await two.record(entry(heard("B", digest=b"2")))
            asked_s = asyncio.get_running_loop().time()
            assert await one.differences([heard("B", origin=Origin.RECONCILED)], asked_s) == []
            (found,) = await one.differences([heard("C", origin=Origin.RECONCILED)], asked_s + 1)
            assert (found.known, found.overtaken) == (True, False)

    in_virtual_time(work)


def test_a_look_that_the_database_does_not_answer_loses_nothing_of_what_is_heard():
    async def work() -> None:
        async with cluster() as world, AsyncExitStack() as stack:
            one, two = await recorders(world, stack, 2)
            await one.record(entry(heard("A")))
            await two.record(entry(heard("B", digest=b"2")))
            world.replicas[0].line.lose_requests["last_values"] = 2
            with pytest.raises(JournalError):
                await one.differences([heard("B", origin=Origin.RECONCILED)], 9.0)
            await one.record(entry(heard("C", digest=b"3")))
            assert [(data["previous"], data["disposition"]) for data in told_of(world)] == [
                (None, "A"),
                ("A", "B"),
                ("B", "C"),
            ]

    in_virtual_time(work)


async def test_a_group_that_waits_for_the_disk_tells_for_how_long(start: Callable[..., Any]):
    world = await start()
    assert world.recorder.waiting_s() == 0.0
    world.journal.gate.clear()
    task = asyncio.create_task(world.recorder.record(entry(heard("A"))))
    await eventually(lambda: world.recorder.waiting_s() > 0.01)
    world.journal.gate.set()
    await task
    assert world.recorder.waiting_s() == 0.0


async def test_the_digest_of_a_notification_with_the_servers_time_is_in_its_events_id(start: Callable[..., Any]):
    world = await start()
    await world.recorder.record(entry(heard("A", server_time_ms=5)))
    (event,) = world.told
    assert digest_of(event.id) == b"0123456789abcdef"


@pytest.mark.parametrize("text", ["", "event-1", "z" * 40, "0" * 39])
def test_an_id_of_another_make_has_no_digest(text: str):
    assert digest_of(text) is None
