"""The last attempts of a lane: bounded, the failed ones not displaced by those that went well."""

import asyncio

from listener.delivery.attempts import KEPT, SAID_AT_MOST, Attempts
from listener.errors import Outcome, Park, Refusal, Reject, Retry
from listener.model.condition import Attempt
from listener.testing import ManualClock, RecordingSink, sample_event
from support.lanes import World

BATCH = [sample_event(1), sample_event(2)]


def made(*outcomes: Outcome | None, limit: int = 2 * KEPT) -> list[Attempt]:
    """What is kept of these attempts with a batch, half a second each."""
    clock = ManualClock()
    attempts = Attempts(now_ms=lambda: 0, monotonic=clock.monotonic_s)
    for outcome in outcomes:
        began = attempts.begin()
        clock.advance(0.5)
        attempts.note(began, BATCH, outcome)
    return list(attempts.newest(limit))


def test_each_outcome_has_its_word_and_tells_how_much_was_taken():
    outcomes = [
        None,
        Retry("503", delivered=frozenset({0})),
        Park("401"),
        Reject(0, "422", rejected={1: Refusal("413")}, detail="the code of Ms. Smith is wrong"),
    ]
    found = made(*outcomes)
    assert [(one.outcome, one.taken, one.said) for one in found] == [
        ("reject", 0, "422"),
        ("park", 0, "401"),
        ("retry", 1, "503"),
        ("delivered", 2, ""),
    ]
    assert {(one.at, one.events, one.seconds) for one in found} == {("1970-01-01T00:00:00.000Z", 2, 0.5)}


def test_what_goes_well_displaces_no_failure_and_all_of_it_is_bounded():
    found = made(*[Retry("x" * 10_000)] * (KEPT + 1), *[None] * 1000)
    assert [one.outcome for one in found] == ["delivered"] * KEPT + ["retry"] * KEPT
    assert {len(one.said) for one in found[KEPT:]} == {SAID_AT_MOST}
    assert len(made(*[None] * 9, limit=3)) == 3


async def test_a_lane_keeps_what_became_of_its_batches_and_of_its_opening():
    class OpensAtLast(RecordingSink):
        async def open(self) -> None:
            self.open_error = None if self.opened else Retry("no route")
            await super().open()

    world = World(Retry("503"), None, sink=OpensAtLast())
    await world.journal.open()
    await world.number(1, 2)
    world.task = asyncio.create_task(world.lane.run(), name="lane under test")
    await world.drained()
    world.task.cancel()
    await asyncio.wait((world.task,))
    found = [(one.outcome, one.events, one.first_sequence, one.last_sequence) for one in world.lane.attempts(10)]
    assert found == [("delivered", 2, 1, 2), ("retry", 2, 1, 2), ("retry", 0, None, None)]
