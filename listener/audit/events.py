"""The events of an audit file, typed; and which of them have come before."""

from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from listener.model.event import Kind, Participant, rfc3339


class DispositionData(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`data` of a disposition. What a sink's `fields` may have left out has a default; without the rest it is none."""

    change: str
    disposition: str | None
    key: str = ""
    previous: str | None = None
    chat_id: str = ""
    reference_id: int | None = None
    account: str = ""
    participants: tuple[Participant, ...] = ()
    origin: str = ""


class Stretch(NamedTuple):
    """Epoch milliseconds from where to where."""

    start_ms: int
    end_ms: int


class GapData(NamedTuple):
    """What a gap tells: a stretch in which a disposition of the account could have been missed."""

    account: str
    stretch: Stretch
    reason: str
    closed_by: str


class Event(NamedTuple):
    """One line. `kind` is what the type ends in; `time` is RFC 3339 in UTC; `data` is None for what is neither."""

    id: str
    kind: str
    type: str
    time: str
    time_ms: int
    subject: str
    sequence: str
    data: DispositionData | GapData | None


class _Gap(msgspec.Struct, frozen=True, rename={"from_": "from", "closed_by": "closedBy"}):
    """`data` of a gap event."""

    account: str
    from_: str
    to: str
    reason: str = ""
    closed_by: str = ""


class _Envelope(msgspec.Struct, frozen=True):
    """Attributes that are not named here are ignored, as every reader must."""

    type: str
    time: str
    id: str
    subject: str = ""
    sequence: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_SET = msgspec.json.Decoder(DispositionData)
_GAP = msgspec.json.Decoder(_Gap)
_MARK = ".chat."
_TIME_LENGTH = len(rfc3339(0))


def event_of(line: bytes) -> Event:
    """The event of a line. Raises ValueError: it is none."""
    try:
        envelope = _ENVELOPE.decode(line)
        kind = envelope.type.rpartition(_MARK)[2] if _MARK in envelope.type else ""
        data: DispositionData | GapData | None = None
        if kind == Kind.DISPOSITION:
            data = _SET.decode(envelope.data)
        elif kind == Kind.GAP:
            data = _missed(_GAP.decode(envelope.data))
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise ValueError(str(exc)) from exc
    time, time_ms = envelope.time, epoch_ms(envelope.time)
    if len(time) != _TIME_LENGTH or time[-1] != "Z":
        time = rfc3339(time_ms)
    return Event(envelope.id, kind, envelope.type, time, time_ms, envelope.subject, envelope.sequence, data)


def _missed(gap: _Gap) -> GapData:
    start, end = epoch_ms(gap.from_), epoch_ms(gap.to)
    return GapData(gap.account, Stretch(start, max(start, end)), gap.reason, gap.closed_by)


def epoch_ms(text: str) -> int:
    """Epoch milliseconds of RFC 3339. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no zone")
    return round(moment.timestamp() * 1000)


class SeenIds:
    """Ids that have come before, in some 12 bytes each: 96 bits of a digest, which no two ids in practice share."""

    def __init__(self) -> None:
        self._buckets: dict[bytes, bytearray] = {}

    def add(self, id_: str) -> bool:
        """Whether it has come for the first time."""
        digest = blake2b(id_.encode(), digest_size=12).digest()
        head, rest = digest[:2], digest[2:]
        bucket = self._buckets.get(head)
        if bucket is None:
            self._buckets[head] = bytearray(rest)
            return True
        at = bucket.find(rest)
        while at >= 0 and at % len(rest):  # across two of them
            at = bucket.find(rest, at + 1)
        if at < 0:
            bucket += rest
        return at < 0
