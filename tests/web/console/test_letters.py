"""Dead letters: five thousand of them are a few groups, and each group is turned over page by page."""

import pytest

from support.console import Site
from support.eventually import comes_to
from support.fleet import REASON, Fleet

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_five_thousand_are_two_groups_and_each_of_them_is_reached(site: Site, look):
    reader = await look(site, fragment="#/dead-letters", fleet=Fleet(letters=5000))
    await reader.says("#letters-told", "5,000 dead letters in 2 groups")
    assert [row[:3] for row in await reader.cells("#letters-groups")] == [
        [f"{REASON}: no contact …", "crm", "4,000"],
        [f"{REASON}: duplicate key", "crm", "1,000"],
    ]
    await reader.page.get_by_role("link", name="no contact").click()
    await reader.says("#letters-table", "0000Na9B26EF0001")
    chats = [row[1] for row in await reader.cells("#letters-table")]
    assert chats == [f"0000Na9B26EF{number:04X}" for number in range(1, 32) if number % 5]
    await reader.page.get_by_role("link", name="Next page").click()
    await reader.says("#letters-table", "0000Na9B26EF0020")
    assert (await reader.cells("#letters-table"))[0][1] == "0000Na9B26EF0020"
    await reader.page.get_by_role("button", name="Replay these 25").click()
    await reader.says("#letters-outcome", "2 letters of crm will be delivered again.")
    ((path, body),) = reader.fleet.ordered
    assert (path, body["sink"], len(body["event_ids"])) == ("/dead-letters/replay", "crm", 25)
    assert body["event_ids"][0] == "event-32"
    await reader.page.get_by_role("link", name="All groups").click()
    await reader.says("#letters-told", "5,000 dead letters in 2 groups")
    await reader.page.get_by_role("button", name="Replay all of crm").click()
    await comes_to(lambda: reader.fleet.ordered[-1], ("/dead-letters/replay", {"sink": "crm"}))
