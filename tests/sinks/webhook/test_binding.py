"""Requests that the CloudEvents SDK reads as the event that was meant, in each content mode."""

import json

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from listener.model.forms import CLOUD_EVENT, DataForm, TemplateForm
from listener.sinks.webhook.binding import Binding, batch_id, encoded
from support.events import disposition_event, events_of, gap_event

# Attribute values hold no control characters and no lone surrogates: CloudEvents 1.0, type String.
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1)


def binding(mode, **templates):
    return Binding(mode=mode, form=CLOUD_EVENT, templates=templates)


def as_json(found) -> dict:
    """An event of the SDK in the words of ours."""
    return json.loads(JSONFormat().write(found))


def meant(event) -> dict:
    """Times in the notation of the SDK, which leaves out zeros."""
    return as_json(JSONFormat().read(None, event.to_json()))


@given(chat=TEXTS, value=st.text())
def test_the_sdk_reads_the_same_event_in_every_mode(chat: str, value: str):
    event = disposition_event(7, chat=chat, value=value)
    structured = binding("structured").message(event)
    binary = binding("binary").message(event)
    batched = binding("batched").batch([event, gap_event(8)])
    assert as_json(from_structured_event(HTTPMessage(structured.headers, structured.body))) == meant(event)
    lower = {name.lower(): value for name, value in binary.headers.items()}
    assert as_json(from_binary_event(HTTPMessage(lower, binary.body))) == meant(event)
    for found, expected in zip(json.loads(batched.body), [event, gap_event(8)], strict=True):
        assert as_json(JSONFormat().read(None, json.dumps(found).encode())) == meant(expected)
    assert {structured.id, binary.id} == {event.id}


def test_each_mode_has_its_media_type():
    types = {mode: binding(mode).message(disposition_event(1)).headers["Content-Type"] for mode in MODES}
    assert types == {
        "structured": "application/cloudevents+json; charset=utf-8",
        "binary": "application/json",
        "batched": "application/cloudevents-batch+json; charset=utf-8",
    }


MODES = ("structured", "binary", "batched")


def test_in_binary_mode_each_attribute_is_a_header_and_data_is_the_body():
    event = disposition_event(7, chat="Müller 1%")
    message = binding("binary").message(event)
    assert message.body == event.data
    assert message.headers["ce-subject"] == "M%C3%BCller%201%25"
    assert message.headers["ce-specversion"] == "1.0"
    assert "ce-datacontenttype" not in message.headers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),  # the example of 3.1.3.2
        ('a"b%c', "a%22b%25c"),
        ("a\r\nX-Evil: 1", "a%0D%0AX-Evil:%201"),
        ("!#$&'()*+,-./:;<=>?@[\\]^_`{|}~", "!#$&'()*+,-./:;<=>?@[\\]^_`{|}~"),
    ],
)
def test_values_are_percent_encoded_as_the_binding_says(text, expected):
    assert encoded(text) == expected


@given(value=st.text())
def test_no_value_of_an_event_ends_its_header(value: str):
    message = binding("structured", **{"X-Code": "code=$disposition"}).message(disposition_event(1, value=value))
    sent = message.headers["X-Code"]
    assert sent.startswith("code=")
    assert sent.isascii()
    assert sent.isprintable()


def test_header_templates_name_fields_of_the_event_in_whatever_form():
    for form in (CLOUD_EVENT, DataForm(), TemplateForm("$chatId", "text/plain")):
        made = Binding(mode="structured", form=form, templates={"X-Chat": "$chatId/$sequence", "X-Was": "[$previous]"})
        headers = made.message(disposition_event(7, chat="A B")).headers
        assert (headers["X-Chat"], headers["X-Was"]) == ("A%20B/7", "[]")


def test_the_id_of_a_batch_is_that_of_its_one_event_or_follows_from_all():
    batch = events_of(3)
    assert batch_id(batch[:1]) == batch[0].id
    assert batch_id(batch) == batch_id(events_of(3))
    assert batch_id(batch) not in (batch_id(batch[::-1]), batch_id(batch[:2]))
    assert batch_id(batch).startswith("batch-")
    assert "." not in batch_id(batch)
