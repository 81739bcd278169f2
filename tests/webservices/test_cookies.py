"""Which cookies are kept, by whatever clock, over a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from http.cookies import SimpleCookie

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from listener.webservices.client import new_session
from listener.webservices.cookies import SessionCookieJar
from support.site import serving

SERVER = URL("http://127.0.0.1/api/v2/me")


async def kept(*headers: str) -> dict[str, str]:
    """What the jar holds after these `Set-Cookie` headers, one answer each."""
    jar = SessionCookieJar(unsafe=True, quote_cookie=False)
    for header in headers:
        jar.update_cookies_from_headers([header], SERVER)
    return {cookie.key: cookie.value for cookie in jar}


@pytest.mark.parametrize(
    "dates",
    [
        "Expires=Thu, 26 Nov 2020 03:00:00 GMT",
        "expires=Thu, 26-Nov-2020 03:00:00 GMT",
        "Expires=Thu, 26 Nov 2099 03:00:00 GMT",
        "Max-Age=1800; Expires=Thu, 01 Jan 1970 00:00:10 GMT",
        "Expires=soon",
        "Max-Age=soon",
        "Max-Age=" + "9" * 400,
    ],
)
async def test_a_cookie_is_kept_whatever_its_date(dates: str):
    """The server's clock may be hours behind."""
    assert await kept(f"JSESSIONID=a=b; Path=/; {dates}; HttpOnly") == {"JSESSIONID": "a=b"}


@pytest.mark.parametrize(
    "deletion",
    [
        "JSESSIONID=x; Path=/; Max-Age=0",
        "JSESSIONID=x; Path=/; Max-Age=-1",
        "JSESSIONID=; Path=/; Expires=Thu, 26 Nov 2020 03:00:00 GMT",
        'JSESSIONID=""; Path=/; Expires=Thu, 26 Nov 2099 03:00:00 GMT',
        "JSESSIONID=deleted; Path=/; expires=Thu, 01-Jan-1970 00:00:01 GMT",
        "JSESSIONID=x; Path=/; Expires=Thu, 01-Jan-70 00:00:10 GMT",
    ],
)
async def test_what_the_server_deletes_is_gone(deletion: str):
    assert await kept("JSESSIONID=a; Path=/", deletion) == {}


async def test_one_deletion_leaves_the_others():
    assert await kept("A=1; Path=/", "B=2; Path=/; Max-Age=60", "A=; Path=/; Max-Age=0") == {"B": "2"}


@given(
    st.text("abcXYZ019-_. ", max_size=12), st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=60)
)
def test_whatever_stands_behind_a_cookie_breaks_nothing(value: str, rest: str):
    async def take() -> None:
        await kept(f"A={value};{rest}")

    asyncio.run(take())


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., object]]:
    async with AsyncExitStack() as stack:

        async def enter(handle: object) -> tuple[str, aiohttp.ClientSession]:
            connector = await stack.enter_async_context(aiohttp.TCPConnector())
            http = await stack.enter_async_context(new_session(connector))
            return await stack.enter_async_context(serving(handle)), http

        yield enter


async def test_an_accounts_session_sends_a_cookie_that_came_past_its_date(start):
    seen: list[str | None] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "JSESSIONID=s1; Path=/; Expires=Thu, 26 Nov 2020 03:00:00 GMT"})

    url, http = await start(handle)
    for _ in range(2):
        async with http.get(url):
            pass
    assert seen == [None, "JSESSIONID=s1"]
    assert SimpleCookie(seen[1])["JSESSIONID"].value == "s1"
