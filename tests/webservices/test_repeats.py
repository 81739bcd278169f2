"""What a server sends once more is recognised where it can be, and counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.model.event import Observation
from listener.webservices.notifications import DecodedBatch, NotificationDecoder
from listener.webservices.repeats import MOST_CHATS, Repeats, SeenChats
from support.notifications import encoded, notification


def seen(*chats, told=(), dispositions=(), ended=()):
    observations = [
        Observation(account="a", chat_id=chat, key=key, value=value, server_time_ms=None, received_ms=0)
        for chat, key, value in dispositions
    ]
    return DecodedBatch(chats=list(chats), told=dict(told), observations=observations, ended=set(ended))


def test_chats_are_known_until_the_session_ends():
    heard = SeenChats()
    heard.add(seen("a", "b", told={("a", "Code"): "x"}), 5.0)
    assert "a" in heard
    assert "c" not in heard
    heard.clear()
    assert "a" not in heard
    assert heard.told("a", "Code", 0.0, 99.0) == {}


def test_when_something_else_than_a_disposition_was_told_of_a_chat_is_known():
    heard = SeenChats()
    heard.add(seen("a"), 5.0)
    heard.add(seen(dispositions=[("a", "Code", "x"), ("b", "Code", "x")]), 6.0)
    assert [heard.since("a", at_s) for at_s in (5.0, 5.1)] == [True, False]
    assert ("b" in heard, heard.since("b", 0.0), heard.since("c", 0.0)) == (True, False, False)
    assert (heard.by("a", 0.0), heard.by("b", 5.0), heard.by("b", 6.0), heard.by("c", 9.0)) == (
        True,
        False,
        True,
        False,
    )


def test_which_values_were_told_lately_is_known_with_whatever_they_came():
    heard = SeenChats()
    heard.add(seen("a", told={("a", "Code"): "x", ("a", "Other"): None}), 5.0)
    for at_s in (6.0, 7.0):
        heard.add(seen(dispositions=[("a", "Code", "y")]), at_s)
    assert heard.told("a", "Code", 0.0, 99.0) == {hash("x"): 5.0, hash("y"): 7.0}
    assert heard.told("a", "Code", 6.0, 99.0) == {hash("y"): 7.0}
    assert heard.told("a", "Code", 0.0, 4.0) == {hash("y"): 7.0}, "the other came along, and later"
    assert heard.told("a", "Other", 0.0, 99.0) == {hash(None): 5.0}
    assert heard.told("a", "Never", 0.0, 99.0) == heard.told("b", "Code", 0.0, 99.0) == {}
    for number in range(100):
        heard.add(seen(dispositions=[("a", "Code", str(number))]), 10.0 + number)
    assert len(heard.told("a", "Code", 0.0, 99.0)) < 20


def test_what_came_along_and_comes_along_again_was_told_the_first_time():
    heard = SeenChats()
    for at_s in (5.0, 7.0, 9.0):
        heard.add(seen("a", told={("a", "Code"): "x"}), at_s)
    assert heard.told("a", "Code", 0.0, 6.0) == heard.told("a", "Code", 0.0, 8.0) == {hash("x"): 5.0}
    assert heard.told("a", "Code", 8.0, 9.0) == {hash("x"): 9.0}


def test_of_a_chat_that_has_ended_and_is_back_only_what_was_told_since_counts():
    heard = SeenChats()
    heard.add(seen("a", told={("a", "Code"): "x"}), 5.0)
    for at_s in (6.0, 7.0):
        heard.add(seen("a", told={("a", "Code"): "y"}, ended="a"), at_s)
    assert heard.told("a", "Code", 0.0, 99.0).keys() == {hash("x"), hash("y")}
    heard.add(seen("a", told={("a", "Code"): "z"}), 8.0)
    heard.add(seen("a"), 9.0)
    assert heard.told("a", "Code", 0.0, 99.0) == {hash("z"): 8.0}


def test_that_more_values_were_told_than_are_kept_is_known():
    heard = SeenChats()
    for number in range(16):
        heard.add(seen(dispositions=[("a", "Code", str(number))]), float(number))
    assert not heard.has_forgotten("a", "Code", 0.0)
    heard.add(seen(dispositions=[("a", "Code", "one more")]), 16.0)
    assert [heard.has_forgotten("a", "Code", since_s) for since_s in (0.0, 1.0)] == [True, False]
    assert not heard.has_forgotten("b", "Code", 0.0)


def test_of_too_many_the_one_not_heard_of_for_longest_goes():
    heard = SeenChats()
    heard.add(seen("first", "second", told={("second", "Code"): "x"}), 1.0)
    heard.add(seen(*(str(number) for number in range(MOST_CHATS - 2))), 2.0)
    heard.add(seen("first"), 3.0)
    heard.add(seen("one more"), 4.0)
    assert "first" in heard
    assert "second" not in heard
    assert heard.told("second", "Code", 0.0, 99.0) == {}


KEYS = ("DispositionCode", "Reason")


def stamped(number, **user_data):
    """A notification with the server's time."""
    metrics = {"eventProcessing": {"serverGenerationTimestamp": 1_795_000_000_000 + number}}
    return notification(metrics=metrics, chat={"userData": {"DispositionCode": f"code-{number}", **user_data}})


def take(repeats, *messages, more=False) -> DecodedBatch:
    decoder = NotificationDecoder(keys=KEYS)
    decoded = decoder.decode([encoded(message) for message in messages], account="agent1", received_ms=1)
    repeats.drop_repeats(decoded, more=more)
    return decoded


def values(decoded):
    return [one.value for one in decoded.observations]


def test_a_batch_that_comes_again_is_not_taken_again():
    repeats = Repeats()
    assert values(take(repeats, stamped(1), stamped(2))) == ["code-1", "code-2"]
    again = take(repeats, stamped(1), stamped(2), stamped(3))
    assert values(again) == ["code-3"]
    assert (again.forwarded, dict(again.filtered)) == (1, {"repeated": 2})


def test_a_batch_that_comes_again_behind_another_is_recognised():
    repeats = Repeats()
    take(repeats, stamped(1))
    take(repeats, stamped(2))
    assert values(take(repeats, stamped(1))) == []


def test_the_same_value_at_another_moment_is_another_notification():
    repeats = Repeats()
    take(repeats, stamped(1, DispositionCode="A"))
    assert values(take(repeats, stamped(2, DispositionCode="A"))) == ["A"]


def test_without_the_servers_time_nothing_is_held_to_be_a_repetition():
    repeats = Repeats()
    plain = notification()
    assert values(take(repeats, plain)) == values(take(repeats, plain)) == ["IssueResolved"]


def test_a_notification_with_several_keys_is_counted_once():
    repeats = Repeats()
    take(repeats, stamped(1, Reason="R"))
    again = take(repeats, stamped(1, Reason="R"))
    assert (values(again), again.forwarded, dict(again.filtered)) == ([], 0, {"repeated": 1})


@pytest.mark.parametrize("kind", ["StatusChange"])
def test_what_a_chat_came_with_is_not_counted_when_it_comes_again(kind):
    repeats = Repeats()
    come = {**stamped(1), "notificationType": kind}
    take(repeats, come)
    assert dict(take(repeats, come).filtered) == {"notification_type": 1, "repeated": 0}


@given(st.lists(st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.booleans()), max_size=5), max_size=6))
def test_every_payload_is_counted_once_whatever_comes_again(batches):
    repeats = Repeats()
    for batch in batches:
        messages = [
            {**stamped(n, **({"Reason": "R"} if both else {})), **({} if timed else {"metrics": None})}
            for n, both, timed in batch
        ]
        decoded = take(repeats, *messages)
        assert decoded.forwarded + decoded.filtered.total() + decoded.refused.total() == len(messages)
        assert decoded.forwarded >= 0


def test_what_an_earlier_process_took_is_recognised():
    before = take(Repeats(), stamped(1))
    repeats = Repeats([one.digest for one in before.observations])
    assert values(take(repeats, stamped(1), stamped(2))) == ["code-2"]


def test_a_batch_larger_than_what_is_remembered_otherwise_is_recognised_whole():
    repeats = Repeats()
    large = [stamped(n) for n in range(1000)]
    take(repeats, *large)
    take(repeats, stamped(2000))
    assert values(take(repeats, *large)) == []


def test_an_answer_that_comes_again_in_parts_is_recognised_whole():
    """Without acknowledgements, or under a new number, as a gateway may send it."""
    repeats = Repeats()
    parts = [[stamped(n) for n in range(first, first + 500)] for first in range(0, 2000, 500)]
    for part in parts:
        take(repeats, *part, more=part is not parts[-1])
    take(repeats, stamped(9999))
    assert [value for part in parts for value in values(take(repeats, *part, more=part is not parts[-1]))] == []


def test_of_an_answer_without_end_so_much_is_remembered(monkeypatch):
    monkeypatch.setattr("listener.webservices.repeats._MOST_REMEMBERED", 500)
    repeats = Repeats()
    for first in range(0, 1000, 100):
        take(repeats, *[stamped(n) for n in range(first, first + 100)], more=True)
    assert len(repeats._recent) == 500


def test_memory_is_bounded():
    repeats = Repeats()
    for number in range(1000):
        take(repeats, stamped(number))
    assert len(repeats._recent) <= 130


def test_a_notification_that_comes_twice_in_one_batch_is_one():
    decoded = take(Repeats(), stamped(1, Reason="R"), stamped(1, Reason="R"), stamped(2))
    assert values(decoded) == ["code-1", "R", "code-2"]
    assert (decoded.forwarded, dict(decoded.filtered)) == (2, {"repeated": 1})
