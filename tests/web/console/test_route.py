"""Whatever is seen has an address: it can be sent to somebody, and the browser's buttons lead back and forth."""

from typing import Any
from urllib.parse import parse_qs

import pytest
import pytest_asyncio

from support.console import Site
from support.eventually import comes_to, eventually
from support.fleet import Fleet

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hour_ago(site: Site) -> str:
    site.chat("route-1")
    site.set("route-1", "Earlier", "Later", "Later")
    await site.recorded("route-1", 3)
    return "route-1"


def filters(url: str) -> dict[str, Any]:
    return {name: one[0] for name, one in parse_qs(url.partition("?")[2]).items()}


async def test_filters_are_in_the_address_and_an_address_sets_the_filters(site: Site, look, hour_ago: str):
    reader = await look(site, fragment="#/events")
    assert await reader.page.get_by_label("Changes only").is_checked(), "that is what one looks at first"
    await reader.filter(chat=hour_ago, code="ater")
    await reader.shows("Earlier → Later")
    await comes_to(lambda: filters(reader.page.url), {"chat": hour_ago, "code": "ater"})
    await reader.page.get_by_label("Changes only").uncheck()
    await reader.filter(code="")
    await reader.shows("Later → Later", "Earlier → Later", "none → Earlier")
    await comes_to(lambda: filters(reader.page.url), {"chat": hour_ago, "all": "1"})
    await reader.page.reload()
    await reader.shows("Later → Later", "Earlier → Later", "none → Earlier")
    await reader.press("Tab")
    await reader.page.locator("#rows a.id").first.click()
    await reader.says("#history-title", hour_ago)
    await reader.page.go_back()
    await reader.page.locator("#history").wait_for(state="hidden")
    assert filters(reader.page.url) == {"chat": hour_ago, "all": "1"}
    assert await reader.count() == 3


async def test_a_stretch_of_time_is_found_wherever_it_lies_in_the_journal(crowded: Site, look):
    """By halves: of ten thousand events some twenty are asked for to find the place."""
    events = [event for event in crowded.listening.dispositions if event["data"]["disposition"] in ("T4000", "T4010")]
    start, end = (event["time"] for event in events)
    fragment = f"#/events?from={start}&to={end}&code=T40*&journal=1"
    reader = await look(crowded, fragment=fragment, timezone_id="Asia/Tokyo")
    await reader.says("#search-status", "found")
    await eventually(lambda: reader.page.locator("#search-stop").is_hidden())
    asked = [one.url for one in reader.requests if "/events.json" in one.url]
    assert len(asked) < 60
    codes = {row["code"].partition(" → ")[2] for row in await reader.rows()}
    assert codes <= {f"T{number}" for number in range(4000, 5000)} | {"T40"}
    field = await reader.page.input_value("#filter-from")
    hours = (int(field[11:13]) - int(start[11:13])) % 24
    assert hours == 9, "the fields show the reader's time"


async def test_the_events_of_an_attempt_are_found_by_their_sequences(crowded: Site, look):
    reader = await look(crowded, fragment="#/events?first=400&last=403&all=1&journal=1")
    await reader.says("#search-status", "4 found")
    await eventually(lambda: reader.page.locator("#search-stop").is_hidden())
    assert [row["seq"] for row in await reader.rows()] == [403, 402, 401, 400]
    assert not await reader.page.locator("#search-on").is_visible()


async def test_the_browsers_buttons_lead_from_view_to_view(site: Site, look):
    reader = await look(site, fragment="#/", fleet=Fleet(accounts=200, failing=12, letters=140, parked=True))
    await reader.page.locator("#sinks a", has_text="crm").click()
    await reader.says("#sink-title", "Sink crm")
    await reader.page.get_by_role("link", name="Its dead letters").click()
    await reader.says("#letters-told", "140 dead letters in 2 groups")
    await reader.page.locator("#letters-groups a").first.click()
    await reader.says("#letters-table", "Refund")
    await reader.page.go_back()
    await reader.says("#letters-told", "140 dead letters in 2 groups")
    await reader.page.go_back()
    await reader.page.locator("#view-sinks").wait_for()
    await reader.page.go_back()
    await reader.page.locator("#view-now").wait_for()
    await reader.page.go_forward()
    await reader.page.locator("#view-sinks").wait_for()


@pytest.mark.parametrize(
    ("hash_", "wanted"),
    [
        ("", ["now", None, {}]),
        ("#/", ["now", None, {}]),
        ("#chat=a%2Fb%20c", ["chats", "a/b c", {}]),
        ("#/sinks/a%2Fb%3F?x=1%262", ["sinks", "a/b?", {"x": "1&2"}]),
        ("#/sinks/%e4", ["sinks", "%e4", {}]),
        ("#/events?from=a?b", ["events", None, {"from": "a?b"}]),
    ],
)
async def test_addresses_are_read(site: Site, reader, hash_: str, wanted: list[Any]):
    script = """async (hash) => { const { read } = await import('/console/route.js');
        const { view, name, query } = read(hash); return [view, name, Object.fromEntries(query)] }"""
    assert await reader.page.evaluate(script, hash_) == wanted


async def test_an_address_that_is_made_is_read_as_it_was_meant(site: Site, reader):
    script = """async ([view, name, filters]) => { const { address, read } = await import('/console/route.js');
        const made = read(address(view, name, filters));
        return [made.view, made.name, Object.fromEntries(made.query)] }"""
    for name in ("a/b ?&#%", "…", "<b>"):
        wanted = ["sinks", name, {"reason": name}]
        assert await reader.page.evaluate(script, wanted) == wanted
