"""Events as AMQP messages: persistent, with the event's id, after the AMQP binding of CloudEvents 1.0."""

from typing import Literal, NamedTuple

from aio_pika import DeliveryMode, Message
from pamqp.common import FieldValue

from listener.model.event import Event
from listener.model.forms import CLOUD_EVENT, Form, TemplateForm

_LONGEST_KEY = 255  # bytes (AMQP 0-9-1, 4.2.5.3)
_ATTRIBUTES = ("type", "source", "id", "subject", "time", "sequence")


class AmqpMessage(NamedTuple):
    """A message with its address."""

    message: Message
    routing_key: str

    @property
    def addressable(self) -> bool:
        """Whether the routing key is no longer than the protocol allows."""
        return len(self.routing_key.encode()) <= _LONGEST_KEY


class AmqpMessageWriter:
    """Writes events for one sink.

    The binding is one of AMQP 1.0; here its application properties are headers, which RabbitMQ turns into each other.

    Args:
        form: how an event is written.
        mode: structured has the whole event in the body, binary its attributes in headers (binding, 3.1.3).
        key: the template of the routing key.
    """

    def __init__(self, *, form: Form, mode: Literal["structured", "binary"], key: str) -> None:
        self._form = form
        self._binary = mode == "binary"
        self._key = TemplateForm(key, "text/plain")

    def letter(self, event: Event) -> AmqpMessage:
        """The message of one event."""
        body, content_type = self._form.body(event), self._form.content_type
        if self._binary and self._form is CLOUD_EVENT:
            body, content_type = event.data, "application/json"
        message = Message(
            body,
            content_type=content_type,
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=event.id,
            type=event.type,
            app_id="disposition-listener",
            headers=_attributes(event) if self._binary else None,
        )
        return AmqpMessage(message, self._key.body(event).decode())


def _attributes(event: Event) -> dict[str, FieldValue]:
    """All but `datacontenttype`, which is the content type, as canonical strings."""
    named: dict[str, FieldValue] = {f"cloudEvents:{name}": str(getattr(event, name)) for name in _ATTRIBUTES}
    return {"cloudEvents:specversion": "1.0", **named}
