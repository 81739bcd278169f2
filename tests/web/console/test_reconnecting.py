"""The daemon goes away and comes back: the page tells, and goes on without doubling or missing a row."""

import json
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from support.config import AUDIT
from support.console import Reader, Site
from support.eventually import comes_to, eventually
from support.faultproxy import FaultProxy
from support.pages import bearer

pytestmark = pytest.mark.asyncio(loop_scope="session")


def codes(reader_rows: list[dict[str, Any]]) -> list[str]:
    """The values of the rows, oldest first."""
    return [row["code"].partition(" → ")[2] for row in reversed(reader_rows)]


async def streams(reader: Reader) -> list[str]:
    """What the page asked `/events` for so far."""
    return [one.url.partition("/events?")[2] for one in reader.requests if "/events?" in one.url]


async def test_a_killed_daemon_is_told_of_and_its_rows_go_on_where_they_were(rough: Site, look):
    site, chat = rough, rough.chat("killed")
    reader = await look(site)
    site.set(rough.chat("before"), "Callback")
    await site.recorded("before", 1)
    await reader.says("#rows", "before")  # and with it all that came sooner
    shown, written = await reader.count(), len(site.listening.events)
    await reader.filter(chat=chat)
    site.set(chat, *(f"K{number}" for number in range(6)))
    await reader.counts(6)
    site.set(chat, "K6", "K7")
    await site.listening.daemon.kill()
    await reader.says("#connection-word", "Reconnecting since ")
    await reader.says("#connection-word", "The daemon has been away since ")
    await reader.says("#connection-age", "s ago")
    await reader.says("#verdict", "Not known")
    await reader.says("#verdict", "The daemon does not answer. This is its state of ")
    assert await reader.page.title() == "No answer · Disposition listener"
    site.set(chat, "K8", "K9")
    await site.start()
    await reader.says("#connection-word", "Live")
    await reader.says("#accounts-told", "2 of 2 accounts subscribed.")
    assert await reader.text("#verdict-word") != "Not known"
    site.set(chat, "K10", "K11")
    await reader.counts(12)
    assert codes(await reader.rows()) == [f"K{number}" for number in range(12)]
    await reader.filter(chat="")
    more = await reader.count() - shown
    await comes_to(lambda: len({event["id"] for event in site.listening.events}) - written, more)
    assert (await streams(reader))[0] == "recent=1000"
    assert all(one.startswith("after=") for one in (await streams(reader))[1:])


async def test_a_connection_that_breaks_in_the_middle_of_a_message_costs_no_row(site: Site, look):
    chat = site.chat("broken")
    async with FaultProxy(int(site.url.rpartition(":")[2])) as link:
        reader = await look(site, through=link.url)
        await reader.filter(chat=chat)
        for number in range(8):
            link.cut_next_response(after_bytes=60 + 40 * number)
            site.set(chat, f"B{number}")
            link.reset() if number == 5 else None
        await site.recorded(chat, 8)
        await reader.counts(8)
        link.heal()
        assert codes(await reader.rows()) == [f"B{number}" for number in range(8)]
        await reader.says("#connection-word", "Live")


async def test_a_stream_that_falls_silent_is_given_up(site: Site, look):
    """The clock of the page is put forward; the daemon says something every 10 s."""
    chat = site.chat("silent")
    async with FaultProxy(int(site.url.rpartition(":")[2])) as link:
        reader = await look(site, through=link.url, ready=False, locale="en-GB")  # a page that nobody else gets
        await reader.page.clock.install()
        await reader.page.reload()
        await reader.says("#connection-word", "Live")
        await reader.filter(chat=chat)
        before = len(await streams(reader))
        await reader.page.clock.fast_forward(15_000)
        assert len(await streams(reader)) == before, "not yet"
        with link.blackhole():
            await reader.page.clock.fast_forward(26_000)
            await reader.says("#connection-word", "since")
        await reader.page.clock.fast_forward(5_000)
        site.set(chat, "Callback")
        await reader.counts(1)
        assert len(await streams(reader)) > before


async def test_another_journal_begins_anew(rough: Site, look):
    site, chat = rough, rough.chat("anew")
    reader = await look(site)
    site.set(chat, "A1", "A2", "A3")
    await reader.says("#rows", "A3")
    await site.listening.stop()
    for path in (*site.folder.glob("journal.db*"), *site.folder.glob(f"{AUDIT}*")):
        path.unlink()
    await site.start()
    site.set(chat, "B1")
    await reader.says("#connection-word", "Live")
    await reader.shows("A3 → B1")


async def test_where_too_much_was_missed_the_newest_are_loaded_instead(site: Site, look):
    chat = site.chat("missed")
    site.set(chat, "Callback")
    asked = []

    async def answer(route: Any) -> None:
        asked.append(route.request.url.partition("?")[2])
        hello = {"journal": "x", "lastSequence": 90_000, "firstSequence": 1, "reset": False}
        if asked[-1].startswith("after="):
            await route.fulfill(body=f"event: hello\ndata: {json.dumps(hello)}\n\n", content_type="text/event-stream")
        else:
            await route.continue_()

    async with FaultProxy(int(site.url.rpartition(":")[2])) as link:
        reader = await look(site, through=link.url)
        await reader.filter(chat=chat)
        await reader.counts(1)
        await reader.page.route("**/events?*", answer)
        link.reset()
        await eventually(lambda: len(asked) >= 2)
        assert asked[0].startswith("after=")
        assert asked[1] == "recent=10000"
        await reader.counts(1)


async def test_who_finds_no_stream_free_is_told_so_and_waits(rough: Site, look):
    site, chat = rough, rough.chat("full")
    reader = await look(site)
    async with aiohttp.ClientSession(headers=bearer()) as http, AsyncExitStack() as held:
        for _ in range(15):
            await held.enter_async_context(http.get(f"{site.url}/events"))
        second = await look(site, ready=False)
        await second.says("#connection-word", "No stream since ")
        await second.says("#accounts-told", "2 of 2 accounts subscribed.")
        site.set(chat, "Callback")
        await reader.says("#rows", "full")
        await held.aclose()
        await second.says("#connection-word", "Live")
        await second.says("#rows", "full")
