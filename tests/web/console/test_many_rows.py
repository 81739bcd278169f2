"""Ten thousand rows, of which a few are drawn; and rows that stand still while somebody reads them."""

from typing import Any

import pytest
import pytest_asyncio

from support.console import Reader, Site, column
from support.eventually import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

MOST_DRAWN = 60


@pytest_asyncio.fixture(loop_scope="session")
async def reading(site: Site, reader: Reader) -> tuple[Reader, str]:
    """Somebody who looks at a chat with 60 rows; the chat."""
    chat = f"many-{len(site.simulator.ledger)}"
    site.chat(chat)
    site.set(chat, *(f"M{number}" for number in range(60)))
    await site.recorded(chat, 60)
    await reader.filter(chat=chat)
    await reader.counts(60)
    return reader, chat


async def scroll(reader: Reader, top: int) -> None:
    await reader.page.evaluate("(top) => { document.getElementById('scroller').scrollTop = top }", top)
    await reader.drawn()


async def test_ten_thousand_rows_can_be_loaded_each_is_reached_and_the_newest_are_kept(crowded: Site, look):
    reader = await look(crowded)
    await load_all(reader)
    newest = (await reader.rows())[0]["code"]
    drawn = "document.querySelectorAll('#rows tr').length"
    assert await reader.page.evaluate(drawn) < MOST_DRAWN
    await scroll(reader, 10**9)
    rows = await drawn_around(reader, 10_001)
    assert column(rows, "index") == list(range(10_001 - len(rows) + 1, 10_002))
    last = reader.page.locator("#rows tbody tr:not(.spacer)").last
    inside = "(row) => row.getBoundingClientRect().bottom <= scroller.getBoundingClientRect().bottom + 1"
    assert await last.evaluate(inside)
    assert await reader.page.evaluate(drawn) < MOST_DRAWN
    await scroll(reader, 5_000 * 34)
    await drawn_around(reader, 5_000)
    filtering = """() => { const field = document.getElementById('filter-code'); field.value = 'T99';
        const begun = performance.now(); field.dispatchEvent(new Event('input', {bubbles: true}));
        return performance.now() - begun }"""
    took_ms = [await reader.page.evaluate(filtering) for _ in range(5)]
    assert min(took_ms) < 500, "the others may have waited for a core"
    await reader.counts(112)  # T990 to T9999, and two that replace one; T99 is no longer loaded
    await reader.filter(code="")
    crowded.set(crowded.chat("late"), *(f"X{number}" for number in range(50)))
    await reader.says("#rows", "X48 → X49")
    assert await reader.count() == 10_000
    assert (await reader.rows())[0]["code"] == "X48 → X49"
    await scroll(reader, 50 * 34)
    assert newest in column(await drawn_around(reader, 52), "code"), "each of them once"


async def load_all(reader: Reader) -> None:
    """As many rows as there may be, 1,000 at a time."""
    older = reader.page.get_by_role("button", name="Load older rows")
    await reader.counts(1000)
    for rows in range(2000, 10_001, 1000):
        await older.click()
        await reader.counts(rows)
    await reader.says("#rows-status", "10,000 rows loaded")
    await older.wait_for(state="hidden")


async def drawn_around(reader: Reader, index: int) -> list[dict[str, Any]]:
    """The rows that are drawn, once the one at this index is."""

    async def there() -> list[dict[str, Any]]:
        rows = await reader.rows()
        return rows if index in column(rows, "index") else []

    return await eventually(there)


async def test_rows_stand_still_while_one_has_scrolled_down_and_new_ones_are_counted(reading):
    reader, chat = reading
    await scroll(reader, 300)
    before = await reader.rows()
    reader.site.set(chat, *(f"N{number}" for number in range(37)))
    button = reader.page.get_by_role("button", name="37 new, show")
    await button.wait_for()
    assert column(await reader.rows(), "seq") == column(before, "seq")
    await button.click()
    await reader.counts(97)
    assert (await reader.rows())[0]["code"] == "N35 → N36"
    assert await reader.page.evaluate("document.getElementById('scroller').scrollTop") == 0
    assert not await reader.page.locator("#show-new").is_visible()


async def test_scrolling_back_to_the_top_shows_the_new_ones_by_itself(reading):
    reader, chat = reading
    await scroll(reader, 300)
    reader.site.set(chat, "Later")
    await reader.page.get_by_role("button", name="1 new, show").wait_for()
    await scroll(reader, 0)
    await reader.counts(61)


async def test_pause_holds_the_rows_until_it_is_released(reading):
    reader, chat = reading
    pause = reader.page.get_by_role("button", name="Pause")
    assert await pause.get_attribute("aria-pressed") == "false"
    await pause.click()
    assert await pause.get_attribute("aria-pressed") == "true"
    reader.site.set(chat, "Later")
    await reader.page.get_by_role("button", name="1 new, show").wait_for()
    assert await reader.count() == 60
    assert "paused" in await reader.text("#rows-status")
    await pause.click()
    await reader.counts(61)
    assert await pause.get_attribute("aria-pressed") == "false"
    reader.site.set(chat, "Last")
    await reader.counts(62)


async def test_only_new_rows_that_fit_the_filter_are_counted(reading):
    reader, chat = reading
    other = reader.site.chat(f"{chat[::-1]}-other")
    await scroll(reader, 300)
    reader.site.set(other, "One", "Two")
    reader.site.set(chat, "Three")
    await reader.page.get_by_role("button", name="1 new, show").wait_for()


async def test_the_arrows_lead_from_row_to_row_beyond_what_is_drawn(reading):
    reader, chat = reading
    await reader.page.locator("#scroller").focus()
    await reader.press("Tab")

    async def row() -> int:
        return await reader.page.evaluate("Number(document.activeElement.closest('tr')?.ariaRowIndex)")

    assert await row() == 2
    reader.site.set(chat, "Sooner")
    await reader.page.get_by_role("button", name="1 new, show").wait_for()
    assert await row() == 2, "a row that has the focus does not move away"
    await reader.press(*["ArrowDown"] * 45)
    assert await row() == 47
    seen = """() => { const row = document.activeElement.closest('tr').getBoundingClientRect();
        const all = document.getElementById('scroller').getBoundingClientRect();
        return row.top >= all.top && row.bottom <= all.bottom }"""
    assert await reader.page.evaluate(seen)
    await reader.press("End")
    assert await row() == 61
    assert await reader.page.evaluate(seen)
    await reader.press("ArrowDown", "PageUp", "ArrowUp")
    assert 30 < await row() < 60
    reader.site.set(chat, "Later")
    await reader.page.get_by_role("button", name="2 new, show").wait_for()
    await reader.press("Home")
    assert await row() == 2
    await reader.press("Tab")
    assert await reader.page.evaluate("document.activeElement.closest('#rows')") is None, "one stop for the whole table"
    await reader.counts(62)


async def test_a_row_that_comes_twice_is_there_once(reader: Reader):
    script = """async () => { const { Store } = await import('/console/events.js'); const store = new Store();
        const rows = (...all) => all.map((seq) => ({seq}));
        const taken = [store.add(rows(3, 4)), store.add(rows(3, 4, 5)), store.add(rows(5, 4))];
        store.addOlder(rows(2, 1), 3);
        store.addOlder(rows(2, 1), 3);
        return [taken.map((one) => one.map((row) => row.seq)), store.rows.map((row) => row.seq)] }"""
    assert await reader.page.evaluate(script) == [[[3, 4], [5], []], [1, 2, 3, 4, 5]]
