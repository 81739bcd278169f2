"""The content of requests: CloudEvents HTTP binding 1.0 (structured, binary, batched), and headers from templates."""

import hashlib
import string
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple
from urllib.parse import quote

from aiohttp import hdrs

from listener.model.event import Event
from listener.model.forms import Form, texts_of

Mode = Literal["structured", "binary", "batched"]

_BATCH_TYPE = "application/cloudevents-batch+json; charset=utf-8"
_DATA_TYPE = "application/json"
# Printable ASCII but the space, the double quote and the percent sign: HTTP binding, 3.1.3.2.
_SAFE = "".join(character for character in map(chr, range(0x21, 0x7F)) if character not in '"%')


class Message(NamedTuple):
    """One request: its id, the same for ever for the same events, its own headers, its body."""

    id: str
    headers: dict[str, str]
    body: bytes


class Binding:
    """Writes messages as one sink wants them.

    Args:
        mode: the content mode.
        form: how an event is written where a request is one event in whole.
        templates: headers whose values name fields of the event.
    """

    def __init__(self, *, mode: Mode, form: Form, templates: Mapping[str, str]) -> None:
        self._mode = mode
        self._form = form
        self._templates = {name: string.Template(text) for name, text in templates.items()}

    @property
    def batched(self) -> bool:
        """Whether a message may hold several events."""
        return self._mode == "batched"

    def message(self, event: Event) -> Message:
        """The request of one event. Its id is the event's."""
        match self._mode:
            case "batched":
                return self.batch([event])
            case "binary":
                headers, body = _attributes(event), event.data
            case "structured":
                headers, body = {hdrs.CONTENT_TYPE: self._form.content_type}, self._form.body(event)
        if self._templates:
            fields = {name: encoded(text) for name, text in texts_of(event).items()}
            headers |= {name: template.substitute(fields) for name, template in self._templates.items()}
        return Message(event.id, headers, body)

    def batch(self, events: Sequence[Event]) -> Message:
        """The request of several events: JSON Batch (JSON event format, 4). Its id follows from theirs."""
        body = b"[" + b",".join(map(self._form.body, events)) + b"]"
        return Message(batch_id(events), {hdrs.CONTENT_TYPE: _BATCH_TYPE}, body)


def batch_id(events: Sequence[Event]) -> str:
    """The event's own id where it is one; else a digest of all ids in their order."""
    if len(events) == 1:
        return events[0].id
    digest = hashlib.sha256("\n".join(event.id for event in events).encode()).hexdigest()
    return f"batch-{digest[:40]}"


def _attributes(event: Event) -> dict[str, str]:
    """HTTP binding, 3.1.3: every attribute but `datacontenttype`, which is the Content-Type."""
    return {
        "ce-specversion": "1.0",
        "ce-type": event.type,
        "ce-source": encoded(event.source),
        "ce-id": encoded(event.id),
        "ce-subject": encoded(event.subject),
        "ce-time": event.time,
        "ce-sequence": str(event.sequence),
        hdrs.CONTENT_TYPE: _DATA_TYPE,
    }


def encoded(text: str) -> str:
    """A text as the value of a header: percent-encoded as HTTP binding 3.1.3.2 says."""
    return quote(text, safe=_SAFE)
