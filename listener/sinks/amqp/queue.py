"""The queue that events go to: made where that is asked for, and asked what it does with what it confirms."""

import re
from typing import NamedTuple

from aio_pika import ExchangeType
from aiormq import exceptions

from listener.sinks.amqp.session import Session
from listener.sinks.amqp.settings import AmqpSettings


class QueueProperties(NamedTuple):
    """What is known of a queue; None stands for what the broker does not tell."""

    durable: bool | None = None
    type: str | None = None

    def risks(self, queue: str | None) -> tuple[str, ...]:
        """How what it has confirmed may be lost."""
        if self.durable is False:
            return (f"queue {queue} is not durable: a restart of the broker loses it with all that is in it",)
        if self.type == "classic":
            return (f"queue {queue} is a classic one: its events are on one node of the broker",)
        if self.type is None:
            what = f"queue {queue}" if queue else "what the exchange leads to"
            unknown = "replicated" if self.durable else "durable and replicated"
            return (f"the broker does not tell whether {what} is {unknown}",)
        return ()


async def declare(session: Session, settings: AmqpSettings) -> None:
    """Make what is missing: a durable topic exchange, a durable queue, and a binding for every key.

    Raises what `session.outcome_of` knows: something is there already, and different; or it may not be made.
    """
    if settings.target is None:
        return
    async with session.aside() as channel:
        queue = await channel.declare_queue(
            settings.target, durable=True, arguments={"x-queue-type": settings.queue_type}
        )
        if settings.exchange:
            exchange = await channel.declare_exchange(settings.exchange, ExchangeType.TOPIC, durable=True)
            await queue.bind(exchange, "#")


async def look(session: Session, settings: AmqpSettings) -> None:
    """Ask whether exchange and queue are there. Raises what `session.outcome_of` knows: they are not."""
    async with session.aside() as channel:
        if settings.exchange:
            await channel.get_exchange(settings.exchange)
        if settings.target is not None:
            await channel.get_queue(settings.target)


async def properties_of(session: Session, queue: str | None) -> QueueProperties:
    """Ask for the properties of a queue that is there.

    AMQP has no question for them. But declaring a queue that is there changes nothing, and where its properties are
    others than the declared ones the broker's refusal names the first that differs. It needs the permission to
    configure the queue; without it nothing is known.
    """
    if queue is None:
        return QueueProperties()
    try:
        async with session.aside() as channel:
            await channel.declare_queue(queue, durable=True, arguments={"x-queue-type": "quorum"})
    except exceptions.ChannelPreconditionFailed as exc:
        return _of_refusal(str(exc))
    except exceptions.AMQPError:
        return QueueProperties()
    return QueueProperties(durable=True, type="quorum")


def _of_refusal(text: str) -> QueueProperties:
    """`durable` is what RabbitMQ compares first. A queue that was declared without a type is a classic one."""
    found = re.search(r"inequivalent arg '([^']+)'.* but current is (?:[^']*'([^']*)'|none)", text)
    if found is None:
        return QueueProperties()
    if found[1] == "durable":
        return QueueProperties(durable=False)
    return QueueProperties(durable=True, type=(found[2] or "classic") if found[1] == "x-queue-type" else None)
