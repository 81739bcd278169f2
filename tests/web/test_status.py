"""The status is one structure, and its schema says what is in it."""

import aiohttp
import msgspec
from msgspec.structs import replace

from listener.model.condition import ReadinessProblem
from listener.model.event import Gap
from listener.web.status import SCHEMA_VERSION, AccountReport, Gaps, Status
from support.pages import STATUS, Pages

CRM = ReadinessProblem(brief="sink crm is parked", full="sink crm is parked: 401 for alice")
ACCOUNT = ReadinessProblem(brief="accounts[0] has no subscription", full="account alice has no subscription: denied")


async def test_a_living_process_says_ok(http: aiohttp.ClientSession, pages: Pages):
    pages.problems = [CRM]
    response = await http.get("/livez")
    assert (response.status, await response.text()) == (200, "ok\n")


async def test_readiness_follows_the_hindrances_one_a_line(http: aiohttp.ClientSession, pages: Pages):
    pages.problems = [CRM, ACCOUNT]
    response = await http.get("/readyz")
    assert (response.status, await response.text()) == (503, f"{CRM.full}\n{ACCOUNT.full}\n")
    pages.problems = []
    response = await http.get("/readyz")
    assert (response.status, await response.text()) == (200, "ready\n")


async def test_who_shows_no_token_is_told_which_part_it_is_and_nobodys_name(
    secured: aiohttp.ClientSession, pages: Pages
):
    pages.problems = [CRM, ACCOUNT]
    shown = await (await secured.get("/readyz")).text()
    hidden = await (await secured.get("/readyz", headers={"Authorization": "Bearer no"})).text()
    assert "alice" in shown
    assert hidden == "sink crm is parked\naccounts[0] has no subscription\n"


async def test_metrics_are_in_the_format_that_prometheus_scrapes(http: aiohttp.ClientSession, pages: Pages):
    pages.metrics.count("sink_delivered_total", 3, "audit")
    response = await http.get("/metrics")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'disposition_listener_sink_delivered_total{sink="audit"} 3.0' in await response.text()


GAP = Gap(
    account="agent1",
    from_="2026-11-22T09:38:00.000Z",
    to="2026-11-22T09:39:00.000Z",
    reason="network",
    closed_by="poll",
)


async def test_it_is_what_the_daemon_says_now_in_camel_case(http: aiohttp.ClientSession, pages: Pages):
    account = AccountReport(
        account="agent1",
        subscribed=False,
        subscribed_at=None,
        epoch=2,
        ack=True,
        silent_seconds=0.0,
        gaps=Gaps(count=1, seconds=60.0, last=GAP),
        last_error="ä",
    )
    pages.status = replace(STATUS, accounts=(account,))
    response = await http.get("/status.json")
    shown = await response.json()
    assert (response.content_type, shown["schemaVersion"]) == ("application/json", SCHEMA_VERSION)
    assert list(shown["accounts"][0]) == [
        *("account", "subscribed", "subscribedAt", "epoch", "ack", "silentSeconds", "gaps", "lastError"),
        *("trouble", "troubleSince", "gapSince", "replica", "team"),
    ]
    assert shown["accounts"][0]["gaps"]["last"]["from"] == "2026-11-22T09:38:00.000Z"
    assert msgspec.json.decode(await response.read(), type=Status) == pages.status


def test_its_keys_are_the_agreement_with_who_reads_it():
    """Adding one is fine, and changes this list; taking one away or renaming it is a new schema version."""
    assert list(msgspec.to_builtins(STATUS)) == [
        *("schemaVersion", "at", "ready", "problems", "build", "configuration", "accounts", "sinks", "gaps"),
        *("deadLetters", "journal", "replica", "replicas"),
    ]
    assert list(msgspec.to_builtins(STATUS.journal)) == [
        *("lastSequence", "depthEvents", "oldestAgeSeconds", "bytes", "failing", "commitWaitingSeconds", "stored")
    ]
