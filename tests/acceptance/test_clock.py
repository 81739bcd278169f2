"""Wall clocks that jump, and machines that sleep: no harm, and nothing that is not on record."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from listener.simulator import Simulator, SimulatorOptions
from support.eventually import eventually
from support.listening import CODE, Json, Listening, numbers, without_repeats
from support.publishing import SimulatedSite, Site
from support.receiver import Answer, Receiver
from support.wallclock import WallClock

Install = Callable[..., Awaitable[Listening]]
DAY_S = 86_400


def off_by(event: Json, seconds: int) -> bool:
    """Whether an event that has just come was stamped so far from the real time."""
    stamped = datetime.fromisoformat(event["data"]["receivedAt"])
    return abs((stamped - datetime.now(UTC)).total_seconds() - seconds) < DAY_S / 2


@pytest.mark.parametrize(
    "site", ["simulator without ack", pytest.param("simulator with ack", marks=pytest.mark.long)], indirect=True
)
async def test_a_wall_clock_that_jumps_loses_nothing_and_makes_no_gap(
    site: Site, install: Install, faketime: Path, tmp_path: Path, receiver: Receiver
):
    """Nor does a webhook that fails meanwhile come to the end of its horizon."""
    clock = WallClock(faketime, tmp_path)
    receiver.answers = Answer(status=500)
    sinks = {"crm": {"retry_horizon_h": 1.0, "retry_limit_s": 0.2}}
    listening = await install(site, webhook=receiver.url, sinks=sinks, env=clock.env)
    await listening.start()
    first = 1
    for seconds in (0, DAY_S, -DAY_S, 0):
        clock.jump(seconds)
        after = 0
        async with asyncio.timeout(30):
            while after < 2:  # batches, once the daemon has seen the clock jump
                await site.publish(first, 5)
                await listening.heard(range(first, first + 5))
                first += 5
                after += off_by(listening.dispositions[-1], seconds)
    receiver.answers = Answer()
    await eventually(lambda: len(without_repeats(receiver.accepted())) == first - 1)
    assert numbers(without_repeats(receiver.accepted())) == listening.numbers == list(range(1, first))
    assert listening.gaps == []
    assert await site.handshakes() == 1
    metrics = await listening.metrics()
    assert metrics.total("sink_dead_letters_total") == 0
    assert await listening.stop() == 0


async def test_a_machine_that_sleeps_for_longer_than_its_session_lives_has_the_stretch_on_record(
    install: Install, owned: AsyncExitStack
):
    options = SimulatorOptions(agents=1, ack=True, timeout_ms=500, max_interval_ms=1500)
    simulator = await owned.enter_async_context(Simulator(options))
    site = SimulatedSite(simulator)
    listening = await install(site)
    await listening.start()
    await site.publish(1, 3)
    await listening.heard([1, 2, 3])
    listening.daemon.send_signal(signal.SIGSTOP)
    await eventually(lambda: not simulator.subscribed("agent1"))
    slept_at = datetime.now(UTC)
    simulator.add_chat("chat-asleep")
    simulator.set_disposition("agent1", "chat-asleep", f"{CODE}4")
    listening.daemon.send_signal(signal.SIGCONT)
    await listening.daemon.logged("subscribed", count=2)
    await site.publish(5)
    await listening.heard([4, 5])
    assert listening.lies_in_a_gap(slept_at)
    origins = {event["data"]["disposition"]: event["data"]["origin"] for event in listening.dispositions}
    assert (origins[f"{CODE}4"], origins[f"{CODE}5"]) == ("reconciled", "notification")
