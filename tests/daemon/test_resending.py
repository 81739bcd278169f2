"""What a resend brings: what is meant, as far as the sink has got it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.daemon.control import Resend, ResendEvents
from listener.daemon.resending import Stretch, planned, require_possible, stretch_of
from listener.errors import NotPossible
from listener.model.event import Event, JournalBatch
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
    assert await planned(command, journal.read, journal.events_between, last=5, cursor=cursor) == Resend(
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
    assert (await planned(command, journal.read, journal.events_between, last=0, cursor=0)).events == 0


def test_what_cannot_be_is_told():
    require_possible("crm", holds_once=False, left=0)
    with pytest.raises(NotPossible, match="audit trail"):
        require_possible("audit", holds_once=True, left=0)
    with pytest.raises(NotPossible, match="3 events are already"):
        require_possible("crm", holds_once=False, left=3)


# --- where a stretch of time is ---------------------------------------------------------------------------------------


def reader(times: Sequence[int], gone: int = 0) -> Callable[[int, int], Awaitable[Sequence[Event]]]:
    """`Journal.read` of events that were recorded at these moments; the first ones are deleted."""
    events = [sample_event(number, sequence=number, received_ms=at_ms) for number, at_ms in enumerate(times, 1)][gone:]

    async def read(after: int, limit: int) -> Sequence[Event]:
        return [event for event in events if event.sequence > after][:limit]

    return read


@given(
    st.lists(st.integers(0, 50), max_size=30).map(sorted), st.integers(0, 30), st.integers(-5, 55), st.integers(-5, 55)
)
def test_a_stretch_holds_the_events_of_its_time_and_no_others(times: list[int], gone: int, from_ms: int, to_ms: int):
    gone = min(gone, len(times))
    found = asyncio.run(stretch_of(reader(times, gone), len(times), from_ms, to_ms))
    wanted = [n for n, at_ms in enumerate(times, 1) if n > gone and from_ms <= at_ms <= to_ms]
    assert list(range(found.after + 1, found.through + 1)) == wanted
    cut = gone and gone < len(times) and from_ms < times[gone]
    assert found.oldest_ms == (times[gone] if cut else None)


async def test_a_clock_that_was_set_back_costs_at_most_what_is_at_the_ends():
    times = [*range(100, 200), *range(150, 250)]
    found = await stretch_of(reader(times), len(times), 110, 240)
    assert found == Stretch(10, 191, None)
