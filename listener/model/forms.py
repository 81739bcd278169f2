"""The forms of an event at a destination: the CloudEvent, its data, or a template."""

import json
import string
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import msgspec

from listener.model.escaping import cell
from listener.model.event import Disposition, Event, Gap

FormName = Literal["cloudevents", "data", "template"]

_ATTRIBUTES = ("id", "type", "source", "subject", "time", "sequence")
DATA_FIELDS = tuple(
    dict.fromkeys(field.encode_name for data in (Disposition, Gap) for field in msgspec.structs.fields(data))
)
"""The names in `data` of dispositions and gaps, as they are on the wire."""
NAMES = (*_ATTRIBUTES, *DATA_FIELDS)
"""What a template may name."""


class Form(Protocol):
    """How events are written for one sink. Its methods are pure and never fail on an event of the journal."""

    @property
    def content_type(self) -> str:
        """The media type of a body, with its parameters."""

    @property
    def opening(self) -> bytes:
        """How every body begins; empty if that depends on the event."""

    def body(self, event: Event) -> bytes:
        """The event, without a line end in it or behind it."""


class CloudEventForm:
    """CloudEvents 1.0, structured mode (HTTP binding 1.0, 3.2)."""

    content_type = "application/cloudevents+json; charset=utf-8"
    opening = b'{"specversion":"1.0","type":"'

    def body(self, event: Event) -> bytes:
        """See `Form`."""
        return event.to_json()


class DataForm:
    """The event's `data` and nothing else."""

    content_type = "application/json"
    opening = b"{"

    def body(self, event: Event) -> bytes:
        """See `Form`."""
        return event.data


class TemplateForm:
    """A text in which `$name` or `${name}` stands for a field, and `$$` for a dollar sign.

    In a JSON template a text that is one field alone becomes the field's own value, whatever its type; everywhere else
    a field becomes text: nothing for null, JSON for lists and tables, spaces for control characters and line ends. In a
    template of the type `text/csv` it becomes a quoted cell that no spreadsheet runs as a formula.

    Args:
        template: the text; `problem_of` tells what may be wrong with it.
        content_type: its media type. `application/json` and `…+json` make it a JSON template.
    """

    def __init__(self, template: str, content_type: str) -> None:
        self.content_type = content_type
        self._json: Any = json.loads(template) if is_json(content_type) else None
        self._text = string.Template(template)
        self._is_csv = _media_type(content_type) == "text/csv"
        in_json = b"{" if isinstance(self._json, dict) else b""
        self.opening = in_json if is_json(content_type) else template.partition("$")[0].encode()

    def body(self, event: Event) -> bytes:
        """See `Form`."""
        values = _values(event)
        texts = _as_texts(values)
        if self._json is not None:
            return msgspec.json.encode(_filled(self._json, values, texts))
        if self._is_csv:
            texts = {name: cell(text) for name, text in texts.items()}
        return self._text.substitute(texts).encode()


def is_json(content_type: str) -> bool:
    """Whether a media type is JSON's own or one with its suffix (RFC 6839)."""
    media_type = _media_type(content_type)
    return media_type == "application/json" or media_type.endswith("+json")


def _media_type(content_type: str) -> str:
    """Without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def problem_of(template: str, content_type: str) -> str | None:
    """What is wrong with a template; None if it can be used."""
    if any(not character.isprintable() for character in template) and not is_json(content_type):
        return "holds a line end or a control character: an event is one line"
    texts = [template]
    if is_json(content_type):
        try:
            texts = list(_texts(json.loads(template)))
        except (ValueError, RecursionError) as exc:
            return f"is not JSON: {exc}"
    for text in texts:
        parsed = string.Template(text)
        if not parsed.is_valid():
            return "holds a $ that begins no name; write $$ for the sign itself"
        if unknown := [name for name in parsed.get_identifiers() if name not in NAMES]:
            return f"names {unknown[0]!r}, known are {', '.join(NAMES)}"
    return None


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts(item)


def _filled(value: Any, values: dict[str, Any], texts: dict[str, str]) -> Any:
    """A JSON template with its fields put in."""
    if isinstance(value, list):
        return [_filled(item, values, texts) for item in value]
    if isinstance(value, dict):
        return {string.Template(key).substitute(texts): _filled(item, values, texts) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    name = value.removeprefix("$").removeprefix("{").removesuffix("}")
    if value in (f"${name}", f"${{{name}}}") and name in NAMES:
        return values.get(name)
    return string.Template(value).substitute(texts)


def texts_of(event: Event) -> dict[str, str]:
    """Every field that a template may name as a text: nothing for null, spaces for control characters."""
    return _as_texts(_values(event))


def _as_texts(values: dict[str, Any]) -> dict[str, str]:
    return {name: _as_text(values.get(name)) for name in NAMES}


def _values(event: Event) -> dict[str, Any]:
    """The event's fields by name; what `data` has not got is missing."""
    attributes = {name: getattr(event, name) for name in _ATTRIBUTES[:-1]}
    return {**attributes, "sequence": str(event.sequence), **msgspec.json.decode(event.data, type=dict[str, Any])}


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


CLOUD_EVENT = CloudEventForm()


def form_of(name: FormName, template: str | None, content_type: str) -> Form:
    """The form that a sink's table asks for, which has been checked."""
    match name:
        case "cloudevents":
            return CLOUD_EVENT
        case "data":
            return DataForm()
        case "template":
            return TemplateForm(template or "", content_type)
