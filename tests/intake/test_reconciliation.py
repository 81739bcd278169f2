"""Looks at the chats: after gaps, and while all seems well, where a difference shows a dead subscription."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import pytest
from msgspec import Raw
from structlog.testing import capture_logs

from listener.errors import JournalDamaged, ListenerError, ParameterInvalid, ServerFault, Unreachable
from listener.intake import reconciliation
from listener.intake.reconciliation import Reconciler
from listener.intake.recorder import Recorder
from listener.model.event import Entry, Gap, Observation
from listener.model.media import media_type_of
from listener.runtime.clock import Moment
from listener.runtime.metrics import Metrics
from listener.testing import ManualClock, MemoryJournal
from listener.webservices import answers
from listener.webservices.notifications import NotificationDecoder
from listener.webservices.repeats import SeenChats
from support.eventually import eventually
from support.notifications import CHAT, encoded, notification, with_data

pytestmark = pytest.mark.virtual

NOW_MS = 1_800_000_000_000
GAP = Gap(account="agent1", from_="a", to="2027-01-15T08:00:00.000Z", reason="subscription_lost", closed_by="subscribe")


class Rest:
    """Stands for the REST API."""

    def __init__(self) -> None:
        self.chats_now: list[dict[str, Any]] = []
        self.others_now: dict[str, list[dict[str, Any]] | ListenerError] = {}
        self.asked = 0
        self.errors: list[ListenerError] = []

    async def chats(self, media_type: str = "chat") -> Sequence[Raw]:
        if media_type != "chat":
            others = self.others_now.get(media_type, [])
            if isinstance(others, ListenerError):
                raise others
            return [Raw(json.dumps(one).encode()) for one in others]
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return [Raw(json.dumps(chat).encode()) for chat in self.chats_now]

    async def keepalive(self) -> None: ...


class World:
    """A rereader on a real recorder; the test is the receiver."""

    def __init__(self, *, interval_s: float = 0.005, media: Any = ("chat",)) -> None:
        self.turn = asyncio.Lock()
        self.alive = True
        self.standing = True
        self.unheard = ""
        self.seen_chats = SeenChats()
        self.grants = True
        self.subscribed = 0
        self.trusted = 0
        self.suspected: list[Moment | None] = []
        self.deaths: list[Moment | None] = []
        self.clock = ManualClock(start_ms=NOW_MS)
        self.rest = Rest()
        self.journal = MemoryJournal()
        self.metrics = Metrics()
        self.decoder = NotificationDecoder(keys=("DispositionCode",), media=media)
        self.recorder = Recorder(journal=self.journal, metrics=self.metrics, source="s", type_prefix="p")
        self.reconciler = Reconciler(
            account="agent1",
            rest=self.rest,
            decoder=self.decoder,
            record=self.recorder.record,
            differences=self.differences,
            metrics=self.metrics,
            clock=self.clock,
            interval_s=interval_s,
            media=media,
            tell=lambda _account, why: self.told.append(why),
        )
        self.told: list[str | None] = []
        self.reconciler.subscription = self
        self.damaged = False
        self.polls_every_s = 0.0
        self.tasks: list[asyncio.Task[None]] = []

    async def differences(self, observations: Sequence[Observation], as_of_s: float) -> Any:
        if self.damaged:
            raise JournalDamaged("zeroed")
        return await self.recorder.differences(observations, as_of_s)

    def pending(self) -> bool:
        return False

    def pause_s(self) -> float:
        return self.polls_every_s

    def is_connected(self) -> bool:
        return self.standing

    def is_heard(self, chat_id: str) -> bool:
        return media_type_of(chat_id) != self.unheard

    def is_healthy(self) -> bool:
        return self.alive and not self.reconciler.is_due

    async def subscribe_again(self) -> bool:
        self.subscribed += 1
        return self.grants

    def polled_at(self) -> Moment | None:
        return Moment.of(self.clock)

    def suspect(self, polled_at: Moment | None) -> None:
        self.suspected.append(polled_at)

    def trust(self) -> None:
        self.trusted += 1

    def found_dead(self, until: Moment | None) -> Gap | None:
        self.deaths.append(until)
        if until is None:
            self.alive = False
            return None
        return GAP

    async def hear(self, value: str) -> None:
        """A notification, as the receiver would record it."""
        payload = encoded(with_data(DispositionCode=value))
        decoded = self.decoder.decode([payload], account="agent1", received_ms=self.clock.now_ms())
        entry = Entry(
            account="agent1",
            observations=tuple(decoded.observations),
            origin_id="n",
            as_of_s=self.clock.monotonic_s(),
        )
        self.seen_chats.add(decoded, self.clock.monotonic_s())
        await self.recorder.record(entry)

    def hear_of(self, chat_id: str, kind: str = "StatusChange") -> None:
        """Something else than a disposition is notified of a chat, without its user data."""
        note = encoded(notification(notificationType=kind, chat={"id": chat_id, "userData": ...}))
        decoded = self.decoder.decode([note], account="agent1", received_ms=self.clock.now_ms())
        self.seen_chats.add(decoded, self.clock.monotonic_s())

    async def dispositions(self) -> list[tuple[str, str]]:
        found = [json.loads(event.data) for event in await self.journal.read(0, 1000)]
        return [(one["disposition"], one["origin"]) for one in found if "disposition" in one]

    async def kinds(self) -> list[str]:
        return [event.kind.value for event in await self.journal.read(0, 1000)]

    def has_asked_more_than(self, times: int) -> bool:
        return self.rest.asked > times

    def results(self, result: str) -> float:
        return self.metrics.value("reconciliations_total", result)


async def rereading(reconciler: Reconciler) -> None:
    """What a receiver does with it, for as long as this runs; raises what it raises."""
    try:
        async with asyncio.TaskGroup() as tasks:
            chore = reconciler.begin(tasks)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                chore.end()
    except* JournalDamaged as damaged:
        raise damaged.exceptions[0] from None


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
                world.tasks.append(asyncio.create_task(rereading(world.reconciler)))

            async def end() -> None:
                for task in world.tasks:
                    task.cancel()
                    with suppress(asyncio.CancelledError, JournalDamaged, ExceptionGroup):
                        await task

            stack.push_async_callback(end)
            return world

        yield new


def chat(code: str, chat_id: str = CHAT["id"]) -> dict[str, Any]:
    return {**CHAT, "id": chat_id, "userData": {"DispositionCode": code}}


async def test_a_look_subscribes_again_before_it_reads_and_trusts_what_it_finds_told(make: Callable[..., Any]):
    world = await make()
    await world.hear("A")
    world.rest.chats_now = [chat("A")]
    await eventually(lambda: world.trusted)
    assert world.subscribed >= world.rest.asked >= 1
    assert (world.deaths, await world.dispositions()) == ([], [("A", "notification")])
    assert world.suspected == []


async def test_a_difference_that_stays_is_recorded_behind_its_gap_counted_and_told(make: Callable[..., Any]):
    world = await make()
    await world.hear("A")
    world.clock.advance(1)
    with capture_logs() as logs:
        world.rest.chats_now = [chat("B")]
        await eventually(lambda: world.deaths)
        await eventually(lambda: world.results("done"))
    assert await world.dispositions() == [("A", "notification"), ("B", "reconciled")]
    assert await world.kinds() == ["disposition", "gap", "disposition"]
    assert world.deaths == [Moment.of(world.clock)]
    assert world.suspected == [Moment.of(world.clock)], "before it was looked at again"
    assert (world.metrics.value("unreported_changes_total"), world.results("different")) == (1, 1)
    (told,) = [one for one in logs if one["event"] == "subscription_dead"]
    assert (told["log_level"], told["unreported"], told["account"]) == ("error", 1, "agent1")
    assert "B" not in [str(value) for value in told.values()]


async def test_what_cannot_be_subscribed_to_again_needs_a_new_handshake(make: Callable[..., Any]):
    world = await make()
    world.grants = False
    world.rest.chats_now = [chat("B")]
    with capture_logs() as logs:
        await eventually(lambda: world.deaths)
        await eventually(lambda: any(one["event"] == "subscription_dead" for one in logs))
    (told,) = [one for one in logs if one["event"] == "subscription_dead"]
    assert (world.deaths, told["effect"]) == ([None], "a new handshake")


async def test_a_chat_that_ends_unheard_shows_a_dead_subscription(make: Callable[..., Any]):
    """What was set in it cannot be read any more, so only the gap can tell."""
    world = await make()
    world.rest.chats_now = [chat("A")]
    await world.hear("A")
    await eventually(lambda: world.trusted)
    world.rest.chats_now = []
    await eventually(lambda: world.deaths)
    await eventually(lambda: world.metrics.value("events_total", "gap", "", "notification"))
    assert await world.dispositions() == [("A", "notification")]


async def test_a_change_that_only_others_were_told_of_shows_a_dead_subscription(make: Callable[..., Any]):
    """Another agent of the conference brought it, so the journal knows it; this session has missed it all the same."""
    world = await make()
    await world.hear("A")
    world.rest.chats_now = [chat("A")]
    await eventually(lambda: world.trusted)
    world.clock.advance(20)
    others = world.decoder.decode([encoded(with_data(DispositionCode="B"))], account="agent2", received_ms=NOW_MS)
    await world.recorder.record(Entry(account="agent2", observations=tuple(others.observations), as_of_s=10_000.0))
    world.rest.chats_now = [chat("B")]
    await eventually(lambda: world.metrics.value("events_total", "gap", "", "notification"))
    assert await world.dispositions() == [("A", "notification"), ("B", "notification")]


async def test_a_missed_change_is_one_though_the_next_one_was_told(make: Callable[..., Any], monkeypatch):
    monkeypatch.setattr("listener.intake.reconciliation._CONFIRM_S", 0.1)
    world = await make()
    await world.hear("A")
    world.rest.chats_now = [chat("A")]
    await eventually(lambda: world.trusted)
    world.clock.advance(20)
    world.rest.chats_now = [chat("B")]
    asked = world.rest.asked
    await eventually(lambda: world.rest.asked > asked)
    world.clock.advance(1)
    await world.hear("C")
    world.rest.chats_now = [chat("C")]
    await eventually(lambda: world.deaths)
    assert await world.dispositions() == [("A", "notification"), ("C", "notification")]


async def test_a_chat_that_came_unheard_shows_a_dead_subscription(make: Callable[..., Any]):
    world = await make()
    await eventually(lambda: world.trusted)
    world.rest.chats_now = [{"id": "chat-9", "state": "Chatting", "uri": "x"}]
    await eventually(lambda: world.deaths)


async def test_a_chat_that_ends_as_was_told_is_no_news(make: Callable[..., Any]):
    world = await make()
    world.rest.chats_now = [chat("A")]
    await world.hear("A")
    await eventually(lambda: world.trusted)
    world.clock.advance(20)
    world.hear_of(CHAT["id"])
    world.rest.chats_now = []
    asked = world.rest.asked
    await eventually(lambda: world.rest.asked > asked + 3)
    assert world.deaths == []


async def test_a_chat_that_was_listed_as_ended_may_go_without_a_word(make: Callable[..., Any]):
    world = await make()
    world.rest.chats_now = [{"id": CHAT["id"], "state": "Completed", "uri": "x"}]
    await eventually(lambda: world.trusted)
    world.rest.chats_now = []
    asked = world.rest.asked
    await eventually(lambda: world.rest.asked > asked + 3)
    assert world.deaths == []


async def test_a_notification_that_is_only_slow_is_no_difference(make: Callable[..., Any], monkeypatch):
    monkeypatch.setattr("listener.intake.reconciliation._CONFIRM_S", 0.2)
    world = await make()
    await world.hear("A")
    world.clock.advance(1)
    world.rest.chats_now = [chat("B")]
    asked = world.rest.asked
    await eventually(lambda: world.rest.asked > asked)
    world.clock.advance(1)
    await world.hear("B")
    await eventually(lambda: world.rest.asked > asked + 3)
    assert (world.deaths, await world.dispositions()) == ([], [("A", "notification"), ("B", "notification")])


async def test_a_chat_that_nobody_has_heard_of_shows_a_dead_subscription(make: Callable[..., Any]):
    world = await make()
    world.rest.chats_now = [chat("A", "chat-9")]
    await eventually(lambda: world.deaths and world.results("done"))
    assert await world.dispositions() == [("A", "reconciled")]


async def test_a_chat_that_came_with_its_value_is_recorded_and_no_sign_of_death(make: Callable[..., Any]):
    world = await make()
    world.hear_of("chat-9")
    world.rest.chats_now = [chat("A", "chat-9")]
    await eventually(lambda: world.results("different"))
    await eventually(lambda: world.results("done"))
    assert (world.deaths, await world.dispositions()) == ([], [("A", "reconciled")])


async def test_a_value_heard_again_during_a_look_is_newer_than_what_was_read(make: Callable[..., Any]):
    """A repetition changes nothing in the journal, and all the same it says that the value still holds."""
    world = await make(interval_s=0.0)
    await world.hear("B")
    world.clock.advance(1)
    world.standing = False
    world.rest.chats_now = [chat("A")]
    world.reconciler.ask()
    await eventually(lambda: world.rest.asked)
    world.clock.advance(1)
    await world.hear("B")
    world.clock.advance(1)
    world.rest.chats_now = [chat("B")]
    world.standing = True
    await eventually(lambda: not world.reconciler.is_due)
    assert await world.dispositions() == [("B", "notification"), ("B", "notification")]


async def test_a_look_that_was_overtaken_by_what_was_older_is_repeated(make: Callable[..., Any]):
    """Another account may bring late what was set before the chats were read: only a younger look can tell."""
    world = await make(interval_s=0.0)
    world.standing = False
    world.rest.chats_now = [chat("C")]
    world.reconciler.ask()
    await eventually(lambda: world.rest.asked)
    world.clock.advance(1)
    await world.hear("B")
    world.clock.advance(1)
    world.standing = True
    await eventually(lambda: not world.reconciler.is_due)
    assert (world.rest.asked, await world.dispositions()) == (2, [("B", "notification"), ("C", "reconciled")])


async def test_a_chat_that_overtakes_every_look_is_left_to_the_next_turn(make: Callable[..., Any], monkeypatch):
    monkeypatch.setattr("listener.intake.reconciliation._SETTLE_S", 0.02)
    world = await make(interval_s=0.0)
    world.rest.chats_now = [chat("C")]
    world.reconciler.ask()
    for number in range(4):
        await eventually(partial(world.has_asked_more_than, number))
        world.clock.advance(1)
        await world.hear("B")
    await eventually(lambda: not world.reconciler.is_due)
    assert (world.rest.asked, (await world.dispositions())[-1]) == (4, ("B", "notification"))


async def test_where_polls_are_made_at_intervals_a_look_waits_for_the_next_one(make: Callable[..., Any]):
    world = await make(interval_s=0.0)
    world.polls_every_s = 0.2
    world.rest.chats_now = [chat("C")]
    world.reconciler.check()
    await eventually(lambda: world.rest.asked)
    await asyncio.sleep(0.02)
    for value in ("B", "C"):
        await world.hear(value)
    await eventually(lambda: world.results("done"))
    assert await world.dispositions() == [("B", "notification"), ("C", "notification")]


async def test_the_first_reread_leaves_nothing_undone_and_finds_what_changed(make: Callable[..., Any]):
    world = await make(interval_s=0.0)
    world.rest.chats_now = [chat("A")]
    world.reconciler.check()
    assert not world.reconciler.is_due
    await eventually(lambda: world.results("done"))
    assert (world.deaths, await world.dispositions()) == ([], [("A", "reconciled")])


async def test_a_sign_of_death_is_not_forgotten_while_polls_fail(make: Callable[..., Any]):
    world = await make()
    await world.hear("A")
    world.clock.advance(1)
    world.rest.chats_now = [chat("B")]
    world.standing = False
    await eventually(lambda: world.rest.asked)
    await asyncio.sleep(0.05)
    assert world.deaths == []
    world.standing = True
    await eventually(lambda: world.deaths)


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
    assert (world.deaths, world.metrics.value("unreported_changes_total")) == ([], 0)
    assert await world.dispositions() == [("A", "notification"), ("B", "reconciled")]


async def test_a_look_that_fails_is_counted_and_tried_at_the_next_turn(make: Callable[..., Any]):
    world = await make()
    world.rest.errors = [Unreachable("no route")]
    await eventually(lambda: world.trusted)
    assert (world.results("failed"), world.deaths) == (1, [])
    assert world.told[:2] == ["no route", None]


async def _is_made_up(world: World) -> bool:
    """Whether the next poll brings a look that nothing else would bring."""
    asked = world.rest.asked
    world.reconciler.polled()
    await asyncio.sleep(0.05)
    return world.rest.asked > asked


async def test_a_look_that_an_outage_kept_from_it_is_made_up_at_the_next_poll(make: Callable[..., Any]):
    world = await make(interval_s=0.0)
    await asyncio.sleep(0)
    world.alive = world.standing = False
    await world.reconciler._check()
    world.alive = world.standing = True
    assert world.rest.asked == 0
    assert await _is_made_up(world)
    assert not await _is_made_up(world)


async def test_so_is_one_whose_subscription_failed_once(make: Callable[..., Any]):
    world = await make(interval_s=0.0)
    world.grants = False
    await world.reconciler._check()
    assert await _is_made_up(world)
    assert not await _is_made_up(world)


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


@pytest.mark.parametrize(("resumed", "kinds"), [(True, ["gap", "disposition"]), (False, ["disposition"])])
async def test_what_a_session_that_goes_on_was_not_told_shows_a_dead_subscription(
    make: Callable[..., Any], resumed: bool, kinds: list[str]
):
    world = await make(interval_s=0.0)
    world.rest.chats_now = [chat("A")]
    world.reconciler.owe()
    if not resumed:
        world.reconciler.ask()  # a gap: it stands for what is found
    world.reconciler.polled()
    await eventually(lambda: world.rest.asked == 1 and not world.reconciler.is_due)
    assert (await world.kinds(), len(world.deaths)) == (kinds, int(resumed))


async def test_what_a_session_that_goes_on_is_told_late_is_no_sign_of_death(make: Callable[..., Any]):
    world = await make(interval_s=0.0)
    world.rest.chats_now = [chat("A")]
    world.reconciler.owe()
    world.reconciler.polled()
    await eventually(lambda: world.rest.asked == 1)
    await world.hear("A")
    await eventually(lambda: not world.reconciler.is_due)
    assert (await world.kinds(), world.deaths) == (["disposition"], [])


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


# --- other media ------------------------------------------------------------------------------------------------------


def email(code: str | None, interaction_id: str = "E1", **more: Any) -> dict[str, Any]:
    data = {} if code is None else {"DispositionCode": code}
    return {"id": interaction_id, "state": "Processing", "userData": data, **more}


async def settled(world: World) -> None:
    """Until the look after a gap is over."""
    world.reconciler.ask()
    await eventually(lambda: not world.reconciler.is_due)


async def test_after_a_gap_every_medium_is_read_again(make: Callable[..., Any]):
    world = await make(interval_s=0.0, media=("chat", "email", "voice"))
    world.rest.chats_now = [chat("A")]
    world.rest.others_now = {"email": [email("B", CHAT["id"])], "voice": [email("C", state="Established")]}
    await settled(world)
    assert sorted(await world.dispositions()) == [("A", "reconciled"), ("B", "reconciled"), ("C", "reconciled")]


async def test_a_medium_that_the_server_does_not_list_costs_only_itself_and_is_told_once(make: Callable[..., Any]):
    world = await make(interval_s=0.0, media=("chat", "email", "voice"))
    world.rest.chats_now = [chat("A")]
    world.rest.others_now = {"email": ParameterInvalid("no such subresource"), "voice": [email("C")]}
    with capture_logs() as logs:
        await settled(world)
        await settled(world)
    assert sorted(await world.dispositions()) == [("A", "reconciled"), ("C", "reconciled")]
    assert [one["medium"] for one in logs if one["event"] == "medium_not_read"] == ["email"]


async def test_an_email_that_was_never_notified_shows_a_dead_subscription(make: Callable[..., Any]):
    world = await make(media=("chat", "email"))
    await eventually(lambda: world.results("done") > 1)
    world.rest.others_now["email"] = [email("B")]
    await eventually(lambda: world.deaths)


@pytest.mark.parametrize(("media_type", "unheard"), [("email", "email"), ("sms", "")])
async def test_what_is_refused_or_not_documented_proves_nothing_and_is_recorded(
    make: Callable[..., Any], media_type: str, unheard: str
):
    world = await make(media=("chat", media_type))
    world.unheard = unheard
    await eventually(lambda: world.results("done") > 1)
    world.rest.others_now[media_type] = [email("B")]
    await eventually(lambda: world.results("different") > 0)
    world.rest.others_now[media_type] = []
    done = world.results("done")
    await eventually(lambda: world.results("done") > done + 1)
    assert await world.dispositions() == [("B", "reconciled")]
    assert world.deaths == []


async def test_what_could_not_be_read_for_once_has_not_ended(make: Callable[..., Any]):
    world = await make(media=("chat", "email"))
    world.rest.others_now["email"] = [email(None)]
    await eventually(lambda: world.results("done") > 1)
    world.rest.others_now["email"] = ServerFault("busy")
    done = world.results("done")
    await eventually(lambda: world.results("done") > done + 1)
    world.rest.others_now["email"] = [email(None)]
    done = world.results("done")
    await eventually(lambda: world.results("done") > done + 1)
    assert world.deaths == []


async def test_no_step_takes_more_than_a_few_of_very_many_chats(make: Callable[..., Any], monkeypatch):
    monkeypatch.setattr(answers, "_PIECE_ELEMENTS", 3)
    monkeypatch.setattr(reconciliation, "_AT_ONCE", 4)
    world = await make(run=False)
    steps = dict[str, list[int]](read=[], compared=[], recorded=[])

    def counted(name: str, call: Callable[..., Any], size: Callable[[Any], int] = len) -> Callable[..., Any]:
        def counting(many: Any, *args: Any, **more: Any) -> Any:
            steps[name].append(size(many))
            return call(many, *args, **more)

        return counting

    monkeypatch.setattr(world.decoder, "decode_read", counted("read", world.decoder.decode_read))
    reread = world.reconciler
    monkeypatch.setattr(reread, "_differences", counted("compared", world.differences))
    recording = counted("recorded", world.recorder.record, lambda entry: len(entry.observations))
    monkeypatch.setattr(reread, "_record", recording)
    world.rest.chats_now = [chat(f"D{number}", f"chat{number}") for number in range(10)]
    world.tasks.append(asyncio.create_task(rereading(reread)))
    reread.ask()
    await eventually(lambda: world.results("done"))
    assert steps["read"][:4] == [3, 3, 3, 1]
    assert max(steps["compared"]) == max(steps["recorded"]) == 4
    assert await world.dispositions() == [(f"D{number}", "reconciled") for number in range(10)]
