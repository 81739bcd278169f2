"""Servers that answer at once, with nothing of use, are asked less often; all others as they want it."""

from listener.cometd.pacing import HELD_MS, NOT_HELD_AT_MOST, NOT_HELD_PAUSE_S, Pacing


def pauses(pacing: Pacing, count: int, *, useful: bool | None = None, took_ms: int = 1) -> list[float]:
    """The pauses after so many polls that brought something (of use or not), or nothing."""
    found = []
    for _ in range(count):
        if useful is not None:
            pacing.heard(useful=useful)
        found.append(pacing.pause_s(idle=useful is None, took_ms=took_ms, interval_ms=0))
    return found


def test_the_advised_interval_is_kept():
    assert Pacing().pause_s(idle=True, took_ms=1000, interval_ms=1500) == 1.5


def test_a_server_that_does_not_hold_polls_is_asked_less_often_from_some_time_on():
    pacing = Pacing()
    assert pauses(pacing, NOT_HELD_AT_MOST) == [0.0] * NOT_HELD_AT_MOST
    assert not pacing.has_slowed_down()
    assert pauses(pacing, 2) == [NOT_HELD_PAUSE_S] * 2
    assert pacing.has_slowed_down()
    pauses(pacing, 1)
    assert not pacing.has_slowed_down(), "that is told once"


def test_so_is_one_whose_polls_bring_nothing_of_use():
    pacing = Pacing()
    assert pauses(pacing, NOT_HELD_AT_MOST + 1, useful=False)[-2:] == [0.0, NOT_HELD_PAUSE_S]
    assert pacing.has_slowed_down()


def test_what_is_not_looked_at_yet_says_nothing():
    pacing = Pacing()
    assert {pacing.pause_s(idle=False, took_ms=1, interval_ms=0) for _ in range(100)} == {0.0}


def test_something_of_use_and_held_polls_end_that():
    pacing = Pacing()
    pauses(pacing, NOT_HELD_AT_MOST + 5)
    assert pauses(pacing, 100, useful=True) == [0.0] * 100
    pauses(pacing, NOT_HELD_AT_MOST + 5, useful=False)
    assert pauses(pacing, 1, took_ms=HELD_MS) == [0.0]


def test_useless_answers_to_polls_that_were_held_are_no_storm():
    assert set(pauses(Pacing(), 100, useful=False, took_ms=HELD_MS)) == {0.0}
