"""The ring of minutes against a list of all that ever happened, on a clock that moves when the test says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from listener.daemon.last_hour import Hour, Ring
from listener.errors import JournalError
from listener.model.event import JournalBatch, epoch_ms, rfc3339
from listener.testing import ManualClock, MemoryJournal, sample_event, sample_gap

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
START_MS = 1_800_000_000_000  # begins a minute


@given(st.lists(st.tuples(st.integers(0, 150), st.integers(0, 9), st.none() | st.integers(0, 9)), max_size=50))
def test_a_ring_knows_its_newest_steps_and_no_others(happened: list[tuple[int, int, int | None]]):
    ring, newest = Ring(10), 0
    for step, count, largest in happened:
        ring.add(step, count, largest)
        newest = max(newest, step)
    window = range(newest - 9, newest + 1)
    # A step that came when it was too old counts for nothing; the others are summed up.
    late, high = dict.fromkeys(window, 0), dict[int, int | None].fromkeys(window)
    seen = 0
    for step, count, largest in happened:
        seen = max(seen, step)
        if step in late and step > seen - 10:
            late[step] += count
            known = [one for one in (high[step], largest) if one is not None]
            high[step] = max(known, default=None)
    assert ring.counts() == list(late.values())
    assert ring.largest() == list(high.values())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(start_ms=START_MS)


@pytest.fixture
def hour(clock: ManualClock) -> Hour:
    return Hour(clock)


def test_what_happens_is_in_its_minute(clock: ManualClock, hour: Hour):
    hour.recorded((sample_event(1), sample_event(2)))
    hour.delivered(2, 0.25)
    clock.advance(61)
    hour.recorded((sample_event(3),))
    hour.delivered(1, 0.5)
    hour.delivered(1, 7.0)
    hour.delivered(1, 0.1)
    told = hour.told()
    assert told.events[-2:] == (2, 1)
    assert told.delay_ms[-3:] == (None, 250, 7000)
    assert told.since == rfc3339(START_MS - 58 * MINUTE_MS)
    assert len(told.events) == len(told.delay_ms) == 60


def test_what_nobody_knows_is_not_told_as_nothing(clock: ManualClock, hour: Hour):
    clock.advance(90)
    told = hour.told()
    assert told.events == (*[None] * 58, 0, 0)
    assert told.known_since == rfc3339(START_MS)
    clock.advance(3600)
    assert hour.told().events == (0,) * 60
    assert hour.told().known_since == hour.told().since


def test_what_is_older_than_an_hour_is_forgotten(clock: ManualClock, hour: Hour):
    hour.recorded((sample_event(1), sample_gap(2)))
    hour.delivered(1, 1.0)
    clock.advance(3599)
    assert (hour.told().events[0], hour.told().delay_ms[0], len(hour.told().gaps)) == (2, 1000, 1)
    clock.advance(1)
    told = hour.told()
    assert (sum(one or 0 for one in told.events), set(told.delay_ms), told.gaps) == (0, {None}, ())


def test_a_clock_that_is_set_moves_no_minute(clock: ManualClock, hour: Hour):
    hour.recorded((sample_event(1),))
    clock._start_ms += 5 * HOUR_MS
    clock.advance(60)
    told = hour.told()
    assert told.events[-2:] == (1, 0)
    assert told.since == rfc3339(START_MS - 58 * MINUTE_MS + 5 * HOUR_MS)


def test_rates_are_means_over_a_minute_or_since_the_start(clock: ManualClock, hour: Hour):
    events = tuple(sample_event(number) for number in range(30))
    hour.recorded(events)
    clock.advance(10)
    hour.delivered(60, 0.1)
    assert (hour.rates().events_per_second, hour.rates().deliveries_per_second) == (3.0, 6.0)
    clock.advance(50)
    assert (hour.rates().events_per_second, hour.rates().deliveries_per_second) == (0.5, 1.0)
    clock.advance(1)
    assert (hour.rates().events_per_second, hour.rates().deliveries_per_second) == (0.0, 1.0)


def test_gaps_are_told_newest_first_and_bounded(clock: ManualClock, hour: Hour):
    for number in range(150):
        hour.recorded((sample_gap(number + 1),))
        clock.advance(1)
    told = hour.told().gaps
    assert len(told) == 100
    gap = told[0]
    assert gap.seconds == (epoch_ms(gap.to) - epoch_ms(gap.from_)) / 1000
    assert gap.account


async def test_what_an_earlier_process_recorded_is_taken_from_the_journal(clock: ManualClock):
    journal = MemoryJournal()
    await journal.open()
    ages_min = (70, 59, 58, 58, 1)
    old = [replace(sample_event(n), received_ms=START_MS - age * MINUTE_MS) for n, age in enumerate(ages_min, 1)]
    gap = replace(sample_gap(6), received_ms=START_MS - 30_000)
    await journal.append(JournalBatch(events=(*old, gap)))
    hour = Hour(clock)
    hour.recorded((sample_event(7),))
    await hour.recall(journal)
    told = hour.told()
    assert told.events == (1, 2, *[0] * 55, 0, 2, 1)
    assert set(told.delay_ms) == {None}
    assert (len(told.gaps), told.known_since) == (1, told.since)


async def test_of_a_journal_with_more_than_is_read_the_hour_is_known_from_there(clock: ManualClock):
    journal = MemoryJournal()
    await journal.open()
    old = [replace(sample_event(n), received_ms=START_MS - 30 * MINUTE_MS + n) for n in range(1, 6001)]
    await journal.append(JournalBatch(events=tuple(old)))
    hour = Hour(clock)
    await hour.recall(journal)
    told = hour.told()
    assert told.known_since == rfc3339(START_MS - 30 * MINUTE_MS + 1001)
    assert told.events == (*[None] * 29, 5000, *[0] * 30)


async def test_a_journal_that_cannot_be_read_leaves_the_hour_unknown(clock: ManualClock):
    hour = Hour(clock)
    journal = MemoryJournal()
    with pytest.raises(JournalError):
        await journal.read(0, 1)
    await hour.recall(journal)
    assert hour.told().events == (*[None] * 59, 0)
