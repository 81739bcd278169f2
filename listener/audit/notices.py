"""Notices: records that a trail writes about itself. They are CloudEvents of no chat, in the chain like all others.

Their `type` is `disposition-listener.audit.<what>`, whatever prefix is configured, and their `sequence` is 0, since no
journal has them.
"""

import hashlib
from enum import StrEnum
from typing import Any

import msgspec

from listener.audit.chain import Head, chained, hash_of
from listener.errors import UNDECODABLE
from listener.model.event import Event, Kind, rfc3339

_TYPE = "disposition-listener.audit."
NOTICE = f'{{"specversion":"1.0","type":"{_TYPE}'.encode()
"""How every notice begins."""


class What(StrEnum):
    """What notices tell.

    Attributes:
        KEY: another key signs from here on. `data` has `key` and `previous`, both as verifier keys (`previous` is null
            if nobody knows it), and `introduced`: whether a checkpoint by the previous key names this one.
        QUARANTINED: lines were removed that the journal never delivered. `data` has the `file` that they are in, how
            many `lines`, their `sha256`, and `leftIn`: a closed file that still holds some of them, or null.
        UNCONFIRMED: `data` has `firstRecord` and `lastRecord`, which no checkpoint covered and nothing could be
            compared with, since the journal has them no more. A checkpoint behind this notice does not prove them.
    """

    KEY = "key"
    QUARANTINED = "quarantined"
    UNCONFIRMED = "unconfirmed"


class Unconfirmed(msgspec.Struct, frozen=True, rename="camel"):
    """Records that nothing confirms, both included."""

    first_record: int
    last_record: int


class _Notice(msgspec.Struct, frozen=True):
    type: str
    data: Unconfirmed


_DECODER = msgspec.json.Decoder(_Notice)


def notice(what: What, data: dict[str, Any], *, sink: str, head: Head, time_s: float) -> tuple[bytes, Head]:
    """A notice as the record behind a head, with its line end, and the head that it makes."""
    encoded = msgspec.json.encode(data)
    event = Event(
        id=f"audit-{hash_of(head.hash + encoded).hex()[:16]}",
        type=f"{_TYPE}{what}",
        source="disposition-listener",
        subject=sink,
        time=rfc3339(int(time_s * 1000)),
        kind=Kind.TEST,
        account="",
        change=None,
        data=encoded,
    )
    line, head = chained(event.to_json(), len(encoded), head)
    return line + b"\n", head


def unconfirmed_in(line: bytes) -> Unconfirmed | None:
    """The records that a notice calls unconfirmed; None if it tells something else."""
    if not line.startswith(NOTICE + What.UNCONFIRMED.encode() + b'"'):
        return None
    try:
        return _DECODER.decode(line).data
    except UNDECODABLE:
        return None


def digest_of(lines: bytes) -> str:
    """The SHA-256 of lines that were moved aside, in hexadecimal."""
    return hashlib.sha256(lines).hexdigest()
