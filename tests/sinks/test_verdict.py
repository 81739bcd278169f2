import pytest

from listener.errors import Park, Refusal, Reject, Retry
from listener.sinks.verdict import Verdict, waves
from support.events import disposition_event, gap_event


def test_where_all_is_delivered_nothing_is_raised():
    verdict = Verdict()
    verdict.delivered.update({0, 1})
    verdict.raise_outcome()


def test_every_refused_event_is_named_at_once_and_stands_before_what_holds_the_rest_up():
    verdict = Verdict()
    verdict.hold(Park("no such topic"))
    verdict.refuse(4, "too large", "it is 9 bytes")
    verdict.refuse(2, "too old")
    verdict.delivered.add(0)
    with pytest.raises(Reject) as caught:
        verdict.raise_outcome()
    assert caught.value.letters == {2: Refusal("too old"), 4: Refusal("too large", "it is 9 bytes")}
    assert caught.value.delivered == {0}


def test_what_needs_a_person_stands_before_what_passes_and_the_first_before_the_next():
    verdict = Verdict()
    verdict.delivered.add(1)
    for outcome in (Retry("busy"), Park("denied", detail="said so"), Retry("busy again"), Park("denied again")):
        verdict.hold(outcome)
    with pytest.raises(Park) as caught:
        verdict.raise_outcome()
    assert (caught.value.reason, caught.value.detail, caught.value.delivered) == ("denied", "said so", {1})


def test_what_passes_is_told_with_what_is_delivered():
    verdict = Verdict()
    verdict.delivered.add(1)
    verdict.hold(Retry("busy"))
    with pytest.raises(Retry) as caught:
        verdict.raise_outcome()
    assert (caught.value.reason, caught.value.delivered) == ("busy", {1})


def test_no_wave_holds_two_events_of_a_chat_and_all_waves_together_keep_each_chats_order():
    events = [disposition_event(number, chat=chat) for number, chat in enumerate(["a", "b", "a", "a", "agent1"])]
    events.append(gap_event(5, account="agent1"))
    assert waves(events) == [[0, 1, 4, 5], [2], [3]]
    assert waves([]) == []
