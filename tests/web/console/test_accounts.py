"""The accounts, a page at a time: found by name or state, each page and each search with an address of its own."""

import pytest

from support.console import Site
from support.eventually import comes_to, eventually
from support.fleet import Fleet

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_ten_thousand_are_turned_over_page_by_page_and_found_by_name(site: Site, look):
    reader = await look(site, fragment="#/accounts", fleet=Fleet(accounts=10_000, failing=412))
    await reader.says("#accounts-page-told", "25 of 10,000 accounts")
    await reader.page.get_by_role("link", name="Next page").click()
    await reader.says("#accounts", "agent00050")
    assert [row[0] for row in await reader.cells("#accounts")] == [f"agent{number:05}" for number in range(26, 51)]
    await reader.page.go_back()
    await reader.says("#accounts", "agent00001")
    await reader.page.get_by_label("Name or trouble").fill("agent0041")
    await reader.says("#accounts-page-told", "10 accounts")
    await reader.page.get_by_label("State").select_option("In trouble")
    await reader.says("#accounts-page-told", "3 accounts")
    assert [row[:2] for row in await reader.cells("#accounts")] == [
        [f"agent{number:05}", "Not subscribed"] for number in (410, 411, 412)
    ]
    await comes_to(lambda: reader.page.url.partition("#")[2], "/accounts?search=agent0041&state=troubled")
    await reader.page.reload()
    await reader.says("#accounts-page-told", "3 accounts")
    assert await reader.page.input_value("#accounts-search") == "agent0041"
    reader.fleet.team = {"wanted": 20, "monitored": 18, "troubled": [], "problem": None}
    await reader.go("#/accounts?search=agent10000")
    await reader.says("#accounts", "Subscribed, monitors 18 of 20 agents")
    await reader.page.go_back()
    await reader.says("#accounts-page-told", "3 accounts")
    reader.fleet.failing = 0
    await eventually(lambda: reader.page.locator("#accounts").is_hidden(), what="the page follows the daemon")
    assert await reader.text("#accounts-page-told") == "0 accounts"
