"""Looks at the chats: after gaps, and while all seems well, where a difference shows a dead subscription."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from msgspec import Raw
from structlog.testing import capture_logs

from listener.errors import JournalDamaged, ListenerError, Unreachable
from listener.intake.reconciliation import Reconciler
from listener.intake.recorder import Recorder
from listener.model.event import Entry, Observation
from listener.runtime.metrics import Metrics
from listener.testing import MemoryJournal
from listener.webservices.notifications import NotificationDecoder
from support.eventually import eventually
from support.notifications import CHAT, encoded, with_data

NOW_MS = 1_800_000_000_000


class Rest:
    """Stands for the REST API."""

    def __init__(self) -> None:
        self.chats_now: list[dict[str, Any]] = []
        self.asked = 0
        self.errors: list[ListenerError] = []

    async def chats(self) -> Sequence[Raw]:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return [Raw(json.dumps(chat).encode()) for chat in self.chats_now]

    async def keepalive(self) -> None: ...


class World:
    """A rereader on a real recorder; the test is the receiver."""

    def __init__(self, *, interval_s: float = 0.005) -> None:
        self.turn = asyncio.Lock()
        self.alive = True
        self.standing = True
        self.heard_of: set[str] = set()
        self.proved_ms: list[int] = []
        self.distrusted = 0
        self.now_ms = NOW_MS
        self.rest = Rest()
        self.journal = MemoryJournal()
        self.metrics = Metrics()
        self.decoder = NotificationDecoder(keys=("DispositionCode",))
        self.recorder = Recorder(journal=self.journal, metrics=self.metrics, source="s", type_prefix="p")
        self.reconciler = Reconciler(
            account="agent1",
            rest=self.rest,
            decoder=self.decoder,
            record=self.recorder.record,
            differences=self.differences,
            metrics=self.metrics,
            now_ms=lambda: self.now_ms,
            interval_s=interval_s,
        )
        self.reconciler.subscription = self
        self.damaged = False
        self.tasks: list[asyncio.Task[None]] = []

    async def differences(self, observations: Sequence[Observation], compared_ms: int) -> Any:
        if self.damaged:
            raise JournalDamaged("zeroed")
        return await self.recorder.differences(observations, compared_ms)

    def pending(self) -> bool:
        return False

    def is_connected(self) -> bool:
        return self.standing

    def is_healthy(self) -> bool:
        return self.alive and not self.reconciler.is_due

    def has_seen(self, chat_id: str) -> bool:
        return chat_id in self.heard_of

    def mark_alive(self, at_ms: int) -> None:
        self.proved_ms.append(at_ms)

    def rehandshake(self) -> None:
        self.distrusted += 1
        self.alive = False

    async def hear(self, value: str) -> None:
        """A notification, as the receiver would record it."""
        payload = encoded(with_data(DispositionCode=value))
        decoded = self.decoder.decode([payload], account="agent1", received_ms=self.now_ms)
        await self.recorder.record(Entry(account="agent1", observations=tuple(decoded.observations), origin_id="n"))

    async def dispositions(self) -> list[tuple[str, str]]:
        found = [json.loads(event.data) for event in await self.journal.read(0, 1000)]
        return [(one["disposition"], one["origin"]) for one in found]

    def results(self, result: str) -> float:
        return self.metrics.value("reconciliations_total", result)


@pytest.fixture
async def make(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    for name, seconds in (("_SETTLE_S", 0.001), ("_CONFIRM_S", 0.02), ("_AGAIN_S", 0.001), ("_QUIET_S", 0.001)):
        monkeypatch.setattr(f"listener.intake.reconciliation.{name}", seconds)
    async with AsyncExitStack() as stack:

        async def new(*, run: bool = True, **options: Any) -> World:
            world = World(**options)
            await world.journal.open()
            world.tasks = [asyncio.create_task(world.recorder.run())]
            if run:
                world.tasks.append(asyncio.create_task(world.reconciler.run()))

            async def end() -> None:
                for task in world.tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError, JournalDamaged):
                        await task

            stack.push_async_callback(end)
            return world

        yield new


def chat(code: str, chat_id: str = CHAT["id"]) -> dict[str, Any]:
    return {**CHAT, "id": chat_id, "userData": {"DispositionCode": code}}


async def test_a_look_that_finds_what_was_heard_proves_the_subscription(make: Callable[..., Any]):
    world = await make()
    world.rest.chats_now = [chat("A")]
    await world.hear("A")
    world.now_ms += 500
    await eventually(lambda: world.proved_ms)
    assert world.proved_ms[0] == NOW_MS + 500 or world.proved_ms[-1] == NOW_MS + 500
    assert (world.distrusted, await world.dispositions()) == (0, [("A", "notification")])


async def test_a_difference_that_stays_is_recorded_counted_told_and_ends_the_trust(make: Callable[..., Any]):
    world = await make()
    await world.hear("A")
    with capture_logs() as logs:
        world.rest.chats_now = [chat("B")]
        await eventually(lambda: world.distrusted)
    assert await world.dispositions() == [("A", "notification"), ("B", "reconciled")]
    assert (world.metrics.value("unreported_changes_total"), world.results("different")) == (1, 1)
    (told,) = [one for one in logs if one["event"] == "subscription_dead"]
    assert (told["log_level"], told["unreported"], told["account"]) == ("error", 1, "agent1")
    assert "B" not in str(told.values())


async def test_a_notification_that_is_only_slow_is_no_difference(make: Callable[..., Any], monkeypatch):
    monkeypatch.setattr("listener.intake.reconciliation._CONFIRM_S", 0.2)
    world = await make()
    await world.hear("A")
    world.rest.chats_now = [chat("B")]
    asked = world.rest.asked
    await eventually(lambda: world.rest.asked > asked)
    world.now_ms += 10
    await world.hear("B")
    await eventually(lambda: world.rest.asked > asked + 3)
    assert (world.distrusted, await world.dispositions()) == (0, [("A", "notification"), ("B", "notification")])


async def test_a_chat_that_nobody_has_heard_of_shows_a_dead_subscription(make: Callable[..., Any]):
    world = await make()
    world.rest.chats_now = [chat("A", "chat-9")]
    await eventually(lambda: world.distrusted)
    assert await world.dispositions() == [("A", "reconciled")]


async def test_a_chat_that_came_with_its_value_is_recorded_and_no_sign_of_death(make: Callable[..., Any]):
    world = await make()
    world.heard_of.add("chat-9")
    world.rest.chats_now = [chat("A", "chat-9")]
    await eventually(lambda: world.results("different"))
    await eventually(lambda: world.results("done"))
    assert (world.distrusted, await world.dispositions()) == (0, [("A", "reconciled")])


async def test_the_first_reread_leaves_nothing_undone_and_finds_what_changed(make: Callable[..., Any]):
    world = await make(interval_s=0.0)
    world.rest.chats_now = [chat("A")]
    world.reconciler.check()
    assert not world.reconciler.is_due
    await eventually(lambda: world.results("done"))
    assert (world.distrusted, await world.dispositions()) == (0, [("A", "reconciled")])


async def test_nobody_looks_while_the_session_is_down(make: Callable[..., Any]):
    world = await make()
    world.alive = False
    await asyncio.sleep(0.05)
    before = world.rest.asked
    await asyncio.sleep(0.05)
    assert world.rest.asked <= before + 1


async def test_a_gap_that_comes_during_a_look_is_what_counts(make: Callable[..., Any], monkeypatch):
    monkeypatch.setattr("listener.intake.reconciliation._CONFIRM_S", 0.1)
    world = await make()
    await world.hear("A")
    world.rest.chats_now = [chat("B")]
    asked = world.rest.asked
    await eventually(lambda: world.rest.asked > asked)
    world.reconciler.ask()
    await eventually(lambda: not world.reconciler.is_due and world.results("done"))
    assert (world.distrusted, world.metrics.value("unreported_changes_total")) == (0, 0)
    assert await world.dispositions() == [("A", "notification"), ("B", "reconciled")]


async def test_a_look_that_fails_is_counted_and_tried_at_the_next_turn(make: Callable[..., Any]):
    world = await make()
    world.rest.errors = [Unreachable("no route")]
    await eventually(lambda: world.proved_ms)
    assert (world.results("failed"), world.distrusted) == (1, 0)


async def test_a_re_reading_after_a_gap_is_tried_until_it_succeeds(make: Callable[..., Any]):
    world = await make(interval_s=0.0)
    world.rest.errors = [Unreachable("no route")] * 3
    world.rest.chats_now = [chat("A")]
    world.reconciler.ask()
    assert world.reconciler.is_due
    await eventually(lambda: not world.reconciler.is_due)
    assert (world.rest.asked, await world.dispositions()) == (4, [("A", "reconciled")])


async def test_without_an_interval_nobody_looks(make: Callable[..., Any]):
    world = await make(interval_s=0.0)
    await asyncio.sleep(0.05)
    assert world.rest.asked == 0


async def test_what_is_owed_is_read_once_the_session_holds_nothing_more(make: Callable[..., Any]):
    world = await make(interval_s=0.0)
    world.reconciler.owe()
    await asyncio.sleep(0.01)
    assert (world.rest.asked, world.reconciler.is_due) == (0, True)
    world.reconciler.polled()
    await eventually(lambda: world.rest.asked == 1 and not world.reconciler.is_due)


@pytest.mark.parametrize(("prime", "expected"), [(True, []), (False, [("A", "reconciled")])])
async def test_what_is_learned_first_is_an_event_only_after_a_loss(
    make: Callable[..., Any], prime: bool, expected: Any
):
    world = await make(run=False)
    world.rest.chats_now = [chat("A")]
    await world.reconciler.learn(prime=prime)
    assert await world.dispositions() == expected


async def test_a_damaged_journal_is_nobodys_to_wait_for(make: Callable[..., Any]):
    world = await make()
    world.damaged = True
    world.rest.chats_now = [chat("A")]
    with pytest.raises(JournalDamaged):
        await asyncio.wait_for(world.tasks[1], 5)


async def test_what_was_read_while_polls_failed_waits_for_what_the_session_holds(make: Callable[..., Any]):
    """The server tells the older value once polls get through again: it must not come behind the newer one."""
    world = await make(interval_s=0.0)
    world.standing = False
    world.rest.chats_now = [chat("B")]
    world.reconciler.ask()
    await eventually(lambda: world.rest.asked)
    await asyncio.sleep(0.02)
    assert await world.dispositions() == []
    assert world.reconciler.is_due
    await world.hear("A")
    world.standing = True
    await eventually(lambda: not world.reconciler.is_due)
    assert await world.dispositions() == [("A", "notification"), ("B", "reconciled")]
