"""Certainty as a state of its own: what ends it, what brings it back, and since when."""

import pytest

from listener.cometd.facts import Cause, RestoredBy
from listener.cometd.subscription import Restored, SubscriptionState
from listener.runtime.clock import Moment

FIRST, SECOND, THIRD = (Moment(ms, ms / 1000) for ms in (100, 200, 900))


def certain(at: Moment = FIRST) -> SubscriptionState:
    """A session that stands since a connect at this time."""
    subscription = SubscriptionState()
    subscription.session_began()
    subscription.asked(at)
    subscription.restored()
    return subscription


def test_a_process_begins_uncertain_because_of_its_start():
    subscription = SubscriptionState()
    subscription.session_began()
    subscription.asked(FIRST)
    assert subscription.last is None
    assert subscription.restored() == Restored(since=None, restored_by=RestoredBy.HANDSHAKE, cause=Cause.RESTART)
    assert subscription.last == FIRST


def test_a_session_of_an_earlier_process_is_resumed():
    subscription = SubscriptionState()
    assert subscription.restored() == Restored(since=None, restored_by=RestoredBy.RESUME, cause=Cause.RESTART)


def test_while_nothing_happens_each_connect_moves_the_last_certain_moment():
    subscription = certain()
    for at in (SECOND, THIRD):
        subscription.asked(at)
        assert subscription.restored() is None
        assert subscription.last == at


def test_a_request_that_was_only_sent_makes_nothing_certain():
    subscription = certain()
    subscription.asked(SECOND)
    assert subscription.last == FIRST


def test_a_failure_without_a_cut_leaves_the_session_as_certain_as_it_was():
    subscription = certain()
    subscription.failed(cut=False)
    assert subscription.restored() is None


def test_an_answer_beside_the_polls_may_have_held_what_came_before_the_last_of_them():
    subscription = certain()
    subscription.asked(SECOND)
    subscription.restored()
    subscription.doubted(since=FIRST)
    subscription.asked(THIRD)
    assert subscription.restored() == Restored(since=FIRST, restored_by=RestoredBy.POLL, cause=Cause.NO_ACK_CUT)


@pytest.mark.parametrize(
    ("before", "until"),
    [((), SECOND), (({"since": FIRST, "until": FIRST},), SECOND), (({},), None), (({"since": FIRST},), None)],
)
def test_what_such_an_answer_may_have_held_ends_with_it_unless_another_may_be_on_its_way(before, until):
    subscription = certain()
    for one in before:
        subscription.doubted(**one)
    subscription.doubted(since=FIRST, until=SECOND)
    subscription.asked(THIRD)
    restored = subscription.restored()
    assert restored is not None
    assert (restored.since, restored.until, restored.cause) == (FIRST, until, Cause.NO_ACK_CUT)
    subscription.doubted(since=FIRST, until=THIRD)
    assert (again := subscription.restored()) is not None
    assert again.until == THIRD


@pytest.mark.parametrize(
    ("happened", "restored_by", "cause"),
    [
        (["cut"], RestoredBy.POLL, Cause.NO_ACK_CUT),
        (["cut", "expired", "began"], RestoredBy.HANDSHAKE, Cause.NETWORK),
        (["failed", "expired", "began"], RestoredBy.HANDSHAKE, Cause.NETWORK),
        (["expired", "began"], RestoredBy.HANDSHAKE, Cause.SESSION_EXPIRED),
        (["began"], RestoredBy.HANDSHAKE, Cause.SESSION_EXPIRED),
        (["login"], RestoredBy.POLL, Cause.LOGIN),
        (["login", "expired", "began"], RestoredBy.HANDSHAKE, Cause.LOGIN),
        (["cut", "login"], RestoredBy.POLL, Cause.NO_ACK_CUT),
        (["login", "cut"], RestoredBy.POLL, Cause.NO_ACK_CUT),
        (["expired", "login", "began"], RestoredBy.HANDSHAKE, Cause.SESSION_EXPIRED),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_what_happened_decides_the_cause(happened: list[str], restored_by: RestoredBy, cause: Cause):
    subscription = certain()
    tell = {
        "cut": lambda: subscription.failed(cut=True),
        "failed": lambda: subscription.failed(cut=False),
        "expired": lambda: subscription.lost(Cause.SESSION_EXPIRED),
        "login": lambda: subscription.lost(Cause.LOGIN),
        "began": subscription.session_began,
    }
    for one in happened:
        tell[one]()
    subscription.asked(THIRD)
    assert subscription.restored() == Restored(since=FIRST, restored_by=restored_by, cause=cause)
    assert (subscription.last, subscription.cut) == (THIRD, False)
    assert subscription.restored() is None, "what was told once is over"


def test_a_new_session_whose_first_connect_brought_nothing_is_certain_since_its_subscription():
    subscription = certain()
    subscription.lost(Cause.SESSION_EXPIRED)
    subscription.session_began()
    subscription.asked(SECOND)
    subscription.granted()
    subscription.asked(THIRD)
    assert subscription.begun() == Restored(since=FIRST, restored_by=RestoredBy.HANDSHAKE, cause=Cause.SESSION_EXPIRED)
    assert subscription.last == SECOND
    assert subscription.begun() is None, "that is told once"
    assert subscription.restored() is None


def test_a_session_that_goes_on_did_not_begin():
    subscription = certain()
    subscription.failed(cut=False)
    assert subscription.begun() is None


def test_an_answer_that_may_hold_what_is_older_leaves_it_uncertain_until_all_have_come():
    """Two requests end the polling, and the second may be answered first."""
    state = SubscriptionState()
    state.asked(Moment(1_000, 1.0))
    state.restored()
    assert state.last == Moment(1_000, 1.0)
    assert state.rested(Moment(9_000, 9.0))
    assert state.last == Moment(9_000, 9.0)
    state.failed(cut=True)
    assert not state.rested(Moment(11_000, 11.0))
    assert state.last == Moment(9_000, 9.0)
