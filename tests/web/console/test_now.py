"""The first view: what is not well is on the first screen, however many accounts there are; no view is long."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from support.chromium import Browser, barriers
from support.console import Reader, Site
from support.eventually import comes_to, eventually
from support.fleet import Fleet, at, hour

pytestmark = pytest.mark.asyncio(loop_scope="session")

SCREEN = {"width": 1280, "height": 800}
LOOKS = {"light": SCREEN, "dark": {"width": 390, "height": 844}}  # test_access.py has the other two
VIEWS = {  # and what is there once it is all there
    "#/": "#health td",
    "#/events": "#rows th",
    "#/accounts?state=troubled": "#accounts td",
    "#/dead-letters": "#letters-groups td",
    "#/dead-letters?sink=crm&reason=the+destination+answered+400%3A+no+contact+%E2%80%A6": "#letters-table td",
    "#/sinks/crm": "#attempts td",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened_here(browser: Browser, site: Site) -> Reader:
    return await Reader(site, await browser.page(locale="en-CA")).open(fragment="#/", fleet=Fleet())


@pytest_asyncio.fixture(loop_scope="session")
async def reader(opened_here: Reader) -> Any:
    """Somebody who looks at any number of accounts: see `shows`."""
    await opened_here.page.set_viewport_size(SCREEN)
    yield opened_here
    assert opened_here.complaints == []


async def shows(reader: Reader, fleet: Fleet, fragment: str = "#/") -> Reader:
    """Let the page show this fleet, and nothing of the one before."""
    reader.fleet = fleet
    await reader.page.evaluate("(hash) => history.replaceState(null, '', `/${hash}`)", fragment)
    await reader.page.reload()
    await reader.says("#nav-accounts", f"{len(fleet.names):,}")
    return reader


async def bottom(reader: Reader, selector: str) -> float:
    """How far below the top of the page an element ends."""
    return await reader.page.locator(selector).evaluate("(one) => one.getBoundingClientRect().bottom + scrollY")


@pytest.mark.parametrize("accounts", [12, 200, 10_000])
async def test_the_first_screen_says_what_is_not_well_and_no_view_is_longer_than_three(reader: Reader, accounts: int):
    await shows(reader, Fleet(accounts=accounts, failing=12, letters=5000, parked=True))
    assert await reader.text("#verdict-word") == "3 things are not well"
    told = await reader.cells("#health")
    assert [row[0] for row in told] == [
        "Sink crm is parked: 127.0.0.1 answered 401",
        "9 accounts have no subscription: the login was refused: 401 invalid credentials",
        "3 accounts have no subscription: the server could not be reached: timeout",
    ]
    assert told[0][2] == "disposition-listener sinks resume crm"
    assert await bottom(reader, "#health") < SCREEN["height"]
    assert await bottom(reader, "#sinks") < SCREEN["height"]
    assert (
        await reader.text("#accounts-told") == f"{accounts - 12:,} of {accounts:,} accounts subscribed, 12 in trouble."
    )
    for view, part in VIEWS.items():
        await reader.go(view)
        await reader.page.locator(part).first.wait_for()
        height = await reader.page.evaluate("document.documentElement.scrollHeight")
        assert height < 3 * SCREEN["height"], (view, height)
        assert await reader.page.evaluate("document.querySelectorAll('*').length") < 2500, view


async def test_nothing_is_in_the_way_of_anybody(reader: Reader):
    await shows(reader, Fleet(accounts=200, failing=12, letters=140, parked=True))
    found = {}
    for view, part in VIEWS.items():
        await reader.go(view)
        await reader.page.locator(part).first.wait_for()
        for name, size in LOOKS.items() if view in {"#/", "#/sinks/crm"} else (("dark", LOOKS["dark"]),):
            await reader.page.emulate_media(color_scheme=name, reduced_motion="reduce")
            await reader.resize(**size)
            found[view, name] = await barriers(reader.page)
            assert await reader.overflow("document.documentElement") <= 0, (view, name)
    await reader.page.emulate_media(color_scheme="light", reduced_motion="reduce")
    assert {where: one for where, one in found.items() if one} == {}


async def test_equal_troubles_are_one_row_and_open_gaps_run(reader: Reader):
    await shows(reader, Fleet(accounts=200, failing=40))
    rows = await reader.cells("#troubles")
    assert [row[:2] for row in rows] == [
        ["No subscription: the login was refused: 401 invalid credentials", "30"],
        ["No subscription: the server could not be reached: timeout", "10"],
    ]
    assert rows[0][2] == "agent00001, agent00002, agent00003 and 27 more"
    assert re.fullmatch(r"40 gaps are open, the oldest for 3 min \d+ s:", await reader.text("#gaps-open-told"))
    chips = await reader.page.locator("#gaps-open-list li").all_inner_texts()
    assert (len(chips), chips[-1]) == (21, "and 20 more")
    await eventually(lambda: changed(reader, "#gaps-open-list li >> nth=0", chips[0]))
    await reader.page.get_by_role("link", name="agent00002").first.click()
    await reader.says("#accounts-page-told", "1 account")


async def test_of_many_kinds_of_trouble_the_commonest_are_told(reader: Reader):
    kinds = [
        {"what": f"no subscription: {kind}", "count": 50 - kind, "accounts": ["a"], "firstAt": at(9), "lastAt": at(1)}
        for kind in range(50)
    ]
    await shows(reader, Fleet(troubles=kinds))
    assert len(await reader.cells("#troubles")) == 8
    assert await reader.text("#troubles-more") == "903 accounts have other troubles."
    assert await reader.page.evaluate("document.documentElement.scrollHeight") < 3 * SCREEN["height"]


async def changed(reader: Reader, selector: str, was: str) -> bool:
    return await reader.text(selector) != was


async def test_the_clocks_are_the_daemons(reader: Reader):
    """However wrong that of the browser is."""
    gap = {"account": "agent00001", "since": at(86_400 + 60), "why": "x"}
    await shows(reader, Fleet(at=at(86_400), openGaps={"count": 1, "oldestAt": gap["since"], "newest": [gap]}))
    assert re.fullmatch(r"agent00001 1 min( \d s)?", await reader.text("#gaps-open-list"))


async def test_the_last_hour_is_drawn_and_a_minute_leads_to_its_dispositions(reader: Reader):
    await shows(reader, Fleet())
    bars = reader.page.locator("#hour .bar.events")
    assert await bars.count() == 50
    assert await reader.page.locator("#hour .not-known").count() == 1
    assert await reader.page.locator("#hour .gap-mark").count() == 2
    told = await reader.text("#hour-told")
    assert re.fullmatch(
        r"11,865 events, 295 of them at .*; at most 2.5 s from receipt to delivery, at .*; 2 gaps\.", told
    )
    heights = [float(await bars.nth(place).get_attribute("height")) for place in (0, 1)]
    first, second = [one for one in hour()["events"] if one][:2]
    assert heights[0] / heights[1] == pytest.approx(first / second, rel=0.01)
    box = await bars.nth(30).bounding_box()
    await reader.page.mouse.click(box["x"] + 2, box["y"] + 2)
    await reader.says("#search-status", "found")
    first, last = [await reader.page.input_value(f"#filter-{name}") for name in ("from", "to")]
    assert datetime.fromisoformat(last) - datetime.fromisoformat(first) == timedelta(minutes=1)


async def test_who_and_where_it_is_stands_above_each_view(reader: Reader):
    await shows(reader, Fleet(replica="b", replicas=[]), "#/accounts")
    assert await reader.text("#where") == "listener-1.example.com · https://gws.example.com/api/v2 · replica b"
    for link, title in (("Dispositions", "Dispositions"), ("Dead letters", "Dead letters"), ("Now", "Now")):
        await reader.page.locator("#views a", has_text=link).first.click()
        assert title in await reader.focused()  # how many there are may follow
        assert await reader.page.locator("#views [aria-current]").count() == 1


async def test_a_link_from_elsewhere_in_what_is_not_well_is_none(reader: Reader):
    health = [{"what": "x", "since": at(1), "kind": "sink", "help": None, "link": "https://example.com/"}]
    await shows(reader, Fleet(health=health))
    assert await reader.page.locator("#health a").count() == 0


@pytest.mark.long
async def test_an_hour_of_summaries_and_events_leaves_no_more_memory_taken(reader: Reader):
    """1,800 summaries, and 36,000 events in a store that is full."""
    await shows(reader, Fleet(accounts=10_000, failing=412, letters=5000, parked=True), "#/events")
    session = await reader.page.context.new_cdp_session(reader.page)

    async def heap_mb() -> float:
        await session.send("HeapProfiler.collectGarbage")
        used = await session.send("Runtime.getHeapUsage")
        return used["usedSize"] / 1e6

    script = """async ([summary, rounds]) => {
        const [{ Now }, { Store }] = await Promise.all(["now", "events"].map((one) => import(`/console/${one}.js`)));
        const page = window.forProof ??= { now: new Now({ reason: null, tell() {} }, () => {}), store: new Store() };
        for (let round = 0; round < rounds; round += 1) {
            summary.health[0].since = new Date(round).toISOString();
            page.now.draw(summary);
            const at = page.store.last;
            const row = (one) => ({ seq: at + one + 1, kind: "disposition", code: `C${at}` });
            page.store.add(Array.from({ length: 20 }, (_, one) => row(one)));
        }
        return [page.store.rows.length, document.querySelectorAll("*").length];
    }"""
    summary = reader.fleet.answer("/summary.json", {})
    full, nodes = await reader.page.evaluate(script, [summary, 600])
    before = await heap_mb()
    assert await reader.page.evaluate(script, [summary, 1800]) == [full, nodes] == [10_000, nodes]
    assert await heap_mb() - before < 3


async def test_all_is_well_is_said_where_it_is(reader: Reader):
    await shows(reader, Fleet(accounts=10_000))
    assert await reader.text("#verdict-word") == "All is well"
    await comes_to(reader.page.title, "All is well · listener-1.example.com")
    assert await reader.text("#accounts-told") == "10,000 of 10,000 accounts subscribed."
    for part in ("#health", "#troubles", "#gaps-open", "#configuration", "#nav-health", "#replicas-part"):
        assert not await reader.page.locator(part).is_visible(), part
