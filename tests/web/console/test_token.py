"""Who may see the page's data: the token is asked for, kept in the tab alone, and goes nowhere else."""

import pytest

from support.console import EVENTS, TOKEN_KEY, Site
from support.pages import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_token_is_asked_for_and_a_wrong_one_is_told(site: Site, look):
    reader = await look(site, shown=None, ready=False)
    field = reader.page.get_by_role("textbox", name="Token")
    await field.wait_for()
    assert await field.get_attribute("type") == "password"
    assert await field.get_attribute("autocomplete") == "off"
    assert await reader.text("#connection-word") == "Token required"
    assert not await reader.page.locator("#content").is_visible()
    await field.fill("not the token")
    await reader.press("Enter")
    await reader.says("#token-problem", "no spaces")
    await field.fill("wrong")
    await reader.press("Enter")
    await reader.says("#token-problem", "This is not the daemon's token.")
    assert await field.input_value() == ""
    assert not await reader.page.locator("#content").is_visible()
    await field.fill(TOKEN)
    await reader.press("Enter")
    await reader.says("#connection-word", "Live")
    await reader.says("#verdict", "All is well")
    assert not await reader.page.locator("#token").is_visible()


async def test_it_is_kept_in_the_tab_until_it_is_forgotten(site: Site, look):
    reader = await look(site, shown=None, ready=False)
    await reader.page.get_by_role("textbox", name="Token").fill(TOKEN)
    await reader.press("Enter")
    await reader.says("#connection-word", "Live")
    stored = "JSON.stringify([{...sessionStorage}, {...localStorage}, document.cookie, location.href])"
    assert await reader.page.evaluate(stored) == f'[{{"{TOKEN_KEY}":"{TOKEN}"}},{{}},"","{site.url}/{EVENTS}"]'
    await reader.page.reload()
    await reader.says("#connection-word", "Live")
    await reader.go("#/accounts")
    await reader.says("#accounts", "agent1")
    await reader.page.get_by_role("button", name="Forget token").click()
    await reader.page.get_by_role("textbox", name="Token").wait_for()
    assert TOKEN not in await reader.page.evaluate(stored)
    assert "agent1" not in await reader.page.content(), "what it opened is gone with it"
    assert not await reader.page.locator("#content").is_visible()
    assert not await reader.page.get_by_role("button", name="Forget token").is_visible()


async def test_it_goes_in_a_header_and_no_cookie_or_referrer_goes_with_it(site: Site, look):
    reader = await look(site, shown=None, ready=False)
    await reader.page.get_by_role("textbox", name="Token").wait_for()
    (first,) = [one for one in reader.requests if one.url.endswith("/summary.json")]
    assert "authorization" not in await first.all_headers(), "where there is no token none is sent"
    await reader.page.context.add_cookies([{"name": "other", "value": "1", "url": site.url}])
    await reader.page.get_by_role("textbox", name="Token").fill(TOKEN)
    await reader.press("Enter")
    await reader.says("#connection-word", "Live")
    chat = site.chat("token-1")
    site.set(chat, "Callback")
    await site.recorded(chat, 1)
    await reader.filter(chat=chat)
    await reader.press("Enter")
    await reader.says("#search-status", "1 found")
    await reader.page.evaluate("import('/console/api.js').then((api) => api.post('/sinks/crm/resume', {}))")
    asked = {}
    for request in reader.requests:
        path = request.url.removeprefix(site.url).partition("?")[0]
        if path != "/" and not path.startswith("/console/"):
            asked[path] = await request.all_headers()
    wanted = {"/summary.json", "/events", "/events.json", "/sinks/crm/resume"}
    assert set(asked) == wanted
    assert {headers["authorization"] for headers in asked.values()} == {f"Bearer {TOKEN}"}
    assert [path for path, headers in asked.items() if {"cookie", "referer"} & set(headers)] == []
    assert [one.url for one in reader.requests if TOKEN in one.url] == []
    assert {one.url.removeprefix(site.url)[0] for one in reader.requests} == {"/"}, "nobody else is asked"


async def test_a_token_that_is_replaced_is_asked_for_anew_and_nothing_is_lost(rough: Site, look):
    chat = rough.chat("token-2")
    rough.set(chat, "Before")
    reader = await look(rough)
    await reader.filter(chat=chat)
    await reader.counts(1)
    (rough.folder / "http.token").write_text("another\n", encoding="utf-8")
    await reader.says("#token-problem", "This is not the daemon's token.")
    assert not await reader.page.locator("#content").is_visible()
    rough.set(chat, "Meanwhile")
    await rough.recorded(chat, 2)
    await reader.page.get_by_role("textbox", name="Token").fill("another")
    await reader.press("Enter")
    await reader.shows("Before → Meanwhile", "none → Before")
    (rough.folder / "http.token").write_text(f"{TOKEN}\n", encoding="utf-8")
