"""What the daemon tells of itself, put together from parts that stand anywhere."""

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from listener.daemon.health import Health
from listener.daemon.roll import Roll
from listener.errors import JournalError
from listener.intake.recorder import Recorder
from listener.model.condition import Configuration
from listener.model.event import (
    AccountStatus,
    DeadLetter,
    Gap,
    GapTally,
    JournalBatch,
    JournalStats,
    LaneStatus,
)
from listener.runtime.metrics import Metrics
from listener.testing import SAMPLE_MS, MemoryJournal, sample_event
from listener.web.summary import AccountState

ACCOUNT = AccountStatus(
    account="alice",
    subscribed=True,
    epoch=2,
    ack=True,
    gaps=GapTally(),
    since_ms=SAMPLE_MS - 60_000,
    last_error=None,
)
SILENT_S = {"dave": 93.2}
LANE = LaneStatus(
    sink="crm", kind="webhook", cursor=3, lag=2, delivered=3, failures=1, parked=None, last_error=None, lag_s=7.5
)


class StubbornJournal(MemoryJournal):
    """Answers about itself late, or not at all."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.error: Exception | None = None

    @property
    def size_bytes(self) -> int:
        return 4096

    async def stats(self) -> JournalStats:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return await super().stats()


class World:
    def __init__(self, *accounts: AccountStatus, lanes: tuple[LaneStatus, ...] = (LANE,)) -> None:
        self.journal = StubbornJournal()
        self.starting = ""
        self.metrics = Metrics()
        self.recorder = Recorder(journal=self.journal, metrics=self.metrics, source="http://h", type_prefix="p")
        roll = Roll(monotonic_s=lambda: 0.0)
        for one in accounts:
            roll.enter(one, lambda one=one: (SILENT_S.get(one.account, 0.0), 60.0))
        self.health = Health(
            roll=roll,
            lanes=lambda: lanes,
            journal=self.journal,
            wal_bytes=lambda: 1024,
            recorder=self.recorder,
            configuration=lambda: Configuration(loaded_ms=SAMPLE_MS),
            now_ms=lambda: SAMPLE_MS,
            starting=lambda: self.starting,
        )
        self.metrics.sample(lambda: self.health.sample(self.metrics))

    def told(self) -> list[tuple[str, str]]:
        return [(one.brief, one.full) for one in self.health.problems()]


def test_nothing_hinders_what_works():
    assert World(ACCOUNT).told() == []


def test_what_it_waits_for_at_its_start_is_told():
    world = World()
    world.starting = "starting"
    assert world.told() == [("starting", "starting")]
    world.starting = "the journal cannot be opened: no such server"
    assert world.told() == [("the journal cannot be opened", "the journal cannot be opened: no such server")]


def test_each_problem_is_told_in_full_and_without_a_name():
    world = World(
        ACCOUNT,
        replace(ACCOUNT, account="bob", subscribed=False, last_error="denied: bob"),
        replace(ACCOUNT, account="carol", subscribed=False),
        replace(ACCOUNT, account="dave"),
        lanes=(replace(LANE, parked="401: who is bob?"), LANE),
    )
    world.recorder.failing = "disk full"
    assert world.told() == [
        ("accounts[1] has no subscription", "account bob has no subscription: denied: bob"),
        ("accounts[2] has no subscription", "account carol has no subscription: connecting"),
        ("accounts[3] has been silent for 93 s", "account dave has been silent for 93 s"),
        ("sink crm is parked", "sink crm is parked: 401: who is bob?"),
        ("the journal cannot commit", "the journal cannot commit: disk full"),
    ]


def test_a_commit_that_takes_long_is_a_problem(monkeypatch: pytest.MonkeyPatch):
    world = World(ACCOUNT)
    monkeypatch.setattr(world.recorder, "waiting_s", lambda: 31.0)
    assert world.told() == [("the journal has not committed for 31 s",) * 2]


def test_gauges_follow_when_somebody_looks():
    young = replace(ACCOUNT, account="bob", epoch=5, since_ms=SAMPLE_MS - 1000)
    down = replace(ACCOUNT, account="carol", subscribed=False, since_ms=None)
    world = World(ACCOUNT, young, down, lanes=(LANE, replace(LANE, sink="audit", lag=9, lag_s=1.0)))
    value = world.metrics.value
    assert (value("sink_lag_events", "crm"), value("sink_lag_seconds", "crm")) == (2, 7.5)
    assert (value("sink_lag_events", "audit"), value("sink_lag_seconds", "audit")) == (9, 1)
    assert (value("journal_depth_events"), value("journal_oldest_age_seconds")) == (9, 7.5)
    assert value("journal_bytes") == 4096
    assert value("journal_wal_bytes") == 1024
    assert (value("session_youngest_age_seconds"), value("session_oldest_age_seconds")) == (1, 60)
    assert value("session_epoch") == 5


def test_a_sink_that_was_taken_out_of_the_configuration_is_not_behind_for_ever():
    lanes = [LANE, replace(LANE, sink="audit")]
    world = World(lanes=())
    world.health._lanes = lambda: lanes
    assert b'sink_lag_seconds{sink="crm"} 7.5' in world.metrics.exposition()
    del lanes[0]
    text = world.metrics.exposition()
    assert b'sink_lag_seconds{sink="crm"}' not in text
    assert b'sink_lag_seconds{sink="audit"} 7.5' in text


def test_gauges_have_a_value_without_anything():
    value = World(lanes=()).metrics.value
    assert [value(name) for name in ("journal_depth_events", "session_oldest_age_seconds", "session_epoch")] == [0] * 3


async def test_the_status_shows_everything():
    gap = Gap(account="alice", from_="a", to="2026-11-22T09:39:00.000Z", reason="network", closed_by="poll")
    older = replace(gap, to="2026-11-22T09:00:00.000Z")
    world = World(
        replace(ACCOUNT, gaps=GapTally().plus(gap, 2.0)),
        replace(ACCOUNT, account="bob", subscribed=False, gaps=GapTally().plus(older, 1.5)),
    )
    await world.journal.open()
    await world.journal.append(JournalBatch(events=(sample_event(1), sample_event(2))))
    letter = DeadLetter(sink="crm", sequence=1, event_id="event-1", reason="422", attempts=1, at_ms=SAMPLE_MS)
    await world.journal.advance("crm", 1, [letter])
    shown: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(await world.health.status()))
    assert (shown["at"], shown["ready"]) == ("2026-11-22T09:39:00.123Z", False)
    assert shown["problems"] == ["account bob has no subscription: connecting"]
    assert [one["subscribedAt"] for one in shown["accounts"]] == ["2026-11-22T09:38:00.123Z", None]
    assert (shown["gaps"]["count"], shown["gaps"]["seconds"], shown["gaps"]["last"]["to"]) == (2, 3.5, gap.to)
    (lane,) = shown["sinks"]
    assert (lane["lagEvents"], lane["lagSeconds"], lane["deadLetters"]) == (2, 7.5, 1)
    assert shown["deadLetters"] == {"total": 1, "bySink": {"crm": 1}}
    journal = shown["journal"]
    assert (journal["lastSequence"], journal["depthEvents"], journal["bytes"]) == (2, 2, 4096)
    assert (journal["stored"]["events"], journal["stored"]["oldestAt"]) == (2, "2026-11-22T09:39:00.123Z")


async def test_the_summary_says_what_is_not_well_since_when_and_what_helps():
    since_ms = SAMPLE_MS - 5000
    world = World(
        ACCOUNT,
        *(
            replace(ACCOUNT, account=name, subscribed=False, last_error=f"denied: {name}", certain_ms=since_ms)
            for name in ("bob", "carol")
        ),
        replace(ACCOUNT, account="dave"),
        lanes=(replace(LANE, parked="401"),),
    )
    await world.journal.open()
    await world.journal.append(JournalBatch(events=(sample_event(1), sample_event(2))))
    letter = DeadLetter(sink="crm", sequence=1, event_id="event-1", reason="422", attempts=1, at_ms=SAMPLE_MS)
    await world.journal.advance("crm", 1, [letter])
    shown: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(await world.health.summary()))
    assert (shown["ready"], shown["accounts"]) == (False, {"total": 4, "subscribed": 2, "troubled": 3})
    assert [(one["kind"], one["what"]) for one in shown["health"]] == [
        ("sink", "sink crm is parked: 401"),
        ("accounts", "2 accounts have no subscription: denied: …"),
        ("accounts", "account dave is silent for longer than it should be"),
        ("deadLetters", "sink crm has 1 dead letter: 422"),
    ]
    assert (shown["openGaps"]["count"], shown["openGaps"]["oldestAt"]) == (2, "2026-11-22T09:38:55.123Z")
    assert (shown["sinks"][0]["deadLetters"], shown["deadLetters"]["total"]) == (1, 1)
    for asked in (world.health.status, world.health.summary):
        assert (await asked()).journal.last_sequence == 2


async def test_nothing_is_said_of_what_is_well():
    world = World(ACCOUNT)
    await world.journal.open()
    summary = await world.health.summary()
    assert (summary.ready, summary.health, summary.troubles, summary.open_gaps.count) == (True, (), (), 0)


async def test_the_summary_of_ten_thousand_of_whom_half_are_in_trouble_is_small():
    why = "login: HTTP 401"
    world = World(
        *(
            replace(
                ACCOUNT, account=f"agent{n}", subscribed=n % 2 == 0, last_error=why if n % 2 else None, certain_ms=n
            )
            for n in range(10_000)
        )
    )
    await world.journal.open()
    encoded = msgspec.json.encode(await world.health.summary())
    assert len(encoded) < 10_000
    page = await world.health.accounts("AGENT99", AccountState.TROUBLED, "agent9900", 3)
    assert [one.account for one in page.accounts] == ["agent9901", "agent9903", "agent9905"]
    assert (page.next, page.total, page.accounts[0].trouble) == ("agent9905", 56, f"no subscription: {why}")


async def test_dead_letters_are_counted_again_only_when_there_are_more_or_fewer(monkeypatch: pytest.MonkeyPatch):
    world = World(ACCOUNT)
    await world.journal.open()
    await world.journal.append(JournalBatch(events=(sample_event(1), sample_event(2))))
    counted: list[None] = []
    count = world.journal.dead_letter_groups

    async def counting(*which: Any) -> Any:
        counted.append(None)
        return await count(*which)

    monkeypatch.setattr(world.journal, "dead_letter_groups", counting)
    monkeypatch.setattr(world.health, "_monotonic_s", iter(range(0, 1000, 2)).__next__)
    assert (await world.health.summary()).health == ()
    letter = DeadLetter(sink="crm", sequence=1, event_id="event-1", reason="422", attempts=1, at_ms=SAMPLE_MS)
    await world.journal.advance("crm", 1, [letter])
    for _ in range(3):
        assert len((await world.health.summary()).health) == 1
    assert len(counted) == 1


async def test_a_journal_that_cannot_be_asked_leaves_holes_and_no_error():
    world = World(ACCOUNT)
    world.journal.error = JournalError("closed")
    status = await world.health.status()
    assert (status.journal.stored, status.dead_letters, status.sinks[0].dead_letters) == (None, None, None)


async def test_the_journal_is_not_asked_by_every_reader():
    """Lanes read through the same thread."""
    world = World(ACCOUNT)
    await world.journal.open()
    await asyncio.gather(*(world.health.status() for _ in range(50)))
    assert world.journal.asked == 1
