"""Events that look like real ones."""

import msgspec
from msgspec.structs import replace

from listener.model import Change, Disposition, Event, Kind, Origin, rfc3339

SAMPLE_MS = 1_795_340_340_123
"""When sample events are received unless the test says otherwise: 2026-11-22T09:39:00.123Z."""


def sample_event(
    number: int,
    *,
    chat: str = "0000Na9B26EF003M",
    account: str = "agent1",
    change: Change = Change.SET,
    received_ms: int = SAMPLE_MS,
    data_bytes: int = 0,
) -> Event:
    """A disposition event with id `event-<number>` and sequence 0; `data` is padded to at least `data_bytes`."""
    time_text = rfc3339(received_ms)
    data = Disposition(
        change=change,
        key="DispositionCode",
        disposition="IssueResolved",
        previous=None,
        chat_id=chat,
        chat_state="Chatting",
        chat_uri=f"http://127.0.0.1/api/v2/me/chats/{chat}",
        reference_id=number,
        account=account,
        received_at=time_text,
        origin=Origin.NOTIFICATION,
    )
    encoded = msgspec.json.encode(data)
    padding = data_bytes - len(encoded) - len('"note":""')
    if padding > 0:
        encoded = msgspec.json.encode(replace(data, user_data={"note": "x" * padding}))
    return Event(
        id=f"event-{number}",
        type="disposition-listener.chat.disposition",
        source="http://127.0.0.1/api/v2/me/chats",
        subject=chat,
        time=time_text,
        kind=Kind.DISPOSITION,
        account=account,
        change=change,
        received_ms=received_ms,
        data=encoded,
    )
