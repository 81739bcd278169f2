"""Fixtures: simulators and hand-made clients, stopped in reverse order."""

from contextlib import AsyncExitStack

import aiohttp
import pytest

from listener.simulator import Simulator, SimulatorOptions
from support.browser import Browser


@pytest.fixture
async def stack():
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def simulate(stack):
    async def start(**options):
        return await stack.enter_async_context(Simulator(SimulatorOptions(**options)))

    return start


@pytest.fixture
def browse(stack):
    async def browser(sim, user="agent1"):
        jar = aiohttp.CookieJar(unsafe=True)
        http = await stack.enter_async_context(aiohttp.ClientSession(cookie_jar=jar))
        return Browser(sim, http, user)

    return browser
