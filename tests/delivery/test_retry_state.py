"""The clock of the horizon, and what of a lane's standing survives a restart."""

import pytest

from listener.delivery.policy import LanePolicy
from listener.delivery.retry_state import RetryState
from listener.errors import JournalError
from listener.model.event import LaneState
from listener.testing import ManualClock, MemoryJournal
from support.lanes import HOUR_S


class World:
    """A standing, its clock, and the journal that it is stored in."""

    def __init__(self, journal: MemoryJournal, clock: ManualClock) -> None:
        self.journal, self.clock = journal, clock
        self.retry_state = RetryState(
            sink="crm",
            journal=journal,
            policy=LanePolicy(retry_horizon_s=10 * HOUR_S),
            now_ms=clock.now_ms,
            monotonic=clock.monotonic_s,
        )

    def fail(self, *, times: int = 1, every_s: float = HOUR_S) -> None:
        for _ in range(times):
            self.clock.advance(every_s)
            self.retry_state.failed("503", 0.0)

    async def stored(self) -> LaneState | None:
        return (await self.journal.lane_states()).get("crm")


@pytest.fixture
async def world() -> World:
    world = World(MemoryJournal(), ManualClock())
    await world.journal.open()
    return world


def test_the_clock_runs_from_failure_to_failure(world: World):
    world.retry_state.begin(7)
    world.fail(times=10)
    assert (world.retry_state.attempts, world.retry_state.is_over) == (10, False), "nine hours lie between ten failures"
    world.fail()
    assert (world.retry_state.attempts, world.retry_state.is_over) == (11, True)


def test_without_a_horizon_nothing_is_ever_over(world: World):
    for_ever = RetryState(
        sink="crm",
        journal=world.journal,
        policy=LanePolicy(),
        now_ms=world.clock.now_ms,
        monotonic=world.clock.monotonic_s,
    )
    for_ever.begin(1)
    for _ in range(3):
        world.clock.advance(1000 * HOUR_S)
        for_ever.failed("503", 0.0)
    assert not for_ever.is_over


def test_it_starts_again_when_the_head_is_taken_and_runs_on_when_it_is_given_up(world: World):
    world.retry_state.begin(7)
    world.fail(times=11)
    world.retry_state.give_up(8)
    assert (world.retry_state.is_over, world.retry_state.attempts, world.retry_state.state.sequence) == (True, 10, 8)
    world.retry_state.move_to(8)
    assert world.retry_state.is_over, "still the same head"
    world.retry_state.move_to(9)
    assert (world.retry_state.is_over, world.retry_state.state.sequence, world.retry_state.state.failing_ms) == (
        False,
        9,
        0,
    )


def test_another_batch_starts_from_nothing(world: World):
    world.retry_state.begin(7)
    world.fail(times=11)
    world.retry_state.clear()
    world.retry_state.begin(8)
    assert (world.retry_state.is_over, world.retry_state.attempts, world.retry_state.state) == (
        False,
        0,
        LaneState(sink="crm"),
    )


async def test_the_time_in_which_a_lane_is_parked_does_not_count(world: World):
    world.retry_state.begin(7)
    world.fail(times=2)
    await world.retry_state.park("401")
    assert (await world.stored()).parked == "401"
    assert (await world.stored()).parked_ms == world.clock.now_ms()
    world.clock.advance(1000 * HOUR_S)
    await world.retry_state.resume()
    world.fail(times=2)
    stored = await world.stored()
    assert (stored.parked, stored.parked_ms) == (None, 0)
    assert world.retry_state.state.failing_ms == 2 * HOUR_S * 1000


def test_a_machine_that_was_suspended_has_made_one_attempt_of_an_hour_at_most(world: World):
    world.retry_state.begin(7)
    world.retry_state.failed("503", 60.0)
    world.clock.advance(1000 * HOUR_S)
    world.retry_state.failed("503", 60.0)
    assert world.retry_state.state.failing_ms == (HOUR_S + 60) * 1000


async def test_it_is_stored_at_failures_but_not_at_each_of_many(world: World):
    world.retry_state.begin(7)
    seen = []
    for _ in range(25):
        world.fail(every_s=1.0)
        await world.retry_state.store_now_and_then()
        seen.append((await world.stored()).attempts)
    assert sorted(set(seen)) == [1, 11, 21]


@pytest.mark.parametrize(("head", "hours", "attempts"), [(7, 4, 5), (8, 0, 0)])
async def test_a_restart_goes_on_counting_where_the_same_event_is_at_the_head(
    world: World, head: int, hours: int, attempts: int
):
    world.retry_state.begin(7)
    world.fail(times=5)
    await world.retry_state.store()
    world.clock.advance(1000 * HOUR_S)
    again = World(world.journal, world.clock)
    await again.retry_state.restore()
    again.retry_state.begin(head)
    assert (again.retry_state.state.failing_ms, again.retry_state.attempts) == (hours * HOUR_S * 1000, attempts)
    again.fail()
    assert again.retry_state.attempts == attempts + 1
    assert again.retry_state.state.failing_ms == hours * HOUR_S * 1000, "nobody tried while it was down"


async def test_a_start_ends_a_park_durably_and_keeps_the_rest(world: World):
    world.retry_state.begin(7)
    world.fail(times=3)
    await world.retry_state.park("401")
    again = World(world.journal, world.clock)
    await again.retry_state.restore()
    stored = await world.stored()
    assert (stored.parked, stored.sequence, stored.attempts, stored.last_error) == (None, 7, 3, "503")


async def test_a_sink_that_is_disabled_stays_so_over_restarts_until_it_is_resumed(world: World):
    await world.retry_state.park("410", disabled=True)
    for _ in range(2):
        again = World(world.journal, world.clock)
        await again.retry_state.restore()
        assert (again.retry_state.state.parked, again.retry_state.state.disabled) == ("410", True)
    await again.retry_state.resume()
    assert await world.stored() == LaneState(sink="crm")


async def test_the_silence_that_a_destination_asked_for_goes_on_after_a_restart(world: World):
    world.retry_state.begin(7)
    world.fail()
    await world.retry_state.be_quiet(600.0)
    world.clock.advance(100.0)
    again = World(world.journal, world.clock)
    await again.retry_state.restore()
    assert again.retry_state.quiet_s == 500.0
    again.retry_state.begin(8)
    assert again.retry_state.quiet_s == 500.0, "another batch at the head changes nothing about it"
    world.clock.advance(600.0)
    assert again.retry_state.quiet_s == 0.0


async def test_a_wall_clock_that_was_set_back_makes_no_silence_longer_than_was_asked_for(world: World):
    await world.retry_state.be_quiet(600.0)
    early = ManualClock()
    early.advance(-86_400.0)
    again = RetryState(
        sink="crm", journal=world.journal, policy=LanePolicy(), now_ms=early.now_ms, monotonic=early.monotonic_s
    )
    await again.restore()
    assert again.quiet_s == 600.0


def test_of_long_pauses_only_so_much_counts_that_ten_attempts_are_made(world: World):
    week = RetryState(
        sink="crm",
        journal=world.journal,
        policy=LanePolicy(retry_horizon_s=75 * HOUR_S),
        now_ms=world.clock.now_ms,
        monotonic=world.clock.monotonic_s,
    )
    week.begin(7)
    while not week.is_over:
        week.failed("503", 100 * HOUR_S)
        world.clock.advance(100 * HOUR_S)
    assert week.attempts == 10, "and one more, which is the last"


async def test_what_does_not_change_is_not_written(world: World, monkeypatch: pytest.MonkeyPatch):
    async def refuse(_: LaneState) -> None:
        raise AssertionError("written")

    monkeypatch.setattr(world.journal, "store_lane_state", refuse)
    await world.retry_state.restore()
    world.retry_state.begin(1)
    world.retry_state.clear()
    await world.retry_state.store()


async def test_a_journal_in_trouble_costs_the_state_and_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch):
    async def fail(_: LaneState) -> None:
        raise JournalError("disk full")

    world.retry_state.begin(7)
    world.fail()
    with monkeypatch.context() as patch:
        patch.setattr(world.journal, "store_lane_state", fail)
        await world.retry_state.park("401")
    assert await world.stored() is None
    await world.retry_state.store()
    assert (await world.stored()).parked == "401"
