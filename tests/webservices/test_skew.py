"""When the clocks are apart, it is told; once."""

from email.utils import formatdate

import pytest
from structlog.testing import capture_logs

from listener.webservices.skew import ClockSkew

NOW_S = 1_800_000_000.0


def looked(*dates: str | None) -> list[tuple[str, int]]:
    """What is told, after looking at these dates."""
    skew = ClockSkew(time_s=lambda: NOW_S)
    with capture_logs() as lines:
        for date in dates:
            skew.look(date, "http://gws")
    return [(line["event"], line["server_ahead_s"]) for line in lines]


@pytest.mark.parametrize("ahead_s", [-10_800, -61, 61, 3600])
def test_more_than_a_minute_is_told_once(ahead_s: int):
    dates = [formatdate(NOW_S + ahead_s, usegmt=True), formatdate(NOW_S - 5000, usegmt=True)]
    assert looked(*dates) == [("clocks_differ", ahead_s)]


@pytest.mark.parametrize("ahead_s", [-60, -1, 0, 59])
def test_what_an_answer_may_take_is_not_told(ahead_s: int):
    assert looked(formatdate(NOW_S + ahead_s, usegmt=True)) == []


@pytest.mark.parametrize("date", [None, "", "soon", "Thu, 99 Nov 2026 03:00:00 GMT", "Thu, 01 Jan 99999 00:00:00 GMT"])
def test_what_is_no_date_says_nothing(date: str | None):
    assert looked(date) == []


def test_a_date_without_a_zone_is_utc():
    assert looked("Sun, 15 Jan 2017 08:00:00") == [("clocks_differ", 1_484_467_200 - int(NOW_S))]
