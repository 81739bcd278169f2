"""The decode path of the daemon: the documented notification, the filter, and anything that JSON can hold."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.model.event import Observation, Origin, Participant
from listener.webservices.notifications import NotificationDecoder
from support.notifications import CHAT, DOCUMENTED, encoded, notification, with_data

AGENT = Participant(nickname="TestName", type="Agent", participant_id="009052C73228006D")
CUSTOMER = Participant(nickname="FirstL", type="Customer", participant_id="009052C73223006B")
RECEIVED_MS = 1_795_340_340_123
GOOD = encoded(DOCUMENTED)


def decoder(**changes):
    return NotificationDecoder(**{"keys": ("DispositionCode",)} | changes)


def decoded(*messages, using=None):
    payloads = [m if isinstance(m, bytes) else encoded(m) for m in messages]
    return (using or decoder()).decode(payloads, account="agent1", received_ms=RECEIVED_MS)


def observations(*messages, using=None):
    return decoded(*messages, using=using).observations


def values(*messages, using=None):
    return [(o.key, o.value) for o in observations(*messages, using=using)]


def test_the_documented_notification_is_one_observation():
    assert decoded(DOCUMENTED).forwarded == 1
    heard = observations(DOCUMENTED)
    assert len(heard[0].digest) == 16
    assert heard == [
        Observation(
            account="agent1",
            chat_id="0000Na9B26EF003M",
            key="DispositionCode",
            value="IssueResolved",
            server_time_ms=None,
            received_ms=RECEIVED_MS,
            chat_state="Chatting",
            chat_uri="http://localhost:8080/api/v2/chats/0000Na9B26EF003M",
            reference_id=34,
            participants=(AGENT,),
            user_data={},
            origin=Origin.NOTIFICATION,
            digest=heard[0].digest,
        )
    ]


def test_a_digest_tells_notifications_and_accounts_apart_and_nothing_else():
    other = notification(referenceId=35)
    by_another = decoder().decode([GOOD], account="agent2", received_ms=RECEIVED_MS).observations[0]
    later = decoder().decode([GOOD], account="agent1", received_ms=RECEIVED_MS + 1).observations[0]
    digest = observations(DOCUMENTED)[0].digest
    assert later.digest == digest
    assert len({digest, by_another.digest, observations(other)[0].digest}) == 3


def test_the_servers_time_is_that_of_the_metrics():
    timed = notification(metrics={"eventProcessing": {"serverGenerationTimestamp": 1_795_340_340_000, "other": 1}})
    assert observations(timed)[0].server_time_ms == 1_795_340_340_000


@pytest.mark.parametrize("metrics", [None, {}, {"eventProcessing": None}, {"eventProcessing": {}}])
def test_without_metrics_there_is_no_server_time(metrics):
    assert observations(notification(metrics=metrics))[0].server_time_ms is None


def test_raw_slices_of_a_response_are_taken_as_they_are():
    raws = msgspec.json.decode(b"[" + GOOD + b" , " + GOOD + b"]", type=list[msgspec.Raw])
    taken = decoder().decode(raws, account="agent1", received_ms=RECEIVED_MS)
    assert taken == decoded(GOOD, GOOD)


def test_a_change_by_another_party_has_no_reference_id():
    assert observations(notification(referenceId=...))[0].reference_id is None


@pytest.mark.parametrize(
    ("choice", "expected"), [("agents", (AGENT,)), ("all", (AGENT, CUSTOMER)), ("none", ())], ids=str
)
def test_participants_are_those_that_the_settings_ask_for(choice, expected):
    using = decoder(participants=choice)
    assert observations(DOCUMENTED, using=using)[0].participants == expected
    salvaged = notification(referenceId="x", chat={"participants": [*CHAT["participants"], 3]})
    assert observations(salvaged, using=using)[0].participants == expected


@pytest.mark.parametrize("participants", [None, [], ...])
def test_a_chat_without_participants_has_none(participants):
    for choice in ("agents", "all"):
        message = notification(chat={"participants": participants})
        assert observations(message, using=decoder(participants=choice))[0].participants == ()


@pytest.mark.parametrize("value", ["", None])
def test_present_and_null_or_empty_is_cleared(value):
    assert values(with_data(DispositionCode=value)) == [("DispositionCode", None)]


@pytest.mark.parametrize(("value", "text"), [(34, "34"), (1.5, "1.5"), (True, "true"), (False, "false"), (0, "0")])
def test_numbers_and_bools_are_forwarded_as_json_text(value, text):
    assert values(with_data(DispositionCode=value)) == [("DispositionCode", text)]


def test_every_configured_key_that_is_present_is_observed_in_the_configured_order():
    using = decoder(keys=("DispositionCode", "DISP_KEY", "Absent"))
    taken = decoded(with_data(DISP_KEY="b", DispositionCode="a"), using=using)
    assert [(o.key, o.value) for o in taken.observations] == [("DispositionCode", "a"), ("DISP_KEY", "b")]
    assert taken.forwarded == 1
    assert len({o.digest for o in taken.observations}) == 1


def test_a_refused_key_is_counted_beside_a_good_one():
    using = decoder(keys=("DispositionCode", "DISP_KEY"))
    taken = decoded(with_data(DISP_KEY="b", DispositionCode=["a"]), using=using)
    assert [(o.key, o.value) for o in taken.observations] == [("DISP_KEY", "b")]
    assert (taken.forwarded, dict(taken.malformed), dict(taken.refused)) == (1, {"disposition": 1}, {})


def test_of_duplicate_keys_the_last_one_wins():
    twice = b'"DispositionCode":"First","DispositionCode":"Last"'
    payload = GOOD.replace(b'"DispositionCode": "IssueResolved"', twice)
    assert values(payload) == [("DispositionCode", "Last")]
    assert values(payload.replace(b'"First"', b"{}")) == [("DispositionCode", "Last")]


def test_only_allow_listed_user_data_leaves():
    data = {"DispositionCode": "Sold", "Queue": "q1", "Try": 2, "Tags": ["a", {"b": None}], "Email": "kim@example.com"}
    using = decoder(user_data=("Queue", "Try", "Tags", "Absent", "DispositionCode"))
    assert observations(with_data(**data), using=using)[0].user_data == {
        "Queue": "q1",
        "Try": 2,
        "Tags": ["a", {"b": None}],
        "DispositionCode": "Sold",
    }
    assert observations(with_data(**data))[0].user_data == {}


@pytest.mark.parametrize(
    "value",
    [b'"' + b"x" * 4095 + b'"', b"[" * 33 + b"]" * 33, b'"\xff"', b'"\\ud83d"', b"1e999"],
    ids=["large", "deep", "no UTF-8", "half a pair", "beyond a float"],
)
def test_an_allow_listed_value_that_cannot_travel_is_left_out_and_counted(value):
    payload = encoded(with_data(DispositionCode="Sold", Queue="@", Try=1)).replace(b'"@"', value)
    taken = decoded(payload, using=decoder(user_data=("Queue", "Try")))
    assert taken.observations[0].user_data == {"Try": 1}
    assert dict(taken.malformed) == {"userData": 1}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"messageType": "MessageLogUpdated", "notificationType": "NewMessages", "messages": []}, "message_type"),
        ({"messageType": "EmailStateChangeMessage", "notificationType": "PropertiesUpdated"}, "message_type"),
        ({"messageType": "MessageLogUpdated", "chat": [], "notificationType": 3}, "message_type"),
        ({}, "message_type"),
        (notification(notificationType="StatusChange", chat={"userData": {}}), "notification_type"),
        (notification(notificationType="ParticipantsUpdated"), "notification_type"),
        (notification(notificationType="Error", chat={"id": 3}), "notification_type"),
        (notification(notificationType=...), "notification_type"),
        (notification(notificationType=..., referenceId="x"), "notification_type"),
        ({**notification(), "chat": None}, "no_chat"),
        ({k: v for k, v in DOCUMENTED.items() if k != "chat"}, "no_chat"),
        (notification(chat={"userData": ...}), "no_key"),
        (notification(chat={"userData": None}), "no_key"),
        (notification(chat={"userData": None, "id": ...}), "no_key"),
        (notification(chat={"userData": {"x": 1}, "id": ...}), "no_key"),
        (with_data(), "no_key"),
        (with_data(dispositioncode="other case"), "no_key"),
    ],
)
def test_what_is_none_of_ours_is_counted_by_reason(message, reason):
    taken = decoded(message)
    assert dict(taken.filtered) == {reason: 1}
    assert (taken.observations, taken.forwarded, dict(taken.refused), dict(taken.malformed)) == ([], 0, {}, {})


def test_what_a_chat_comes_with_is_observed_and_never_forwarded():
    taken = decoded(notification(notificationType="StatusChange"))
    ((heard,), chats) = taken.observations, taken.chats
    assert (heard.chat_id, heard.value, heard.prime) == (CHAT["id"], "IssueResolved", True)
    assert (chats, taken.forwarded, dict(taken.filtered)) == ([CHAT["id"]], 0, {"notification_type": 1})


@pytest.mark.parametrize("message", [notification(notificationType="ParticipantsUpdated"), with_data()])
def test_a_chat_of_which_something_else_was_told_is_named(message):
    taken = decoded(message)
    assert (taken.chats, taken.observations) == ([CHAT["id"]], [])


def test_a_notification_that_is_not_forwarded_counts_no_malformed_fields():
    assert dict(decoded(notification(referenceId="x", chat={"userData": {"other": 1}})).malformed) == {}


def test_a_megabyte_of_disposition_is_refused_and_its_neighbours_live():
    taken = decoded(GOOD, with_data(DispositionCode="x" * 10**6), GOOD)
    assert (taken.forwarded, dict(taken.refused)) == (2, {"value_too_long": 1})


def test_ten_megabytes_of_other_user_data_are_stepped_over():
    assert values(with_data(Note="x" * 10**7, DispositionCode="Sold")) == [("DispositionCode", "Sold")]


def test_unknown_fields_are_nothing():
    assert values(notification(path="/chats/1", chat={"new": {"a": [1]}, "path": 3})) == [
        ("DispositionCode", "IssueResolved")
    ]


def test_a_chat_that_was_read_again_is_observed_as_reconciled():
    taken = decoder().decode_read([encoded(CHAT)], account="agent1", received_ms=RECEIVED_MS)
    [found] = taken.observations
    assert (found.origin, found.chat_id, found.key, found.value) == (
        Origin.RECONCILED,
        "0000Na9B26EF003M",
        "DispositionCode",
        "IssueResolved",
    )
    assert (found.chat_state, found.participants, found.reference_id, found.server_time_ms) == (
        "Chatting",
        (AGENT,),
        None,
        None,
    )


def test_chats_without_the_key_say_nothing_and_bad_ones_are_refused():
    chats = [
        {"id": "1", "state": "Completed", "uri": "x"},
        {"id": "2", "userData": None},
        {"id": "3", "userData": {"DispositionCode": None}},
        None,
        {"id": None, "userData": {"DispositionCode": "a"}},
        {"id": "4", "state": 4, "userData": {"DispositionCode": "a"}},
        {"id": "5" * 257},
    ]
    taken = decoder().decode_read([encoded(c) for c in chats], account="agent1", received_ms=RECEIVED_MS)
    assert [(o.chat_id, o.value) for o in taken.observations] == [("3", None), ("4", "a")]
    assert dict(taken.filtered) == {"no_key": 3}
    assert dict(taken.refused) == {"not_an_object": 1, "no_chat_id": 1}
    assert (taken.forwarded, dict(taken.malformed)) == (2, {"state": 1})
    assert taken.chats == ["2", "3", "4", ""], "those that have not ended; no id that no chat has"


@pytest.mark.parametrize("kind", ["StatusChange", "ParticipantsUpdated"])
def test_what_a_chat_came_with_is_told_whatever_it_was_that_happened_to_it(kind):
    notes = [
        notification(notificationType=kind, chat={**CHAT, "id": str(number), "userData": data})
        for number, data in enumerate(({"DispositionCode": "a"}, {"DispositionCode": ""}, {"Other": "x"}, None))
    ]
    taken = decoder().decode([encoded(note) for note in notes], account="agent1", received_ms=RECEIVED_MS)
    assert taken.told == {("0", "DispositionCode"): "a", ("1", "DispositionCode"): None}


def test_of_what_a_chat_was_told_to_be_the_last_counts():
    states = [("0", "Completed"), ("1", "Completed"), ("1", "Chatting"), ("2", "Chatting"), ("2", "Revoked")]
    notes = [notification(notificationType="StatusChange", chat={"id": one, "state": state}) for one, state in states]
    taken = decoder().decode([encoded(note) for note in notes], account="agent1", received_ms=RECEIVED_MS)
    assert (taken.ended, taken.chats) == ({"0", "2"}, ["0", "1", "1", "2", "2"])


def test_the_same_snapshot_read_at_another_moment_is_another_find():
    digests = {
        decoder().decode_read([encoded(CHAT)], account="agent1", received_ms=ms).observations[0].digest
        for ms in (1, 2, 1)
    }
    assert len(digests) == 2


SURROGATES = st.text(st.characters(exclude_categories=()), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | SURROGATES | st.just("ChatStateChangeMessage")
NAMES = st.sampled_from(
    [
        "id",
        "chat",
        "userData",
        "DispositionCode",
        "DISP_KEY",
        "Queue",
        "state",
        "participants",
        "messageType",
        "metrics",
    ]
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | SURROGATES, inner, max_size=4),
    max_leaves=12,
)
CHAT_FIELDS = st.fixed_dictionaries({}, optional=dict.fromkeys(["id", "state", "uri", "participants"], JSON))
USER_DATA = st.dictionaries(st.sampled_from(["DispositionCode", "DISP_KEY", "Queue", "other"]), JSON, max_size=4) | JSON
FIELDS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["messageType", "notificationType", "referenceId", "metrics"], JSON)
)


@st.composite
def mutated(draw):
    """A notification in which anything may be anything, as the bytes that a server could write."""
    message = notification(**draw(FIELDS))
    message["chat"] |= draw(CHAT_FIELDS) | draw(st.just({}) | st.fixed_dictionaries({"userData": USER_DATA}))
    return json.dumps(message, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")


@st.composite
def cut_or_spoilt(draw):
    """A notification with bytes missing, doubled or replaced."""
    payload = draw(mutated())
    start = draw(st.integers(0, len(payload)))
    end = draw(st.integers(start, min(len(payload), start + 40)))
    return payload[:start] + draw(st.binary(max_size=6)) + payload[end:]


PAYLOADS = st.lists(
    mutated() | cut_or_spoilt() | st.binary(max_size=40) | JSON.map(lambda v: json.dumps(v).encode()), max_size=4
)


@given(payloads=PAYLOADS, many=st.booleans())
def test_every_payload_is_counted_once_and_no_neighbour_is_lost(payloads, many):
    """Whatever a server sends: nothing is raised, and the good messages around it come out as if they were alone."""
    using = decoder(
        keys=("DispositionCode", "DISP_KEY"), user_data=("Queue",), participants="all" if many else "agents"
    )
    batch = [GOOD, *(p for payload in payloads for p in (payload, GOOD))]
    taken = decoded(*batch, using=using)
    assert taken.forwarded + sum(taken.filtered.values()) + sum(taken.refused.values()) == len(batch)
    [alone] = observations(GOOD, using=using)
    assert taken.observations.count(alone) >= len(payloads) + 1
    assert len(taken.observations) >= taken.forwarded


@given(payload=mutated() | cut_or_spoilt())
def test_what_is_forwarded_can_be_written_as_json_again(payload):
    using = decoder(keys=("DispositionCode", "DISP_KEY"), user_data=("Queue",), participants="all")
    for found in observations(payload, using=using):
        assert 0 < len(found.chat_id) <= 256
        assert found.value is None or 0 < len(found.value) <= 4096
        assert json.loads(msgspec.json.encode(found))["chat_id"] == found.chat_id


@given(chats=st.lists(mutated() | JSON.map(lambda v: json.dumps(v).encode()), max_size=4))
def test_every_chat_that_was_read_is_counted_once(chats):
    taken = decoder().decode_read(chats, account="agent1", received_ms=RECEIVED_MS)
    assert taken.forwarded + sum(taken.filtered.values()) + sum(taken.refused.values()) == len(chats)


@given(value=st.text(max_size=50).filter(bool))
def test_any_unicode_text_is_a_disposition(value):
    for ascii_only in (True, False):
        payload = json.dumps(with_data(DispositionCode=value), ensure_ascii=ascii_only).encode()
        assert values(payload) == [("DispositionCode", value)]
