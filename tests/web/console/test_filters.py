"""Filters over the rows that are loaded, and the search that goes back through the journal."""

import pytest
import pytest_asyncio

from support.console import Reader, Site, column
from support.eventually import comes_to

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def filled(site: Site) -> Site:
    """Two chats of two agents, with codes that no other test sets."""
    site.chat("filter-a", "agent1")
    site.chat("filter-b", "agent2")
    site.set("filter-a", "F-Red", "F-Red", "F-Green")
    site.set("filter-b", "F-Green", "F-Blue", agent="agent2")
    await site.recorded("filter-a", 3)
    await site.recorded("filter-b", 2)
    return site


WANTED = [
    ({"chat": "filter-a"}, 3),
    ({"chat": "FILTER-"}, 5),
    ({"chat": "filter-?"}, 5),
    ({"chat": "ilter-?"}, 0),
    ({"code": "f-red"}, 3),  # the last one replaces it
    ({"code": "f-*n"}, 3),
    ({"code": "f-green", "chat": "filter-b"}, 2),
    ({"code": "F-", "agent": "TestName2"}, 2),
    ({"code": "F-", "agent": "agent2"}, 2),
    ({"code": "F-", "agent": "AGENT?"}, 5),
    ({"code": "F-", "agent": "FirstL"}, 0),  # a customer is no agent
    ({"code": "F-[RB]"}, 0),
]


async def test_loaded_rows_are_filtered_by_chat_agent_and_code(filled: Site, reader: Reader):
    for wanted, count in WANTED:
        await reader.filter(**{"chat": "", "agent": "", "code": ""} | wanted)
        await reader.counts(count)
        assert len(await reader.rows()) == count, wanted


async def test_changes_only_leaves_out_what_repeats_a_value(filled: Site, reader: Reader):
    await reader.filter(chat="filter-a")
    await reader.counts(3)
    assert column(await reader.rows(), "change") == ["changed", "unchanged", "set"]
    await reader.page.get_by_label("Changes only").check()
    assert column(await reader.rows(), "change") == ["changed", "set"]
    await reader.page.get_by_label("Changes only").uncheck()
    await reader.counts(3)


async def test_the_journal_finds_what_the_loaded_rows_would(filled: Site, reader: Reader):
    """But for the chat, which is asked for whole."""
    for wanted, count in WANTED:
        if "filter-a" not in wanted.get("chat", "filter-a") or wanted.get("chat") == "ilter-?":
            continue
        await reader.filter(**{"chat": "", "agent": "", "code": ""} | wanted)
        await reader.press("Enter")
        await reader.page.locator("#searching").wait_for()  # what it says is of this search
        await reader.says("#search-status", f"{count} found")
        await reader.says("#search-status", "the journal begins there")
        await reader.counts(count)
        await reader.page.get_by_role("button", name="Back to live rows").click()
        await reader.page.locator("#searching").wait_for(state="hidden")
        assert await reader.focused() == "#search-start Search the journal"


async def test_a_search_for_changes_only_shows_no_repetition(filled: Site, reader: Reader):
    await reader.filter(chat="filter-a")
    await reader.page.get_by_label("Changes only").check()
    await reader.page.get_by_role("button", name="Search the journal").click()
    await reader.says("#search-status", "2 found")
    assert column(await reader.rows(), "change") == ["changed", "set"]


async def test_a_search_goes_on_until_a_hundred_are_found_and_then_when_it_is_asked_to(crowded: Site, look):
    reader = await look(crowded)
    await reader.filter(code="T22*")  # 111, and three more that replace one of these
    await reader.counts(0)
    await reader.press("Enter")
    for found in (100, 114):
        await reader.says("#search-status", f"Matching rows: {found} found; searched back to ")
        await reader.counts(found)
        if found == 100:
            await reader.page.get_by_role("button", name="Search further back").click()
    assert "the journal begins there" in await reader.text("#search-status")
    assert not await reader.page.get_by_role("button", name="Search further back").is_visible()
    await reader.page.get_by_role("button", name="Back to live rows").click()
    await reader.counts(0)


async def test_a_search_tells_how_far_it_is_and_stops_when_told_to(filled: Site, reader: Reader):
    """The journal's answers are made to say that there is always more: a search of minutes, in little."""

    async def answer(route):
        found = {"events": [], "before": 1000, "searchedThrough": "2026-01-02T03:04:05.000Z"}
        await route.fulfill(json=found)

    await reader.page.route("**/events.json?*", answer)
    await reader.filter(code="nothing like it")
    await reader.press("Enter")
    await reader.says("#search-status", "Searching the journal: 0 found; searched back to 2026-01-02")
    await reader.page.get_by_role("button", name="Stop").click()
    await reader.says("#search-status", "Matching rows: 0 found")
    asked = len(reader.requests)
    await reader.page.wait_for_timeout(200)
    await reader.page.unroute("**/events.json?*")
    assert [one.url for one in reader.requests[asked:] if "/events.json" in one.url] == []


async def test_the_journals_beginning_is_told_where_it_is_reached(site: Site, look):
    reader = await look(site)
    await reader.page.get_by_role("button", name="Load older rows").click()
    await reader.says("#older-status", "The journal begins here.")
    assert not await reader.page.get_by_role("button", name="Load older rows").is_visible()
    await comes_to(lambda: len(site.listening.events), await reader.count())
