"""The values: frozen, keyword-only, and JSON on the wire as users program against it."""

import inspect
import json

import msgspec
import pytest

from listener.model import event as model
from listener.model.event import (
    Change,
    Disposition,
    Event,
    Gap,
    Kind,
    LastValue,
    Observation,
    Origin,
    Participant,
)

STRUCTS = {
    name: cls
    for name, cls in vars(model).items()
    if inspect.isclass(cls) and issubclass(cls, msgspec.Struct) and cls.__module__ == model.__name__
}
DISPOSITION = Disposition(
    change=Change.CHANGED,
    key="DispositionCode",
    disposition="IssueResolved",
    previous=None,
    chat_id="0000Na9B26EF003M",
    chat_state="Chatting",
    chat_uri="http://127.0.0.1:8080/api/v2/chats/0000Na9B26EF003M",
    reference_id=34,
    account="agent1",
    participants=(Participant(nickname="TestName", type="Agent", participant_id="009052C73228006D"),),
    user_data={},
    received_at="2026-11-22T09:39:00.123Z",
    origin=Origin.NOTIFICATION,
)

ONE_FOR_EACH_EVENT = (Disposition, Event, LastValue, Observation)


def event(**fields: object) -> Event:
    base = {
        "id": "an-id",
        "type": "disposition-listener.chat.disposition",
        "source": "http://127.0.0.1:8080/v2/me/chats",
        "subject": "0000Na9B26EF003M",
        "time": "2026-11-22T09:39:00.123Z",
        "kind": Kind.DISPOSITION,
        "account": "agent1",
        "change": Change.SET,
        "data": msgspec.json.encode(DISPOSITION),
        "sequence": 42,
    }
    return Event(**{**base, **fields})


@pytest.mark.parametrize("cls", STRUCTS.values(), ids=STRUCTS)
def test_every_value_is_frozen_keyword_only_and_described(cls: type[msgspec.Struct]):
    assert cls.__struct_config__.frozen
    is_keyword_only = [p.kind is p.KEYWORD_ONLY for p in inspect.signature(cls).parameters.values()]
    assert all(is_keyword_only) or (cls in ONE_FOR_EACH_EVENT and not any(is_keyword_only))
    assert cls.__doc__


@pytest.mark.parametrize("cls", [*ONE_FOR_EACH_EVENT, Participant])
def test_what_there_is_one_of_for_each_event_costs_the_garbage_collector_nothing(cls: type[msgspec.Struct]):
    assert not cls.__struct_config__.gc


def test_an_event_is_one_line_of_cloudevents_json_in_the_promised_order():
    line = event().to_json()
    assert b"\n" not in line
    assert list(json.loads(line)) == [
        "specversion",
        "type",
        "source",
        "id",
        "subject",
        "time",
        "datacontenttype",
        "sequence",
        "data",
    ]


def test_the_attributes_are_those_of_cloudevents_1_0():
    decoded = json.loads(event().to_json())
    assert (decoded["specversion"], decoded["datacontenttype"]) == ("1.0", "application/json")
    assert decoded["sequence"] == "42", "a CloudEvents extension attribute of arbitrary length is a string"


def test_disposition_data_has_the_promised_fields_in_order():
    data = json.loads(event().to_json())["data"]
    assert list(data) == [
        "change",
        "key",
        "disposition",
        "previous",
        "chatId",
        "chatState",
        "chatUri",
        "referenceId",
        "account",
        "participants",
        "userData",
        "receivedAt",
        "origin",
        "mediaType",
    ]
    assert data["change"] == "changed"
    assert data["previous"] is None
    assert data["participants"] == [{"nickname": "TestName", "type": "Agent", "participantId": "009052C73228006D"}]
    assert data["userData"] == {}


def test_gap_data_has_the_promised_fields():
    gap = Gap(account="agent1", from_="a", to="b", reason="restart", closed_by="handshake")
    assert json.loads(msgspec.json.encode(gap)) == {
        "account": "agent1",
        "from": "a",
        "to": "b",
        "reason": "restart",
        "closedBy": "handshake",
    }
    timed = msgspec.structs.replace(gap, seconds=60.0, clock_step_seconds=-3600.0)
    assert list(json.loads(msgspec.json.encode(timed)).items())[5:] == [
        ("seconds", 60.0),
        ("clockStepSeconds", -3600.0),
    ]


def test_data_is_passed_on_byte_for_byte():
    data = '{"n": 1.50, "s": "\\u00e4ö"}'.encode()
    assert data in event(data=data).to_json()


@pytest.mark.parametrize("name", ["id", "type", "source", "subject", "time"])
@pytest.mark.parametrize("text", ['a","data":{"b\\', "\n\r\0\x7f", "é\U0001f600\u2028", ""])
def test_whatever_a_server_says_stays_in_its_attribute(name: str, text: str):
    odd = msgspec.structs.replace(event(), **{name: text})
    assert json.loads(odd.to_json()) == {**json.loads(event().to_json()), name: text}
    assert b"\n" not in odd.to_json()


def test_the_sequence_is_all_that_the_journal_changes():
    before = event(sequence=0)
    after = msgspec.structs.replace(before, sequence=7)
    assert after.id == before.id
    assert json.loads(after.to_json()) == {**json.loads(before.to_json()), "sequence": "7"}
