"""Events that look like real ones."""

import msgspec
from msgspec.structs import replace

from listener.model.event import Change, Disposition, Event, Gap, Kind, Origin, SinkTestData, rfc3339

SAMPLE_MS = 1_795_340_340_123
"""When sample events are received unless the test says otherwise: 2026-11-22T09:39:00.123Z."""


def sample_event(
    number: int,
    *,
    chat: str = "0000Na9B26EF003M",
    account: str = "agent1",
    change: Change = Change.SET,
    disposition: str = "IssueResolved",
    received_ms: int = SAMPLE_MS,
    data_bytes: int = 0,
    sequence: int = 0,
) -> Event:
    """A disposition event with id `event-<number>`; `data` is padded to at least `data_bytes`."""
    time_text = rfc3339(received_ms)
    data = Disposition(
        change=change,
        key="DispositionCode",
        disposition=disposition,
        previous=None,
        chat_id=chat,
        chat_state="Chatting",
        chat_uri=f"http://127.0.0.1/api/v2/me/chats/{chat}",
        reference_id=number,
        account=account,
        participants=(),
        user_data={},
        received_at=time_text,
        origin=Origin.NOTIFICATION,
    )
    encoded = msgspec.json.encode(data)
    padding = data_bytes - len(encoded) - len('"note":""')
    if padding > 0:
        encoded = msgspec.json.encode(replace(data, user_data={"note": "x" * padding}))
    return _event(
        f"event-{number}",
        kind=Kind.DISPOSITION,
        subject=chat,
        account=account,
        change=change,
        received_ms=received_ms,
        data=encoded,
        sequence=sequence,
    )


def sample_gap(number: int, *, account: str = "agent1", sequence: int = 0) -> Event:
    """A gap event of one account, with id `event-<number>`."""
    time_text = rfc3339(SAMPLE_MS)
    gap = Gap(account=account, from_=time_text, to=time_text, reason="network", closed_by="poll")
    return _event(
        f"event-{number}",
        kind=Kind.GAP,
        subject=account,
        account=account,
        data=msgspec.json.encode(gap),
        sequence=sequence,
    )


def sample_test(sink: str) -> Event:
    """The event that `sinks test` sends to a sink of this name."""
    data = SinkTestData(message="This is a test: no chat has changed.", sink=sink, sent_at=rfc3339(SAMPLE_MS))
    return _event("test-1", kind=Kind.TEST, subject="test", account="", data=msgspec.json.encode(data))


def _event(
    id_: str,
    *,
    kind: Kind,
    subject: str,
    account: str,
    data: bytes,
    change: Change | None = None,
    received_ms: int = SAMPLE_MS,
    sequence: int = 0,
) -> Event:
    return Event(
        id=id_,
        type=f"disposition-listener.chat.{kind}",
        source="http://127.0.0.1/api/v2/me/chats",
        subject=subject,
        time=rfc3339(received_ms),
        kind=kind,
        account=account,
        change=change,
        received_ms=received_ms,
        data=data,
        sequence=sequence,
    )
