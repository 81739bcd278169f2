"""Which cookies are kept, by whatever clock, over a real server."""

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from listener.runtime.cookies import CookieJar, without_date
from listener.runtime.http_client import Connector, new_session
from support.site import serving

SERVER = URL("http://127.0.0.1/api/v2/me")


async def kept(*headers: str) -> dict[str, str]:
    """What the jar holds after these `Set-Cookie` headers, one answer each."""
    jar = CookieJar()
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


async def test_the_content_of_a_jar_follows_each_change():
    jar, contents = CookieJar(), []
    changes = ["A=1; Path=/", "A=1; Path=/", "A=2; Path=/api", "B=3; Path=/; Domain=x", "A=; Path=/; Max-Age=0"]
    for header in changes:
        jar.update_cookies_from_headers([header], SERVER)
        contents.append(jar.content)
        assert jar.content == tuple((one.key, one.value, one["domain"], one["path"]) for one in jar)
    assert [len(content) for content in contents] == [1, 1, 2, 2, 1]
    jar.update_cookies({"C": "4"}, SERVER)
    assert len(jar.content) == 2
    jar.clear()
    assert jar.content == ()


async def test_one_deletion_leaves_the_others():
    assert await kept("A=1; Path=/", "B=2; Path=/; Max-Age=60", "A=; Path=/; Max-Age=0") == {"B": "2"}


@given(st.text("abcXYZ019-_. ", max_size=12), st.text(max_size=60))
def test_whatever_stands_behind_a_cookie_its_value_stays(value: str, rest: str):
    assert without_date(f"A={value};{rest}").startswith(f"A={value}")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "gws.example.com"])
async def test_a_jar_sends_what_one_of_aiohttp_that_was_never_emptied_would(host: str):
    """As servers and the balancers before them set cookies, also for a path, a parent domain or TLS alone."""
    ours, theirs = CookieJar(), aiohttp.CookieJar(unsafe=True, quote_cookie=False)
    for header in (
        "JSESSIONID=a=b; Path=/; HttpOnly",
        'ROUTE="node 1"; Path=/api',
        "BAYEUX_BROWSER=x1",
        "LB=2; Domain=example.com; Path=/",
        "TLS=3; Secure; Path=/",
        "JSESSIONID=other; Path=/api/v2/notifications",
        "LB=; Domain=example.com; Path=/; Max-Age=0",
        "EMPTY=; Path=/",
    ):
        for jar in (ours, theirs):
            jar.update_cookies_from_headers([header], URL(f"https://{host}/api/v2/me"))
        for url in ("https://{}/api/v2/notifications/x", "http://{}/api/v2/me", "https://{}/", "https://sub.{}/api"):
            asked = URL(
                url.format(host) if not url.startswith("https://sub") or host.endswith("m") else f"https://{host}/b"
            )
            sent = theirs.filter_cookies(asked)
            assert ours.filter_cookies(asked).output() == sent.output()
            assert ours.header(asked) == aiohttp.ClientRequest("POST", asked, cookies=sent).headers.get("Cookie", "")
    assert [one.key for one in ours] == [one.key for one in theirs]


async def test_a_session_sends_a_cookie_that_came_past_its_date():
    seen: list[str | None] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "JSESSIONID=s1; Path=/; Expires=Thu, 26 Nov 2020 03:00:00 GMT"})

    async with serving(handle) as url, new_session(Connector(limit=0), cookies=CookieJar()) as http:
        for _ in range(2):
            async with http.get(url):
                pass
    assert seen == [None, "JSESSIONID=s1"]
