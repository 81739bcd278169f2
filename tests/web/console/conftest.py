"""What the tests of the console share, because it takes seconds: a browser, a page that is open, daemons.

Tests share what is recorded, too: each has chats of its own, and filters. All of it ends with the last test of the
folder, which is a package for that: an open page goes on working while other tests run.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from support.chromium import Browser
from support.console import EVENTS, KEYS, Reader, Site
from support.fleet import Fleet
from support.pages import TOKEN

Look = Callable[..., Awaitable[Reader]]
MANY = 10_300


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with Browser() as browser:
        yield browser


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def site(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A daemon that asks for a token, with two agents and two keys. Tests leave it as it is."""
    async with Site(tmp_path_factory.mktemp("site"), disposition={"keys": KEYS, "participants": "all"}) as site:
        yield site


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def battered(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One that tests kill, lock and make wait; see `rough`."""
    async with Site(tmp_path_factory.mktemp("rough")) as site:
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def rough(battered: Site) -> AsyncIterator[Site]:
    """A daemon that a test may do anything to that it makes good again; the receiver's verdicts end with the test."""
    battered.receiver.mend()
    yield battered
    battered.receiver.mend()


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def crowded(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Ten thousand and three hundred rows: the chats `crowd` (T…) and, in the middle of it, `long` (L0 to L149)."""
    async with Site(tmp_path_factory.mktemp("crowded")) as site:
        site.chat("crowd")
        site.chat("long")
        site.set("crowd", *(f"T{number}" for number in range(5000)))
        site.set("long", *(f"L{number}" for number in range(150)))
        site.set("crowd", *(f"T{number}" for number in range(5000, MANY - 150)))
        await site.recorded("crowd", MANY - 150)
        yield site


@pytest_asyncio.fixture(loop_scope="session")
async def look(browser: Browser) -> AsyncIterator[Look]:
    """Let somebody open the console of a site.

    `await look(site, color_scheme="dark")`. Whatever a test is about, the browser complains of nothing.
    """
    async with AsyncExitStack() as stack:
        readers = []

        async def at(
            site: Site,
            *,
            fragment: str = EVENTS,
            shown: str | None = TOKEN,
            ready: bool = True,
            fleet: Fleet | None = None,
            through: str | None = None,
            **options: Any,
        ) -> Reader:
            reader = Reader(site, await browser.page(**options), through=through)
            stack.push_async_callback(browser.put_back, reader.page, **options)
            stack.callback(reader.leave)
            readers.append(reader)
            return await reader.open(fragment=fragment, ready=ready, shown=shown, fleet=fleet)

        yield at
        assert [reader.complaints for reader in readers if reader.complaints] == []


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def opened(browser: Browser, site: Site) -> Reader:
    return await Reader(site, await browser.page(timezone_id="Asia/Kolkata")).open()


@pytest_asyncio.fixture(loop_scope="session")
async def reader(opened: Reader) -> AsyncIterator[Reader]:
    """Somebody in India who has the console of `site` open, as it is at first."""
    await opened.begin_anew()
    yield opened
    assert opened.complaints == []
