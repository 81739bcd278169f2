"""Events as Kafka records (CloudEvents, Kafka protocol binding 1.0)."""

from typing import NamedTuple

from listener.model.event import Event
from listener.model.forms import CLOUD_EVENT, Form
from listener.sinks.kafka.settings import Mode


class Record(NamedTuple):
    """What becomes one record."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def record_of(event: Event, *, form: Form, mode: Mode) -> Record:
    """The event as a record whose key is the chat's id, or the account of a gap: what shares it keeps its order.

    Structured: the body as the sink's form writes it. Binary: the attributes are headers, and the body is the event's
    data alone, or what another form than the CloudEvent makes of it.
    """
    if mode == "structured":
        return Record(event.subject.encode(), form.body(event), [_content_type(form.content_type)])
    headers = [(f"ce_{name}", value.encode()) for name, value in _attributes(event).items()]
    if form is CLOUD_EVENT:
        return Record(event.subject.encode(), event.data, [_content_type("application/json"), *headers])
    return Record(event.subject.encode(), form.body(event), [_content_type(form.content_type), *headers])


def _content_type(media_type: str) -> tuple[str, bytes]:
    return "content-type", media_type.encode()


def _attributes(event: Event) -> dict[str, str]:
    return {
        "specversion": "1.0",
        "type": event.type,
        "source": event.source,
        "id": event.id,
        "subject": event.subject,
        "time": event.time,
        "sequence": str(event.sequence),
    }
