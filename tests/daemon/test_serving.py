"""The HTTP side on a real lane and its journal, and its token in a file."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from listener.config.http import HttpSettings
from listener.daemon.commands import CommandHandler
from listener.daemon.health import Health
from listener.daemon.roll import Roll
from listener.daemon.serving import TokenFile, http_server
from listener.errors import Park, Reject
from listener.intake.recorder import Recorder
from listener.model.condition import Configuration
from listener.testing import sample_test
from support.eventually import eventually
from support.lanes import NOW_MS, World
from support.pages import bearer, running


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A lane `crm` that runs."""
    world = World()
    await world.journal.open()
    world.task = asyncio.create_task(world.lane.run(), name="lane under test")
    yield world
    world.task.cancel()
    await asyncio.wait((world.task,))


@contextlib.asynccontextmanager
async def served(world: World, base: Path, **settings: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of the HTTP side that these settings make; it shows no token by itself."""
    health = Health(
        roll=Roll(monotonic_s=lambda: 0.0),
        lanes=lambda: [world.lane.status()],
        journal=world.journal,
        wal_bytes=lambda: 0,
        configuration=lambda: Configuration(loaded_ms=NOW_MS),
        recorder=Recorder(journal=world.journal, metrics=world.metrics, source="http://h", type_prefix="p"),
        now_ms=lambda: NOW_MS,
    )
    commands = CommandHandler(journal=world.journal, lanes={"crm": world.lane}, new_test_event=sample_test)
    server = http_server(
        HttpSettings(listen="127.0.0.1:0", **settings),
        base=base,
        metrics=world.metrics,
        health=health,
        commands=commands,
        journal=world.journal,
    )
    async with running(server), aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
        yield http


async def test_a_parked_lane_goes_on_and_a_dead_letter_comes_again(world: World, tmp_path: Path):
    async with served(world, tmp_path, token="s3cret") as http:
        world.sink.then(Reject(0, "422"), Park("401"))
        await world.number(1, 2)
        await eventually(lambda: world.lane.status().parked)
        shown = await (await http.get("/status.json", headers=bearer("s3cret"))).json()
        assert [(one["sink"], one["parked"], one["deadLetters"]) for one in shown["sinks"]] == [("crm", "401", 1)]
        answer = await http.post("/sinks/crm/resume", json={}, headers=bearer("s3cret"))
        assert (answer.status, await answer.json()) == (200, {"sink": "crm", "resumed": True, "trying": False})
        answer = await http.post("/dead-letters/replay", json={"sink": "crm"}, headers=bearer("s3cret"))
        assert (answer.status, await answer.json()) == (200, {"letters": 1})
        await world.sink.wait_for_events(2)
        answer = await http.get("/sinks/crm/attempts?limit=3", headers=bearer("s3cret"))
        shown = await answer.json()
        assert [(one["outcome"], one["said"], one["firstSequence"]) for one in shown["attempts"]] == [
            *(("delivered", "", 1), ("delivered", "", 2), ("park", "401", 2))
        ]
        assert (shown["sink"], shown["here"], shown["replica"]) == ("crm", True, None)
        answer = await http.post("/sinks/crm/test", json={}, headers=bearer("s3cret"))
        verdict = {"eventId": "test-1", "verdict": "taken", "reason": "", "answer": "", "exchanges": []}
        assert (answer.status, await answer.json()) == (200, {"sink": "crm", **verdict})
        await world.sink.wait_for_events(3)
        assert (await http.get("/sinks/crn/attempts", headers=bearer("s3cret"))).status == 404
        assert (await http.post("/sinks/crm/test", json={})).status == 401
        times = {"fromTime": "1970-01-01T00:00:00Z", "toTime": "2100-01-01T00:00:00Z"}
        answer = await http.post("/sinks/crm/resend", json=times, headers=bearer("s3cret"))
        shown = {"sink": "crm", "events": 2, "firstSequence": 1, "lastSequence": 2, "waiting": 0}
        assert (answer.status, await answer.json()) == (200, {**shown, "oldestAt": None, "replica": None})
        await world.sink.wait_for_events(5)
        answer = await http.post("/sinks/crm/resend/cancel", json={}, headers=bearer("s3cret"))
        assert (answer.status, (await answer.json())["sink"]) == (200, "crm")
        assert [event.id for event in world.sink.events[2:]] == ["test-1", "event-1", "event-2"]
        del world.sink.events[2:]
        assert sorted(world.delivered()) == [1, 2]
        for path, body in (("/sinks/crn/resume", {}), ("/dead-letters/replay", {"sink": "crn"})):
            answer = await http.post(path, json=body, headers=bearer("s3cret"))
            assert (answer.status, "there is no sink 'crn'" in (await answer.json())["error"]) == (404, True)


async def test_a_token_that_is_rotated_holds_at_once(world: World, tmp_path: Path):
    file = tmp_path / "http.token"
    file.write_text("old\n", encoding="utf-8")
    async with served(world, tmp_path, token_file="http.token") as http:

        async def status(token: str) -> int:
            return (await http.get("/status.json", headers=bearer(token))).status

        assert (await status("old"), await status("new")) == (200, 401)
        (tmp_path / "next").write_text("new\n", encoding="utf-8")
        (tmp_path / "next").rename(file)
        assert (await status("old"), await status("new")) == (401, 200)
        file.unlink()
        assert (await status("new"), await status("")) == (503, 503)
        file.write_text("\n", encoding="utf-8")
        assert (await status("new"), await status("")) == (503, 503)
        file.write_text("third", encoding="utf-8")
        assert (await status("third"), await status("new")) == (200, 401)


async def test_without_a_token_whoever_is_on_this_host_may_look_and_nobody_may_order(world: World, tmp_path: Path):
    async with served(world, tmp_path) as http:
        assert (await http.get("/status.json")).status == 200
        assert (await http.post("/sinks/crm/resume", json={})).status == 403
        assert (await http.get("/status.json", headers={"Host": "evil.example"})).status == 421


def test_the_file_is_read_only_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "token"
    file.write_text("abc", encoding="utf-8")
    token = TokenFile(file)
    assert token() == "abc"
    monkeypatch.setattr(Path, "read_bytes", lambda _: pytest.fail("read again"))
    assert token() == "abc"
