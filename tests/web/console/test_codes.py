"""A code has the colour that its name gives it: the same in each place, for each reader, and tomorrow."""

import pytest

from support.console import Reader, Site

pytestmark = pytest.mark.asyncio(loop_scope="session")

CODES = [
    "FollowUp",
    "WrongDepartment",
    "NoAnswer",
    "Callback",
    "IssueResolved",
    "Escalated",
    "Refund",
    "Sold",
    "Spam",
    "é",
]
LOOKS = """async (codes) => { const { assign, lookOf } = await import(`/console/codes.js?${Math.random()}`);
    assign(codes);
    return codes.map((code) => { const { ink, hatch } = lookOf(code); return `${ink} ${hatch}` }) }"""


async def test_a_code_looks_the_same_whatever_else_there_is_and_no_two_look_alike(site: Site, reader: Reader):
    looks = dict(zip(CODES, await reader.page.evaluate(LOOKS, CODES), strict=True))
    assert len(set(looks.values())) == len(CODES)
    back = await reader.page.evaluate(LOOKS, CODES[::-1])
    assert dict(zip(CODES[::-1], back, strict=True)) == looks, "in whatever order they come"
    alone = [(await reader.page.evaluate(LOOKS, [code]))[0] for code in CODES]
    moved = [code for code, look in zip(CODES, alone, strict=True) if looks[code] != look]
    assert len(moved) <= 2, "only where two meet one of them gives way"
    many = await reader.page.evaluate(LOOKS, [f"code {number}" for number in range(1000)])
    assert len(set(many)) == 36


async def test_the_chart_and_the_rows_agree(site: Site, reader: Reader):
    chat = site.chat("codes-1")
    site.set(chat, "Co-A", "Co-B")
    await reader.filter(chat=chat)
    await reader.shows("Co-A → Co-B", "none → Co-A")
    await reader.says("#legend", "Co-B")
    swatches = "(all) => all.map((one) => [one.nextElementSibling.textContent, one.className])"
    legend = dict(await reader.page.locator("#legend .swatch").evaluate_all(swatches))
    rows = dict(await reader.page.locator("#rows .swatch").evaluate_all(swatches))
    assert legend == rows
    assert set(rows) == {"Co-A", "Co-B"}
