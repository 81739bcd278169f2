"""One stretch for many chats: when it begins, goes on record, and is given up."""

from listener.intake.revocations import OVER_AFTER_S, RECORD_AFTER_S, Revocations
from listener.runtime.clock import Moment


def at(s):
    return Moment(int(s * 1000), float(s))


def test_it_lasts_until_an_hour_after_the_last_chat_and_is_recorded_in_parts():
    one = Revocations()
    assert one.note(at(0)) is True
    assert one.note(at(3000)) is False
    assert one.due(at(3500)) is None
    part = one.due(at(RECORD_AFTER_S + 1))
    assert (part.since, part.until, one.since) == (at(0), at(3601), at(3601))
    rest = one.due(at(3000 + OVER_AFTER_S))
    assert (rest.since, rest.until, one.since) == (at(3601), at(6600), None)
    assert one.due(at(99_999)) is None


def test_what_was_only_suspected_is_given_up_and_what_is_certain_is_not():
    one = Revocations()
    one.note(at(0))
    one.given_up()
    assert one.since is None
    one.note(at(10), since=at(5), is_certain=True)
    one.given_up()
    assert one.since == at(5)
    one.note(at(20), since=at(1))
    assert one.since == at(1)


def test_the_end_records_whatever_there_is_and_another_process_goes_on():
    one = Revocations()
    one.restore(at(7), at(100), is_certain=True)
    assert one.is_certain
    last = one.due(at(101), is_last=True)
    assert (last.since, last.until, one.since, one.is_certain) == (at(7), at(101), None, False)


def test_what_a_process_left_before_a_power_cut_stays_the_beginning_though_the_clock_was_set_back_since():
    one, left = Revocations(), Moment(at(20).wall_ms, None)
    one.restore(left, at(2), is_certain=True)
    one.note(at(12), since=at(11), is_certain=True)
    assert one.since == left
