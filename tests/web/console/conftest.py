"""One browser and one daemon for all tests of the console; what breaks a daemon has one of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from support.console import Browser, Reader, Site
from support.pages import TOKEN

Look = Callable[..., Awaitable[Reader]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with Browser() as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A daemon that asks for a token, with two agents. Tests leave it as it is, and use chats of their own."""
    async with Site(tmp_path_factory.mktemp("console")) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def own_site(browser: Browser, tmp_path: Any) -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """A daemon of a test's own: `await own_site(token=None)`."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> Site:
            return await stack.enter_async_context(Site(tmp_path, **options))

        yield start


@pytest_asyncio.fixture(loop_scope="session")
async def look(browser: Browser) -> AsyncIterator[Look]:
    """Somebody opens the console of a site: `await look(site, color_scheme="dark")`.

    Whatever a test is about, the browser has nothing to complain about at its end.
    """
    async with AsyncExitStack() as stack:
        readers = []

        async def at(
            site: Site,
            *,
            fragment: str = "",
            shown: str | None = TOKEN,
            ready: bool = True,
            through: str | None = None,
            **options: Any,
        ) -> Reader:
            context = await browser.context(**options)
            stack.push_async_callback(context.close)
            reader = Reader(site, context, through=through)
            readers.append(reader)
            return await reader.open(fragment=fragment, ready=ready, shown=shown)

        yield at
        assert [reader.complaints for reader in readers if reader.complaints] == []
