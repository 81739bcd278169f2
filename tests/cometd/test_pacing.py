"""The pause between polls."""

from listener.cometd.pacing import NOT_HELD_AT_MOST, NOT_HELD_PAUSE_S, Pacing


def test_the_advised_interval_is_kept():
    assert Pacing().pause_s(idle=True, took_ms=1000, interval_ms=1500) == 1.5


def test_a_server_that_does_not_hold_polls_is_asked_less_often_from_some_time_on():
    pacing = Pacing()
    pauses = [pacing.pause_s(idle=True, took_ms=1, interval_ms=0) for _ in range(NOT_HELD_AT_MOST)]
    assert pauses == [0.0] * NOT_HELD_AT_MOST
    assert not pacing.slowed_down
    assert pacing.pause_s(idle=True, took_ms=1, interval_ms=0) == NOT_HELD_PAUSE_S
    assert pacing.slowed_down
    assert pacing.pause_s(idle=True, took_ms=1, interval_ms=0) == NOT_HELD_PAUSE_S
    assert not pacing.slowed_down, "that is told once"


def test_events_and_held_polls_end_that():
    pacing = Pacing()
    for _ in range(NOT_HELD_AT_MOST + 5):
        pacing.pause_s(idle=True, took_ms=1, interval_ms=0)
    assert pacing.pause_s(idle=False, took_ms=1, interval_ms=0) == 0.0
    assert pacing.pause_s(idle=True, took_ms=1, interval_ms=0) == 0.0
