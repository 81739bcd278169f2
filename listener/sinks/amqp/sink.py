"""Publishing to a broker: batches in waves, confirms, and what failures mean."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from listener.errors import Retry
from listener.model.event import Event
from listener.sinks.amqp.message import AmqpMessage, AmqpMessageWriter
from listener.sinks.amqp.queue import declare, look, properties_of
from listener.sinks.amqp.session import FAILURES, Session, largest_refused, outcome_of
from listener.sinks.amqp.settings import AmqpSettings
from listener.sinks.durability import report
from listener.sinks.registry import SinkContext
from listener.sinks.verdict import Verdict, chat_of, waves

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
        self._session: Session | None = None
        self._opened = False

    async def open(self) -> None:
        """See `ports.Sink`. Makes exchange and queue where the settings ask for that."""
        await self.close()
        session = await self._connect()
        try:
            await self._ready(session)
        except FAILURES as exc:
            await session.close()
            raise outcome_of(exc, self._place) from exc
        except BaseException:
            await session.close()
            raise
        self._session, self._opened = session, True

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. Of several outcomes one is raised: Reject before Park before Retry."""
        session = await self._connected()
        verdict = Verdict()
        held: set[tuple[str, str]] = set()
        try:
            for wave in waves(events):
                going = [index for index in wave if chat_of(events[index]) not in held]
                done = await self._publish(session, {index: events[index] for index in going}, verdict)
                held |= {chat_of(events[index]) for index in going if index not in done}
        except BaseException:
            await self._drop()  # a confirm of this delivery could be taken for one of the next
            raise
        if not session.usable:
            await self._drop()
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
        self._opened = False
        await self._drop()

    async def _publish(self, session: Session, events: Mapping[int, Event], verdict: Verdict) -> set[int]:
        """One wave; returns what need not hold up the next event of its chat."""
        letters = {index: self._writer.letter(event) for index, event in events.items()}
        unsendable = {index for index, letter in letters.items() if not letter.addressable}
        for index in unsendable:
            verdict.refuse(index, f"{self._context.setting('routing_key')} makes a key of more than 255 bytes")
        sent = {index: letter for index, letter in letters.items() if index not in unsendable}
        answers = await session.publish(sent, timeout_s=self._settings.timeout_s)
        return unsendable | {index for index, letter in sent.items() if self._judge(index, letter, answers, verdict)}

    def _judge(
        self, index: int, letter: AmqpMessage, answers: Mapping[int, Exception | None], verdict: Verdict
    ) -> bool:
        """Take down what became of one event; tells whether it is done with."""
        answer = answers.get(index, TimeoutError())
        if answer is None:
            verdict.delivered.add(index)
            return True
        refused = largest_refused(answer)
        if refused is not None and letter.message.body_size >= refused:
            verdict.refuse(index, f"{self._place} takes no message of {letter.message.body_size} bytes", str(answer))
            return True
        verdict.hold(Retry(f"{self._place} closed the channel") if refused else outcome_of(answer, self._place))
        return False

    async def _connected(self) -> Session:
        """The session while it is good, or a new one."""
        if not self._opened:
            raise Retry(f"sinks.{self._context.name} is not open")
        if self._session is not None and self._session.usable:
            return self._session
        await self._drop()
        session = await self._connect()
        if not self._opened:
            await session.close()
            raise Retry(f"sinks.{self._context.name} was closed meanwhile")
        self._session = session
        return session

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
        """Make or find exchange and queue, and tell what a confirm is worth."""
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
        report(self._context, destination=destination, risks=properties.risks(settings.target), **facts)

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(*FAILURES):
                await session.close()

    @property
    def _place(self) -> str:
        broker = self._settings.broker
        return f"broker {broker.host}:{broker.port}, virtual host {broker.virtual_host}"
