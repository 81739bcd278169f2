"""Retention by a clock that may jump, and what a damaged journal lost."""

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from listener.daemon import housekeeping
from listener.daemon.failures import Patience
from listener.daemon.housekeeping import Retention, keep_recording, record_damages, remember_losses
from listener.errors import JournalError
from listener.model.event import Damage, Entry, JournalBatch, SessionState
from listener.runtime.metrics import Metrics
from listener.testing import SAMPLE_MS, MemoryJournal, sample_event
from support.eventually import eventually
from support.virtual import in_virtual_time

DAY_MS = 86_400_000


class World:
    """A journal with one delivered event, received at SAMPLE_MS, and two clocks."""

    def __init__(self, *, days: float = 1.0, max_bytes: int | None = None) -> None:
        self.journal = MemoryJournal()
        self.now_ms = SAMPLE_MS
        self.monotonic_s = 0.0
        self.retention = Retention(
            journal=self.journal,
            keep_for=lambda: ("crm",),
            retention_days=days,
            max_bytes=max_bytes,
            now_ms=lambda: self.now_ms,
            monotonic_s=lambda: self.monotonic_s,
        )

    async def open(self) -> "World":
        await self.journal.open()
        await self.journal.append(JournalBatch(events=(sample_event(1),)))
        await self.journal.advance("crm", 1)
        return self

    def pass_time(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1000)
        self.monotonic_s += seconds

    async def events(self) -> int:
        return (await self.journal.stats()).events


async def test_what_is_old_is_let_go_of():
    world = await World().open()
    world.pass_time(86_300)
    await world.retention.by_age()
    assert await world.events() == 1
    world.pass_time(300)
    await world.retention.by_age()
    assert await world.events() == 0


@pytest.mark.parametrize("days", [40, -40])
async def test_a_clock_that_jumped_is_not_believed_before_the_next_look(days: int):
    world = await World().open()
    world.now_ms += days * DAY_MS
    with capture_logs() as logs:
        await world.retention.by_age()
    assert [(one["event"], one["by_s"]) for one in logs] == [("clock_jumped", days * 86_400)]
    assert await world.events() == 1


async def test_a_jump_that_is_corrected_before_the_next_look_costs_nothing():
    world = await World().open()
    for days in (40, -40):
        world.now_ms += days * DAY_MS
        await world.retention.by_age()
    world.pass_time(300)
    await world.retention.by_age()
    assert await world.events() == 1


async def test_a_clock_that_stays_where_it_jumped_to_is_believed():
    world = await World().open()
    world.now_ms += 40 * DAY_MS
    await world.retention.by_age()
    world.pass_time(300)
    await world.retention.by_age()
    assert await world.events() == 0


async def test_a_retention_that_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch):
    world = await World().open()
    failures = 0

    async def fail(**_: object) -> None:
        nonlocal failures
        failures += 1
        raise JournalError("disk I/O error")

    world.journal.retain = fail
    monkeypatch.setattr(housekeeping, "AGE_EVERY_S", 0.001)
    task = asyncio.create_task(world.retention.run())
    await eventually(lambda: failures >= 3)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_with_a_limit_the_size_is_looked_at_more_often(monkeypatch: pytest.MonkeyPatch):
    world = await World(max_bytes=2**20).open()
    looks: list[tuple[int, int | None]] = []

    async def retain(*, before_ms: int, keep_for: object, max_bytes: int | None = None) -> int:
        looks.append((before_ms, max_bytes))
        return 0

    world.journal.retain = retain
    monkeypatch.setattr(housekeeping, "SIZE_EVERY_S", 0.001)
    monkeypatch.setattr(housekeeping, "AGE_EVERY_S", 0.003)
    task = asyncio.create_task(world.retention.run())
    await eventually(lambda: len(looks) >= 8)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    by_age, kept = SAMPLE_MS - DAY_MS, 2**20 * 9 // 10
    assert looks[:8] == ([(0, kept)] * 3 + [(by_age, kept)]) * 2


async def test_each_stretch_of_a_damage_is_a_gap_of_each_account_and_then_it_is_settled():
    journal, metrics = MemoryJournal(), Metrics()
    await journal.open()
    stretches = ((1000, 3000), (8000, 9000))
    journal.damage(Damage(at_ms=9000, set_aside="journal.db.damaged", kept=5, stretches=stretches))
    entries: list[Entry] = []

    async def record(entry: Entry) -> None:
        assert await journal.pending_damages() != [], "it is settled once its gaps are on record, not before"
        entries.append(entry)

    await record_damages(journal, record, ["agent1", "agent2"], metrics)
    assert [(entry.account, entry.gap.from_, entry.gap.to) for entry in entries] == [
        ("agent1", "1970-01-01T00:00:01.000Z", "1970-01-01T00:00:03.000Z"),
        ("agent2", "1970-01-01T00:00:01.000Z", "1970-01-01T00:00:03.000Z"),
        ("agent1", "1970-01-01T00:00:08.000Z", "1970-01-01T00:00:09.000Z"),
        ("agent2", "1970-01-01T00:00:08.000Z", "1970-01-01T00:00:09.000Z"),
    ]
    assert {(entry.gap.reason, entry.gap.closed_by) for entry in entries} == {("journal_damaged", "salvage")}
    assert (metrics.value("gaps_total", "journal_damaged"), metrics.value("gap_seconds_total")) == (4, 6.0)
    assert await journal.pending_damages() == []


async def test_an_undamaged_journal_makes_no_gap():
    journal = MemoryJournal()
    await journal.open()
    await record_damages(journal, lambda _: asyncio.sleep(0), ["agent1"], Metrics())


async def test_whose_session_a_damage_took_is_known_to_be_unheard_since_and_nobody_else():
    journal = MemoryJournal()
    await journal.open()
    await remember_losses(journal, ["agent1"])
    assert await journal.sessions() == {}
    kept = SessionState(
        account="agent2", url="u", topic="t", client_id="c", connection_type="long-polling", ack=None, seen_ms=2
    )
    await journal.append(JournalBatch(sessions=(kept,)))
    for at_ms in (9000, 8000):
        journal.damage(Damage(at_ms=at_ms, set_aside="", kept=5, stretches=((1000, at_ms),)))
    await remember_losses(journal, ["agent1", "agent2"])
    found = await journal.sessions()
    assert (found["agent1"].seen_ms, found["agent1"].client_id, found["agent2"]) == (8000, "", kept)


def test_what_another_replica_has_found_and_not_recorded_is_recorded_in_time_also_if_the_journal_fails_at_first():
    async def play() -> None:
        journal, patience, done = MemoryJournal(), Patience(), []
        await journal.open()
        fails = [JournalError("away")]

        async def record() -> None:
            if fails:
                raise fails.pop()
            await record_damages(journal, append, ["agent1"], Metrics())

        async def append(entry: Entry) -> None:
            done.append(entry)

        task = asyncio.create_task(keep_recording(record, patience))
        await asyncio.sleep(0.5)
        assert patience.trouble == "the journal could not be asked: away"
        await asyncio.sleep(1.0)
        assert patience.trouble is None
        journal.damage(Damage(at_ms=9000, set_aside="", kept=5, stretches=((1000, 9000),)))
        await asyncio.sleep(2 * housekeeping.AGE_EVERY_S)
        assert len(done) == 1
        task.cancel()

    with capture_logs():
        in_virtual_time(play)
