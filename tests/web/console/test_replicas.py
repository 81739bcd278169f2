"""Where replicas share the journal, each of them shows all, and who has what; on one machine there is no word of it."""

from typing import Any

import pytest

from support.chromium import barriers
from support.console import Reader, Site
from support.eventually import eventually
from support.fleet import Fleet, sink

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


def fleet(*replicas: dict[str, Any], replica: str | None = "a", owners: tuple[str | None, ...] = ("a", "b")) -> Fleet:
    """Two sinks with these owners."""
    sinks = [sink(name, replica=owner) for name, owner in zip(("audit", "crm"), owners, strict=True)]
    return Fleet(replica=replica, replicas=list(replicas), sinks=sinks)


async def test_one_machine_has_no_word_of_replicas(site: Site, look: Any):
    reader = await look(site, fragment="#/", fleet=Fleet())
    assert not await reader.page.locator("#replicas-part").is_visible()
    assert "eplica" not in await reader.text("#view-now")


async def test_all_replicas_are_shown_with_what_they_have(site: Site, look: Any):
    others = (
        replica("a", housekeeping=True),
        replica("b", ready=False, problems=["sink crm is parked: 401"]),
        replica("c", state="late", beatAgeSeconds=14.0, accounts=0),
        replica("d", state="draining"),
    )
    reader = await look(site, fragment="#/", fleet=fleet(*others), color_scheme="dark")
    await reader.says("#replicas", "a (this one)")
    rows = [[row[0], row[1], row[2], row[4], row[7]] for row in await reader.cells("#replicas")]
    assert rows == [
        ["a (this one)", "Alive", "3,334", "Yes", ""],
        ["b", "Not ready", "3,334", "", "sink crm is parked: 401"],
        ["c", "Not heard of for 14 s", "0", "", ""],
        ["d", "Draining", "3,334", "", ""],
    ]
    assert [row[:2] for row in await reader.cells("#sinks")] == [["audit", "a"], ["crm", "b"]]
    assert await barriers(reader.page) == []
    for width in (360, 1280):
        await reader.resize(width)
        assert await reader.overflow("document.documentElement") == 0
    reader.fleet = fleet(replica("a"), owners=(None, "a"))
    await eventually(lambda: shows_owners(reader, "none", "a"), what="a sink that nobody has")
    reader.fleet = fleet(replica=None, owners=(None, None))
    await reader.page.locator("#replicas-part").wait_for(state="hidden")
    assert len((await reader.cells("#sinks"))[0]) == 8


async def shows_owners(reader: Reader, *owners: str) -> bool:
    return [row[1] for row in await reader.cells("#sinks")] == list(owners)


async def test_without_the_database_the_page_says_whose_rows_these_are(site: Site, look: Any):
    reader = await look(site, fragment="#/", fleet=Fleet(replica="a", replicas=None))
    await reader.says("#replicas-unknown", "these are the accounts and sinks of this replica")
    assert not await reader.page.locator("#replicas").is_visible()
