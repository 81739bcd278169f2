"""The test event for a sink: clearly marked, in no journal, of no chat."""

import msgspec

from listener.model.event import Event, Kind, SinkTestData, rfc3339


def make_test_event(*, sink: str, type_prefix: str, source: str, now_ms: int, mark: str) -> Event:
    """A test event.

    Args:
        sink: the sink's name.
        type_prefix: before `.chat.test`, as for all events.
        source: CloudEvents `source`.
        now_ms: epoch milliseconds.
        mark: makes the id one of its own.
    """
    data = SinkTestData(message="This is a test: no chat has changed.", sink=sink, sent_at=rfc3339(now_ms))
    return Event(
        id=f"test-{mark}",
        type=f"{type_prefix}.chat.{Kind.TEST}",
        source=source,
        subject="test",
        time=rfc3339(now_ms),
        kind=Kind.TEST,
        account="",
        change=None,
        received_ms=now_ms,
        data=msgspec.json.encode(data),
    )
