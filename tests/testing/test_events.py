"""Sample events look like real ones."""

import msgspec
import pytest

from listener.model.event import Change, Disposition, Kind
from listener.testing import SAMPLE_MS, sample_event


def test_a_sample_event_reads_like_a_real_one():
    event = sample_event(5, chat="chat-1", account="agent2", change=Change.CLEARED)
    data = msgspec.json.decode(event.data, type=Disposition)
    assert (event.id, event.subject, event.kind, event.sequence) == ("event-5", "chat-1", Kind.DISPOSITION, 0)
    assert (data.chat_id, data.account, data.change) == (event.subject, event.account, event.change)
    assert event.time == data.received_at == "2026-11-22T09:39:00.123Z"
    assert event.received_ms == SAMPLE_MS


@pytest.mark.parametrize("size", [400, 600, 5000])
def test_a_sample_event_can_be_made_as_large_as_wanted(size):
    assert size <= len(sample_event(1, data_bytes=size).data) <= size + 32
