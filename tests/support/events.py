"""Events to hand to a sink."""

from collections.abc import Sequence

import msgspec

from listener.model.event import Change, DeadLetter, Disposition, Event, Gap, Kind, Origin

_TIME = "2026-11-22T09:39:00.123Z"
_MIDNIGHT_MS = 1_795_305_600_000  # of that day


def disposition_event(sequence: int, *, chat: str = "0000Na9B26EF003M", value: str = "IssueResolved") -> Event:
    """A disposition event; two calls with the same arguments make the same event."""
    data = Disposition(
        change=Change.SET,
        key="DispositionCode",
        disposition=value,
        previous=None,
        chat_id=chat,
        chat_state="Chatting",
        chat_uri=None,
        reference_id=34,
        account="agent1",
        participants=(),
        user_data={},
        received_at=_TIME,
        origin=Origin.NOTIFICATION,
    )
    return _event(sequence, Kind.DISPOSITION, chat, msgspec.json.encode(data), Change.SET)


def gap_event(sequence: int, *, account: str = "agent1") -> Event:
    """A gap of one account."""
    data = Gap(account=account, from_=_TIME, to=_TIME, reason="network", closed_by="poll")
    return _event(sequence, Kind.GAP, account, msgspec.json.encode(data), None)


def dead_letter(sequence: int, *, hour: int, sink: str = "crm") -> DeadLetter:
    """A letter of the event with this sequence, of 2026-11-22 at this hour."""
    return DeadLetter(
        sink=sink,
        sequence=sequence,
        event_id=f"event-{sequence}",
        reason=f"{sink} answered 422",
        attempts=sequence,
        at_ms=_MIDNIGHT_MS + hour * 3_600_000,
        answer=f"no such chat: {sequence}",
    )


def events_of(count: int, *, chats: int = 1, first: int = 1) -> list[Event]:
    """`count` events in journal order that go round `chats` chats."""
    return [disposition_event(number, chat=f"chat-{number % chats}") for number in range(first, first + count)]


def sequences(lines: Sequence[bytes]) -> list[int]:
    """The sequences of events in JSON."""
    return [int(msgspec.json.decode(line)["sequence"]) for line in lines]


def _event(sequence: int, kind: Kind, subject: str, data: bytes, change: Change | None) -> Event:
    return Event(
        id=f"event-{sequence}",
        type=f"disposition-listener.chat.{kind}",
        source="https://gws.example.com/api/v2/me/chats",
        subject=subject,
        time=_TIME,
        kind=kind,
        account="agent1",
        change=change,
        data=data,
        sequence=sequence,
    )
