"""What can be ordered from the page: a parked lane goes on, dead letters are delivered once more."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.chromium import Browser
from support.console import Site
from support.eventually import eventually
from support.receiver import Answer

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tokenless(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A daemon without a token, with a dead letter and a parked lane."""
    async with Site(tmp_path_factory.mktemp("tokenless"), token=None) as site:
        site.receiver.judge = refuses("Bad")
        site.set(site.chat("letters"), "Bad")
        await site.listening.daemon.logged("events_rejected")
        await park(site, "parked")
        yield site


async def park(site: Site, chat: str) -> None:
    """Park the webhook's lane with one event of a new chat."""
    site.receiver.answers = Answer(status=401)
    parks = len([entry for entry in site.listening.daemon.log if entry["event"] == "sink_parked"])
    site.set(site.chat(chat), "Callback")
    await site.listening.daemon.logged("sink_parked", sink="crm", count=parks + 1)


def refuses(*codes: str):
    """A receiver's judgement: 400 for events with these codes."""
    return lambda event: Answer(status=400) if event["data"].get("disposition") in codes else None


async def test_a_parked_lane_shows_why_and_goes_on_when_it_is_resumed(rough: Site, look):
    reader = await look(rough, fragment="#/")
    assert not await reader.page.get_by_role("button", name="Resume").is_visible()
    await park(rough, "action-1")
    await reader.says("#health", "Sink crm is parked")
    await reader.says("#sinks", "Parked: http://127.0.0.1")
    await reader.says("#sinks", "answered 401")
    assert (await reader.cells("#sinks"))[1][3].startswith("1 (")
    rough.receiver.mend()
    await reader.page.get_by_role("button", name="Resume crm").click()
    await reader.says("#sinks-outcome", "crm resumed.")
    await reader.says("#verdict", "All is well")
    await eventually(lambda: [event["subject"] for event in rough.receiver.accepted()][-1:] == ["action-1"])
    assert not await reader.page.get_by_role("button", name="Resume").is_visible()


async def test_an_order_for_a_sink_that_is_gone_is_told_to_have_failed(rough: Site, look):
    reader = await look(rough, fragment="#/")
    await park(rough, "action-2")
    other = f"{rough.url}/sinks/other/resume"
    await reader.page.route("**/sinks/crm/resume", lambda route: route.continue_(url=other))
    await reader.page.get_by_role("button", name="Resume crm").click()
    await reader.says("#sinks-outcome", "Refused: there is no sink 'other'")
    await reader.page.route("**/sinks/crm/resume", lambda route: route.abort())
    await reader.page.get_by_role("button", name="Resume crm").click()
    await reader.says("#sinks-outcome", "The daemon did not answer")
    rough.receiver.mend()
    await reader.page.unroute("**/sinks/crm/resume")
    await reader.page.get_by_role("button", name="Resume crm").click()
    await reader.says("#sinks-outcome", "crm resumed.")


async def test_dead_letters_are_told_and_replayed_one_by_one_and_by_sink(rough: Site, look):
    reader = await look(rough, fragment="#/dead-letters")
    await reader.says("#letters-told", "There are none.")
    rough.receiver.judge = refuses("Bad-1", "Bad-2", "Bad-3")
    chat = rough.chat("action-3")
    rough.set(chat, "Bad-1", "Good", "Bad-2", "Bad-3")
    await reader.says("#letters-told", "3 dead letters in 1 group")
    ((reason, sink, count, *_),) = await reader.cells("#letters-groups")
    assert ("answered 400" in reason, sink, count) == (True, "crm", "3")
    await reader.page.get_by_role("link", name="answered 400").click()
    await reader.says("#letters-table", "Bad-3")
    letters = await reader.cells("#letters-table")
    assert [row[1:3] for row in letters] == [[chat, f"Bad-{number}"] for number in (1, 2, 3)]
    await reader.says("#figures", "3crm 3")
    rough.receiver.mend()
    await reader.page.get_by_role("button", name="Replay event").nth(1).click()
    await reader.says("#letters-outcome", "1 letter of crm will be delivered again.")
    await reader.page.locator("#letters-table tbody tr").nth(2).wait_for(state="detached")
    assert [row[2] for row in await reader.cells("#letters-table")] == ["Bad-1", "Bad-3"]
    await reader.page.get_by_role("link", name="All groups").click()
    await reader.page.get_by_role("button", name="Replay all of crm").click()
    await reader.says("#letters-outcome", "2 letters of crm will be delivered again.")
    await reader.says("#letters-told", "There are none.")
    assert not await reader.page.get_by_role("button", name="Replay all of crm").is_visible()
    taken = [event["data"]["disposition"] for event in rough.receiver.accepted() if event["subject"] == chat]
    assert sorted(taken) == ["Bad-1", "Bad-2", "Bad-3", "Good"]


async def test_a_test_event_is_sent_and_what_was_delivered_is_delivered_once_more(rough: Site, look):
    chat = rough.chat("action-4")
    rough.set(chat, "Callback")

    def ids() -> list[str]:
        return [event["id"] for event in rough.receiver.accepted() if event["subject"] == chat]

    await eventually(lambda: len(ids()) == 1)
    reader = await look(rough, fragment="#/sinks/crm")
    await reader.says("#attempts", "Delivered")
    await reader.page.get_by_role("button", name="Send a test event").click()
    await reader.says("#sink-outcome", "The test event was taken.")
    await reader.page.get_by_text("Request and answer").click()
    await reader.says("#exchange-text", "POST http://127.0.0.1")
    await reader.page.locator("#resend-from").fill("2020-01-01T00:00:00")
    await reader.page.locator("#resend-to").fill("2099-01-01T00:00:00")
    await reader.page.get_by_role("button", name="Resend …").click()
    await reader.says("#confirm-text", "will be delivered to crm once more.")
    assert len(ids()) == 1, "asking is not ordering"
    await reader.page.locator("#confirm-yes").click()
    await reader.says("#sink-outcome", "will be delivered once more.")
    await eventually(lambda: len(ids()) == 2)
    assert len(set(ids())) == 1


async def test_where_no_token_is_configured_nothing_is_asked_for_and_nothing_can_be_ordered(tokenless: Site, look):
    reader = await look(tokenless, fragment="#/")
    assert not await reader.page.locator("#token").is_visible()
    assert not await reader.page.get_by_role("button", name="Forget token").is_visible()
    await reader.says("#sinks", "Parked")
    assert "none is configured (http.token or http.token_file)" in await reader.text("#no-actions")
    await reader.go("#/dead-letters")
    await reader.says("#letters-groups", "answered 400")
    assert "none is configured" in await reader.text("#letters-no-actions")
    await reader.page.get_by_role("link", name="answered 400").click()
    await reader.says("#letters-table", "Bad")
    await reader.go("#/sinks/crm")
    await reader.says("#sink-state-word", "Parked")
    assert "none is configured" in await reader.text("#sink-no-actions")
    for view in ("#/", "#/dead-letters", "#/sinks/crm"):
        await reader.go(view)
        for name in ("Resume", "Replay", "Resend", "Send a test event"):
            assert not await reader.page.get_by_role("button", name=name).is_visible(), name
    assert reader.refusals == 0


async def test_a_token_that_nobody_asked_for_does_not_make_orders_possible(tokenless: Site, look):
    """It may be a rest of another daemon: the answer to an order tells."""
    reader = await look(tokenless, ready=False, fragment="#/")
    await reader.page.evaluate("sessionStorage.setItem('disposition-listener.token', 'old')")
    await reader.page.reload()
    await reader.page.get_by_role("button", name="Resume crm").click()
    await reader.says("#sinks-outcome", "Refused: actions need a token")
    assert not await reader.page.get_by_role("button", name="Resume crm").is_visible()
    assert "none is configured" in await reader.text("#no-actions")
