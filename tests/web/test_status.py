"""The status is one structure, and its schema says what is in it."""

import aiohttp
import msgspec
from msgspec.structs import replace

from listener.model.event import Gap
from listener.web.status import SCHEMA_VERSION, AccountReport, Gaps, Status
from support.pages import STATUS, Pages

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
        *("account", "subscribed", "subscribedAt", "epoch", "ack", "silentSeconds", "gaps", "lastError")
    ]
    assert shown["accounts"][0]["gaps"]["last"]["from"] == "2026-11-22T09:38:00.000Z"
    assert msgspec.json.decode(await response.read(), type=Status) == pages.status


def test_its_keys_are_the_agreement_with_who_reads_it():
    """Adding one is fine, and changes this list; taking one away or renaming it is a new schema version."""
    assert list(msgspec.to_builtins(STATUS)) == [
        *("schemaVersion", "at", "ready", "problems", "build", "configuration", "accounts", "sinks", "gaps"),
        *("deadLetters", "journal"),
    ]
    assert list(msgspec.to_builtins(STATUS.journal)) == [
        *("lastSequence", "depthEvents", "oldestAgeSeconds", "bytes", "failing", "commitWaitingSeconds", "stored")
    ]
