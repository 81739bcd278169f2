"""Delivery to a Redis stream: the script that appends each event once, and what must be known of the server for it."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from importlib.resources import files
from typing import Any, NamedTuple

from redis.exceptions import RedisError, ResponseError

from listener.errors import Retry
from listener.model.event import Event
from listener.sinks.durability import report_durability
from listener.sinks.redis.session import Command, Profile, Session, connect, moved_to, outcome_of
from listener.sinks.redis.settings import RedisSettings
from listener.sinks.registry import SinkContext
from listener.sinks.session import ExclusiveSession
from listener.sinks.verdict import Verdict

_SCRIPT = files(__package__).joinpath("append.lua").read_text(encoding="utf-8")
_MARK_BYTES = 16
_ARGUMENTS = 18  # of an event: entry id, mark, and the names and values of eight fields
_CALL_BYTES = 4 * 1024 * 1024
_HOPS = 3


class Entry(NamedTuple):
    """An event as it is written, of a media type."""

    event: Event
    content_type: str
    body: bytes


class RedisSink:
    """Appends each batch with one call of a script, which leaves out what it finds there already.

    A connection is made when one is needed and given up after any trouble. Can be opened again after `close`.

    Args:
        context: the sink's surroundings.
        settings: its keys.
    """

    def __init__(self, *, context: SinkContext, settings: RedisSettings) -> None:
        self._context = context
        self._settings = settings
        self._place = f"{context.setting('url')} {settings.url}"
        self._session = ExclusiveSession(
            self._connect_and_report,
            place=self._place,
            failures=(RedisError,),
            outcome_of=outcome_of,
            timeout_s=settings.timeout_s,
        )
        self._profile: Profile | None = None

    async def open(self) -> None:
        """See `ports.Sink`."""
        await self._session.open()

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. Of a batch that fails anything may be there; brought again, it is there once."""
        verdict = Verdict()
        async with self._session.exchange() as session:
            entries = self._fitting(events, session.profile.largest, verdict)
            if entries:
                await self._append(session, list(entries.values()))
        verdict.delivered.update(entries)
        verdict.raise_outcome()

    async def check(self) -> None:
        """See `ports.Sink`: over a connection of its own."""
        async with self._session.limited():
            session = await self._connect()
            await session.close()

    async def close(self) -> None:
        """See `ports.Sink`. A delivery that is under way ends at once."""
        await self._session.close()

    async def _connect_and_report(self) -> Session:
        session = await self._connect()
        if session.profile != self._profile:
            self._profile = session.profile
            self._report(session.profile)
        return session

    async def _connect(self) -> Session:
        """A session with the server that has the stream; a cluster's node names it where it is another."""
        address = self._settings.address
        for _ in range(_HOPS):
            session = await connect(self._context, self._settings, address)
            try:
                (probed,) = await session.ask(probe(self._settings))
                elsewhere = moved_to(probed)
                if elsewhere is None:
                    self._check_usable(probed, session.profile)
                    return session
            except BaseException:
                await session.close()
                raise
            await session.close()
            address |= elsewhere
        raise Retry(f"{self._place}: the nodes of the cluster do not agree on which one has the stream")

    def _check_usable(self, probed: Any, profile: Profile) -> None:
        if isinstance(probed, ResponseError):
            raise probed
        if profile.is_replica:
            raise Retry(f"{self._place}: is a replica, which takes no writes")

    def _fitting(self, events: Sequence[Event], largest: int, verdict: Verdict) -> dict[int, Entry]:
        """The entries of the events that the server takes, by index; the others are refused."""
        form = self._context.form
        entries = {index: Entry(event, form.content_type, form.body(event)) for index, event in enumerate(events)}
        for index in [index for index, entry in entries.items() if len(entry.body) > largest]:
            del entries[index]
            verdict.refuse(index, f"{self._place}: accepts no value of more than {largest} bytes (proto-max-bulk-len)")
        return entries

    async def _append(self, session: Session, entries: Sequence[Entry]) -> None:
        waiting = self._waiting(session.profile)
        for call in calls(self._settings, entries):
            appended, *reached = await session.ask(call, *waiting)
            for answer in (appended, *reached):
                if isinstance(answer, ResponseError):
                    raise answer
            self._check_reached(reached)

    def _waiting(self, profile: Profile) -> list[Command]:
        """What is asked behind a call and answered once replicas, and the disk, have what it wrote."""
        limit_ms = max(1, int(self._settings.timeout_s * 500))
        waiting: list[Command] = []
        if self._settings.wait_replicas:
            waiting.append(("WAIT", self._settings.wait_replicas, limit_ms))
        if profile.waits_for_fsync(self._settings):
            waiting.append(("WAITAOF", 1, 0, limit_ms))
        return waiting

    def _check_reached(self, reached: list[Any]) -> None:
        for answer in reached:
            if isinstance(answer, list) and answer[0] < 1:
                raise Retry(f"{self._place}: the events are not on its disk yet")
            if isinstance(answer, int) and answer < self._settings.wait_replicas:
                text = f"{answer} of wait_replicas = {self._settings.wait_replicas} replicas have the events"
                raise Retry(f"{self._place}: {text}")

    def _report(self, profile: Profile) -> None:
        report_durability(
            self._context,
            destination=f"{self._settings.url}, stream {self._settings.stream}",
            risks=tuple(profile.risks(self._settings)),
            version=profile.version,
            appendonly=profile.appendonly,
            appendfsync=profile.appendfsync,
            waits_for_fsync=profile.waits_for_fsync(self._settings),
            replicas=profile.replicas,
            wait_replicas=self._settings.wait_replicas,
            maxlen=self._settings.maxlen,
        )


def calls(settings: RedisSettings, entries: Sequence[Entry]) -> Iterator[Command]:
    """Calls that append the entries in their order, none so large that Redis, which does one at a time, is held up.

    Each is to be answered before the next is made, since it may be refused.
    """
    arguments: list[str | bytes] = []
    size = 0
    for entry in entries:
        body = entry.body
        if size + len(body) > _CALL_BYTES and arguments:
            yield _call(settings, arguments)
            arguments, size = [], 0
        size += len(body)
        arguments += _arguments(*entry)
    yield _call(settings, arguments)


def probe(settings: RedisSettings) -> Command:
    """A call that writes nothing and shows whether writing is allowed."""
    return _call(settings, [])


def _call(settings: RedisSettings, arguments: Sequence[str | bytes]) -> Command:
    trim = "=" if settings.maxlen_exact else "~"
    bounds = (settings.maxlen, trim, settings.dedup_window, _ARGUMENTS)
    # The whole script each time: a server that was restarted does not know it by its digest.
    return ("EVAL", _SCRIPT, 2, settings.stream, settings.marks, *bounds, *arguments)


def _arguments(event: Event, content_type: str, body: bytes) -> tuple[str | bytes, ...]:
    fields: dict[str, str | bytes] = {
        "id": event.id,  # the script reads this and the next
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "sequence": str(event.sequence),
        "content-type": content_type,
        "body": body,
    }
    # When it was received, as stream ids go, and where in the journal: the same whenever the event comes again, and
    # rising over journals too.
    entry = f"{max(event.received_ms, 1)}-{event.sequence}"
    return (entry, _mark(event), *(part for field in fields.items() for part in field))


def _mark(event: Event) -> bytes:
    """What stands for the event's identity (CloudEvents 1.0, "id": source and id together)."""
    return blake2b(f"{event.source}\0{event.id}".encode(), digest_size=_MARK_BYTES).digest()
