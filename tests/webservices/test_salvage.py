"""The slow way: what a damaged notification costs, and what it does not."""

import json

import pytest

from listener.errors import NotificationRefused
from listener.webservices.media import MEDIA
from listener.webservices.salvage import Salvage
from listener.webservices.shapes import Shapes
from support.notifications import AGENT, CUSTOMER, encoded, notification, with_data

KEYS = ("DispositionCode", "DISP_KEY")


@pytest.fixture
def salvage():
    shapes = Shapes(keys=KEYS, user_data=(), participants=True, max_value_chars=20)
    return Salvage(shapes, media={"ChatStateChangeMessage": MEDIA["chat"]}, max_value_chars=20)


def code(note):
    return note.chat.user_data.field0


def test_a_sound_notification_comes_out_whole(salvage):
    note, malformed = salvage.note(encoded(notification()))
    assert (note.message_type, note.notification_type, note.reference_id) == (
        "ChatStateChangeMessage",
        "PropertiesUpdated",
        34,
    )
    assert (note.chat.id, note.chat.state, code(note)) == ("0000Na9B26EF003M", "Chatting", "IssueResolved")
    assert [p.nickname for p in note.chat.participants] == ["TestName", "FirstL"]
    assert not +malformed


@pytest.mark.parametrize(
    ("damage", "field"),
    [
        ({"referenceId": "34"}, "referenceId"),
        ({"referenceId": 1.5}, "referenceId"),
        ({"metrics": 3}, "metrics"),
        ({"metrics": {"eventProcessing": {"serverGenerationTimestamp": "now"}}}, "metrics"),
        ({"chat": {"state": ["Chatting"]}}, "state"),
        ({"chat": {"uri": {"href": "x"}}}, "uri"),
        ({"chat": {"participants": "nobody"}}, "participants"),
    ],
)
def test_a_wrong_accompanying_field_is_counted_and_costs_only_itself(salvage, damage, field):
    note, malformed = salvage.note(encoded(notification(**damage)))
    assert code(note) == "IssueResolved"
    assert dict(+malformed) == {field: 1}


def test_a_spoilt_participant_does_not_hide_the_agent_beside_it(salvage):
    note, malformed = salvage.note(encoded(notification(chat={"participants": [CUSTOMER | {"nickname": 7}, AGENT]})))
    assert [p.nickname for p in note.chat.participants] == ["TestName"]
    assert dict(+malformed) == {"participants": 1}


def test_a_crowd_is_cut_to_its_first_256(salvage):
    crowd = [AGENT | {"participantId": str(n)} for n in range(300)]
    note, malformed = salvage.note(encoded(notification(chat={"participants": crowd})))
    assert [p.participant_id for p in note.chat.participants] == [str(n) for n in range(256)]
    assert dict(+malformed) == {"participants": 1}


def test_half_an_emoji_in_a_nickname_does_not_lose_the_disposition(salvage):
    """JSON that is valid by its grammar, and that decoders refuse; `json.dumps` writes it as servers do."""
    damaged = notification(chat={"participants": [AGENT, CUSTOMER | {"nickname": "Kim \ud83d"}]})
    note, malformed = salvage.note(json.dumps(damaged).encode())
    assert code(note) == "IssueResolved"
    assert [p.nickname for p in note.chat.participants] == ["TestName"]
    assert dict(+malformed) == {"participants": 1}


def test_half_an_emoji_in_a_key_that_nobody_wants_is_nothing(salvage):
    note, malformed = salvage.note(json.dumps(with_data(DispositionCode="Sold", Note="\udc00 \ud83d")).encode())
    assert (code(note), dict(+malformed)) == ("Sold", {})


def test_whole_pairs_and_escaped_backslashes_stay_as_they_are_beside_half_a_pair(salvage):
    payload = json.dumps(with_data(DispositionCode="\U0001f600\\ud83d", Note="\ud83d")).encode()
    assert rb"\ud83d\ude00\\ud83d" in payload
    assert code(salvage.note(payload)[0]) == "\U0001f600\\ud83d"


@pytest.mark.parametrize(
    ("json_text", "value"),
    [(b"34", "34"), (b"1.50", "1.50"), (b"-0", "-0"), (b"1E5", "1E5"), (b"true", "true"), (b"null", None), (b'""', "")],
)
def test_scalars_are_taken_as_their_json_text(salvage, json_text, value):
    payload = encoded(with_data(DispositionCode="@", Wrong=0)).replace(b'"@"', json_text)
    assert code(salvage.note(payload)[0]) == value


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "malformed_json"),
        (b'{"messageType":', "malformed_json"),
        (b'{"a": NaN}', "malformed_json"),
        (b'{"a": "\\q"}', "malformed_json"),
        (b"\xff", "malformed_json"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
        (notification(messageType=3), "wrong_type"),
        (notification(messageType=None), "wrong_type"),
        (notification(notificationType=["PropertiesUpdated"]), "wrong_type"),
        ({**notification(), "chat": "0000Na9B26EF003M"}, "wrong_type"),
        (notification(chat={"userData": []}), "wrong_type"),
        (notification(chat={"userData": "x"}), "wrong_type"),
        (notification(chat={"id": ...}), "no_chat_id"),
        (notification(chat={"id": None}), "no_chat_id"),
        (notification(chat={"id": ""}), "no_chat_id"),
        (notification(chat={"id": 12}), "no_chat_id"),
        (notification(chat={"id": "x" * 257}), "no_chat_id"),
        (with_data(DispositionCode={"name": "Sold"}), "value_not_scalar"),
        (with_data(DispositionCode=["Sold"]), "value_not_scalar"),
        (with_data(DispositionCode="x" * 21), "value_too_long"),
        (with_data(DispositionCode=10**30), "value_too_long"),
        (json.dumps(with_data(DispositionCode="Sold \ud83d")).encode(), "malformed_text"),
        (encoded(with_data(DispositionCode="@")).replace(b"@", b"\xff"), "malformed_text"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(salvage, message, reason):
    with pytest.raises(NotificationRefused) as refused:
        salvage.note(message if isinstance(message, bytes) else encoded(message))
    assert refused.value.reason == reason


def test_a_good_key_goes_out_beside_a_bad_one(salvage):
    note, malformed = salvage.note(encoded(with_data(DispositionCode=["Sold"], DISP_KEY="Sold")))
    assert note.chat.user_data.field1 == "Sold"
    assert dict(+malformed) == {"disposition": 1}


def test_the_first_keys_reason_is_that_of_the_notification(salvage):
    with pytest.raises(NotificationRefused, match="value_too_long"):
        salvage.note(encoded(with_data(DISP_KEY=["Sold"], DispositionCode="x" * 21)))


def test_other_messages_are_not_looked_into(salvage):
    note, malformed = salvage.note(encoded({"messageType": "MessageLogUpdated", "notificationType": 3, "chat": "x"}))
    assert (note.message_type, note.chat, dict(malformed)) == ("MessageLogUpdated", None, {})


def test_a_chat_is_salvaged_like_that_of_a_notification(salvage):
    chat, malformed = salvage.interaction(encoded(notification(chat={"state": 3})["chat"]), "chat")
    assert (chat.id, chat.state, chat.user_data.field0) == ("0000Na9B26EF003M", None, "IssueResolved")
    assert dict(+malformed) == {"state": 1}
