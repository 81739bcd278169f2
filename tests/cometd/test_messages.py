"""What is decoded of a response body, and what is saved of a damaged one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.cometd.messages import Message, decode, salvage
from listener.errors import ExchangeFailed

CHATS = "/v2/me/chats"
# Keys and texts out of what is hard to read for a reader that has lost its way.
TEXTS = st.text(alphabet='ab{}[]",:\\/ é\n\x7f', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
BODIES = st.lists(VALUES, min_size=1, max_size=5).map(
    lambda values: [json.dumps({"channel": CHATS, "data": {"n": n, "x": value}}) for n, value in enumerate(values)]
)
DAMAGE = st.text(alphabet='ab{}[]",:\\ \x00', max_size=6)


def body(*elements: str) -> bytes:
    return ("[" + ",".join(elements) + "]").encode()


def event(n: int) -> str:
    return json.dumps({"channel": CHATS, "data": {"n": n}})


def numbers(messages: list[Message]) -> list[int]:
    return [json.loads(bytes(message.data))["n"] for message in messages if message.is_event]


def test_a_whole_response_is_decoded_in_its_order():
    envelope = decode(body(event(1), '{"channel": "/meta/connect", "id": 7, "successful": true}', event(2)))
    assert [message.channel for message in envelope.messages] == [CHATS, "/meta/connect", CHATS]
    assert [message.is_event for message in envelope.messages] == [True, False, True]
    assert envelope.messages[1].id == 7
    assert numbers(envelope.messages) == [1, 2]
    assert envelope.refused == {}


def test_a_reply_to_a_publish_is_no_event():
    (reply,) = decode(b'[{"channel": "/v2/me/chats", "id": "3", "successful": true}]').messages
    assert not reply.is_event


def test_a_bare_object_counts_as_an_array_of_one():
    assert numbers(decode(event(1).encode()).messages) == [1]


def test_a_byte_order_mark_costs_nothing():
    envelope = decode(b"\xef\xbb\xbf" + body(event(1), event(2)))
    assert (numbers(envelope.messages), envelope.refused) == ([1, 2], {})


def test_an_event_with_odd_fields_is_still_an_event():
    (message,) = decode(b'[{"channel": "/c", "data": null, "id": {}, "advice": [], "ext": "x", "more": 1}]').messages
    assert message.is_event


def test_of_a_key_that_stands_twice_the_last_counts():
    (message,) = decode(b'[{"channel": "/a", "channel": "/b", "data": {"n": 1, "n": 2}}]').messages
    assert message.channel == "/b"
    assert numbers([message]) == [2]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ('{"channel": "/c", "data": NaN}', "malformed_json"),
        ('{"channel": "/c", "data": {"a": 1,}}', "malformed_json"),
        ('{"channel": "/c", "data": {"a": "b}}', "malformed_json"),
        ('{"channel": "/c", "data": {"a": [1, 2}}', "malformed_json"),
        ('{"channel": "/c", "data": {"a": 1}', "malformed_json"),
        ('{"channel": 5, "data": }', "malformed_json"),
        ('{"channel": "\\ud800", "data": 1}', "malformed_json"),
        ('{"channel": 5}', "not_a_message"),
        ('{"data": 1}', "not_a_message"),
        ('"text"', "not_a_message"),
        ("17", "not_a_message"),
        ("[]", ""),
        ('{"channel": "/c", "data": ' + "[" * 50_000 + "]" * 50_000 + "}", "too_deep"),
    ],
    ids=lambda value: value[:30],
)
def test_a_bad_element_costs_itself_only_and_is_counted(bad: str, reason: str):
    envelope = decode(body(event(1), event(2), bad, event(3), event(4)))
    assert numbers(envelope.messages) == [1, 2, 3, 4]
    assert envelope.refused == ({reason: 1} if reason else {})


def test_bytes_that_are_no_text_cost_one_element():
    envelope = decode(body(event(1), "?", event(2)).replace(b"?", b'{"channel": "/\xff", "data": 1}'))
    assert (numbers(envelope.messages), envelope.refused) == ([1, 2], {"malformed_json": 1})


def test_a_lone_surrogate_within_the_data_is_left_to_who_reads_the_data():
    envelope = decode(rb'[{"channel": "/c", "data": {"cut": "\ud83d", "whole": "\ud83d\ude00", "b": "\\ud83d"}}]')
    (message,) = envelope.messages
    assert bytes(message.data) == b'{"cut": "\xff", "whole": "\\ud83d\\ude00", "b": "\\\\ud83d"}'
    assert envelope.refused == {}


@pytest.mark.parametrize("extra", ["}", "]", '"', "}}", "x"])
def test_what_stands_between_two_elements_costs_neither(extra: str):
    envelope = decode(f"[{event(1)}{extra},{event(2)},{event(3)}]".encode())
    assert numbers(envelope.messages) == [1, 2, 3]


@pytest.mark.parametrize("text", ["", "null", "42", "[]", "{}", "[1, null]", "<html>{a}</html>", "[[[", '["a{b"]'])
def test_a_body_without_a_message_is_a_failed_exchange_that_may_have_cost_something(text: str):
    if text == "[]":
        assert decode(text.encode()).messages == []
        return
    with pytest.raises(ExchangeFailed) as caught:
        decode(text.encode())
    assert caught.value.maybe_lost


def test_ten_megabytes_are_read_and_a_bad_neighbour_does_not_matter():
    large = json.dumps({"channel": CHATS, "data": {"n": 2, "text": 'a{"[\\' * 1_500_000}})
    assert len(large) > 10_000_000
    envelope = decode(body(event(1), large, '{"channel": "/c", "data": NaN}', event(3)))
    assert (numbers(envelope.messages), envelope.refused) == ([1, 2, 3], {"malformed_json": 1})


def test_the_search_for_the_next_message_ends():
    """Each of these begins an object that runs to the end of the body: searching from all of them would take hours."""
    hostile = '{"channel": "/c", "data": ' + '[{"a":' * 200_000
    envelope = decode(body(event(1), hostile))
    assert (numbers(envelope.messages), envelope.refused) == ([1], {"malformed_json": 1})


@given(elements=BODIES, data=st.data())
def test_neighbours_of_one_corrupted_element_survive(elements: list[str], data: st.DataObject):
    spoilt = data.draw(st.integers(0, len(elements) - 1))
    text = elements[spoilt]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 12)))
    corrupted = [*elements]
    corrupted[spoilt] = text[:start] + data.draw(DAMAGE) + text[end:]
    neighbours = [n for n in range(len(elements)) if n != spoilt]
    try:
        found = decode(body(*corrupted)).messages
    except ExchangeFailed:
        found = []
    saved = [bytes(message.data) for message in found if message.is_event]
    expected = [json.dumps(json.loads(elements[n])["data"]).encode() for n in neighbours]
    assert [one for one in saved if one in expected] == expected


@given(elements=BODIES, data=st.data())
def test_of_a_cut_body_exactly_the_whole_elements_are_kept(elements: list[str], data: st.DataObject):
    whole = body(*elements)
    at = data.draw(st.integers(0, len(whole)))
    ends = [len(body(*elements[: n + 1])) - 1 for n in range(len(elements))]
    complete = [n for n, end in enumerate(ends) if end <= at]
    if not complete:
        with pytest.raises(ExchangeFailed):
            salvage(whole[:at], cut=True)
        return
    envelope = salvage(whole[:at], cut=True)
    assert numbers(envelope.messages) == complete
    assert envelope.refused == {}


def test_of_a_whole_body_an_element_that_does_not_end_is_counted():
    assert decode(body(event(1), event(2))[:-4]).refused == {"malformed_json": 1}


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(text: bytes):
    try:
        messages = decode(text).messages
    except ExchangeFailed:
        return
    assert all(isinstance(message.channel, str) for message in messages)
