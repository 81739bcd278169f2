"""Delays grow, stay within their limits and start over after a success."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.runtime.backoff import Backoff, retry_after_s


def highest(low: float, high: float) -> float:
    return high


def lowest(low: float, high: float) -> float:
    return low


def test_the_cap_doubles_up_to_the_limit():
    backoff = Backoff(first_s=0.5, limit_s=3.0, uniform=highest)
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_lucky_draw_is_raised_to_the_floor():
    backoff = Backoff(floor_s=0.05, uniform=lowest)
    assert [backoff.next() for _ in range(3)] == [0.05] * 3


def test_a_success_starts_over():
    backoff = Backoff(first_s=1.0, uniform=highest)
    backoff.next()
    backoff.next()
    assert backoff.attempts == 2
    backoff.reset()
    assert (backoff.attempts, backoff.next()) == (0, 1.0)


def test_the_draw_is_from_zero_to_the_cap():
    drawn: list[tuple[float, float]] = []

    def record(low: float, high: float) -> float:
        drawn.append((low, high))
        return high

    backoff = Backoff(first_s=0.5, limit_s=30.0, uniform=record)
    backoff.next()
    backoff.next()
    assert drawn == [(0.0, 0.5), (0.0, 1.0)]


def test_many_sessions_that_failed_together_do_not_return_together():
    delays_s = [Backoff(first_s=10.0).next() for _ in range(200)]
    assert max(delays_s) - min(delays_s) > 5.0


@given(attempts=st.integers(0, 3000), limit_s=st.floats(0.1, 1e6))
def test_no_number_of_attempts_leads_beyond_the_limits(attempts: int, limit_s: float):
    backoff = Backoff(limit_s=limit_s)
    for _ in range(min(attempts, 50)):
        backoff.next()
    backoff.attempts = attempts
    assert 0.05 <= backoff.next() <= limit_s


@pytest.mark.parametrize("first_s", [0.01, 0.04])
def test_the_floor_wins_over_a_lower_cap(first_s: float):
    assert Backoff(first_s=first_s, floor_s=0.05, uniform=highest).next() == 0.05


NOW_S = 1_795_340_340.0  # Sun, 22 Nov 2026 09:39:00 GMT


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("9" * 400, 3600.0),
        ("-5", None),
        ("1.5", None),
        ("\u00b2", None),
        ("soon", None),
        ("Sun, 22 Nov 2026 09:39:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 09:39:30 -0000", 30.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2915 07:28:00 GMT", 3600.0),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_the_limit(value: str | None, wait_s: float | None):
    assert retry_after_s(value, limit_s=3600.0, now_s=lambda: NOW_S) == wait_s


@given(st.text())
def test_retry_after_of_any_text_is_no_error(value: str):
    seconds = retry_after_s(value, limit_s=3600.0)
    assert seconds is None or 0 <= seconds <= 3600
