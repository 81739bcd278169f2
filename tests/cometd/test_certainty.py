"""Certainty as a state of its own: what ends it, what brings it back, and since when."""

import pytest

from listener.cometd.certainty import Certainty, Return
from listener.cometd.facts import Cause, Regained


def certain(at_ms: int = 100) -> Certainty:
    """A session that stands since a connect at this time."""
    certainty = Certainty()
    certainty.session_began()
    certainty.asked(at_ms)
    certainty.regained()
    return certainty


def test_a_process_begins_uncertain_because_of_its_start():
    certainty = Certainty()
    certainty.session_began()
    certainty.asked(100)
    assert certainty.last_ms is None
    assert certainty.regained() == Return(since_ms=None, regained=Regained.HANDSHAKE, cause=Cause.RESTART)
    assert certainty.last_ms == 100


def test_a_session_of_an_earlier_process_is_resumed():
    certainty = Certainty()
    assert certainty.regained() == Return(since_ms=None, regained=Regained.RESUME, cause=Cause.RESTART)


def test_while_nothing_happens_each_connect_moves_the_last_certain_moment():
    certainty = certain(100)
    for at_ms in (200, 300):
        certainty.asked(at_ms)
        assert certainty.regained() is None
        assert certainty.last_ms == at_ms


def test_a_request_that_was_only_sent_makes_nothing_certain():
    certainty = certain(100)
    certainty.asked(200)
    assert certainty.last_ms == 100


def test_a_failure_without_a_cut_leaves_the_session_as_certain_as_it_was():
    certainty = certain()
    certainty.failed(cut=False)
    assert certainty.regained() is None


@pytest.mark.parametrize(
    ("happened", "regained", "cause"),
    [
        (["cut"], Regained.POLL, Cause.NO_ACK_CUT),
        (["cut", "expired", "began"], Regained.HANDSHAKE, Cause.NETWORK),
        (["failed", "expired", "began"], Regained.HANDSHAKE, Cause.NETWORK),
        (["expired", "began"], Regained.HANDSHAKE, Cause.SESSION_EXPIRED),
        (["began"], Regained.HANDSHAKE, Cause.SESSION_EXPIRED),
        (["login"], Regained.POLL, Cause.LOGIN),
        (["login", "expired", "began"], Regained.HANDSHAKE, Cause.LOGIN),
        (["cut", "login"], Regained.POLL, Cause.NO_ACK_CUT),
        (["login", "cut"], Regained.POLL, Cause.NO_ACK_CUT),
        (["expired", "login", "began"], Regained.HANDSHAKE, Cause.SESSION_EXPIRED),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_what_happened_decides_the_cause(happened: list[str], regained: Regained, cause: Cause):
    certainty = certain(100)
    tell = {
        "cut": lambda: certainty.failed(cut=True),
        "failed": lambda: certainty.failed(cut=False),
        "expired": lambda: certainty.lost(Cause.SESSION_EXPIRED),
        "login": lambda: certainty.lost(Cause.LOGIN),
        "began": certainty.session_began,
    }
    for one in happened:
        tell[one]()
    certainty.asked(900)
    assert certainty.regained() == Return(since_ms=100, regained=regained, cause=cause)
    assert (certainty.last_ms, certainty.cut) == (900, False)
    assert certainty.regained() is None, "what was told once is over"
