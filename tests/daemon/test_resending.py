"""What a resend brings: what is meant, as far as the sink has got it."""

import pytest

from listener.daemon.control import Resend, ResendEvents
from listener.daemon.resending import planned, require_possible
from listener.errors import NotPossible
from listener.model.event import JournalBatch
from listener.testing import SAMPLE_MS, MemoryJournal, sample_event


@pytest.fixture
async def journal() -> MemoryJournal:
    """Five events, a second apart; the first one is deleted."""
    journal = MemoryJournal()
    await journal.open()
    events = tuple(sample_event(number, received_ms=SAMPLE_MS + 1000 * number) for number in range(1, 6))
    await journal.append(JournalBatch(events=events))
    await journal.advance("crm", 1)
    await journal.retain(before_ms=SAMPLE_MS + 1500, keep_for=["crm"])
    return journal


@pytest.mark.parametrize(
    ("from_s", "to_s", "cursor", "events", "after", "through", "waiting", "cut"),
    [
        (2, 4, 5, 3, 1, 4, 0, False),
        (0, 9, 5, 4, 1, 5, 0, True),
        (2, 9, 3, 2, 1, 3, 2, False),
        (4, 9, 2, 0, 3, 3, 2, False),
        (7, 9, 5, 0, 5, 5, 0, False),
        (4, 3, 5, 0, 3, 3, 0, False),
    ],
)
async def test_it_is_what_was_recorded_then_and_delivered(
    journal: MemoryJournal,
    from_s: int,
    to_s: int,
    cursor: int,
    events: int,
    after: int,
    through: int,
    waiting: int,
    cut: bool,
):
    command = ResendEvents(name="crm", from_ms=SAMPLE_MS + 1000 * from_s, to_ms=SAMPLE_MS + 1000 * to_s)
    assert await planned(command, journal.read, last=5, cursor=cursor) == Resend(
        sink="crm",
        events=events,
        after=after,
        through=through,
        waiting=waiting,
        oldest_ms=SAMPLE_MS + 2000 if cut else None,
    )


async def test_an_empty_journal_has_nothing():
    journal = MemoryJournal()
    await journal.open()
    command = ResendEvents(name="crm", from_ms=0, to_ms=1)
    assert (await planned(command, journal.read, last=0, cursor=0)).events == 0


def test_what_cannot_be_is_told():
    require_possible("crm", holds_once=False, left=0)
    with pytest.raises(NotPossible, match="audit trail"):
        require_possible("audit", holds_once=True, left=0)
    with pytest.raises(NotPossible, match="3 events are already"):
        require_possible("crm", holds_once=False, left=3)
