"""Publishes to a JetStream stream: batches in waves, acknowledgements, and the meaning of failures."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import structlog
from nats.errors import Error, NoServersError
from nats.js.api import PersistMode, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from listener.errors import Park, Retry
from listener.model.event import Event
from listener.sinks.durability import report_durability
from listener.sinks.nats.session import NO_STREAM, Answer, ApiError, Message, NoTlsError, Session, login_of
from listener.sinks.nats.settings import NatsSettings
from listener.sinks.registry import SinkContext
from listener.sinks.session import KeptSession
from listener.sinks.verdict import Verdict, chat_of, waves

_log = structlog.get_logger("listener.sinks")
_LEAST_WINDOW_S = 120.0  # the server's default; a destination is away for longer than less than that soon enough
_UNKNOWN = "this user may not query the stream, so its replicas and storage are unknown"

# The server's words for a login that it does not take (nats-server, server/errors.go), in lower case.
_NEED_A_PERSON = (
    "authorization violation",
    "authentication expired",
    "authentication revoked",
    "permissions violation",
    "tls required",
)


async def look_at(session: Session, settings: NatsSettings, *, create: bool) -> StreamConfig | None:
    """The stream's configuration; None if this user may not ask for it.

    Args:
        session: a connection that is up.
        settings: name the stream and its subject.
        create: make the stream where it does not exist and the settings ask for that.

    Raises:
        Park: there is no such stream, or it cannot be used.
        Retry: it cannot be asked for now.
    """
    place = f"stream {settings.stream} at {settings.place}"
    try:
        async with session.listening():
            config = await _config(session, settings, create=create)
    except NotFoundError as exc:
        raise Park(f"{place} does not exist") from exc
    except APIError as exc:
        raise _error_of(exc).outcome(place) from exc
    except (TimeoutError, Error) as exc:
        if session.denied:
            session.trouble = None
            return None
        raise Retry(f"{place}: no answer: {session.trouble or exc}") from exc
    if config is not None and (problem := _problem(config, settings.subject)):
        raise Park(f"{place} {problem}")
    return config


def report_stream(context: SinkContext, settings: NatsSettings, config: StreamConfig | None) -> None:
    """Log what an acknowledgement of this stream is worth, and for how long a repetition is recognized."""
    destination = f"{settings.place}, stream {settings.stream}"
    if config is None:
        report_durability(context, destination=destination, risks=(_UNKNOWN,))
        return
    report_durability(context, destination=destination, risks=tuple(_risks(config)), **_facts(config))
    if config.duplicate_window < _LEAST_WINDOW_S:
        _log.warning(
            "sink_duplicates_possible",
            sink=context.name,
            duplicate_window_s=config.duplicate_window,
            effect="an event delivered again after that, because its acknowledgement was lost, is stored twice",
        )


async def _config(session: Session, settings: NatsSettings, *, create: bool) -> StreamConfig | None:
    api = session.stream_api()
    try:
        return (await api.stream_info(settings.stream)).config
    except NotFoundError:
        if not settings.create_stream:
            raise
    if not create:
        return None
    new = StreamConfig(name=settings.stream, subjects=[settings.subject], storage=StorageType.FILE)
    return (await api.add_stream(new)).config


def _error_of(exc: APIError) -> ApiError:
    return ApiError(code=exc.code or 0, err_code=exc.err_code or 0, description=exc.description or "no JetStream there")


def _problem(config: StreamConfig, subject: str) -> str:
    """Why nothing can be published to it; empty if it can."""
    if config.mirror is not None:
        return "is a mirror of another"
    if config.sealed:
        return "is sealed"
    if config.no_ack:
        return "acknowledges nothing (no_ack)"
    subjects = config.subjects or []
    if not any(_covers(pattern.split("."), subject.split(".")) for pattern in subjects):
        return f"takes {', '.join(subjects) or 'no subject'}, not {subject}"
    return ""


def _covers(pattern: list[str], subject: list[str]) -> bool:
    """Whether a subject with wildcards covers one without (`*` is one token, `>` at the end one or more)."""
    if pattern[-1] == ">":
        pattern, subject = pattern[:-1], subject[: len(pattern) - 1] if len(subject) >= len(pattern) else []
    return len(pattern) == len(subject) and all(mine in ("*", its) for mine, its in zip(pattern, subject, strict=True))


def _facts(config: StreamConfig) -> dict[str, Any]:
    return {
        "replicas": config.num_replicas,
        "storage": config.storage,
        "duplicate_window_s": config.duplicate_window,
        "max_age_s": config.max_age,
    }


def _risks(config: StreamConfig) -> Iterator[str]:
    if config.storage == StorageType.MEMORY:
        yield "the stream is in memory: it is lost with its servers"
    elif (config.num_replicas or 1) == 1:
        yield "one replica: the only copy, which the server fsyncs every two minutes unless its sync_interval differs"
    if config.persist_mode == PersistMode.ASYNC:
        yield "persist_mode is async: it acknowledges events before it has written them"
    if config.retention == RetentionPolicy.INTEREST:
        yield "retention by interest: events that no consumer waits for are dropped"


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
        self._session = KeptSession(context.name, self._connect)

    async def open(self) -> None:
        """See `ports.Sink`. Creates the stream where the settings ask for that."""
        session = await self._session.open()
        report_stream(self._context, self._settings, session.stream)

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. Of several outcomes one is raised: Reject before Park before Retry."""
        session = await self._session.get()
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
        await self._session.close()

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

    async def _connect(self, *, create: bool = True) -> Session:
        """Log in, and look at the stream. Raises Retry or Park."""
        settings = self._settings
        login = await login_of(self._context, settings)
        session = Session(timeout_s=settings.timeout_s)
        try:
            async with asyncio.timeout(settings.timeout_s):
                await session.connect(login)
            session.stream = await look_at(session, settings, create=create)
        except BaseException as exc:
            cause = session.trouble if isinstance(exc, NoServersError) else exc
            await session.close()
            if isinstance(exc, NoTlsError | Error | OSError):
                raise self._refusal(cause or exc) from exc
            raise
        return session

    def _refusal(self, exc: BaseException) -> Park | Retry:
        """What it means that there is no connection."""
        place, text = self._settings.place, str(exc) or type(exc).__name__
        if isinstance(exc, TimeoutError):
            text = f"no answer within {self._settings.timeout_s:g} s"
        if isinstance(exc, NoTlsError) or any(words in text.lower() for words in _NEED_A_PERSON):
            return Park(f"{place} refuses our credentials: {text}")
        return Retry(f"{place} cannot be reached: {text}")
