"""One connection to a broker with one confirming channel: its messages, and the meaning of AMQP errors."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

import aio_pika
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aiormq import exceptions  # the layer below, whose errors come through as they are
from pamqp.common import FieldValue

from listener.errors import Park, Retry
from listener.model.event import Event
from listener.model.forms import CLOUD_EVENT, Form, TemplateForm
from listener.sinks.tls import is_refusal

_LONGEST_KEY = 255  # bytes (AMQP 0-9-1, 4.2.5.3)
_ATTRIBUTES = ("type", "source", "id", "subject", "time", "sequence")
_CLOSE_S = 1.0

_NEED_A_PERSON = (
    exceptions.ProbableAuthenticationError,
    exceptions.AuthenticationError,
    exceptions.ConnectionNotAllowed,
    exceptions.ChannelAccessRefused,
    exceptions.ChannelNotFoundEntity,
    exceptions.ChannelPreconditionFailed,
)

FAILURES = (exceptions.AMQPError, OSError, RuntimeError)
"""What the client raises if the broker or the network fails."""


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


class Session:
    """A connection that is used until something is wrong with it, and then given up.

    Args:
        connection: to the broker.
        channel: on it, with confirms, and errors for what is returned.
        exchange: that messages go to; not asked for.
    """

    def __init__(self, *, connection: AbstractConnection, channel: AbstractChannel, exchange: AbstractExchange) -> None:
        self._connection = connection
        self._channel = channel
        self._exchange = exchange

    @classmethod
    async def to(cls, exchange: str, **options: Any) -> Self:
        """Connect once and log in. Raises one of FAILURES.

        Args:
            exchange: its name, empty for the default one.
            options: arguments of `aio_pika.connect`.
        """
        connection = await aio_pika.connect(**options)
        try:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            named = await channel.get_exchange(exchange, ensure=False)
        except BaseException:
            await _close(connection)
            raise
        return cls(connection=connection, channel=channel, exchange=named)

    @property
    def usable(self) -> bool:
        """Whether nothing is known to be wrong with it."""
        return not self._channel.is_closed

    async def publish(self, letters: Mapping[int, AmqpMessage], *, timeout_s: float) -> Mapping[int, Exception | None]:
        """Send messages, and wait for the confirms of all of them.

        Returns by the letters' keys None for what is confirmed, or why it is not; what is missing was not answered in
        time.
        """
        answers: dict[int, Exception | None] = {}

        async def send(index: int, letter: AmqpMessage) -> None:
            try:
                await self._exchange.publish(letter.message, letter.routing_key, mandatory=True)
            except FAILURES as exc:
                answers[index] = exc
            except Exception as exc:
                if type(exc) is not Exception:  # which is what the client raises where a channel ends without a reason
                    raise
                answers[index] = ConnectionAbortedError("the channel was closed")
            else:
                answers[index] = None

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
                for index, letter in letters.items():
                    group.create_task(send(index, letter))
        return answers

    def aside(self) -> AbstractChannel:
        """Another channel on the same connection, to be entered; for questions whose answer may be its end."""
        return self._connection.channel()

    async def close(self) -> None:
        """Release everything, without waiting for a broker that hangs."""
        await _close(self._connection)


async def _close(connection: AbstractConnection) -> None:
    with contextlib.suppress(TimeoutError, *FAILURES):
        async with asyncio.timeout(_CLOSE_S):
            await connection.close()


def largest_refused(exc: Exception | None) -> int | None:
    """The size of the message that the broker closed the channel for, None if that was not why."""
    if not isinstance(exc, exceptions.ChannelPreconditionFailed):
        return None
    found = re.search(r"message size (\d+) is larger than", str(exc))
    return int(found[1]) if found else None


def outcome_of(exc: Exception, place: str) -> Park | Retry:
    """The one place that distinguishes passing failures from those that need a person.

    Of a broker that closes the connection in place of opening a virtual host the client keeps no reason.
    """
    if isinstance(exc, TimeoutError):
        return Retry(f"{place} did not answer in time")
    if (secured := _tls_error(exc)) is not None:
        return _of_tls(secured, place)
    if isinstance(exc, exceptions.PublishError):
        return Park(f"{place}: no queue is bound for this routing key", detail=str(exc))
    if isinstance(exc, exceptions.DeliveryError):
        return Retry(f"{place}: the broker rejected it; a queue may be full")
    if isinstance(exc, exceptions.InvalidFrameError) and re.search(r"Connection\.OpenOk.*Connection\.Close", str(exc)):
        return Park(f"{place}: there is no such virtual host, or this user may not use it")
    kind = Park if isinstance(exc, _NEED_A_PERSON) else Retry
    return kind(f"{place}: {_text(exc) or type(exc).__name__}")


def _of_tls(exc: ssl.SSLError, place: str) -> Park | Retry:
    if isinstance(exc, ssl.SSLCertVerificationError):  # it will be renewed there, or trusted here after a restart
        return Retry(f"{place} presents a certificate that is not trusted: {exc.verify_message}")
    kind = Park if is_refusal(exc) else Retry
    return kind(f"{place}: TLS: {exc.reason or exc}")


def _tls_error(exc: BaseException | None) -> ssl.SSLError | None:
    """The client wraps what it gets, once."""
    return next((found for found in (exc, exc and exc.__cause__) if isinstance(found, ssl.SSLError)), None)


def _text(exc: Exception) -> str:
    """What the broker or the system says, which names queues, exchanges and users, and never events or passwords."""
    return " ".join(str(argument) for argument in exc.args if isinstance(argument, int | str))
