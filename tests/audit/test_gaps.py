"""Gaps of a period: counted, added up without counting a second twice, and what is near them."""

import pytest

from listener.audit.events import GapData, Stretch
from listener.audit.gaps import NEAR_MS, Gaps

S = 1000


def gaps(*stretches, from_ms=None, to_ms=None):
    found = Gaps(from_ms=from_ms, to_ms=to_ms)
    for number, (account, start, end) in enumerate(stretches):
        found.add(f"id-{number}", GapData(account, Stretch(start * S, end * S), "network", "poll"))
    return found


def figures(found, account=None):
    return [(one.account, one.gaps, one.seconds) for one in found.by_account(account)]


def test_seconds_that_two_gaps_share_count_once_and_accounts_count_apart():
    found = gaps(("a", 10, 30), ("a", 20, 40), ("a", 100, 101), ("b", 0, 50))
    assert figures(found) == [("b", 1, 50.0), ("a", 3, 31.0)]
    assert figures(found, "a") == [("a", 3, 31.0)]


def test_a_gap_that_comes_again_counts_once():
    found = gaps(("a", 10, 30))
    found.add("id-0", GapData("a", Stretch(10 * S, 30 * S), "network", "poll"))
    assert figures(found) == [("a", 1, 20.0)]


def test_only_what_lies_in_the_period_counts():
    found = gaps(("a", 0, 9), ("a", 5, 15), ("a", 18, 25), ("a", 20, 30), from_ms=10 * S, to_ms=20 * S)
    assert figures(found) == [("a", 2, 7.0)]
    assert found.united() == [Stretch(10 * S, 15 * S), Stretch(18 * S, 20 * S)]


@pytest.mark.parametrize(
    ("moment_ms", "near"),
    [
        (200 * S - NEAR_MS - 1, False),
        (200 * S - NEAR_MS, True),
        (250 * S, True),
        (300 * S + NEAR_MS, True),
        (300 * S + NEAR_MS + 1, False),
        (1000 * S, True),
        (2000 * S, False),
    ],
)
def test_near_is_a_minute_around_a_gap_of_the_same_account_wherever_the_period_begins(moment_ms, near):
    found = gaps(("a", 200, 300), ("a", 1000, 1000), ("a", 210, 220), from_ms=900 * S)
    assert found.is_near("a", moment_ms) is near
    assert not found.is_near("b", moment_ms)
