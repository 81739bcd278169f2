"""What is found in the journal over HTTP."""

import asyncio
import json
from typing import Any

import aiohttp
import msgspec
import pytest

from listener.errors import JournalError
from listener.model.event import Change, DeadLetter, DeadLetterFilter, JournalBatch
from listener.model.forms import CLOUD_EVENT
from listener.testing import SAMPLE_MS, MemoryJournal, sample_event, sample_gap
from listener.web.lookups import LOOKS
from support.pages import Pages, running

TIME = "2026-11-22T09:39:00.123Z"


@pytest.fixture
async def journal(pages: Pages) -> MemoryJournal:
    """Six events: five dispositions of two chats, and a gap."""
    events = [sample_event(n, chat=f"c{n % 2}", disposition=f"Code{n}") for n in range(1, 6)]
    events[1] = msgspec.structs.replace(events[1], change=Change.CLEARED)
    await pages.journal.append(JournalBatch(events=(*events, sample_gap(6))))
    return pages.journal


async def get(http: aiohttp.ClientSession, path: str) -> Any:
    response = await http.get(path)
    body = await response.read()
    assert (response.status, response.headers["Content-Type"]) == (200, "application/json"), body
    return json.loads(body)


def sequences(found: dict[str, Any]) -> list[int]:
    return [int(event["sequence"]) for event in found["events"]]


async def test_events_come_as_a_sink_gets_them(http: aiohttp.ClientSession, journal: MemoryJournal):
    stored = await journal.read(0, 10)
    found = await get(http, "/events.json")
    assert found["events"] == [json.loads(CLOUD_EVENT.body(event)) for event in reversed(stored)]
    assert (found["before"], found["searchedThrough"]) == (None, TIME)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("chat=c1", [5, 3, 1]),
        ("chat=C1", []),
        ("agent=AGENT?", [6, 5, 4, 3, 2, 1]),
        ("disposition=code4", [4]),
        ("disposition=code*&limit=2", [5, 4]),
        ("key=DispositionCode&before=3", [2, 1]),
        ("change=cleared", [2]),
        ("chat=c0&change=set&agent=*", [4]),
        ("before=1", []),
        ("before=0", []),
        ("before=9007199254740991&limit=1", [6]),
    ],
)
async def test_events_are_looked_for(
    http: aiohttp.ClientSession, journal: MemoryJournal, query: str, expected: list[int]
):
    assert sequences(await get(http, f"/events.json?{query}")) == expected


async def test_looking_on_ends_at_the_journals_beginning(http: aiohttp.ClientSession, journal: MemoryJournal):
    before, met = 2**53 - 1, []
    while before is not None:
        found = await get(http, f"/events.json?limit=1&chat=c1&before={before}")
        met += sequences(found)
        before = found["before"]
    assert met == [5, 3, 1]


async def test_an_empty_journal_has_nothing(http: aiohttp.ClientSession):
    assert await get(http, "/events.json") == {"events": [], "before": None, "searchedThrough": None}
    assert await get(http, "/dead-letters.json") == {"letters": [], "more": False}


async def test_letters_are_listed_by_the_page(http: aiohttp.ClientSession, journal: MemoryJournal):
    letters = [
        DeadLetter(
            sink=sink,
            sequence=sequence,
            event_id=f"event-{sequence}",
            reason="HTTP 422",
            answer="what the destination said",
            attempts=3,
            at_ms=SAMPLE_MS,
        )
        for sink, sequence in (("crm", 2), ("crm", 6), ("bi", 9))
    ]
    await journal.advance("crm", 6, letters)
    shown = {"sink": "crm", "reason": "HTTP 422", "attempts": 3, "at": TIME, "replaying": False}
    first = {**shown, "sequence": 2, "eventId": "event-2", "chatId": "c0", "disposition": "Code2"}
    gap = {**shown, "sequence": 6, "eventId": "event-6", "chatId": None, "disposition": None}
    gone = {**shown, "sink": "bi", "sequence": 9, "eventId": "event-9", "chatId": None, "disposition": None}
    assert await get(http, "/dead-letters.json") == {"letters": [first, gap, gone], "more": False}
    assert await get(http, "/dead-letters.json?limit=1") == {"letters": [first], "more": True}
    assert await get(http, "/dead-letters.json?limit=1&after=2&sink=crm") == {"letters": [gap], "more": False}
    assert await get(http, "/dead-letters.json?sink=nobody") == {"letters": [], "more": False}


async def test_dead_letters_are_counted_by_sink_and_reason(http: aiohttp.ClientSession, journal: MemoryJournal):
    assert await get(http, "/dead-letters/groups") == {"groups": [], "complete": True}
    letters = [
        DeadLetter(
            sink="crm",
            sequence=n,
            event_id=f"event-{n}",
            reason=f"no answer from 10.0.0.1:{8000 + n} within {n} s" if n < 5 else "413",
            attempts=1,
            at_ms=SAMPLE_MS + n * 1000,
        )
        for n in range(1, 6)
    ]
    await journal.advance("crm", 6, letters)
    await journal.replay_dead_letters(DeadLetterFilter(sink="crm", until_ms=SAMPLE_MS + 1000))
    group = {"sink": "crm", "reason": "413", "count": 1, "firstSequence": 5, "lastSequence": 5, "replaying": 0}
    assert await get(http, "/dead-letters/groups") == {
        "groups": [
            {
                "sink": "crm",
                "reason": "no answer from 10.0.0.1… within … s",
                "count": 4,
                "firstSequence": 1,
                "lastSequence": 4,
                "firstAt": "2026-11-22T09:39:01.123Z",
                "lastAt": "2026-11-22T09:39:04.123Z",
                "replaying": 1,
            },
            {**group, "firstAt": "2026-11-22T09:39:05.123Z", "lastAt": "2026-11-22T09:39:05.123Z"},
        ],
        "complete": True,
    }


@pytest.mark.parametrize(
    "path",
    [
        *("/events.json?change=gone", "/events.json?limit=501", "/events.json?after=1", "/events.json?chat=a&chat=b"),
        *("/dead-letters.json?sink=" + "x" * 81, "/dead-letters.json?limit=0", "/dead-letters.json?before=1"),
    ],
)
async def test_a_query_that_is_not_understood_is_refused(http: aiohttp.ClientSession, path: str):
    response = await http.get(path)
    assert (response.status, list(await response.json())) == (400, ["error"])


async def test_a_journal_that_cannot_be_asked_is_told(http: aiohttp.ClientSession, pages: Pages):
    await pages.journal.close()
    for path in ("/events.json", "/dead-letters.json", "/dead-letters/groups"):
        response = await http.get(path)
        assert response.status == 503
        assert "not open" in (await response.json())["error"]
    assert pages.metrics.value("http_refused_total", "journal") == 3


class Counting(MemoryJournal):
    """Takes a moment for a search, and counts how many wait at once."""

    at_once = 0
    most = 0

    async def search(self, *args: Any, **options: Any) -> Any:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(0.02)
            return await super().search(*args, **options)
        finally:
            self.at_once -= 1


async def test_one_look_at_a_time_goes_to_the_journal(pages: Pages):
    """A lane reads through the same thread: it may have to wait for one look, not for those of all clients."""
    journal = pages.journal = Counting()
    await journal.open()
    async with running(pages.server()) as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
        answers = await asyncio.gather(*(http.get("/events.json") for _ in range(8)))
        assert [answer.status for answer in answers] == [200] * 8
        assert journal.most == 1
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await http.get("/events.json")
        await get(http, "/events.json")


async def test_no_more_wait_for_the_journal_than_it_can_soon_answer(pages: Pages):
    """Who has gone is not seen to have gone while it waits."""
    pages.journal = Counting()
    await pages.journal.open()
    async with running(pages.server()) as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
        statuses = [answer.status for answer in await asyncio.gather(*(http.get("/events.json") for _ in range(40)))]
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= LOOKS
        assert pages.metrics.value("http_refused_total", "too_many_searches") == statuses.count(503)
        await get(http, "/dead-letters.json")


async def test_a_searcher_that_is_refused_learns_why_not_what_it_asked(pages: Pages):
    pages.journal.search = _failing
    async with running(pages.server()) as server, aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
        response = await http.get("/events.json?chat=secret-chat")
        assert (response.status, "secret-chat" in await response.text()) == (503, False)


async def _failing(*_args: Any, **_options: Any) -> Any:
    raise JournalError("disk I/O error")
