"""Everybody can use it: on a phone, in the dark, with the keyboard alone, with a screen reader."""

import platform
import re
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.chromium import Browser, barriers
from support.console import EVENTS, Reader, Site
from support.contrast import contrast
from support.eventually import comes_to, eventually
from support.receiver import Answer

pytestmark = pytest.mark.asyncio(loop_scope="session")

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
LOOKS = {"light": ("light", DESK), "dark": ("dark", DESK), "phone": ("light", PHONE)}
LONG = "A-code-that-goes-on-" * 6


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def troubled(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A daemon at its worst: nothing subscribed, parked, dead letters, gaps, long names, a refused configuration."""
    async with Site(tmp_path_factory.mktemp("troubled")) as site:
        site.receiver.judge = lambda event: Answer(status=400) if event["data"].get("disposition") == "Bad" else None
        chat = site.chat("chat-with-a-very-long-id-" * 3)
        site.set(chat, "Bad", "Callback", "Callback", LONG, "", "Refund")
        await site.recorded(chat, 6)
        site.simulator.control("expire")
        await site.listening.daemon.logged("subscribed", count=4)
        site.receiver.judge = lambda _: Answer(status=401)
        site.set(chat, "Parks")
        await site.listening.daemon.logged("sink_parked")
        site.simulator.control("deny-handshake", count=100_000)
        site.simulator.control("expire")
        config = site.folder / "listener.toml"
        config.write_text(config.read_text(encoding="utf-8") + "\n[unknown]\nkey = 1\n", encoding="utf-8")
        site.listening.daemon.send_signal(signal.SIGHUP)
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def opened_there(browser: Browser, troubled: Site) -> Reader:
    return await Reader(troubled, await browser.page()).open()


@pytest_asyncio.fixture(loop_scope="session")
async def worst(opened_there: Reader) -> AsyncIterator[Reader]:
    """The page with everything on it that there is to show."""
    reader = opened_there
    await appear(reader, "light", DESK)
    await reader.page.goto(f"{reader.url}/{EVENTS}")
    await reader.page.reload()
    await reader.says("#connection-word", "Live")
    await reader.says("#verdict", "not well")
    await reader.says("#configuration", "unknown")
    await reader.says("#rows", "Gap")
    await reader.says("#legend", "Refund")
    await reader.page.evaluate("document.getElementById('codes-details').open = true")
    await reader.says("#codes-table", "Refund")
    yield reader
    assert reader.complaints == []


async def appear(reader: Reader, scheme: str, size: dict[str, int]) -> None:
    await reader.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    await reader.resize(**size)


async def test_axe_finds_nothing_serious(worst: Reader):
    """The other views: see test_now.py."""
    await worst.filter(code="Refund")
    await worst.press("Enter")
    await worst.says("#search-status", "found")
    found = {}
    for name, look in LOOKS.items():
        await appear(worst, *look)
        found[name] = await barriers(worst.page)
        await worst.page.locator("#rows a.id").first.click()
        await worst.says("#history-status", "to the beginning of the journal")
        found[name] += await barriers(worst.page)
        await worst.press("Escape")
    await worst.go("#/")
    await worst.says("#health", "arked")
    found["now"] = await barriers(worst.page)
    assert {name: one for name, one in found.items() if one} == {}


async def test_axe_finds_nothing_serious_where_the_token_is_asked_for(site: Site, look):
    reader = await look(site, shown=None, ready=False)
    await reader.page.get_by_role("textbox", name="Token").fill("wrong")
    await reader.press("Enter")
    await reader.says("#token-problem", "not the daemon's token")
    found = {}
    for name, one in LOOKS.items():
        await appear(reader, *one)
        found[name] = await barriers(reader.page)
    await appear(reader, "light", DESK)
    assert {name: one for name, one in found.items() if one} == {}


async def test_an_account_without_a_session_shows_as_a_hindrance(worst: Reader):
    await worst.go("#/")
    await worst.says("#health", "ccounts have no subscription")
    await worst.says("#troubles", "agent2")
    await worst.says("#accounts-told", "0 of 2 accounts subscribed, 2 in trouble.")
    await comes_to(worst.page.title, f"{len(await worst.cells('#health'))} things are not well · {platform.node()}")
    await worst.page.locator("#accounts-told").click()
    await worst.says("#accounts", "Not subscribed")


async def test_axe_finds_what_is_wrong(site: Site, look):
    reader = await look(site)
    await reader.page.evaluate("document.querySelector('[for=filter-chat]').remove()")
    assert any(one.startswith("label: ") for one in await barriers(reader.page))


async def test_no_page_is_wider_than_its_window(worst: Reader):
    for width in (320, 360, 414, 700, 1000):
        await worst.resize(width)
        assert await worst.overflow("document.documentElement") <= 0, width
        for part in ("#scroller", "#legend"):
            assert await worst.overflow(f"document.querySelector('{part}')") <= 0, (width, part)
        await worst.page.locator("#rows a.id").first.click()
        await worst.page.locator("#history[open]").wait_for()
        await worst.says("#history-status", "beginning")
        assert await worst.overflow("document.documentElement") <= 0, width
        assert await worst.overflow("document.querySelector('#history')") <= 0, width
        await worst.press("Escape")
        await worst.page.locator("#history:not([open])").wait_for(state="attached")
    for view, part in (("#/", "#sinks"), ("#/dead-letters", "#letters-groups"), ("#/sinks/crm", "#attempts")):
        await worst.go(view)
        await worst.page.locator(part).wait_for()
        for width in (320, 414, 1000):
            await worst.resize(width)
            for element in ("document.documentElement", f"document.querySelector('{part}')"):
                assert await worst.overflow(element) <= 0, (width, view)


async def test_everything_can_be_done_with_the_keyboard_alone(worst: Reader):
    reader = worst
    for view, last, *wanted in (
        (
            *("#/events?all=1", "As a table", "#forget", "Now", "Dispositions", "#filter-chat", "#filter-agent"),
            *("#filter-code", "#filter-from", "#filter-to", "#filter-changes", "#search-start", "#pause", "#scroller"),
            *("chat-with", "As a table"),
        ),
        ("#/", "#accounts-told", "Sink crm is parked", "audit", "crm", "Resume crm", "#accounts-told"),
        ("#/dead-letters", "crm", "Replay all of crm", "http://127.0.0.1"),
        (
            "#/sinks/crm",
            "Resend",
            "#sink-letters",
            "#sink-resume",
            "#sink-test",
            "#resend-from",
            "#resend-to",
            "Resend",
        ),
    ):
        await reader.go(view)
        await reader.page.get_by_text("Last", exact=True).first.wait_for() if view == "#/dead-letters" else None
        await reader.page.evaluate("document.activeElement.blur(); scrollTo(0, 0); getSelection().removeAllRanges()")
        await reader.page.locator("body").click(position={"x": 1, "y": 1})
        reached = []
        for _ in range(40):
            await reader.press("Tab")
            ring = await reader.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            reached.append((await reader.focused(), ring))
            if reached[-1][0].startswith(last):
                break
        names = [name for name, _ in reached]
        places = [next((at for at, name in enumerate(names) if name.startswith(start)), None) for start in wanted]
        assert None not in places, (names, dict(zip(wanted, places, strict=True)))
        assert places == sorted(places)
        assert [name for name, ring in reached if ring != "solid"] == []


async def test_the_skip_link_leads_past_the_views(worst: Reader):
    await worst.press("Tab")
    assert await worst.focused() == "#skip Skip to the content"
    await worst.press("Enter", "Tab")
    assert (await worst.focused()).startswith("#filter-chat")
    assert "#/events" in worst.page.url


async def test_parts_have_headings_and_landmarks(worst: Reader):
    outline = await worst.page.locator("h1, h2, h3").evaluate_all(
        "(all) => all.filter((one) => one.checkVisibility()).map((one) => `${one.tagName} ${one.textContent}`)"
    )
    assert outline == ["H1 Disposition listener", "H2 Dispositions", "H2 Codes over time"]
    for role, name in (
        ("banner", None),
        ("navigation", "Views"),
        ("main", None),
        ("contentinfo", None),
        ("region", "Codes over time"),
        ("search", "Filter"),
    ):
        named = {"name": name, "exact": True} if name else {}
        assert await worst.page.get_by_role(role, **named).count() == 1, role


async def test_nothing_moves_where_motion_is_not_wanted(reader: Reader):
    script = """() => { document.getElementById('connection').dataset.state = 'trying';
        return getComputedStyle(document.getElementById('connection-word'), '::before').animationName }"""
    assert await reader.page.evaluate(script) == "none"
    await reader.page.emulate_media(reduced_motion="no-preference")
    assert await reader.page.evaluate(script) == "turn"
    await reader.page.emulate_media(reduced_motion="reduce")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_colours_can_be_told_from_the_ground_and_do_not_stand_alone(reader: Reader, scheme: str):
    await reader.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    script = "(name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()"
    colour = {name: await reader.page.evaluate(script, f"--{name}") for name in ("ground", "raised", "text", "quiet")}
    for text in ("text", "quiet"):
        assert min(contrast(colour[text], colour[ground]) for ground in ("ground", "raised")) >= 4.5
    for number in range(7):
        ink = await reader.page.evaluate(script, f"--ink{number}")
        assert re.fullmatch("#[0-9a-f]{6}", ink)
        assert contrast(ink, colour["ground"]) >= 3
    script = """async () => { const { patterns } = await import('/console/codes.js');
        return [...patterns([...'abcdefgh', null]).children].map((one) => one.innerHTML) }"""
    assert len(set(await reader.page.evaluate(script))) == 9


async def test_the_policy_lets_nothing_in_from_elsewhere_and_nothing_inline(site: Site, look):
    reader = await look(site)
    response = await reader.page.reload()
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    injected = """() => { const script = document.createElement('script'); script.textContent = 'window.owned = 1';
        document.body.append(script); return window.owned === undefined }"""
    assert await reader.page.evaluate(injected)
    await eventually(lambda: "Content Security Policy" in str(reader.complaints), what="a violation is noticed")
    reader.complaints.clear()
