"""The simulator as a process of its own: serve until cancelled, and play a working day if asked to."""

import asyncio
import gc
from collections.abc import Callable

import structlog

from listener.runtime.open_files import open_as_many_files_as_allowed
from listener.simulator.options import SimulatorOptions, WorkingDay
from listener.simulator.scenario import play
from listener.simulator.server import Simulator

_GC = (2_000, 10, 5_000)  # a look at the parts of ten thousand sessions would hold the loop for a second

log = structlog.get_logger(__name__)


async def serve(options: SimulatorOptions, *, ready: Callable[[str], None], day: WorkingDay | None = None) -> None:
    """Run a simulator until cancelled.

    `ready` gets its URL once the port is open; then `day` is played, once some agent has subscribed. Raises StartError.
    """
    open_as_many_files_as_allowed()
    gc.freeze()
    gc.set_threshold(*_GC)
    async with Simulator(options) as sim:
        ready(sim.url)
        if day is not None:
            await _play_when_heard(sim, day)
        await asyncio.Event().wait()


async def _play_when_heard(sim: Simulator, day: WorkingDay) -> None:
    while not any(sim.subscribed(agent, day.media) for agent in sim.center.agents):
        await sim.next_subscription()
    summary = await play(sim, events=day.events, pace=day.pace_s, seed=day.seed, media=day.media)
    log.info("working_day_over", chats=summary.chats, changes=summary.changes, repeated=summary.repeated)
