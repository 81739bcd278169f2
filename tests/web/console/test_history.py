"""The history of a chat: opened by hand, by keyboard, by a link; it knows more than the loaded rows."""

import asyncio
from typing import Any

import pytest
import pytest_asyncio

from support.console import Reader, Site, column
from support.eventually import comes_to
from support.receiver import Answer

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chat(site: Site) -> str:
    chat = site.chat("history/1 & more")
    site.set(chat, "Callback", "Refund")
    await site.recorded(chat, 2)
    return chat


async def test_a_click_opens_it_and_escape_leads_back_to_the_row(site: Site, reader: Reader, chat: str):
    await reader.filter(chat=chat)
    await reader.counts(2)
    await reader.page.locator("#rows a.id").nth(1).click()
    await reader.says("#history-status", "2 dispositions, to the beginning of the journal.")
    assert await reader.focused() == f"#history-title Chat {chat}"
    assert [row[2:4] for row in await reader.cells("#history-table")] == [
        ["changed", "Callback → Refund"],
        ["set", "none → Callback"],
    ]
    assert "DispositionCode\nRefund\nsince" in await reader.text("#history-values")
    await reader.press("Escape")
    await reader.page.locator("#history").wait_for(state="hidden")
    await comes_to(reader.focused, chat)
    seq = await reader.page.evaluate("Number(document.activeElement.closest('tr').dataset.seq)")
    assert seq == column(await reader.rows(), "seq")[1], "the very row"
    await comes_to(lambda: reader.page.url.partition("?")[0], f"{site.url}/#/events")


@pytest.mark.parametrize("is_answered", [True, False])
async def test_what_comes_while_the_journal_is_asked_is_there_once(site: Site, reader: Reader, is_answered: bool):
    """Whether the answer has it already, or was given before."""
    chat = site.chat(f"history-4-{is_answered}")
    site.set(chat, "Callback")
    await reader.filter(chat=chat)
    await reader.counts(1)
    asked, released = asyncio.Event(), asyncio.Event()

    async def later(route: Any) -> None:
        answer = await route.fetch() if is_answered else None
        asked.set()
        await released.wait()
        await (route.fulfill(response=answer) if answer else route.continue_())

    await reader.page.route("**/events.json?*", later)
    await reader.page.locator("#rows a.id").click()
    await asked.wait()
    assert "Searching" in await reader.text("#history-status")
    site.set(chat, "Refund")
    await reader.counts(2)
    released.set()
    await reader.says("#history-status", "2 dispositions, to the beginning of the journal.")
    await reader.page.unroute("**/events.json?*")
    assert [row[3] for row in await reader.cells("#history-table")] == ["Callback → Refund", "none → Callback"]


async def test_where_its_row_has_gone_the_focus_goes_to_the_table(site: Site, reader: Reader):
    chat = site.chat("history-2")
    site.set(chat, "Callback")
    await reader.filter(chat=chat)
    await reader.counts(1)
    await reader.page.locator("#rows a.id").click()
    await reader.says("#history-status", "1 disposition")
    site.set(chat, *(f"H{number}" for number in range(80)))
    await reader.counts(81)
    await reader.press("Escape")
    await comes_to(lambda: reader.page.evaluate("document.activeElement.id"), "scroller")


async def test_from_a_dead_letter_the_focus_leads_back_to_it(rough: Site, look):
    rough.receiver.judge = lambda _: Answer(status=400)
    chat = rough.chat("history-3")
    rough.set(chat, "Callback")
    reader = await look(rough, fragment="#/dead-letters")
    await reader.page.get_by_role("link", name="answered 400").click()
    link = reader.page.locator("#letters-table a.id", has_text=chat)
    await link.click()
    await reader.says("#history-title", chat)
    await reader.press("Escape")
    await comes_to(lambda: link.evaluate("(link) => link === document.activeElement"), wanted=True)


async def test_the_keyboard_opens_and_closes_it(reader: Reader, chat: str):
    await reader.filter(chat=chat)
    await reader.counts(2)
    await reader.page.locator("#scroller").focus()
    await reader.press("Tab", "ArrowDown", "Enter")
    await reader.says("#history-title", chat)
    await reader.press("Tab")
    assert await reader.focused() == "#history-close Close"
    await reader.press("Enter")
    await comes_to(reader.focused, chat)


async def test_a_link_leads_to_it_and_what_happens_now_is_added(site: Site, look):
    chat = site.chat("history/5 & more")
    site.set(chat, "Callback", "Refund")
    await site.recorded(chat, 2)
    reader = await look(site, fragment="#chat=history%2F5%20%26%20more")
    await reader.says("#history-title", f"Chat {chat}")
    await reader.says("#history-status", "2 dispositions")
    site.set(chat, "")
    await reader.says("#history-table", "Refund → none")
    assert len(await reader.cells("#history-table")) == 3
    await reader.says("#history-values", "none")


async def test_the_back_button_closes_it(site: Site, reader: Reader, chat: str):
    await reader.filter(chat=chat)
    await reader.page.locator("#rows a.id").first.click()
    await reader.says("#history-title", chat)
    await comes_to(lambda: reader.page.url, f"{site.url}/#/chats/history%2F1%20%26%20more")
    await reader.page.go_back()
    await reader.page.locator("#history").wait_for(state="hidden")
    await reader.page.go_forward()
    await reader.says("#history-title", chat)


async def test_a_chat_that_nobody_heard_of_has_no_history(site: Site, look):
    reader = await look(site, fragment="#/chats/nothing")
    await reader.says("#history-status", "0 dispositions, to the beginning of the journal.")
    assert not await reader.page.locator("#history-table").is_visible()


async def test_more_than_a_hundred_come_when_they_are_asked_for(crowded: Site, look):
    reader = await look(crowded, fragment="#chat=long")
    await reader.says("#history-status", "100 dispositions, searched back to ")
    await reader.page.get_by_role("button", name="Search further back").click()
    await reader.says("#history-status", "150 dispositions, to the beginning of the journal.")
    told = [row[3] for row in await reader.cells("#history-table")]
    assert told == [*(f"L{number - 1} → L{number}" for number in range(149, 0, -1)), "none → L0"]
