"""What is learned from polls that end too soon, and what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.cometd.holding import HoldLimit

ADVISED_MS = 120_000


def failed(hold: HoldLimit, held_ms: int, http_status: int | None = 504, *, advised_ms: int = ADVISED_MS) -> bool:
    return bool(hold.failed(held_s=held_ms / 1000, advised_ms=advised_ms, http_status=http_status))


@pytest.mark.parametrize("status", [504, 502, 408, None])
@pytest.mark.parametrize("cut_ms", [1000, 10_000, 60_000, 110_000])
def test_two_cuts_at_the_same_time_teach_a_hold_that_ends_before(cut_ms: int, status: int | None):
    hold = HoldLimit()
    assert not failed(hold, cut_ms, status)
    assert hold.limit_ms is None
    assert failed(hold, cut_ms + 90, status)
    assert hold.limit_ms == cut_ms * 3 // 4


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((60_000, 504), (20_000, 504)),
        ((60_000, 504), (60_000, None)),
        ((40, None), (40, None)),
        ((400, 504), (400, 504)),
    ],
    ids=["other time", "other end", "at once", "too soon"],
)
def test_two_failures_that_are_not_alike_teach_nothing(first: tuple[int, int | None], second: tuple[int, int | None]):
    hold = HoldLimit()
    assert not failed(hold, *first)
    assert not failed(hold, *second)
    assert hold.limit_ms is None


def test_what_is_learned_is_told_in_words():
    hold = HoldLimit()
    failed(hold, 60_000)
    assert hold.failed(held_s=60.0, advised_ms=ADVISED_MS, http_status=504) == (
        "polls fail after 60.0 s, and the server holds them for 120 s: from now on they ask for an answer within 45.0 s"
    )


def test_a_poll_that_was_held_for_longer_clears_the_suspicion():
    hold = HoldLimit()
    failed(hold, 60_000)
    hold.answered(held_s=100_000 / 1000)
    assert not failed(hold, 60_000)


def test_a_poll_that_was_answered_sooner_clears_nothing():
    hold = HoldLimit()
    failed(hold, 60_000)
    hold.answered(held_s=5 / 1000)
    hold.answered(held_s=30_000 / 1000)
    assert failed(hold, 60_000)


def test_silence_beyond_the_hold_halves_it_once():
    """A firewall that forgets idle connections shows no time of its own."""
    hold = HoldLimit()
    assert [failed(hold, 130_000, None) for _ in range(6)] == [False, True, False, False, False, False]
    assert hold.limit_ms == 60_000


def test_a_server_that_does_not_do_as_it_is_asked_is_not_asked_for_less_and_less():
    hold = HoldLimit()
    assert [failed(hold, 60_000) for _ in range(6)] == [False, True, False, False, False, False]
    assert hold.limit_ms == 45_000


def test_another_proxy_with_a_shorter_limit_is_learned_too():
    hold = HoldLimit()
    assert [failed(hold, 60_000), failed(hold, 60_000), failed(hold, 20_000), failed(hold, 20_000)] == [
        False,
        True,
        False,
        True,
    ]
    assert hold.limit_ms == 15_000


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 200_000), st.sampled_from([None, 502, 504])), max_size=40))
def test_whatever_happens_the_limit_only_falls_and_stays_useful(polls: list[tuple[bool, int, int | None]]):
    hold = HoldLimit()
    before = ADVISED_MS
    for answered, held_ms, status in polls:
        if answered:
            hold.answered(held_s=held_ms / 1000)
        learned = not answered and failed(hold, held_ms, status)
        now = hold.limit_ms if hold.limit_ms is not None else ADVISED_MS
        assert (now < before) is learned
        assert now >= 375
        before = now
