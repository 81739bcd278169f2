"""Hours to years of a zone, over the change of its clocks."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audit.events import epoch_ms
from listener.audit.periods import Calendar, Unit
from listener.model.event import rfc3339

BERLIN = Calendar(ZoneInfo("Europe/Berlin"))


def seconds(text):
    return epoch_ms(text) // 1000


@pytest.mark.parametrize(
    ("unit", "label"),
    [
        (Unit.HOUR, "2026-11-23T00:00+01:00"),
        (Unit.DAY, "2026-11-23"),
        (Unit.WEEK, "2026-11-23"),
        (Unit.MONTH, "2026-11"),
        (Unit.YEAR, "2026"),
    ],
)
def test_a_moment_lies_in_a_unit_of_the_zone(unit, label):
    start = BERLIN.start_of(unit, seconds("2026-11-22T23:30:00Z"))
    assert BERLIN.label(unit, start) == label
    assert BERLIN.start_of(unit, start) == start
    assert BERLIN.start_of(unit, BERLIN.next_of(unit, start) - 1) == start


def test_the_hour_that_comes_twice_is_two_hours():
    hours = BERLIN.starts(Unit.HOUR, seconds("2026-10-25T00:10:00Z"), seconds("2026-10-25T01:10:00Z"))
    labels = [BERLIN.label(Unit.HOUR, hour) for hour in hours]
    assert labels == ["2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"]


@pytest.mark.parametrize(("unit", "count"), [(Unit.HOUR, 25), (Unit.DAY, 1), (Unit.MONTH, 1)])
def test_the_day_on_which_clocks_are_set_back_has_an_hour_more(unit, count):
    assert len(list(BERLIN.starts(unit, seconds("2026-10-24T22:00:00Z"), seconds("2026-10-25T22:59:59Z")))) == count


def test_units_follow_one_another_over_the_ends_of_months_and_years():
    first, last = seconds("2026-11-30T12:00:00Z"), seconds("2027-02-01T00:00:00Z")
    calendar = Calendar(UTC)
    months = [calendar.label(Unit.MONTH, start) for start in calendar.starts(Unit.MONTH, first, last)]
    assert months == ["2026-11", "2026-12", "2027-01", "2027-02"]
    assert len(list(calendar.starts(Unit.DAY, first, last))) == 64
    assert [calendar.label(Unit.WEEK, start) for start in calendar.starts(Unit.WEEK, first, last)][-1] == "2027-02-01"


def test_zones_off_the_hour_have_hours_of_their_own():
    calendar = Calendar(ZoneInfo("Asia/Kolkata"))
    start = calendar.hour_of(epoch_ms("2026-11-22T09:39:00Z"))
    assert calendar.label(Unit.HOUR, start) == "2026-11-22T15:00+05:30"


def test_a_moment_is_told_with_seconds_only_where_it_has_some():
    assert Calendar(UTC).label(Unit.HOUR, 0) == "1970-01-01T00:00Z"
    assert BERLIN.clock(epoch_ms("2026-11-22T09:39:00.9Z")) == "2026-11-22 10:39"
    assert BERLIN.clock(epoch_ms("2026-11-22T09:39:07Z")) == "2026-11-22 10:39:07"


@given(st.lists(st.integers(-3_000_000_000, 4_000_000_000), min_size=1), st.integers(0, 999))
def test_a_stamp_is_that_of_its_very_moment(moments, ms):
    for name in ("Europe/Berlin", "Asia/Kathmandu", "Africa/Monrovia", "Europe/Amsterdam"):
        zone = ZoneInfo(name)
        calendar = Calendar(zone)
        for moment in moments:
            local = datetime.fromtimestamp(moment, zone).replace(microsecond=ms * 1000)
            assert calendar.stamp(moment * 1000 + ms) == local.isoformat(timespec="milliseconds")


@given(st.lists(st.integers(epoch_ms("1100-01-01T00:00:00Z"), epoch_ms("2200-01-01T00:00:00Z"))))
def test_many_stamps_are_those_of_each(times):
    for calendar in (BERLIN, Calendar(UTC)):
        assert calendar.stamps([rfc3339(time_ms) for time_ms in times]) == list(map(calendar.stamp, times))
