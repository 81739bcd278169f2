"""What can be ordered from the page: a parked lane goes on, dead letters are delivered once more."""

import pytest

from support.console import Site
from support.receiver import Answer

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def park(site: Site) -> str:
    """Park the webhook's lane with one event; the chat."""
    site.receiver.answers = Answer(status=401)
    chat = site.chat("parked")
    site.set(chat, "Callback")
    await site.listening.daemon.logged("lane_parked", sink="crm")
    return chat


def refuses(*codes: str):
    """A receiver's judgement: 400 for events with these codes."""
    return lambda event: Answer(status=400) if event["data"].get("disposition") in codes else None


async def test_a_parked_lane_shows_why_and_goes_on_when_it_is_resumed(own_site, look):
    site = await own_site()
    reader = await look(site)
    assert not await reader.page.get_by_role("button", name="Resume").is_visible()
    await park(site)
    await reader.says("#hindrances", "Sink crm is parked")
    await reader.says("#lanes", "Parked: 127.0.0.1")
    await reader.says("#lanes", "answered 401")
    assert (await reader.cells("#lanes"))[1][3].startswith("1 (")
    site.receiver.answers = Answer()
    await reader.page.get_by_role("button", name="Resume crm").click()
    await reader.says("#lanes-outcome", "crm goes on.")
    await reader.says("#verdict", "Ready")
    assert [event["data"]["disposition"] for event in site.receiver.accepted()] == ["Callback"]
    assert not await reader.page.get_by_role("button", name="Resume").is_visible()


async def test_an_order_for_a_sink_that_is_gone_is_told_to_have_failed(own_site, look):
    site = await own_site()
    reader = await look(site)
    await park(site)
    await reader.page.route("**/lanes/crm/resume", lambda route: route.continue_(url=f"{site.url}/lanes/other/resume"))
    await reader.page.get_by_role("button", name="Resume crm").click()
    await reader.says("#lanes-outcome", "Refused: there is no sink 'other'")
    await reader.page.route("**/lanes/crm/resume", lambda route: route.abort())
    await reader.page.get_by_role("button", name="Resume crm").click()
    await reader.says("#lanes-outcome", "The daemon did not answer")


async def test_dead_letters_are_told_and_replayed_one_by_one_and_by_sink(own_site, look):
    site = await own_site()
    reader = await look(site)
    await reader.says("#letters", "There are none.")
    site.receiver.judge = refuses("Bad-1", "Bad-2", "Bad-3")
    chat = site.chat("letters")
    site.set(chat, "Bad-1", "Good", "Bad-2", "Bad-3")
    await reader.says("#letters-table", "Bad-3")
    letters = await reader.cells("#letters-table")
    assert [row[1:4] for row in letters] == [["crm", chat, f"Bad-{number}"] for number in (1, 2, 3)]
    assert all("answered 400" in row[4] for row in letters)
    await reader.says("#figures", "Dead letters\n3\ncrm 3")
    site.receiver.judge = None
    await reader.page.get_by_role("button", name="Replay event").nth(1).click()
    await reader.says("#letters-outcome", "1 letter of crm will be delivered once more.")
    await reader.page.locator("#letters-table tbody tr").nth(2).wait_for(state="detached")
    assert [row[3] for row in await reader.cells("#letters-table")] == ["Bad-1", "Bad-3"]
    await reader.page.get_by_role("button", name="Replay all of crm").click()
    await reader.says("#letters-outcome", "2 letters of crm will be delivered once more.")
    await reader.says("#letters", "There are none.")
    assert not await reader.page.get_by_role("button", name="Replay all of crm").is_visible()
    taken = [event["data"]["disposition"] for event in site.receiver.accepted()]
    assert sorted(taken) == ["Bad-1", "Bad-2", "Bad-3", "Good"]


async def test_where_no_token_is_configured_nothing_is_asked_for_and_nothing_can_be_ordered(own_site, look):
    site = await own_site(token=None)
    site.receiver.judge = refuses("Bad")
    site.set(site.chat("letters"), "Bad")
    reader = await look(site)
    assert not await reader.page.locator("#token").is_visible()
    assert not await reader.page.get_by_role("button", name="Forget token").is_visible()
    await park(site)
    await reader.says("#lanes", "Parked")
    await reader.says("#letters-table", "Bad")
    for name in ("Resume crm", "Replay event", "Replay all of crm"):
        assert await reader.page.get_by_role("button", name=name).is_disabled(), name
    assert "none is configured (http.token or http.token_file)" in await reader.text("#no-actions")
    assert "none is configured" in await reader.text("#letters-no-actions")
    assert reader.refusals == 0


async def test_a_token_that_nobody_asked_for_does_not_make_orders_possible(own_site, look):
    """It may be a rest of another daemon: the answer to an order tells."""
    site = await own_site(token=None)
    await park(site)
    reader = await look(site, ready=False)
    await reader.page.evaluate("sessionStorage.setItem('disposition-listener.token', 'old')")
    await reader.page.reload()
    await reader.page.get_by_role("button", name="Resume crm").click()
    await reader.says("#lanes-outcome", "Refused: actions need a token")
    assert await reader.page.get_by_role("button", name="Resume crm").is_disabled()
    assert "none is configured" in await reader.text("#no-actions")
