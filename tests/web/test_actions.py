"""Orders over HTTP: only with the token, only as JSON, only what is meant."""

import aiohttp
import pytest
from yarl import URL

from listener.errors import JournalFenced, JournalFull
from listener.model.filter import ControlFilter
from support.pages import Pages


async def test_a_parked_lane_is_let_go_on(secured: aiohttp.ClientSession, pages: Pages):
    response = await secured.post("/sinks/crm/resume", json={})
    assert (response.status, await response.json()) == (200, {"sink": "crm", "resumed": True, "trying": False})
    response = await secured.post("/sinks/crm/resume", json={})
    assert (response.status, await response.json()) == (200, {"sink": "crm", "resumed": False, "trying": False})
    assert pages.parked == set()


async def test_letters_are_replayed_by_the_filter_of_the_control_socket(secured: aiohttp.ClientSession, pages: Pages):
    wanted = {"event_ids": ["a"], "sink": "crm", "since_ms": 1, "until_ms": 2}
    response = await secured.post("/dead-letters/replay", json=wanted)
    assert (response.status, await response.json()) == (200, {"letters": 3})
    assert (await secured.post("/dead-letters/replay", json={"since_ms": 1.0})).status == 200
    assert (await secured.post("/dead-letters/replay", json={})).status == 200
    assert pages.replayed == [
        ControlFilter(event_ids=("a",), sink="crm", since_ms=1, until_ms=2),
        ControlFilter(since_ms=1),
        ControlFilter(),
    ]


@pytest.mark.parametrize("name", ["crn", "..%2F..", "%00", "x" * 3000, "%ff"])
async def test_an_unknown_sink_is_not_found(secured: aiohttp.ClientSession, name: str):
    response = await secured.post(URL(f"/sinks/{name}/resume", encoded=True), json={})
    assert (response.status, list(await response.json())) == (404, ["error"])


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"{", b'"crm"', b"\xff", b'{"sinks": "crm"}', b'{"since_ms": "1"}', b'{"sink": 1}'),
        *(
            b'{"since_ms": 1e300}',
            b'{"since_ms": 1.5}',
            b'{"since_ms": 9007199254740993}',
            b'{"event_ids": "a"}',
            b"[" * 100_000,
            b"{} {}",
        ),
    ],
)
async def test_a_body_that_is_not_meant_marks_nothing(secured: aiohttp.ClientSession, pages: Pages, body: bytes):
    headers = {"Content-Type": "application/json"}
    response = await secured.post("/dead-letters/replay", data=body, headers=headers)
    assert response.status == 400
    assert (await response.json())["error"].startswith("the body is not as expected: ")
    assert pages.replayed == []


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "application/jsonp"]
)
async def test_what_a_form_can_send_is_not_taken(secured: aiohttp.ClientSession, pages: Pages, kind: str):
    response = await secured.post("/dead-letters/replay", data=b"{}", headers={"Content-Type": kind})
    assert (response.status, pages.replayed) == (415, [])
    response = await secured.post("/sinks/crm/resume", data=b"{}", headers={"Content-Type": kind})
    assert (response.status, pages.parked) == (415, {"crm"})


@pytest.mark.parametrize(
    "error", [JournalFull("journal x: disk full"), JournalFenced("replica a: others have its duties")]
)
async def test_a_journal_that_cannot_is_worth_another_try(
    secured: aiohttp.ClientSession, pages: Pages, error: Exception
):
    pages.failure = error
    response = await secured.post("/dead-letters/replay", json={})
    assert (response.status, await response.json()) == (503, {"error": f"the journal cannot do it now: {error}"})


async def test_a_test_event_is_sent_and_its_verdict_told(secured: aiohttp.ClientSession, pages: Pages):
    response = await secured.post("/sinks/crm/test", json={})
    verdict = {"eventId": "test-1", "verdict": "reject", "reason": "crm answered 422", "answer": "no", "exchanges": []}
    assert (response.status, await response.json()) == (200, {"sink": "crm", **verdict})
    assert pages.tested == ["crm"]
    response = await secured.post("/sinks/audit/test", json={})
    assert (response.status, await response.json()) == (409, {"error": "replica 'b' delivers to sink 'audit'"})
    assert (await secured.post("/sinks/crn/test", json={})).status == 404
    assert (await secured.post("/sinks/crm/test", json={"event": 1})).status == 400


async def test_what_a_sink_got_comes_again(secured: aiohttp.ClientSession, pages: Pages):
    times = {"fromTime": "2026-11-22T09:39:00Z", "toTime": "2026-11-22T10:39:00.5+01:00"}
    response = await secured.post("/sinks/crm/resend", json=times)
    shown = {"sink": "crm", "events": 3, "firstSequence": 4, "lastSequence": 6, "waiting": 1}
    assert (response.status, await response.json()) == (200, {**shown, "oldestAt": None, "replica": None})
    await secured.post("/sinks/crm/resend", json={**times, "dryRun": True})
    at_ms = 1_795_340_340_000
    assert pages.resent == [("crm", at_ms, at_ms + 500, False), ("crm", at_ms, at_ms + 500, True)]
    response = await secured.post("/sinks/crm/resend/cancel", json={})
    assert (response.status, await response.json()) == (200, {"sink": "crm", "left": 2})


@pytest.mark.parametrize(
    ("sink", "body", "status"),
    [
        ("audit", {"fromTime": "2026-11-22T09:39:00Z", "toTime": "2026-11-22T09:39:00Z"}, 409),
        ("crn", {"fromTime": "2026-11-22T09:39:00Z", "toTime": "2026-11-22T09:39:00Z"}, 404),
        ("crm", {"fromTime": "2026-11-22T09:39:00Z"}, 400),
        ("crm", {"fromTime": "2026-11-22T09:39:00", "toTime": "2026-11-22T09:39:00"}, 400),
        ("crm", {"fromTime": 0, "toTime": 1}, 400),
    ],
)
async def test_nothing_comes_again_that_is_not_meant(
    secured: aiohttp.ClientSession, pages: Pages, sink: str, body: dict[str, str], status: int
):
    assert ((await secured.post(f"/sinks/{sink}/resend", json=body)).status, pages.resent) == (status, [])
