"""One sink: what it was sent and what it said, a test, a resume, and what was delivered delivered once more."""

import pytest

from support.console import Reader, Site
from support.eventually import comes_to, eventually
from support.fleet import Fleet, sink

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_its_last_attempts_are_told_and_it_is_tested_and_resumed(site: Site, look):
    reader = await look(site, fragment="#/sinks/crm", fleet=Fleet(parked=True, letters=7))
    await reader.says("#sink-state-word", "Parked: 127.0.0.1 answered 401")
    await reader.says("#attempts", "answered 401: invalid API key")
    rows = await reader.cells("#attempts")
    assert [row[1:] for row in rows[:3]] == [
        ["Parked", "0 of 1", "48151", "34 ms", "answered 401: invalid API key"],
        ["To be retried", "0 of 1", "48150", "34 ms", "timeout"],
        ["Delivered", "1 of 1", "48149", "34 ms", "200"],
    ]
    assert len(rows) == 25
    href = await reader.page.locator("#attempts a").first.get_attribute("href")
    assert href == "#/events?first=48151&last=48151&all=1&journal=1"
    await reader.page.get_by_role("link", name="Only those that failed").click()
    await eventually(lambda: all_failed(reader))
    await reader.page.get_by_role("button", name="Send a test event").click()
    await reader.says("#sink-outcome", "The test event was not taken (park): answered 401; no")
    await reader.page.get_by_role("button", name="Resume").click()
    await reader.says("#sink-outcome", "crm resumed.")
    await reader.says("#sink-state-word", "Running")
    assert not await reader.page.get_by_role("button", name="Resume").is_visible()
    assert reader.fleet.ordered == [("/sinks/crm/test", {}), ("/sinks/crm/resume", {})]


async def test_one_that_fails_tells_when_it_tries_again_and_does_at_once_if_it_is_told_to(site: Site, look):
    failing = sink("crm", failingSeconds=64.0, nextAttemptSeconds=12.0, lastError="answered 503", lagEvents=3)
    reader = await look(site, fragment="#/sinks/crm", fleet=Fleet(sinks=[failing]))
    await reader.says("#sink-state-word", "Failing for 1 min 4 s, next attempt in 12 s")
    await reader.page.get_by_role("button", name="Resume").click()
    await reader.says("#sink-outcome", "crm tries again at once.")
    assert reader.fleet.ordered == [("/sinks/crm/resume", {})]


async def all_failed(reader: Reader) -> bool:
    outcomes = [row[1] for row in await reader.cells("#attempts")]
    return len(outcomes) == 24 and "Delivered" not in outcomes


async def test_a_stretch_is_delivered_again_once_somebody_has_confirmed_how_much_that_is(site: Site, look):
    fragment = "#/sinks/crm?from=2026-11-22T00:00:00Z"
    reader = await look(site, fragment=fragment, fleet=Fleet(), timezone_id="Asia/Tokyo")
    await reader.page.locator("#resend-to").fill("2026-11-22T10:00:00")
    span = {"fromTime": "2026-11-22T00:00:00.000Z", "toTime": "2026-11-22T01:00:00.000Z"}
    for answer, ordered in (("Cancel", []), ("Resend", [("/sinks/crm/resend", span)])):
        reader.fleet.ordered.clear()
        await reader.page.get_by_role("button", name="Resend …").click()
        await reader.says("#confirm-text", "1,234 events received from 2026-11-22 09:00:00 to 2026-11-22 10:00:00")
        await reader.says("#confirm-text", "5 events of that time will come in their turn.")
        await reader.page.locator("#confirm").get_by_role("button", name=answer).click()
        asked = ("/sinks/crm/resend", {**span, "dryRun": True})
        await comes_to(lambda wanted=[asked, *ordered]: reader.fleet.ordered == wanted, wanted=True)
    await reader.says("#sink-outcome", "1,234 events will be delivered once more.")
    await reader.says("#resend-left", "1,234 events still to be delivered again.")
    await reader.page.get_by_role("button", name="Cancel the rest").click()
    await reader.says("#sink-outcome", "1,000 events will not be delivered once more.")


async def test_a_sink_that_is_not_there_is_told_to_be_none(site: Site, look):
    reader = await look(site, fragment="#/sinks/other", fleet=Fleet())
    await reader.says("#sink-unknown", "There is no sink of this name.")
    assert not await reader.page.locator("#sink-parts").is_visible()
