"""Publishes to a broker: persistent messages, batches in waves, confirms, and the meaning of failures."""

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aio_pika import ExchangeType
from aiormq import exceptions

from listener.errors import Retry
from listener.model.event import Event
from listener.sinks.amqp.session import (
    FAILURES,
    AmqpMessage,
    AmqpMessageWriter,
    Session,
    largest_refused,
    outcome_of,
)
from listener.sinks.amqp.settings import AmqpSettings
from listener.sinks.durability import report_durability
from listener.sinks.registry import SinkContext
from listener.sinks.session import KeptSession
from listener.sinks.verdict import Verdict, chat_of, waves


class QueueProperties(NamedTuple):
    """What is known about a queue; None is what the broker does not tell."""

    durable: bool | None = None
    type: str | None = None

    def risks(self, queue: str | None) -> tuple[str, ...]:
        """How what it has confirmed may be lost."""
        if self.durable is False:
            return (f"queue {queue} is not durable: a restart of the broker loses it with its content",)
        if self.type == "classic":
            return (f"queue {queue} is a classic queue: its events are on one node of the broker",)
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


# Whatever they have to say is in the outcome of a delivery; some of their lines quote messages.
for _library in ("aio_pika", "aiormq"):
    logging.getLogger(_library).setLevel(logging.CRITICAL)


class AmqpSink:
    """Publishes each event as a persistent, mandatory message, and waits for the broker's confirm.

    Of one chat a single event is on its way at any time, of all chats together the whole batch: a queue that is full
    may refuse an event and take the next. The id of the event is the message's, so that readers can tell what came
    twice. After any trouble with the connection the next delivery makes a new one. Can be opened again after `close`.

    Args:
        context: the sink's name, the base of relative paths and how events are written.
        settings: its keys.
    """

    def __init__(self, *, context: SinkContext, settings: AmqpSettings) -> None:
        self._context = context
        self._settings = settings
        self._writer = AmqpMessageWriter(form=context.form, mode=settings.mode, key=settings.key_template)
        self._session = KeptSession(context.name, self._connect)

    async def open(self) -> None:
        """See `ports.Sink`. Makes exchange and queue where the settings ask for that."""
        try:
            await self._ready(await self._session.open())
        except FAILURES as exc:
            await self.close()
            raise outcome_of(exc, self._place) from exc
        except BaseException:
            await self.close()
            raise

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. Of several outcomes one is raised: Reject before Park before Retry."""
        session = await self._session.get()
        verdict = Verdict()
        held: set[tuple[str, str]] = set()
        try:
            for wave in waves(events):
                going = [index for index in wave if chat_of(events[index]) not in held]
                done = await self._publish(session, {index: events[index] for index in going}, verdict)
                held |= {chat_of(events[index]) for index in going if index not in done}
        except BaseException:
            await self._session.drop()  # a confirm of this delivery could be taken for one of the next
            raise
        if not session.usable:
            await self._session.drop()
        verdict.raise_outcome()

    async def check(self) -> None:
        """See `ports.Sink`: logs in, and looks for exchange and queue unless the sink would make them."""
        session = await self._connect()
        try:
            if not self._settings.declare:
                async with asyncio.timeout(self._settings.timeout_s):
                    await look(session, self._settings)
        except FAILURES as exc:
            raise outcome_of(exc, self._place) from exc
        finally:
            await session.close()

    async def close(self) -> None:
        """See `ports.Sink`."""
        await self._session.close()

    async def _publish(self, session: Session, events: Mapping[int, Event], verdict: Verdict) -> set[int]:
        """One wave; returns what need not hold up the next event of its chat."""
        letters = {index: self._writer.letter(event) for index, event in events.items()}
        unsendable = {index for index, letter in letters.items() if not letter.addressable}
        for index in unsendable:
            verdict.refuse(index, f"{self._context.setting('routing_key')} yields a key of more than 255 bytes")
        sent = {index: letter for index, letter in letters.items() if index not in unsendable}
        answers = await session.publish(sent, timeout_s=self._settings.timeout_s)
        return unsendable | {index for index, letter in sent.items() if self._judge(index, letter, answers, verdict)}

    def _judge(
        self, index: int, letter: AmqpMessage, answers: Mapping[int, Exception | None], verdict: Verdict
    ) -> bool:
        """Note the outcome of one event; returns whether it is settled."""
        answer = answers.get(index, TimeoutError())
        if answer is None:
            verdict.delivered.add(index)
            return True
        refused = largest_refused(answer)
        if refused is not None and letter.message.body_size >= refused:
            verdict.refuse(index, f"{self._place} accepts no message of {letter.message.body_size} bytes", str(answer))
            return True
        verdict.hold(Retry(f"{self._place} closed the channel") if refused else outcome_of(answer, self._place))
        return False

    async def _connect(self) -> Session:
        """Raises what `deliver` would, and StartError for a certificate of ours."""
        settings, broker = self._settings, self._settings.broker
        login: dict[str, Any] = {}
        if settings.username is not None:
            login = {"login": settings.username, "password": await settings.password_now(self._context) or ""}
        tls = await asyncio.to_thread(settings.ssl_context, self._context) if broker.tls else None
        try:
            async with asyncio.timeout(settings.timeout_s):
                return await Session.to(
                    settings.exchange,
                    host=broker.host,
                    port=broker.port,
                    virtualhost=broker.virtual_host,
                    ssl=broker.tls,
                    ssl_context=tls,
                    client_properties={"connection_name": f"disposition-listener {self._context.name}"},
                    **login,
                )
        except FAILURES as exc:
            raise outcome_of(exc, self._place) from exc

    async def _ready(self, session: Session) -> None:
        """Create or find exchange and queue, and report how durable a confirmed event is."""
        settings = self._settings
        async with asyncio.timeout(settings.timeout_s):
            if settings.declare:
                await declare(session, settings)
            await look(session, settings)
            properties = await properties_of(session, settings.target)
        destination = (
            f"{self._place}, exchange {settings.exchange or '(default)'}, queue {settings.target or '(unknown)'}"
        )
        facts = {"durable": properties.durable, "queue_type": properties.type}
        report_durability(self._context, destination=destination, risks=properties.risks(settings.target), **facts)

    @property
    def _place(self) -> str:
        broker = self._settings.broker
        return f"broker {broker.host}:{broker.port}, virtual host {broker.virtual_host}"
