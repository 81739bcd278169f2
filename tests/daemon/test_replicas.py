"""What any replica shows of all of them, and what each tells the others."""

import asyncio
import gc
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from listener.daemon.health import Health
from listener.daemon.replicas import Replicas
from listener.daemon.roll import Roll
from listener.errors import JournalError
from listener.intake.recorder import Recorder
from listener.model.condition import Configuration, ReadinessProblem
from listener.model.event import AccountStatus, Gap, GapTally, JournalBatch, LaneState, LaneStatus
from listener.model.replica import Beaten, DutyReport, ReplicaReport
from listener.runtime.metrics import Metrics
from listener.testing import SAMPLE_MS, MemoryJournal, sample_event
from listener.web.summary import AccountState

ALICE = AccountStatus(account="alice", subscribed=True, epoch=2, ack=True, since_ms=SAMPLE_MS - 60_000)
GAP = Gap(account="alice", from_="a", to="2026-11-22T09:39:00.000Z", reason="network", closed_by="poll")
LANE = LaneStatus(
    sink="crm", kind="webhook", cursor=3, lag=2, delivered=3, failures=1, parked=None, last_error=None, lag_s=7.5
)


class Database:
    """Keeps the reports of two replicas, `a` and `b`."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: Exception | None = None
        self.owners: dict[str, str | None] = {}
        self.reports: dict[str, bytes] = {}
        self.of_processes: dict[str, bytes] = {}
        self.listed: list[DutyReport] | None = None

    async def replicas(self) -> list[ReplicaReport]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return [
            ReplicaReport(
                name=name,
                incarnation=7,
                state=state,
                beat_age_s=age_s,
                joined_ms=SAMPLE_MS,
                version="1.2.3",
                accounts=sum(1 for duty, owner in self.owners.items() if owner == name and duty.startswith("account/")),
                lanes=sum(1 for duty, owner in self.owners.items() if owner == name and duty.startswith("lane/")),
                housekeeping=name == "a",
                report=self.of_processes.get(name, b""),
            )
            for name, state, age_s in (("a", "alive", 0.2), ("b", "late", 4.0))
        ]

    async def duties(self) -> list[DutyReport]:
        if self.listed is not None:
            await asyncio.sleep(0)  # what a connection takes to read them is another's
            return self.listed
        return [
            DutyReport(duty=duty, replica=owner, epoch=1, report=self.reports.get(duty, b""))
            for duty, owner in sorted(self.owners.items())
        ]


class Held:
    """`ports.Duties` as far as reports go: what is told is in the database at once."""

    def __init__(self, name: str, database: Database) -> None:
        self.told: list[str] = []
        self.held: dict[str, int] = {}
        self.beaten = Beaten()
        self.age_s = 0.2
        self.certain = True
        self._name = name
        self._database = database

    def beat_age_s(self) -> float:
        return self.age_s

    def is_certain(self) -> bool:
        return self.certain

    def report(self, duty: str, report: bytes) -> None:
        self.told.append(duty)
        self._database.reports[duty] = report

    def report_process(self, report: bytes) -> None:
        self._database.of_processes[self._name] = report


class Replica:
    """One of them, with the state that its status is made of."""

    def __init__(self, name: str, database: Database) -> None:
        self.now_s = 0.0
        self.silent_s: dict[str, float] = {}
        self.lanes: list[LaneStatus] = []
        self.problems: list[ReadinessProblem] = []
        self.roll = Roll(monotonic_s=lambda: self.now_s)
        self.held = Held(name, database)
        self.journal = MemoryJournal()
        self.health = Health(
            roll=self.roll,
            lanes=lambda: self.lanes,
            journal=self.journal,
            wal_bytes=lambda: 0,
            recorder=Recorder(journal=self.journal, metrics=Metrics(), source="http://h", type_prefix="p"),
            configuration=lambda: Configuration(loaded_ms=SAMPLE_MS),
            now_ms=lambda: SAMPLE_MS,
            monotonic_s=lambda: self.now_s,
        )
        self.replicas = self.health.replicas = Replicas(
            name=name,
            knows=database,
            duties=self.held,  # type: ignore[arg-type]
            offered=lambda: ["account/alice", "lane/crm", "lane/audit", "housekeeping"],
            roll=self.roll,
            lanes=lambda: self.lanes,
            kinds=lambda: {"audit": "file"},
            problems=lambda: self.problems,
            monotonic_s=lambda: self.now_s,
        )

    def enter(self, *accounts: AccountStatus) -> None:
        for one in accounts:
            self.roll.enter(one, lambda one=one: (self.silent_s.get(one.account, 0.0), 60.0))

    async def shown(self) -> dict[str, Any]:
        """`/status.json`."""
        self.now_s += 1.0
        found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(await self.health.status()))
        return found


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
async def a(database: Database) -> Replica:
    replica = Replica("a", database)
    await replica.journal.open()
    return replica


@pytest.fixture
async def b(database: Database) -> Replica:
    replica = Replica("b", database)
    await replica.journal.open()
    return replica


async def test_any_replica_shows_all_accounts_and_sinks_with_their_owners(database: Database, a: Replica, b: Replica):
    database.owners = {"account/alice": "a", "account/bob": "b", "lane/crm": "b", "housekeeping": "a"}
    a.enter(replace(ALICE, gaps=GapTally().plus(GAP, 2.0)))
    b.enter(replace(ALICE, account="bob", subscribed=False, since_ms=None, last_error="denied"))
    b.lanes = [LANE]
    await a.replicas.tell()
    await b.replicas.tell()
    seen = [await one.shown() for one in (a, b)]
    for shown in seen:
        accounts = [(one["account"], one["subscribed"], one["lastError"], one["replica"]) for one in shown["accounts"]]
        assert accounts == [("alice", True, None, "a"), ("bob", False, "denied", "b")]
        assert [(one["sink"], one["lagEvents"], one["replica"]) for one in shown["sinks"]] == [("crm", 2, "b")]
        assert (shown["gaps"]["count"], shown["gaps"]["seconds"]) == (1, 2.0)
        assert (shown["journal"]["depthEvents"], shown["journal"]["oldestAgeSeconds"]) == (2, 7.5)
    assert [shown["replica"] for shown in seen] == ["a", "b"]


async def test_any_replica_sums_up_all_accounts_and_sinks(database: Database, a: Replica, b: Replica):
    database.owners = {"account/alice": "a", "account/bob": "b", "account/carol": "b", "account/dave": None}
    database.owners |= {"lane/crm": "b", "lane/audit": None}
    a.enter(replace(ALICE, gaps=GapTally().plus(GAP, 2.0)))
    down = replace(ALICE, subscribed=False, since_ms=None, certain_ms=SAMPLE_MS - 9000)
    b.enter(*(replace(down, account=name, last_error=f"denied: {name}") for name in ("bob", "carol")))
    b.lanes = [replace(LANE, parked="401")]
    await a.replicas.tell()
    await b.replicas.tell()
    for one in (a, b):
        one.now_s += 1.0
        shown = await one.health.summary()
        assert (shown.accounts.total, shown.accounts.subscribed, shown.accounts.troubled) == (4, 1, 3)
        assert [(one.what, one.count) for one in shown.troubles] == [
            ("no subscription: denied: …", 2),
            ("no subscription: no replica listens for it", 1),
        ]
        assert (shown.open_gaps.count, shown.gaps.count) == (2, 1)
        told = [one.what for one in shown.health if one.kind != "replica"]
        assert told == [
            "sink audit has no replica that delivers to it",
            "sink crm is parked: 401",
            "2 accounts have no subscription: denied: …",
            "account dave has no subscription: no replica listens for it",
        ]
        page = await one.health.accounts("", AccountState.TROUBLED, "bob", 1)
        assert ([one.account for one in page.accounts], page.next, page.total) == (["carol"], "carol", 3)
    assert (await a.health.summary()).last_hour.replica == "a"  # type: ignore[union-attr]
    del database.owners["account/carol"]
    a.now_s += 1.0
    assert (await a.health.summary()).accounts.total == 3


async def test_any_replica_shows_all_replicas(database: Database, a: Replica, b: Replica):
    database.owners = {"account/alice": "a", "account/bob": "b", "account/carol": "b", "lane/crm": "b"}
    b.problems = [ReadinessProblem(brief="sink crm is parked", full="sink crm is parked: 401")]
    await b.replicas.tell()
    assert (await a.shown())["replicas"] == [
        {
            "name": "a",
            "state": "alive",
            "beatAgeSeconds": 0.2,
            "joinedAt": "2026-11-22T09:39:00.123Z",
            "version": "1.2.3",
            "accounts": 1,
            "sinks": 0,
            "housekeeping": True,
            "ready": None,
            "problems": [],
        },
        {
            "name": "b",
            "state": "late",
            "beatAgeSeconds": 4.0,
            "joinedAt": "2026-11-22T09:39:00.123Z",
            "version": "1.2.3",
            "accounts": 2,
            "sinks": 1,
            "housekeeping": False,
            "ready": False,
            "problems": ["sink crm is parked: 401"],
        },
    ]


async def test_what_nobody_has_is_shown_as_that(database: Database, a: Replica):
    database.owners = {"account/alice": None, "lane/audit": None}
    database.reports = {"account/alice": b'{"account":"alice","subscribed":true}'}
    await a.journal.append(JournalBatch(events=tuple(sample_event(number) for number in range(3))))
    await a.journal.advance("audit", 1)
    await a.journal.store_lane_state(LaneState(sink="audit", parked="disk full", parked_ms=1))
    shown = await a.shown()
    (account,), (sink,) = shown["accounts"], shown["sinks"]
    assert (account["subscribed"], account["replica"]) == (False, None)
    assert account["lastError"] == "no replica listens for it"
    assert (sink["kind"], sink["cursor"], sink["lagEvents"], sink["parked"]) == ("file", 1, 2, "disk full")
    assert (sink["replica"], sink["lastError"]) == (None, "no replica delivers to it")


async def test_a_report_that_another_version_has_left_hides_nothing_else(database: Database, a: Replica):
    database.owners = {"account/alice": "b", "lane/crm": "b"}
    database.reports = {"account/alice": b'{"account": 7}', "lane/crm": b"\xff"}
    database.of_processes = {"b": b"[]"}
    shown = await a.shown()
    assert (shown["accounts"][0]["account"], shown["accounts"][0]["replica"]) == ("alice", "b")
    assert (shown["sinks"][0]["sink"], shown["sinks"][0]["lastError"]) == ("crm", None)
    assert shown["replicas"][1]["ready"] is None


async def test_without_the_database_a_replica_shows_its_own_and_says_so(database: Database, a: Replica):
    database.owners = {"account/alice": "a", "account/bob": "b", "lane/crm": "a"}
    a.enter(ALICE)
    a.lanes = [LANE]
    assert len((await a.shown())["accounts"]) == 2
    database.error = JournalError("db.example.com does not answer")
    shown = await a.shown()
    assert shown["replicas"] is None
    assert [(one["account"], one["replica"]) for one in shown["accounts"]] == [("alice", "a")]
    assert [(one["sink"], one["replica"]) for one in shown["sinks"]] == [("crm", "a")]


async def test_a_database_that_hangs_delays_no_status_for_long(database: Database, a: Replica, monkeypatch):
    monkeypatch.setattr("listener.daemon.replicas._ANSWER_S", 0.05)
    monkeypatch.setattr(database, "replicas", lambda: asyncio.sleep(60))
    assert (await asyncio.wait_for(a.shown(), 5))["replicas"] is None


async def test_the_database_is_not_asked_by_every_reader(database: Database, a: Replica):
    await asyncio.gather(*(a.health.status() for _ in range(50)))
    assert database.asked == 1
    await a.shown()
    assert database.asked == 2


async def test_of_accounts_only_what_has_changed_is_told_again(a: Replica):
    a.enter(ALICE, replace(ALICE, account="bob"))
    await a.replicas.tell()
    assert a.held.told == ["account/alice", "account/bob"]
    a.held.told.clear()
    await a.replicas.tell()
    assert a.held.told == []
    a.roll.note(replace(ALICE, subscribed=False, since_ms=None))
    await a.replicas.tell()
    assert a.held.told == ["account/alice"]


async def test_what_comes_back_is_told_again(a: Replica):
    a.enter(ALICE)
    await a.replicas.tell()
    a.roll.strike("alice")
    await a.replicas.tell()
    a.enter(ALICE)
    a.held.told.clear()
    await a.replicas.tell()
    assert a.held.told == ["account/alice"]


async def test_silence_is_told_as_it_grows_but_not_each_second(a: Replica):
    a.enter(ALICE)
    told = []
    for second in range(60, 90):
        a.silent_s["alice"] = float(second)
        a.now_s = float(second)
        a.held.told.clear()
        await a.replicas.tell()
        told += [second] if "account/alice" in a.held.told else []
    assert told == [60, 61, 71, 81]


async def test_of_very_many_that_change_together_some_are_told_at_a_time(a: Replica):
    a.enter(*(replace(ALICE, account=f"agent{number}") for number in range(2_500)))
    told = []
    for _ in range(4):
        a.held.told.clear()
        await a.replicas.tell()
        told.append(sum(1 for duty in a.held.told if duty))
    assert told == [1000, 1000, 500, 0]


async def test_ten_thousand_accounts_take_no_step_of_the_loop_that_is_long(database: Database, a: Replica, b: Replica):
    names = [f"agent{number:05}" for number in range(10_000)]
    database.owners = {f"account/{name}": "ab"[at % 2] for at, name in enumerate(names)}
    for replica, own in ((a, names[::2]), (b, names[1::2])):
        replica.enter(*(replace(ALICE, account=name, last_error="e" * 60) for name in own))
        for _ in range(6):
            await replica.replicas.tell()

    database.listed = await database.duties()

    async def look() -> None:
        for _ in range(3):
            a.now_s += 1.0
            status = await a.health.status()
            await asyncio.sleep(0)
            assert sum(1 for one in status.accounts if one.subscribed) == 10_000
            await a.replicas.tell()

    gc.collect()
    gc.freeze()  # what the other tests have left is not what a daemon has
    try:
        longest_s = await longest_turn_s(look)
    finally:
        gc.unfreeze()
    print(f"longest turn {longest_s * 1000:.1f} ms")
    assert longest_s < 0.05


async def longest_turn_s(work: Callable[[], Awaitable[None]]) -> float:
    """How much CPU time the longest turn of the loop takes while `work` is done."""
    longest_s, done = 0.0, asyncio.ensure_future(work())
    last_s = time.thread_time()
    while not done.done():
        await asyncio.sleep(0)
        now_s = time.thread_time()
        longest_s, last_s = max(longest_s, now_s - last_s), now_s
    await done
    return longest_s


def test_gauges_tell_of_this_replica(database: Database, a: Replica):
    metrics = Metrics()
    a.held.held = {"account/alice": 1, "account/bob": 2, "housekeeping": 3}
    a.held.beaten = Beaten(others=2, draining=True)
    a.health.sample(metrics)
    names = ("replica_up", "replica_beat_age_seconds", "replica_others", "replica_draining")
    assert [metrics.value(name, "a") for name in names] == [1, 0.2, 2, 1]
    for name, counts in (("replica_duties", [2, 0, 1]), ("replica_duties_offered", [1, 2, 1])):
        assert [metrics.value(name, "a", kind) for kind in ("account", "lane", "housekeeping")] == counts


def test_before_the_first_beat_its_age_is_that_of_the_replica(database: Database, a: Replica):
    metrics = Metrics()
    a.held.age_s, a.held.certain = math.inf, False
    a.now_s += 42.0
    a.health.sample(metrics)
    assert [metrics.value(name, "a") for name in ("replica_up", "replica_beat_age_seconds")] == [0, 42.0]


async def test_on_one_machine_there_are_no_gauges_of_replicas(a: Replica):
    metrics = Metrics()
    a.health.replicas = None
    a.health.sample(metrics)
    assert b"listener_replica_up{" not in metrics.exposition()
