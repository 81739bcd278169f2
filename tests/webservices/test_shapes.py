"""The compiled shapes: what they take, what they step over, what they refuse."""

import msgspec
import pytest

from listener.webservices.shapes import Shapes
from support.notifications import encoded, notification, with_data


def shapes(**changes):
    return Shapes(
        **{"keys": ("DispositionCode",), "user_data": (), "participants": True, "max_value_chars": 20} | changes
    )


def test_a_strict_note_holds_the_wanted_keys_and_nothing_else_of_user_data():
    made = shapes(user_data=("Queue",))
    note = msgspec.json.decode(encoded(with_data(DispositionCode="Sold", Queue="q1", Secret="x")), type=made.note)
    assert made.keys == (("DispositionCode", "field0"),)
    assert made.extras == (("Queue", "field1"),)
    assert note.chat.user_data.field0 == "Sold"
    assert bytes(note.chat.user_data.field1) == b'"q1"'
    assert set(made.user_data.__struct_fields__) == {"field0", "field1"}


def test_a_key_that_is_also_allow_listed_has_one_attribute():
    made = shapes(user_data=("DispositionCode", "Queue", "Queue"))
    assert made.extras == (("DispositionCode", "field0"), ("Queue", "field1"))


def test_keys_with_blanks_and_other_characters_are_names_like_any_other():
    made = shapes(keys=("Why so?:>", "Résultat"))
    decoded = msgspec.json.decode(encoded({"Why so?:>": "a", "Résultat": "b"}), type=made.user_data)
    assert (decoded.field0, decoded.field1) == ("a", "b")


def test_participants_are_not_even_decoded_where_nobody_wants_them():
    made = shapes(participants=False)
    note = msgspec.json.decode(encoded(notification(chat={"participants": 7})), type=made.note)
    assert not hasattr(note.chat, "participants")


@pytest.mark.parametrize(
    "wrong",
    [
        {"chat": {"id": ""}},
        {"chat": {"id": "x" * 257}},
        {"chat": {"uri": 3}},
        {"chat": {"userData": []}},
        {"chat": {"userData": {"DispositionCode": 1}}},
        {"chat": {"userData": {"DispositionCode": "x" * 21}}},
        {"chat": {"participants": [{"nickname": "x" * 1025}]}},
        {"referenceId": 2**63},
        {"referenceId": True},
        {"messageType": None},
        {"metrics": {"eventProcessing": {"serverGenerationTimestamp": -1}}},
        {"metrics": {"eventProcessing": {"serverGenerationTimestamp": 253_402_300_800_000}}},
    ],
)
def test_one_wrong_field_fails_the_strict_shape_and_not_the_loose_one(wrong):
    made, payload = shapes(), encoded(notification(**wrong))
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(payload, type=made.note)
    assert bytes(msgspec.json.decode(payload, type=made.loose_note).chat).startswith(b"{")
