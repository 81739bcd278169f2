"""The whole daemon with several media: emails and calls reach the file, and a refused topic is on record."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from listener.config.settings import Settings
from listener.daemon.daemon import Daemon
from listener.simulator import Simulator, SimulatorOptions
from support.eventually import eventually

ID = "0000Na9B26EF003M"  # the chat's that is there, and that of an email and a call too
MEDIA = ("chat", "email", "voice")
EMAILS = "/v2/me/emails"


class World:
    """A daemon in this process, and what it writes; `again` starts another on the same journal."""

    def __init__(self, sim: Simulator, folder: Path, stack: AsyncExitStack) -> None:
        self.sim = sim
        self.audit = folder / "audit.jsonl"
        self._stack = stack
        self._settings = {
            "server": {"url": sim.url, "reconcile_interval_s": 0.3},
            "accounts": [{"username": "agent1", "password": "secret"}],
            "sinks": {"audit": {"type": "file", "path": "audit.jsonl"}},
            "base": folder,
        }

    async def again(self, media: tuple[str, ...] = MEDIA) -> "World":
        settings = Settings.model_validate({**self._settings, "disposition": {"media": media}})
        self.daemon = Daemon(settings)
        self.task = asyncio.create_task(self.daemon.run())
        self._stack.push_async_callback(self.stop)
        await eventually(lambda: self.sim.polling("agent1"))
        return self

    async def stop(self) -> None:
        self.daemon.stop()
        async with asyncio.timeout(15):
            await self.task

    def events(self, kind: str) -> list[dict[str, Any]]:
        lines = self.audit.read_text().splitlines() if self.audit.exists() else []
        return [event for event in map(json.loads, lines) if event["type"].endswith(f".chat.{kind}")]

    def said(self) -> list[tuple[str, str, str | None]]:
        return [
            (event["data"]["mediaType"], event["data"]["origin"], event["data"]["disposition"])
            for event in self.events("disposition")
        ]


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    for name, seconds in (("_SETTLE_S", 0.02), ("_CONFIRM_S", 0.1)):
        monkeypatch.setattr(f"listener.intake.reconciliation.{name}", seconds)
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(Simulator(SimulatorOptions(agents=1, timeout_ms=2000)))
        for medium in MEDIA[1:]:
            sim.add_chat(ID, medium=medium)
        yield World(sim, tmp_path, stack)


async def test_an_email_and_a_call_of_a_chat_s_id_are_events_of_their_own(world: World):
    await world.again()
    world.sim.set_disposition("agent1", ID, "A")
    world.sim.set_disposition("agent1", f"email:{ID}", "B")
    world.sim.set_disposition("agent1", f"voice:{ID}", "C")
    world.sim.operate("agent1", f"voice:{ID}", "Release")
    assert world.sim.set_disposition("agent1", f"voice:{ID}", "Unheard") is None
    world.sim.set_disposition("agent1", ID, "D")
    await eventually(lambda: len(world.said()) == 4)
    told = [
        (event["subject"], event["data"]["chatId"], event["data"]["previous"], event["data"]["disposition"])
        for event in world.events("disposition")
    ]
    assert told == [
        (ID, ID, None, "A"),
        (f"email:{ID}", ID, None, "B"),
        (f"voice:{ID}", ID, None, "C"),
        (ID, ID, "A", "D"),
    ]
    sources = [event["source"].removeprefix(world.sim.url) for event in world.events("disposition")[:3]]
    assert sources == [f"/api/v2/me/{name}" for name in ("chats", "emails", "calls")]
    assert "5550100" not in world.audit.read_text(), "the number of a caller"


async def test_a_topic_that_is_refused_costs_its_medium_alone_and_is_a_gap_once_it_is_granted(world: World):
    """What was set meanwhile is found by reading the emails."""
    world.sim.control("refuse-topic", topic=EMAILS)
    await world.again(("chat", "email"))
    world.sim.set_disposition("agent1", f"email:{ID}", "Unheard")
    world.sim.set_disposition("agent1", ID, "A")
    await eventually(lambda: ("chat", "notification", "A") in world.said())
    (problem,) = await eventually(world.daemon.health.problems)
    assert "email is not heard, /v2/me/emails was refused: 403::Subscribe denied" in problem.full
    assert world.events("gap") == []
    world.sim.control("refuse-topic", topic=EMAILS, refused=False)
    await eventually(lambda: world.events("gap") and ("email", "reconciled", "Unheard") in world.said())
    (gap,) = world.events("gap")
    about = {name: gap["data"][name] for name in ("account", "mediaType", "reason", "closedBy")}
    assert about == {"account": "agent1", "mediaType": "email", "reason": "topic_refused", "closedBy": "subscribe"}
    await eventually(lambda: world.daemon.health.problems() == [])
    world.sim.set_disposition("agent1", f"email:{ID}", "Heard")
    await eventually(lambda: ("email", "notification", "Heard") in world.said())
    assert world.sim.state()["handshakes"] == 1


async def test_a_refused_topic_is_remembered_over_a_restart_and_a_medium_that_is_added_is_no_gap(world: World):
    await world.again(("chat",))
    await world.stop()
    world.sim.control("refuse-topic", topic=EMAILS)
    await world.again(("chat", "email"))
    await eventually(world.daemon.health.problems)
    await world.stop()
    world.sim.control("refuse-topic", topic=EMAILS, refused=False)
    await world.again(MEDIA)
    await eventually(lambda: world.events("gap"))
    assert [(gap["data"]["mediaType"], gap["data"]["reason"]) for gap in world.events("gap")] == [
        ("email", "topic_refused")
    ]
    assert world.sim.state()["handshakes"] == 1
