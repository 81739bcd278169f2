"""The live table: what agents do is there, as text, and nothing of their customers."""

import pytest

from support.console import Reader, Site, column
from support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = "<img src=x onerror=document.title='owned'><script>alert(1)</script>"


async def test_what_an_agent_sets_is_there_while_one_looks(site: Site, reader: Reader):
    chat = site.chat("live-1")
    await reader.filter(chat=chat)
    await reader.counts(0)
    site.set(chat, "Callback", "Callback", "Refund", "")
    (cleared, changed, unchanged, first) = await reader.shows(
        "Refund → none", "Callback → Refund", "Callback → Callback", "none → Callback"
    )
    assert column([first, unchanged, changed, cleared], "change") == ["set", "unchanged", "changed", "cleared"]
    assert (first["chat"], first["account"], first["origin"]) == (chat, "agent1", "notification")
    assert first["agents"] == "TestName"


async def test_times_are_those_of_the_reader_with_utc_beside_them(site: Site, reader: Reader):
    chat = site.chat("live-2")
    site.set(chat, "Callback")
    (event,) = await site.recorded(chat, 1)
    await reader.filter(chat=chat)
    await reader.counts(1)
    time = reader.page.locator("#rows time")
    assert await time.get_attribute("title") == event["time"].replace("T", " ").replace("Z", " UTC")
    hour, minute = (int(part) for part in event["time"][11:16].split(":"))
    local = (hour * 60 + minute + 330) % 1440
    assert f"{local // 60:02}:{local % 60:02}:{event['time'][17:19]}" in await time.inner_text()
    assert "UTC+05:30" in await reader.text("#rows th.time")


async def test_a_conference_shows_both_agents_and_a_second_key_gets_a_column(site: Site, reader: Reader):
    chat = site.chat("live-3", "agent1", "agent2")
    await reader.filter(chat=chat)
    site.set(chat, "Callback")
    await reader.counts(2)
    assert column(await reader.rows(), "agents") == ["TestName, TestName2"] * 2
    assert not await reader.page.locator("#rows th.key").is_visible()
    site.set(chat, "Sold", key="Outcome")
    await reader.counts(4)
    assert sorted(column(await reader.rows(), "key")) == ["DispositionCode"] * 2 + ["Outcome"] * 2
    assert await reader.page.locator("#rows th.key").is_visible()


async def test_a_gap_is_a_row_that_looks_like_none_of_the_others(rough: Site, look):
    reader = await look(rough)
    rough.set(rough.chat("live-4"), "Callback")
    await reader.says("#rows", "live-4")
    before = await reader.count()
    rough.simulator.control("expire")
    await reader.counts(before + 2)
    rows = await reader.rows()
    gaps = [row for row in rows[:2] if row["kind"] == "gap"]
    assert sorted(column(gaps, "account")) == ["agent1", "agent2"]
    assert all("not subscribed" in row["gap"] and "the server had ended the session" in row["gap"] for row in gaps)
    grounds = "rows => rows.map(row => getComputedStyle(row.cells[0]).backgroundImage)"
    drawn = await reader.page.locator("#rows tbody tr:not(.spacer)").evaluate_all(grounds)
    assert [row["kind"] == "gap" for row in rows] == ["gradient" in one for one in drawn]
    await reader.says("#figures", "in all, the last until ")
    await reader.filter(agent="agent2")
    assert column([row for row in await reader.rows() if row["kind"] == "gap"][:1], "account") == ["agent2"]
    await reader.filter(agent="", chat="live-4")
    await reader.counts(1)


async def test_a_hostile_value_is_a_text_wherever_it_is_shown(site: Site, reader: Reader):
    chat = site.chat("live-<b>5</b>&quot;")
    await reader.filter(chat="live-<b>5")
    site.set(chat, HOSTILE, "Callback", HOSTILE)
    await reader.counts(3)
    assert (await reader.rows())[0]["code"] == f"Callback → {HOSTILE}"
    await reader.page.locator("#rows a.id").first.click()
    await reader.says("#history-title", f"Chat {chat}")
    await reader.says("#history-table", HOSTILE)
    await reader.press("Escape")
    await reader.says("#legend", HOSTILE)
    await reader.page.locator("#codes-details summary").click()
    await reader.says("#codes-table", HOSTILE)
    assert await reader.page.locator("main img, dialog img, main script").count() == 0
    assert "owned" not in await reader.page.title()


async def test_nothing_of_a_customer_is_on_the_page_nor_kept_by_it(site: Site, reader: Reader):
    """The events have the customer's nickname here: `participants = "all"`."""
    chat = site.chat("live-6", PhoneNumber="+49 30 5550100", AccountNumber="48151623")
    site.set(chat, "Callback")
    (event,) = await site.recorded(chat, 1)
    assert "FirstL" in str(event["data"]["participants"])
    await reader.filter(chat=chat)
    await reader.counts(1)
    await reader.page.locator("#rows a.id").first.click()
    await reader.says("#history-status", "1 disposition")
    kept = "JSON.stringify([document.documentElement.outerHTML, {...localStorage}, {...sessionStorage}])"
    shown = await reader.page.evaluate(kept)
    assert chat in shown
    assert "TestName" in shown
    assert not [secret for secret in ("FirstL", "5550100", "48151623") if secret in shown]


async def test_the_state_is_told_in_one_glance(site: Site, reader: Reader):
    await reader.go("#/")
    await reader.says("#verdict", "All is well")
    assert await reader.text("#accounts-told") == "2 of 2 accounts subscribed."
    lanes = await reader.cells("#sinks")
    assert [row[:3] for row in lanes] == [["audit", "file", "Running"], ["crm", "webhook", "Running"]]
    delivered = [int(row[4].replace(",", "")) for row in lanes]
    chat = site.chat("live-7")
    site.set(chat, "Callback")

    async def grown() -> bool:
        now = [int(row[4].replace(",", "")) for row in await reader.cells("#sinks")]
        return all(after > before for before, after in zip(delivered, now, strict=True))

    await eventually(grown)
    assert "Disposition listener 0." in await reader.text("#build")
