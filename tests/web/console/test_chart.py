"""The distribution of codes: its numbers are those of what was set, in the picture and in the table beside it."""

import re
from collections import Counter
from typing import Any

import pytest

from support.console import Reader, Site
from support.eventually import comes_to

pytestmark = pytest.mark.asyncio(loop_scope="session")

CODES = {"C-A": 8, "C-B": 7, "C-C": 6, "C-D": 5, "C-E": 4, "C-F": 3, "C-G": 2, "C-H": 1}

ZONE_S = 19_800


async def legend(reader: Reader) -> dict[str, int]:
    script = "(all) => all.map((one) => [...one.querySelectorAll('.name, .n')].map((part) => part.textContent))"
    items = await reader.page.locator("#legend li:has(.n)").evaluate_all(script)
    return {name: int(number) for name, number in items}


async def bars(reader: Reader) -> Counter[str]:
    """What the bars say when they are pointed at."""
    script = "(all) => all.map((one) => one.textContent)"
    told = await reader.page.locator("#chart rect > title").evaluate_all(script)
    found = [re.fullmatch(r".*?, (.*): ([\d,]+)", one) for one in told]
    return sum((Counter({one[1]: int(one[2].replace(",", ""))}) for one in found if one), Counter())


async def test_the_numbers_are_those_of_what_was_set_and_repetitions_do_not_count(site: Site, reader: Reader):
    chat = site.chat("chart-1")
    await reader.filter(chat=chat)
    for code, count in CODES.items():
        for _ in range(count):
            site.set(chat, code, code, "")
    changes = 2 * sum(CODES.values())  # each is set, repeated, and cleared
    await site.recorded(chat, 3 * sum(CODES.values()))
    wanted = {"(cleared)": 36, "C-A": 8, "C-B": 7, "C-C": 6, "C-D": 5, "C-E": 4, "other": 3 + 2 + 1}

    await comes_to(lambda: legend(reader), wanted)
    assert await bars(reader) == wanted
    assert f"{changes} changes among 108 loaded rows, " in await reader.text("#codes-range")
    assert await reader.page.locator("#chart [fill^='url(#look']").count() > 6
    await table_fits(reader, wanted)
    told = await reader.page.locator("#chart desc").text_content()
    assert all(f"{code} {count}" in told for code, count in wanted.items())


async def table_fits(reader: Reader, wanted: dict[str, int]) -> None:
    await reader.page.locator("#codes-details summary").click()

    async def sums() -> dict[str, int]:
        heads, *rows = await reader.page.locator("#codes-table tr").evaluate_all(
            "(rows) => rows.map((row) => [...row.cells].slice(1).map((cell) => cell.innerText))"
        ) or [[]]
        return {head: sum(int(row[at]) for row in rows) for at, head in enumerate(heads)}

    await comes_to(sums, {**wanted, "All": sum(wanted.values())})


async def test_height_is_in_proportion(site: Site, reader: Reader):
    chat = site.chat("chart-2")
    site.set(chat, *["H-1", "H-2"] * 3, "H-1")
    await site.recorded(chat, 7)
    await reader.filter(chat=chat)
    await comes_to(lambda: legend(reader), {"H-1": 4, "H-2": 3})
    script = """(all) => all.map((one) => [one.textContent, one.parentElement.getAttribute("height")])"""
    heights: Counter[str] = Counter()
    for told, height in await reader.page.locator("#chart rect > title").evaluate_all(script):
        heights["H-1" if "H-1" in told else "H-2"] += float(height) + 1  # the seam between two
    assert heights["H-1"] / heights["H-2"] == pytest.approx(4 / 3, rel=0.05)


def row(at_s: float, code: str | None, change: str = "set") -> dict[str, Any]:
    return {"kind": "disposition", "at": at_s * 1000, "code": code, "change": change}


@pytest.mark.parametrize(
    ("seconds", "width_s"),
    [(0, 1), (46, 1), (48, 5), (3600, 300), (86_400, 3600), (2_000_000, 43_200), (9e8, 19_353_600)],
)
async def test_there_are_at_most_48_bars_of_a_round_length(reader: Reader, seconds: float, width_s: int):
    script = "async (rows) => (await import('/console/chart.js')).distribution(rows)"
    told = await reader.page.evaluate(script, [row(1_790_000_000, "a"), row(1_790_000_000 + seconds, "b", "changed")])
    assert told["widthMs"] == width_s * 1000
    assert 1 <= len(told["bars"]) <= 49
    assert sum(bar["sum"] for bar in told["bars"]) == 2
    assert (told["bars"][0]["from"] / 1000 + ZONE_S) % width_s == 0, "round in the reader's zone"
    for bar in told["bars"]:
        assert bar["sum"] == sum(bar["counts"])


async def test_a_gap_marks_the_bars_that_it_touches(reader: Reader):
    gap = {"kind": "gap", "from": 20_000, "to": 31_000}
    script = "async (rows) => (await import('/console/chart.js')).distribution(rows)"
    told = await reader.page.evaluate(script, [row(0, "a"), gap, row(100, "b")])
    assert [bar["from"] / 1000 for bar in told["bars"] if bar["gap"]] == [20, 25, 30]
