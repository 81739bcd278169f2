"""Publishing to JetStream: batches in waves, acknowledgements, and what failures mean."""

import asyncio
from collections.abc import Mapping, Sequence

from nats.errors import Error, NoServersError

from listener.errors import Park, Retry
from listener.model.event import Event
from listener.sinks.nats.login import NoTlsError, login_of
from listener.sinks.nats.session import NO_STREAM, Answer, Message, Session
from listener.sinks.nats.settings import NatsSettings
from listener.sinks.nats.stream import look_at, report_durability
from listener.sinks.registry import SinkContext
from listener.sinks.verdict import Verdict, chat_of, waves

# The server's words for a login that it does not take (nats-server, server/errors.go), in lower case.
_NEED_A_PERSON = (
    "authorization violation",
    "authentication expired",
    "authentication revoked",
    "permissions violation",
    "tls required",
)


class NatsSink:
    """Publishes to one stream, with the event's id as `Nats-Msg-Id`: what is brought again is there once.

    Of one chat a single event is on its way at any time, of all chats together the whole batch: a stream that is full,
    or whose leader changes, may refuse an event and take the next. What remains unanswered ends the connection, and
    the next delivery makes a new one. Can be opened again after `close`.

    Args:
        context: the sink's name, the base of relative paths and how events are written.
        settings: its keys.
    """

    def __init__(self, *, context: SinkContext, settings: NatsSettings) -> None:
        self._context = context
        self._settings = settings
        self._session: Session | None = None
        self._opened = False

    async def open(self) -> None:
        """See `ports.Sink`. Creates the stream where the settings ask for that."""
        await self.close()
        self._opened = True
        await self._connected(tell=True)

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. Of several outcomes one is raised: Reject before Park before Retry."""
        session = await self._connected()
        verdict = Verdict()
        held: set[tuple[str, str]] = set()
        for wave in waves(events):
            messages = {index: self._message(events[index]) for index in wave if chat_of(events[index]) not in held}
            self._refuse_too_large(messages, session.max_payload, verdict)
            answers = await session.publish(self._settings.subject, messages)
            held |= {chat_of(events[index]) for index in messages if not self._goes_on(index, answers, verdict)}
            if NO_STREAM in answers.values():
                await session.close()  # the next one looks whether the stream is still there
                break
            if len(answers) < len(messages):
                verdict.hold(self._silence(session))
                await session.close()
                break
        verdict.raise_outcome()

    async def check(self) -> None:
        """See `ports.Sink`: over a connection of its own, and without creating a stream."""
        session = await self._connect(create=False)
        await session.close()

    async def close(self) -> None:
        """See `ports.Sink`."""
        self._opened = False
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _message(self, event: Event) -> Message:
        headers = {
            "Nats-Msg-Id": event.id,
            "Nats-Expected-Stream": self._settings.stream,
            "Content-Type": self._context.form.content_type,
        }
        return Message(headers, self._context.form.body(event))

    def _refuse_too_large(self, messages: dict[int, Message], limit: int, verdict: Verdict) -> None:
        """The server would end the connection over one that is."""
        for index in [index for index, message in messages.items() if message.size > limit]:
            del messages[index]
            verdict.refuse(index, f"larger than the {limit} bytes that {self._settings.place} takes")

    def _goes_on(self, index: int, answers: Mapping[int, Answer], verdict: Verdict) -> bool:
        """Whether the next event of this chat may be sent."""
        if index not in answers:
            return False
        error = answers[index].error
        if error is None:
            verdict.delivered.add(index)
        elif error.too_large:
            verdict.refuse(index, f"larger than stream {self._settings.stream} takes", error.description)
        else:
            verdict.hold(error.outcome(f"stream {self._settings.stream} at {self._settings.place}"))
            return False
        return True

    def _silence(self, session: Session) -> Park | Retry:
        """Why some of what was sent has no answer."""
        place, trouble = self._settings.place, session.trouble
        if trouble is None:
            return Retry(f"{place} did not acknowledge within {self._settings.timeout_s:g} s")
        if session.denied:
            return Park(f"{place} does not let this user publish: {trouble}")
        return Retry(f"the connection to {place} was lost: {trouble}")

    async def _connected(self, *, tell: bool = False) -> Session:
        """The session that there is, or a new one in place of one that something is wrong with."""
        if not self._opened:
            raise Retry(f"sinks.{self._context.name} is not open")
        if self._session is not None and self._session.trouble is None:
            return self._session
        if self._session is not None:
            await self._session.close()
        session = await self._connect(create=True, tell=tell)
        if not self._opened:  # closed meanwhile
            await session.close()
            raise Retry(f"sinks.{self._context.name} was closed")
        self._session = session
        return session

    async def _connect(self, *, create: bool, tell: bool = False) -> Session:
        """Log in, and look at the stream. Raises Retry or Park."""
        settings = self._settings
        login = await login_of(self._context, settings)
        session = Session(timeout_s=settings.timeout_s)
        try:
            async with asyncio.timeout(settings.timeout_s):
                await session.connect(login)
            config = await look_at(session, settings, create=create)
        except BaseException as exc:
            cause = session.trouble if isinstance(exc, NoServersError) else exc
            await session.close()
            if isinstance(exc, NoTlsError | Error | OSError):
                raise self._refusal(cause or exc) from exc
            raise
        if tell:
            report_durability(self._context, settings, config)
        return session

    def _refusal(self, exc: BaseException) -> Park | Retry:
        """What it means that there is no connection."""
        place, text = self._settings.place, str(exc) or type(exc).__name__
        if isinstance(exc, TimeoutError):
            text = f"no answer within {self._settings.timeout_s:g} s"
        if isinstance(exc, NoTlsError) or any(words in text.lower() for words in _NEED_A_PERSON):
            return Park(f"{place} does not let us in: {text}")
        return Retry(f"{place} cannot be reached: {text}")
