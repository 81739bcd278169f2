"""How far a lane is behind, and how long its events have taken."""

from collections.abc import Awaitable, Callable, Sequence

import pytest
from msgspec.structs import replace

from listener.errors import Park, Retry
from listener.model.event import Event, rfc3339
from listener.testing import RecordingSink, sample_event
from support.eventually import eventually
from support.lanes import NOW_MS, World

Start = Callable[..., Awaitable[World]]


def aged(number: int, seconds: float, *, stamped_s: float | None = None) -> Event:
    """An event that arrived so long ago, and that the server stamped so long ago."""
    event = sample_event(number, received_ms=NOW_MS - round(seconds * 1000))
    return event if stamped_s is None else replace(event, time=rfc3339(NOW_MS - round(stamped_s * 1000)))


class Watched(RecordingSink):
    """Notes the lag of its lane at each attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World
        self.lags_s: list[float] = []

    async def deliver(self, events: Sequence[Event]) -> None:
        self.lags_s.append(self.world.lane.status().lag_s)
        await super().deliver(events)


async def test_it_is_the_age_of_the_oldest_event_that_is_not_delivered(start: Start):
    world = await start(World())
    assert world.lane.status().lag_s == 0
    world.sink.hold()
    await world.store(aged(1, 30), aged(2, 20))
    await world.sink.wait_for_attempts(1)
    assert (world.lane.status().lag, world.lane.status().lag_s) == (2, 30)
    world.sink.release()
    await world.drained()
    assert (world.lane.status().lag, world.lane.status().lag_s) == (0, 0)


async def test_what_a_sink_has_taken_of_a_batch_makes_the_rest_younger(start: Start):
    world = World(Retry("busy", delivered=frozenset({0})), sink=(sink := Watched()))
    sink.world = await start(world)
    await world.store(aged(1, 30), aged(2, 20))
    await world.drained()
    assert sink.lags_s == [30, 20]


async def test_a_sink_that_cannot_be_opened_is_behind_all_the_same(start: Start):
    world = World()
    await world.journal.open()
    await world.store(aged(1, 40))
    await world.journal.close()
    world.sink.open_error = Park("401")
    await start(world)
    await eventually(lambda: world.lane.status().parked)
    assert (world.lane.status().lag, world.lane.status().lag_s) == (1, 40)


@pytest.mark.parametrize(
    ("stamped_s", "latency_s"), [(3.5, 3.5), (None, 2.0), (-60.0, 0.0)], ids=["stamped", "not stamped", "clock ahead"]
)
async def test_latency_counts_once_a_batch_from_the_stamp_and_from_the_arrival(
    start: Start, stamped_s: float | None, latency_s: float
):
    world = await start(World())
    await world.store(aged(1, 2, stamped_s=stamped_s), aged(2, 1))
    await world.drained()
    sample = world.metrics.registry.get_sample_value
    for name, expected in (("sink_latency_seconds", 2.0), ("end_to_end_latency_seconds", latency_s)):
        assert sample(f"disposition_listener_{name}_count", {"sink": "crm"}) == 1
        assert sample(f"disposition_listener_{name}_sum", {"sink": "crm"}) == expected
