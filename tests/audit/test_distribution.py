"""Counts as bars: of which length, of which codes, and which of them gaps touch."""

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from listener.audit.distribution import MOST_BARS, MOST_SERIES, distribute
from listener.audit.events import Stretch, epoch_ms
from listener.audit.periods import Calendar, Unit

HOUR = 3600
START = epoch_ms("2026-11-01T00:00:00Z") // 1000


def spread(*hours, code="a", zone=UTC, **period):
    return distribute({(START + hour * HOUR, "k", code): 1 for hour in hours}, calendar=Calendar(zone), **period)


@pytest.mark.parametrize(
    ("last_hour", "unit"),
    [
        (0, Unit.HOUR),
        (94, Unit.HOUR),
        (96, Unit.DAY),
        (94 * 24, Unit.DAY),
        (96 * 24, Unit.WEEK),
        (3 * 365 * 24, Unit.MONTH),
        (30 * 365 * 24, Unit.YEAR),
    ],
)
def test_bars_are_as_long_as_their_number_allows(last_hour, unit):
    shown = spread(0, last_hour)
    assert (shown.unit, len(shown.labels) <= MOST_BARS) == (unit, True)
    assert sum(shown.totals) == (2 if last_hour else 1)
    assert shown.totals[0] >= 1
    assert shown.totals[-1] >= 1


def test_bars_fill_the_period_that_was_asked_for():
    shown = spread(24 * 10, from_ms=START * 1000, to_ms=epoch_ms("2026-12-01T00:00:00Z"))
    assert (shown.labels[0], shown.labels[-1], len(shown.labels)) == ("2026-11-01", "2026-11-30", 30)
    assert shown.totals[10] == 1


def test_a_period_without_reason_is_not_drawn():
    shown = spread(5, 7, from_ms=0, to_ms=epoch_ms("9999-01-01T00:00:00Z"))
    assert shown.labels == ("2026-11-01T05:00Z", "2026-11-01T06:00Z", "2026-11-01T07:00Z")


def test_days_are_those_of_the_zone():
    shown = spread(*range(-3, 120), zone=ZoneInfo("Europe/Berlin"))
    assert (shown.labels[0], shown.totals[0]) == ("2026-10-31", 2)


def test_the_smallest_codes_share_a_series():
    hours = {(START, "k", f"code-{number:02d}"): number for number in range(1, 12)} | {(START, "k", None): 20}
    shown = distribute(hours, calendar=Calendar(UTC))
    names = [one.name for one in shown.series]
    assert (len(names), names[0], names[1], names[-1]) == (MOST_SERIES, "(cleared)", "code-11", "other (5 codes)")
    assert sum(shown.totals) == sum(hours.values())


def test_as_many_codes_as_there_are_colours_keep_their_names():
    shown = distribute({(START, "k", f"code-{n}"): 1 for n in range(MOST_SERIES)}, calendar=Calendar(UTC))
    assert [one.name for one in shown.series] == [f"code-{n}" for n in range(MOST_SERIES)]


def test_codes_of_several_keys_are_told_apart():
    shown = distribute({(START, "k", "a"): 1, (START, "l", "a"): 2}, calendar=Calendar(UTC))
    assert [one.name for one in shown.series] == ["l: a", "k: a"]


def test_bars_that_a_gap_touches_are_marked():
    ms = [(START + hour * HOUR) * 1000 for hour in range(6)]
    gaps = [Stretch(ms[0] - 5, ms[0] - 1), Stretch(ms[1] + 5, ms[1] + 6), Stretch(ms[2] + 9, ms[4] + 1)]
    assert spread(*range(6), gaps=gaps).in_gap == (False, True, True, True, True, False)


def test_nothing_is_no_bar():
    assert distribute({}, calendar=Calendar(UTC), from_ms=0, to_ms=9).labels == ()
