"""The pages of the HTTP side, and a client that asks for them."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from support.pages import TOKEN, Pages, bearer, running


@pytest.fixture
async def pages() -> AsyncIterator[Pages]:
    pages = Pages()
    await pages.journal.open()
    yield pages
    await pages.journal.close()


@pytest.fixture
async def http(pages: Pages) -> AsyncIterator[aiohttp.ClientSession]:
    """Asks a server without a token."""
    async with running(pages.server()) as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
        yield session


@pytest.fixture
async def secured(pages: Pages) -> AsyncIterator[aiohttp.ClientSession]:
    """Asks a server with a token, and shows it."""
    async with (
        running(pages.server(token=lambda: TOKEN)) as server,
        aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", headers=bearer()) as session,
    ):
        yield session
