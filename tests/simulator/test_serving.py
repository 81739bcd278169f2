"""The simulator as a service: ready, playing, cancelled."""

import asyncio
from types import SimpleNamespace

import pytest

from listener.errors import StartError
from listener.simulator import SimulatorOptions, WorkingDay, serve
from support.browser import events


async def test_it_says_when_it_is_ready_and_serves_until_cancelled(browse):
    ready = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(SimulatorOptions(), ready=ready.set_result), name="serve")
    url = await asyncio.wait_for(ready, 5)
    browser = await browse(SimpleNamespace(url=url))
    assert (await browser.get("/api/v2/diagnostics/version"))[0].status == 200
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_the_day_begins_when_somebody_listens(browse):
    ready = asyncio.get_running_loop().create_future()
    day = WorkingDay(events=5, pace_s=0.001)
    serving = asyncio.create_task(serve(SimulatorOptions(agents=1), ready=ready.set_result, day=day), name="serve")
    browser = await browse(SimpleNamespace(url=await asyncio.wait_for(ready, 5)))
    heard = events(await browser.listen())
    while not any(data.get("chat", {}).get("state") == "Completed" for data in heard):
        heard += events(await browser.connect())
    assert heard[0]["chat"]["state"] == "Invited"
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


async def test_a_taken_port_is_raised_before_it_is_ready(simulate):
    sim = await simulate()
    told = []
    with pytest.raises(StartError):
        await serve(SimulatorOptions(port=sim.port), ready=told.append)
    assert told == []
