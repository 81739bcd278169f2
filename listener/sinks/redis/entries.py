"""The script that appends events to a stream, and the calls of it."""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from importlib.resources import files
from typing import NamedTuple

from listener.model.event import Event
from listener.sinks.redis.session import Command
from listener.sinks.redis.settings import RedisSettings

_SCRIPT = files(__package__).joinpath("append.lua").read_text(encoding="utf-8")
_MARK_BYTES = 16
_ARGUMENTS = 18  # of an event: entry id, mark, and the names and values of eight fields
_CALL_BYTES = 4 * 1024 * 1024


class Entry(NamedTuple):
    """An event as it is written, of a media type."""

    event: Event
    content_type: str
    body: bytes


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
    """A call that writes nothing and tells whether one that does may."""
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
