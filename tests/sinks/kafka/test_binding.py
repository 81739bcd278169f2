import json

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from listener.model.forms import CLOUD_EVENT, form_of
from listener.sinks.kafka.binding import record_of
from support.events import disposition_event, gap_event

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


def read(record):
    """What the authors of CloudEvents take it for."""
    message = KafkaMessage(dict(record.headers), record.key, record.value)
    event = from_kafka(message, JSONFormat())
    return event.get_attributes(), event.get_data()


@given(chat=TEXTS, value=st.text())
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_the_sdk_reads_the_event(mode, chat, value):
    event = disposition_event(7, chat=chat, value=value)
    attributes, data = read(record_of(event, form=CLOUD_EVENT, mode=mode))
    whole = json.loads(event.to_json())
    assert data == whole.pop("data")
    found = {name: str(attributes[name]) for name in whole.keys() - {"time"}}
    assert found == {name: whole[name] for name in found}
    assert attributes["time"].isoformat(timespec="milliseconds").replace("+00:00", "Z") == whole["time"]


def test_what_shares_a_chat_or_for_gaps_an_account_shares_the_key():
    assert record_of(disposition_event(1, chat="chät"), form=CLOUD_EVENT, mode="binary").key == "chät".encode()
    assert record_of(gap_event(2, account="agent1"), form=CLOUD_EVENT, mode="structured").key == b"agent1"


def test_a_structured_record_is_what_the_form_writes_and_says_so():
    event = disposition_event(1)
    record = record_of(event, form=CLOUD_EVENT, mode="structured")
    assert record.headers == [("content-type", b"application/cloudevents+json; charset=utf-8")]
    assert record.value == event.to_json()


@pytest.mark.parametrize(
    ("form", "value", "content_type"),
    [
        (CLOUD_EVENT, None, b"application/json"),
        (form_of("data", None, ""), None, b"application/json"),
        (form_of("template", "$disposition", "text/plain"), b"IssueResolved", b"text/plain"),
    ],
)
def test_a_binary_record_has_the_attributes_in_its_headers_whatever_the_form(form, value, content_type):
    event = disposition_event(7)
    record = record_of(event, form=form, mode="binary")
    assert record.value == (value or event.data)
    assert dict(record.headers) == {
        "content-type": content_type,
        "ce_specversion": b"1.0",
        "ce_type": event.type.encode(),
        "ce_source": event.source.encode(),
        "ce_id": event.id.encode(),
        "ce_subject": event.subject.encode(),
        "ce_time": event.time.encode(),
        "ce_sequence": b"7",
    }
