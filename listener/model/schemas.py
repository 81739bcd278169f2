"""What receivers' developers build on: the JSON Schema of the events, and an AsyncAPI document, made of the structs."""

from typing import Annotated, Any, Literal

import msgspec

from listener import __version__
from listener.model.event import Disposition, Gap, Kind, SinkTestData

_Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    specversion: Literal["1.0"]
    source: Annotated[str, msgspec.Meta(min_length=1, extra_json_schema={"format": "uri-reference"})]
    id: _Text
    subject: _Text
    time: _Time
    datacontenttype: Literal["application/json"]
    sequence: Annotated[str, msgspec.Meta(pattern="^[0-9]+$")]


class DispositionEvent(_Envelope, frozen=True, kw_only=True):
    """A disposition of a chat, or of an interaction of another medium, was set, changed, cleared, or told again."""

    type: Annotated[str, msgspec.Meta(pattern=r"\.chat\.disposition$")]
    data: Disposition


class GapEvent(_Envelope, frozen=True, kw_only=True):
    """A stretch in which a disposition could have been missed. It does not say that one was."""

    type: Annotated[str, msgspec.Meta(pattern=r"\.chat\.gap$")]
    data: Gap


class TestEvent(_Envelope, frozen=True, kw_only=True):
    """What `sinks test` sends: no chat has changed."""

    type: Annotated[str, msgspec.Meta(pattern=r"\.chat\.test$")]
    data: SinkTestData


EVENTS = {Kind.DISPOSITION: DispositionEvent, Kind.GAP: GapEvent, Kind.TEST: TestEvent}
DESCRIPTIONS: dict[str, str] = {
    "specversion": "The version of CloudEvents.",
    "type": "The kind of event. `disposition.type_prefix` sets what stands before `.chat.`.",
    "source": "Where the chats are: the address of the server's REST API.",
    "id": "The same over retries, sinks and restarts: an event with a known id is a repetition.",
    "subject": "The chat, or another interaction with its medium (`email:0001`); the account for a gap.",
    "time": "The server's time stamp, or the time of arrival where the notification carries none.",
    "datacontenttype": "The media type of `data`.",
    "sequence": "The number of the event in the journal, in decimal; it rises with every event. 0 for a test event.",
    "data": "What happened.",
    "Disposition": "The disposition of an interaction under one key, after a notification.",
    "Disposition.change": "`set` where there was no value before, `cleared` where there is none now, `changed`, or"
    " `unchanged`: GWS repeats the value in every later notification, and to every agent of a conference.",
    "Disposition.key": "The key in the interaction's user data that the disposition stands under.",
    "Disposition.disposition": "The value now; null for none.",
    "Disposition.previous": "The value of the event before it, of the same interaction and key; null for none.",
    "Disposition.chatId": "The interaction's id at the server.",
    "Disposition.chatState": "Its state, as the server names it; null where it was not told.",
    "Disposition.chatUri": "Its address in the REST API; null where it was not told.",
    "Disposition.referenceId": "The number of the notification at the server; null where it was not told.",
    "Disposition.account": "The account whose session heard of it.",
    "Disposition.agent": "The agent whose interaction it is, where a supervisor's session heard of it.",
    "Disposition.participants": "Its parties: agents only, unless `disposition.participants` says otherwise. The"
    " one at the other end of a call has a `phoneNumber`.",
    "Disposition.userData": "Of the interaction's user data the keys that `disposition.user_data` names.",
    "Disposition.receivedAt": "When the listener received it.",
    "Disposition.origin": "`notification`, or `reconciled` where it was not heard, but found by reading the chats.",
    "Disposition.mediaType": "The medium of the interaction.",
    "Participant": "A party, as the server names it.",
    "Participant.nickname": "Its name; null where it has none.",
    "Participant.type": "What it is, such as `Agent`.",
    "Participant.participantId": "Its id in the interaction.",
    "Gap": "A stretch in which a disposition could have been missed, of one account.",
    "Gap.account": "The account whose session did not hear.",
    "Gap.agent": "The agent who was not heard, where a supervisor's session does not hear one of several.",
    "Gap.mediaType": "The medium that was not heard, where it is one alone; absent where it is all of the account.",
    "Gap.from": "When it began. Where the clock was set meanwhile, every moment lies between `from` and `to`, both as"
    " the clock before shows it and as the one after does.",
    "Gap.to": "When it ended; see `from`.",
    "Gap.reason": "What happened, such as `network` or `restart`. There may be more reasons in later versions.",
    "Gap.closedBy": "What made the subscription certain again, such as `handshake`. There may be more later.",
    "Gap.seconds": "Its length by a clock that nobody sets; absent where only the wall clock tells.",
    "Gap.clockStepSeconds": "By how much the wall clock was set meanwhile, below zero for back; absent if it was not.",
    "SinkTestData": "It says of itself that no chat has changed.",
    "SinkTestData.message": "A text for people.",
    "SinkTestData.sink": "The name of the sink in the listener's configuration.",
    "SinkTestData.sentAt": "When it was sent.",
    "Change": "What a notification did to the last known value.",
    "Origin": "How a disposition became known.",
}
"""What the documents say of each field, by struct; those of the envelope stand under their own names."""

_TIMES = ("Disposition.receivedAt", "Gap.from", "Gap.to", "SinkTestData.sentAt")
_CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
_HEADERS = {
    "webhook-id": "The id of the event; where a request holds several, a digest of their ids.",
    "webhook-timestamp": "When this attempt was made, in seconds since 1970.",
    "webhook-signature": "Signatures of Standard Webhooks 1.0 with a space between them, where the sink has secrets.",
}


def event_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of an event in the form `cloudevents`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Events of disposition-listener",
        "description": "An event as a sink with the format `cloudevents` and without `fields` gets it. Readers must"
        " ignore fields that they do not know: new versions only add some.",
        "oneOf": [{"$ref": f"#/$defs/{event.__name__}"} for event in EVENTS.values()],
        "$defs": _definitions("#/$defs/{name}"),
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document of a sink, from the listener's side: it sends."""
    headers = {name: {"type": "string", "description": text} for name, text in _HEADERS.items()}
    messages = {
        kind.value: {
            "name": kind.value,
            "title": event.__name__,
            "summary": event.__doc__,
            "contentType": _CONTENT_TYPE,
            "headers": {"type": "object", "properties": headers},
            "payload": {"$ref": f"#/components/schemas/{event.__name__}"},
        }
        for kind, event in EVENTS.items()
    }
    on_channel = {name: {"$ref": f"#/components/messages/{name}"} for name in messages}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "disposition-listener",
            "version": __version__,
            "description": "What a sink receives: each event at least once, those of one chat in order. A webhook gets"
            " it as a POST with the headers described here; other sinks get the same body.",
        },
        "defaultContentType": _CONTENT_TYPE,
        "channels": {
            "sink": {
                "address": None,
                "description": "Where it is the configuration says: the URL of a webhook, a topic, a queue, a stream.",
                "messages": on_channel,
            }
        },
        "operations": {
            "deliver": {
                "action": "send",
                "channel": {"$ref": "#/channels/sink"},
                "messages": [{"$ref": f"#/channels/sink/messages/{name}"} for name in messages],
            }
        },
        "components": {"messages": messages, "schemas": _definitions("#/components/schemas/{name}")},
    }


def text_of(document: dict[str, Any]) -> str:
    """A document as its file holds it."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _definitions(template: str) -> dict[str, Any]:
    """The schemas of all structs, each field described."""
    _, found = msgspec.json.schema_components(EVENTS.values(), ref_template=template)
    for name, schema in found.items():
        schema["description"] = DESCRIPTIONS.get(name, schema.get("description", ""))
        for field, one in schema.get("properties", {}).items():
            path = field if name.endswith("Event") else f"{name}.{field}"
            one["description"] = DESCRIPTIONS.get(path, "")
            if path in _TIMES:
                one["format"] = "date-time"
    return found
