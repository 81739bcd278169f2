"""The last attempts of a sink over HTTP."""

import aiohttp
import pytest

from listener.model.condition import Attempt
from support.pages import Pages

FAILED = Attempt(
    at="2026-11-22T09:39:00.123Z",
    events=2,
    taken=1,
    first_sequence=4,
    last_sequence=5,
    outcome="retry",
    seconds=0.25,
    said="503",
)


async def test_they_come_as_many_as_are_asked_for_in_camel_case(http: aiohttp.ClientSession, pages: Pages):
    pages.attempts = (FAILED,) * 3
    shown = await (await http.get("/sinks/crm/attempts", params={"limit": 2})).json()
    attempt = {"at": FAILED.at, "events": 2, "taken": 1, "firstSequence": 4, "lastSequence": 5, "outcome": "retry"}
    attempt |= {"seconds": 0.25, "said": "503"}
    assert shown == {"sink": "crm", "attempts": [attempt] * 2, "here": True, "replica": "a"}


async def test_a_replica_without_the_lane_says_who_has_it(http: aiohttp.ClientSession):
    shown = await (await http.get("/sinks/audit/attempts")).json()
    assert shown == {"sink": "audit", "attempts": [], "here": False, "replica": "b"}


@pytest.mark.parametrize(("path", "status"), [("crn/attempts", 404), ("crm/attempts?limit=0", 400)])
async def test_what_is_not_there_or_not_meant_is_refused(http: aiohttp.ClientSession, path: str, status: int):
    assert (await http.get(f"/sinks/{path}")).status == status
