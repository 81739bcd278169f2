"""The stream that a `nats` sink publishes to: whether it can be used, and what its acknowledgements are worth."""

from collections.abc import Iterator
from typing import Any

import structlog
from nats.errors import Error
from nats.js.api import PersistMode, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from listener.errors import Park, Retry
from listener.sinks.durability import report
from listener.sinks.nats.session import ApiError, Session
from listener.sinks.nats.settings import NatsSettings
from listener.sinks.registry import SinkContext

_log = structlog.get_logger("listener.sinks")
_LEAST_WINDOW_S = 120.0  # the server's default; a destination is away for longer than less than that soon enough
_UNKNOWN = "this user may not ask for the stream, so nothing is known of its replicas and its storage"


async def look_at(session: Session, settings: NatsSettings, *, create: bool) -> StreamConfig | None:
    """The stream's configuration; None where this user may not ask for it.

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


def report_durability(context: SinkContext, settings: NatsSettings, config: StreamConfig | None) -> None:
    """Log what an acknowledgement of this stream is worth, and for how long a repetition is recognized."""
    destination = f"{settings.place}, stream {settings.stream}"
    if config is None:
        report(context, destination=destination, risks=(_UNKNOWN,))
        return
    report(context, destination=destination, risks=tuple(_risks(config)), **_facts(config))
    if config.duplicate_window < _LEAST_WINDOW_S:
        _log.warning(
            "sink_duplicates_possible",
            sink=context.name,
            duplicate_window_s=config.duplicate_window,
            effect="an event that is brought again after that, because its acknowledgement was lost, is there twice",
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
    """Why nothing can be published to it; empty where it can."""
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
        yield "the stream is in memory: it ends with its servers"
    elif (config.num_replicas or 1) == 1:
        yield "one replica: the only copy, which the server fsyncs every two minutes unless its sync_interval differs"
    if config.persist_mode == PersistMode.ASYNC:
        yield "persist_mode is async: it acknowledges what it has not written yet"
    if config.retention == RetentionPolicy.INTEREST:
        yield "retention by interest: what no consumer waits for is dropped"
