"""The one policy of pauses: what a session survives, and what a server is spared."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.cometd.lease import LONGEST_PAUSE_S, Lease
from listener.cometd.protocol import Resume, Session
from listener.testing import ManualClock

DICE = random.Random(7)  # noqa: S311 - dice of a test, nothing secret


def lease_of(clock: ManualClock, *, max_interval_s: float = 10.0, spread_s: float = 1.0, alive: bool = True) -> Lease:
    session = Session(topics=["/t"], connection_type="long-polling")
    if alive:
        session.resume(Resume(client_id="c", connection_type="long-polling", ack=None))
    session.advise({"maxInterval": max_interval_s * 1000})
    return Lease(session=session, now_s=clock.monotonic_s, uniform=DICE.uniform, spread_s=spread_s)


@given(
    st.floats(0.1, 3600),
    st.floats(0.001, 10),
    st.floats(0, 1e18),
    st.floats(0.5, 100),
    st.floats(0.5, 100),
)
def test_no_attempt_takes_so_long_that_the_session_cannot_be_tried_again(
    max_interval_s: float, spread_s: float, asked_s: float, connect_timeout_s: float, margin_s: float
):
    clock = ManualClock()
    lease = lease_of(clock, max_interval_s=max_interval_s, spread_s=spread_s)
    lease.failed()
    while clock.monotonic_s() < max_interval_s:
        pause_s = max(lease.pause_s(), lease.obeyed_s(asked_s))
        assert 0.05 <= pause_s <= max(0.05, 0.25 * max_interval_s)
        assert lease.connecting_s(connect_timeout_s) <= max(1.0, max_interval_s)
        assert lease.margin_s(margin_s) <= max(5.0, max_interval_s)
        clock.advance(pause_s)


@given(st.floats(1, 600))
def test_a_gap_is_at_most_a_tenth_and_a_second_longer_than_its_cause(outage_s: float):
    clock = ManualClock()
    lease = lease_of(clock)
    lease.failed()
    while clock.monotonic_s() < outage_s:
        clock.advance(lease.pause_s())
    assert clock.monotonic_s() <= outage_s * 1.1 + 1.0


def test_pauses_stop_growing_at_half_a_minute():
    clock = ManualClock()
    lease = lease_of(clock)
    lease.failed()
    clock.advance(86_400)
    assert all(15.0 <= lease.pause_s() <= 30.0 for _ in range(100))


def test_sessions_that_failed_together_do_not_return_together():
    leases = [lease_of(ManualClock()) for _ in range(100)]
    pauses = sorted(lease.pause_s() for lease in leases)
    assert pauses[-1] - pauses[0] > 0.4


def test_many_sessions_take_more_time_as_far_as_they_have_it():
    few, many = (lease_of(ManualClock(), spread_s=spread_s) for spread_s in (1.0, 10.0))
    assert max(few.pause_s() for _ in range(100)) <= 1.0
    assert 1.0 <= min(many.pause_s() for _ in range(100)) <= max(many.pause_s() for _ in range(100)) <= 2.0


@pytest.mark.parametrize(("asked_s", "obeyed_s"), [(0.0, 0.0), (1.0, 1.0), (42.0, 2.0), (1e18, 2.0)])
def test_what_a_server_asks_for_is_obeyed_as_far_as_the_session_outlives_it(asked_s: float, obeyed_s: float):
    assert obeyed_s <= lease_of(ManualClock()).obeyed_s(asked_s) <= obeyed_s * 1.1


@pytest.mark.parametrize(
    ("away_s", "refused", "obeyed_s"), [(14.9, False, 2.0), (15.1, False, 0.0), (15.1, True, LONGEST_PAUSE_S)]
)
def test_an_advised_interval_does_not_outlive_its_session(away_s: float, obeyed_s: float, *, refused: bool):
    clock = ManualClock()
    lease = lease_of(clock)
    lease._session.advise({"interval": 86_400_000})
    lease.failed()
    clock.advance(away_s)
    assert obeyed_s <= lease.obeyed_s(0.0, refused=refused) <= obeyed_s * 1.1


@pytest.mark.parametrize(("asked_s", "obeyed_s"), [(42.0, 42.0), (1e18, LONGEST_PAUSE_S)])
@pytest.mark.parametrize("alive", [True, False])
def test_without_a_session_to_lose_it_is_obeyed_up_to_a_minute(asked_s: float, obeyed_s: float, *, alive: bool):
    clock = ManualClock()
    lease = lease_of(clock, alive=alive)
    lease.failed()
    clock.advance(10.1)
    assert obeyed_s <= lease.obeyed_s(asked_s) <= obeyed_s * 1.1


def test_a_session_is_kept_from_the_end_of_the_poll_that_the_server_still_held():
    clock = ManualClock()
    lease = lease_of(clock)
    lease.unanswered(3.0)
    lease.failed()
    clock.advance(12.9)
    assert not lease.is_over()
    clock.advance(0.2)
    assert lease.is_over()
    lease.renewed()
    lease.failed()
    assert not lease.is_over()


def test_a_session_is_over_when_exchanges_have_failed_for_longer_than_the_server_keeps_it():
    clock = ManualClock()
    lease = lease_of(clock)
    clock.advance(60)
    assert not lease.is_over(), "a poll was held all the while"
    lease.failed()
    clock.advance(9)
    lease.failed()
    assert not lease.is_over()
    clock.advance(2)
    assert lease.is_over()
    lease.renewed()
    assert not lease.is_over()


def test_a_server_keeps_a_session_for_the_interval_that_it_advised_and_max_interval():
    clock = ManualClock()
    lease = lease_of(clock)
    lease._session.advise({"interval": 3000})
    lease.failed()
    clock.advance(12.9)
    assert not lease.is_over()
    clock.advance(0.2)
    assert lease.is_over()


def test_the_first_login_that_is_granted_gives_a_session_its_time_once_more():
    clock = ManualClock()
    lease = lease_of(clock)
    lease.failed()
    clock.advance(60)
    lease.logged_in()
    lease.failed()
    assert (lease.is_over(), lease.login_in_vain) == (False, True)
    clock.advance(9)
    lease.logged_in()
    clock.advance(2)
    assert lease.is_over(), "the next one does not"
    lease.renewed()
    assert not lease.login_in_vain


def test_a_new_session_has_its_own_time():
    clock = ManualClock()
    lease = lease_of(clock)
    lease.failed()
    clock.advance(60)
    lease.began()
    assert not lease.is_over()
    assert lease.pause_s() <= 1.0


def test_logins_become_rarer_until_a_connect_is_granted():
    clock = ManualClock()
    lease = lease_of(clock)
    waits = []
    for _ in range(8):
        assert lease.may_log_in()
        waits.append(lease.tried_login())
        assert not lease.may_log_in()
        clock.advance(waits[-1])
    assert all(2.0 <= wait_s <= min(60.0, 4.0 * 2**n) for n, wait_s in enumerate(waits))
    lease.tried_login()
    lease.renewed()
    clock.advance(4.0)
    assert lease.may_log_in()
    assert lease.tried_login() <= 4.0


@pytest.mark.parametrize(("lifetime_s", "least_s"), [(60.0, 2.0), (2.0, 0.8)])
def test_logins_that_hold_for_one_poll_each_come_no_closer_than_the_session_demands(lifetime_s: float, least_s: float):
    """Behind two nodes without stickiness every second poll is granted, and each other one asks for a login."""
    clock = ManualClock()
    lease = lease_of(clock, max_interval_s=lifetime_s)
    logins = 0
    for _ in range(200):  # a minute
        lease.failed()
        if lease.may_log_in():
            lease.tried_login()
            logins += 1
        lease.renewed()
        clock.advance(0.3)
    assert 60 / 4.5 - 1 <= logins <= 60 / least_s


def test_a_server_that_is_slow_gets_more_time_with_each_attempt():
    clock = ManualClock()
    lease = lease_of(clock)
    assert lease.margin_s(10.0) == pytest.approx(20 / 3)
    assert lease.connecting_s(10.0) == pytest.approx(10 / 3)
    lease.failed()
    clock.advance(8)
    assert (lease.margin_s(10.0), lease.connecting_s(10.0)) == (8.0, 8.0)
    clock.advance(8)
    assert (lease.margin_s(10.0), lease.connecting_s(10.0)) == (10.0, 10.0)
