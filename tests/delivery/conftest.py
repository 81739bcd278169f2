"""Lanes that run as long as their test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import pytest

from listener.errors import StartError
from support.lanes import World


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[World]]]:
    """Run the lane of a world, over events of these numbers."""
    async with AsyncExitStack() as stack:

        async def run(world: World, *numbers: int) -> World:
            await world.journal.open()
            await world.number(*numbers)
            world.task = asyncio.create_task(world.lane.run(), name="lane under test")

            async def end() -> None:
                with suppress(asyncio.CancelledError, StartError):
                    await world.end()

            stack.push_async_callback(end)
            return world

        yield run
