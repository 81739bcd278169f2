"""What a gap says of its time, whatever the clocks did, and what proves that a subscription is alive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.intake.gaps import Liveness, gap_between
from listener.model.event import Gap, epoch_ms
from listener.runtime.clock import Moment

NOW_MS = 1_800_000_000_000


def gap(since: Moment, until: Moment) -> Gap:
    return gap_between(since, until, account="agent1", reason="network", closed_by="poll")


@given(
    length_ms=st.integers(0, 10**8),
    step_ms=st.integers(-(10**8), 10**8),
    at=st.floats(0, 1),
    set_at=st.floats(0, 1),
)
def test_every_moment_of_a_gap_lies_in_it_by_the_clock_before_and_after(length_ms, step_ms, at, set_at):
    """Set once, at any time in it: whoever noted a moment by that clock, then or since, finds it in the gap."""
    found = gap(Moment(NOW_MS, 50.0), Moment(NOW_MS + length_ms + step_ms, 50.0 + length_ms / 1000))
    moment_ms = round(at * length_ms)
    start, end = epoch_ms(found.from_), epoch_ms(found.to)
    shown_then = NOW_MS + moment_ms + (step_ms if at > set_at else 0)
    for shown in (shown_then, NOW_MS + moment_ms, NOW_MS + moment_ms + step_ms):
        assert start <= shown <= end
    assert found.seconds == length_ms / 1000
    assert end - start == length_ms + abs(step_ms)
    assert found.clock_step_seconds == (step_ms / 1000 if abs(step_ms) >= 1000 else None)
    assert found.ended_ms == NOW_MS + length_ms + (step_ms if step_ms <= -1000 else max(step_ms, 0))


def test_a_gap_by_the_wall_clock_alone_does_not_claim_a_length():
    found = gap(Moment(NOW_MS, None), Moment(NOW_MS + 5000, 9.0))
    assert (found.from_, found.to) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:00:05.000Z")
    assert (found.seconds, found.clock_step_seconds) == (None, None)


def test_a_clock_that_was_set_back_while_the_machine_was_off_is_told():
    found = gap(Moment(NOW_MS + 60_000, None), Moment(NOW_MS, 9.0))
    assert (found.from_, found.to) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:01:00.000Z")
    assert (found.seconds, found.clock_step_seconds, found.ended_ms) == (None, -60.0, NOW_MS)
    assert gap(Moment(NOW_MS + 160, None), Moment(NOW_MS, 9.0)).clock_step_seconds == -0.16


def at(second: float) -> Moment:
    return Moment(NOW_MS + round(second * 1000), second)


def begun() -> Liveness:
    liveness = Liveness()
    liveness.begin(at(0))
    return liveness


def test_polls_prove_nothing():
    liveness = begun()
    for second in range(1, 10):
        liveness.polled(at(second), heard=False)
    assert liveness.since == at(0)


def test_a_notification_proves_what_was_before_the_poll_that_brought_it():
    liveness = begun()
    liveness.polled(at(5), heard=False)
    liveness.polled(at(10), heard=True)
    assert liveness.since == at(5), "it may have waited for its poll since then"


def test_a_batch_that_no_poll_brought_proves_no_more():
    liveness = begun()
    liveness.polled(at(5), heard=False)
    liveness.polled(None, heard=True)
    assert liveness.since == at(5)


def test_to_subscribe_again_is_certain_and_casts_doubt_on_what_was_before():
    liveness = begun()
    liveness.subscribed_again(at(10))
    liveness.polled(at(12), heard=False)
    liveness.polled(at(14), heard=True)
    assert liveness.since == at(0)
    liveness.trust()
    assert liveness.since == at(12)


@pytest.mark.parametrize(
    ("polled_s", "gap_s", "begins_s"),
    [(5, 9, 0), (9, 9, 9), (None, 9, 9)],
    ids=["a poll was answered since the look", "none was", "none at all"],
)
def test_a_gap_before_a_suspicion_is_settled_begins_where_it_was_last_alive(polled_s, gap_s, begins_s):
    liveness = begun()
    liveness.subscribed_again(at(8))
    liveness.suspect(None if polled_s is None else at(polled_s))
    assert liveness.gap_start(at(gap_s)) == at(begins_s)
    liveness.trust()
    assert liveness.gap_start(at(gap_s)) == at(gap_s)


def test_a_suspicion_makes_no_gap_shorter():
    liveness = begun()
    liveness.suspect(at(-9))
    assert liveness.gap_start(at(-3)) == at(-3)


def test_the_first_suspicion_stays_until_it_is_settled():
    liveness = begun()
    liveness.suspect(at(5))
    liveness.polled(at(6), heard=False)
    liveness.polled(at(8), heard=True)
    liveness.suspect(at(9))
    assert liveness.gap_start(at(9)) == at(0)


def test_what_is_proven_does_not_go_back():
    liveness = begun()
    liveness.subscribed_again(at(10))
    liveness.trust()
    liveness.polled(at(11), heard=True)
    assert liveness.since == at(10)


def test_the_first_doubt_stays_until_it_is_settled():
    liveness = begun()
    liveness.doubt(at(-300))
    liveness.subscribed_again(at(10))
    assert liveness.since == at(-300)
    liveness.begin(at(20))
    assert liveness.since == at(20)
