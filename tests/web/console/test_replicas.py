"""Where replicas share the journal, each of them shows all, and who has what; on one machine there is no word of it."""

import json
from typing import Any

import pytest

from support.chromium import barriers
from support.console import Reader, Site

pytestmark = pytest.mark.asyncio(loop_scope="session")


def replica(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": "alive",
        "beatAgeSeconds": 0.2,
        "joinedAt": "2026-11-22T09:39:00.123Z",
        "version": "1.2.3",
        "accounts": 3334,
        "sinks": 1,
        "housekeeping": False,
        "ready": True,
        "problems": [],
        **more,
    }


async def shows(reader: Reader, **more: Any) -> None:
    """Let the page get the site's status with `more` in it."""

    async def answer(route: Any) -> None:
        response = await route.fetch()
        status = await response.json()
        for name in ("accounts", "sinks"):
            for one, owner in zip(status[name], more.get("owners", ()), strict=False):
                one["replica"] = owner
        await route.fulfill(response=response, body=json.dumps({**status, **more}))

    await reader.page.unroute_all()
    await reader.page.route("**/status.json", answer)


async def test_one_machine_has_no_word_of_replicas(site: Site, reader: Reader):
    assert not await reader.page.locator("#replicas-part").is_visible()
    assert "Replica" not in await reader.text("#state")


@pytest.mark.parametrize("color_scheme", ["light", "dark"])
async def test_all_replicas_are_shown_with_what_they_have(site: Site, look: Any, color_scheme: str):
    reader = await look(site, color_scheme=color_scheme)
    others = [
        replica("a", housekeeping=True),
        replica("b", ready=False, problems=["sink crm is parked: 401"]),
        replica("c", state="late", beatAgeSeconds=14.0, accounts=0),
        replica("d", state="draining"),
    ]
    await shows(reader, replica="a", replicas=others, owners=("a", "b"))
    await reader.says("#replicas", "a (this one)")
    rows = [[row[0], row[1], row[2], row[4], row[7]] for row in await reader.cells("#replicas")]
    assert rows == [
        ["a (this one)", "Alive", "3,334", "Yes", ""],
        ["b", "Not ready", "3,334", "", "sink crm is parked: 401"],
        ["c", "Not heard of for 14 s", "0", "", ""],
        ["d", "Draining", "3,334", "", ""],
    ]
    assert [row[:2] for row in await reader.cells("#accounts")] == [["agent1", "a"], ["agent2", "b"]]
    assert await reader.text("#problems") == "On b: sink crm is parked: 401\nReplica c has not been heard of for 14 s"
    assert await barriers(reader.page) == []
    for width in (360, 1280):
        await reader.resize(width)
        assert await reader.overflow("document.documentElement") == 0


async def test_what_no_replica_has_is_a_problem(site: Site, look: Any):
    reader = await look(site)
    await shows(reader, replica="a", replicas=[replica("a")], owners=(None, "a"))
    await reader.says("#problems", "1 account is without a replica")
    await reader.says("#problems", "1 sink is without a replica")
    assert await reader.text("#verdict-word") == "Not ready"
    assert [row[1] for row in await reader.cells("#accounts")] == ["none", "a"]


async def test_where_all_work_it_says_so_and_goes_back_to_one(site: Site, look: Any):
    reader = await look(site)
    await shows(reader, replica="a", replicas=[replica("a"), replica("b")], owners=("a", "b"))
    await reader.says("#replicas", "b")
    await reader.says("#verdict-word", "Ready")
    await shows(reader, replica=None, replicas=[])
    await reader.page.locator("#replicas-part").wait_for(state="hidden")
    assert len((await reader.cells("#accounts"))[0]) == 6


async def test_without_the_database_the_page_says_whose_rows_these_are(site: Site, look: Any):
    reader = await look(site)
    await shows(reader, replica="a", replicas=None, owners=("a", "a"))
    await reader.says("#replicas-unknown", "these are the accounts and sinks of this replica")
    assert not await reader.page.locator("#replicas").is_visible()
