"""`/summary.json` and `/accounts.json` over HTTP: their keys, and what a query may ask for."""

import aiohttp
import msgspec
import pytest

from listener.web.openapi import description
from listener.web.status import SCHEMA_VERSION
from listener.web.summary import (
    AccountPage,
    AccountState,
    HealthProblem,
    HourGap,
    OpenGap,
    OpenGaps,
    Summary,
    Trouble,
)
from support.pages import DENIED, STATUS, SUMMARY, Pages

TIME = "2026-11-22T09:39:00.123Z"
TROUBLED = msgspec.structs.replace(
    SUMMARY,
    ready=False,
    health=(HealthProblem(what="sink crm is parked: 401", since=TIME, kind="sink", help="x", link="#/sinks/crm"),),
    troubles=(Trouble(what="denied", count=1, accounts=("alice",), first_at=TIME, last_at=TIME),),
    open_gaps=OpenGaps(count=1, oldest_at=TIME, newest=(OpenGap(account="alice", since=TIME, why="denied"),)),
    last_hour=msgspec.structs.replace(
        SUMMARY.last_hour,
        events=(None, *SUMMARY.last_hour.events[1:]),
        delay_ms=(*SUMMARY.last_hour.delay_ms[1:], 250),
        gaps=(HourGap(account="alice", from_=TIME, to=TIME, seconds=0.5, reason="network"),),
    ),
)


async def test_it_is_what_the_daemon_says_now_in_camel_case(http: aiohttp.ClientSession, pages: Pages):
    pages.summary = TROUBLED
    response = await http.get("/summary.json")
    shown = await response.json()
    assert (response.content_type, shown["schemaVersion"], shown["ready"]) == ("application/json", 1, False)
    assert shown["lastHour"]["gaps"][0]["from"] == TIME
    assert msgspec.json.decode(await response.read(), type=Summary) == TROUBLED


def test_its_keys_are_the_agreement_with_who_reads_it():
    """Adding one is fine, and changes this list; taking one away or renaming it is a new schema version."""
    told = msgspec.to_builtins(TROUBLED)
    assert SCHEMA_VERSION == 1
    assert list(told) == [
        *("schemaVersion", "at", "ready", "instance", "server", "build", "configuration", "health", "rates"),
        *("lastHour", "accounts", "troubles", "openGaps", "sinks", "gaps", "deadLetters", "journal"),
        *("replica", "replicas"),
    ]
    assert list(told["health"][0]) == ["what", "since", "kind", "help", "link"]
    assert list(told["rates"]) == ["eventsPerSecond", "deliveriesPerSecond"]
    assert list(told["lastHour"]) == [*("since", "knownSince", "stepSeconds", "events", "delayMs", "gaps", "replica")]
    assert list(told["lastHour"]["gaps"][0]) == ["account", "from", "to", "seconds", "reason", "agent"]
    assert list(told["accounts"]) == ["total", "subscribed", "troubled"]
    assert list(told["troubles"][0]) == ["what", "count", "accounts", "firstAt", "lastAt"]
    assert list(told["openGaps"]) == ["count", "oldestAt", "newest"]
    assert list(told["openGaps"]["newest"][0]) == ["account", "since", "why"]


@pytest.mark.parametrize("name", ["Summary", "HealthProblem", "LastHour", "Trouble", "OpenGaps", "AccountPage"])
def test_its_description_has_all_keys_and_requires_those_without_a_default(name: str):
    schema = description(secured=True)["components"]["schemas"][name]
    assert set(schema["required"]) <= set(schema["properties"])
    assert schema["required"]


async def test_accounts_are_asked_for_as_the_query_says(http: aiohttp.ClientSession, pages: Pages):
    one = msgspec.structs.replace(DENIED, account="alice")
    pages.status = msgspec.structs.replace(STATUS, accounts=(one,))
    response = await http.get("/accounts.json")
    page = msgspec.json.decode(await response.read(), type=AccountPage)
    assert page == AccountPage(accounts=(one,), next=None, total=1)
    await http.get("/accounts.json?search=%C3%A4l&state=troubled&after=bob&limit=7")
    assert pages.asked_accounts == [("", AccountState.ALL, "", 100), ("äl", AccountState.TROUBLED, "bob", 7)]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "state=ill", "search=" + "x" * 401, "from=1", "after=a&after=b"]
)
async def test_a_query_that_is_not_understood_is_refused(http: aiohttp.ClientSession, query: str):
    response = await http.get(f"/accounts.json?{query}")
    assert (response.status, list(await response.json())) == (400, ["error"])
