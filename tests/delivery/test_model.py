"""Journal and lane against a simple model, under whatever may happen to them in whatever order."""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from listener.delivery import Lane, LanePolicy
from listener.errors import Outcome, Park, Reject, Retry
from listener.journal.sqlite import SqliteJournal
from listener.model.event import EVERY_DEAD_LETTER, DeadLetterFilter, Event, JournalBatch
from listener.runtime.backoff import Backoff
from listener.runtime.metrics import Metrics
from listener.testing import MemoryJournal, RecordingSink, sample_event
from support.eventually import eventually

SINK = "crm"
BATCH = 4
NOW_MS = 1_900_000_000_000


def _but_one_chat(events: Sequence[Event]) -> Retry:
    """As the webhook does it: the chat of the first event waits, the others are delivered."""
    others = {index for index, event in enumerate(events) if event.subject != events[0].subject}
    return Retry("503 for one of them", delivered=frozenset(others))


OUTCOMES: dict[str, Callable[[Sequence[Event]], Outcome]] = {
    "retry": lambda _: Retry("503"),
    "part": lambda _: Retry("half of it", delivered=frozenset({0})),
    "but one chat": _but_one_chat,
    "reject": lambda _: Reject(0, "422", detail="no such code"),
    "reject another": lambda events: Reject(min(1, len(events) - 1), "422", detail="no such code"),
    "park": lambda _: Park("401"),
}


PLANS = st.lists(st.sampled_from(sorted(OUTCOMES)), max_size=4)
CHATS = st.lists(st.sampled_from("abc"), max_size=6)


class Fickle(RecordingSink):
    """A destination that does what is planned to the batches that come, then takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.plan: list[str] = []

    async def deliver(self, events: Sequence[Event]) -> None:
        if self.plan:
            self.then(OUTCOMES[self.plan.pop(0)](events))
        await super().deliver(events)


class DeliveryMachine(RuleBasedStateMachine):
    """The model is three things: what was appended, what was dropped on purpose, and what the destination has.

    The destination outlives every restart, as a destination does.
    """

    journal: Any

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="model-"))
        self.runner = asyncio.Runner()
        self.sink = Fickle()
        self.appended: list[str] = []
        self.chats: dict[str, str] = {}
        self.dropped: set[str] = set()
        self.replayed: set[str] = set()
        self.may_repeat = False
        self.do(self.start(self.new_journal(0)))

    # --- what differs between the journals

    def new_journal(self, number: int) -> Any:
        raise NotImplementedError

    async def crashed(self) -> tuple[Any, int]:
        """The journal as the next process finds it, and how many events the destination had at that moment."""
        raise NotImplementedError

    # --- the machinery

    def do(self, work: Any) -> Any:
        return self.runner.run(work)

    async def start(self, journal: Any) -> None:
        self.journal = journal
        await journal.open()
        self.lane = Lane(
            name=SINK,
            kind="recording",
            sink=self.sink,
            journal=journal,
            policy=LanePolicy(batch=BATCH),
            metrics=Metrics(),
            now_ms=lambda: NOW_MS,
            backoff=Backoff(first_s=0.0, limit_s=0.0, floor_s=0.0),
        )
        self.task = asyncio.create_task(self.lane.run(), name="lane under test")

    async def end_lane(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    async def quiet(self) -> None:
        """Until everything is at the sink or the lane is parked."""
        async with asyncio.timeout(10):
            await self.lane.drained()

    def teardown(self) -> None:
        try:
            self.do(self._heal())
        finally:
            self.do(self.end_lane())
            self.do(self.journal.close())
            self.runner.close()
            shutil.rmtree(self.folder)

    async def _heal(self) -> None:
        """Once nothing goes wrong any more, everything has an end: at the sink, dead, or dropped."""
        self.sink.plan.clear()
        await eventually(self._is_through, interval_s=0.001)
        dead = {letter.event_id for letter in await self.journal.dead_letters(EVERY_DEAD_LETTER)}
        assert set(self.appended) == {event.id for event in self.sink.events} | dead | self.dropped

    async def _is_through(self) -> bool:
        self.lane.resume()
        await self.quiet()
        status = self.lane.status()
        return status.parked is None and status.lag == 0

    # --- what happens

    @rule(chats=CHATS.filter(bool))
    def append(self, chats: list[str]) -> None:
        events = [sample_event(len(self.appended) + n, chat=chat) for n, chat in enumerate(chats)]
        self.appended += [event.id for event in events]
        self.chats |= {event.id: event.subject for event in events}
        self.do(self.journal.append(JournalBatch(events=tuple(events))))

    @rule(outcomes=PLANS)
    def let_it_fail(self, outcomes: list[str]) -> None:
        self.sink.plan += outcomes

    @rule()
    def settle(self) -> None:
        self.do(self.quiet())

    @rule()
    def resume(self) -> None:
        self.lane.resume()
        self.do(asyncio.sleep(0))

    @rule(outcomes=PLANS, chats=CHATS, crashes=st.booleans())
    def end(self, outcomes: list[str], chats: list[str], *, crashes: bool) -> None:
        """And start again. Chance alone would seldom end a lane that has done half of something."""
        self.let_it_fail(outcomes)
        if chats:
            self.append(chats)
            self.do(asyncio.sleep(0.005))
        self.may_repeat = True  # the cursor follows a little behind
        self.do(self._crash() if crashes else self._restart())

    async def _crash(self) -> None:
        """The process dies: nothing is closed, and what is on the disk at that moment is all there is.

        The lane outlives its process for as long as it takes to end it; what it brings meanwhile never happened.
        """
        found, taken = await self.crashed()
        await self.end_lane()
        del self.sink.events[taken:]
        await self.journal.close()
        await self.start(found)

    async def _restart(self) -> None:
        await self.end_lane()
        await self.journal.close()
        await self.start(self.journal)

    @rule()
    def replay(self) -> None:
        self.do(self._replay())

    async def _replay(self) -> None:
        ids = {letter.event_id for letter in await self.journal.dead_letters(EVERY_DEAD_LETTER)}
        if not ids:
            return
        self.replayed |= ids
        await self.journal.replay_dead_letters(DeadLetterFilter(event_ids=tuple(ids)))
        self.lane.replay()
        if self.lane.status().parked is None and not self.sink.plan:
            await eventually(self._nothing_is_replaying, interval_s=0.001)

    async def _nothing_is_replaying(self) -> bool:
        letters = await self.journal.dead_letters(EVERY_DEAD_LETTER)
        return self.lane.status().parked is not None or not any(letter.replaying for letter in letters)

    @rule()
    def drop(self) -> None:
        async def work() -> None:
            ids = {letter.event_id for letter in await self.journal.dead_letters(EVERY_DEAD_LETTER)}
            if ids:
                self.dropped |= ids
                await self.journal.drop_dead_letters(DeadLetterFilter(event_ids=tuple(ids)))

        self.do(work())

    @rule()
    def retain(self) -> None:
        self.do(self.journal.retain(before_ms=NOW_MS, keep_for=[SINK]))

    # --- what holds at every moment

    @invariant()
    def every_event_is_somewhere(self) -> None:
        async def places() -> tuple[set[str], set[str], set[str]]:
            cursor = (await self.journal.cursors()).get(SINK, 0)
            waiting = {event.id for event in await self.journal.read(cursor, 10_000)}
            dead = {letter.event_id for letter in await self.journal.dead_letters(EVERY_DEAD_LETTER)}
            return waiting, dead, {event.id for event in self.sink.events}

        waiting, dead, delivered = self.do(places())
        assert set(self.appended) <= waiting | dead | delivered | self.dropped
        assert delivered <= set(self.appended), "something was invented"

    @invariant()
    def chats_are_in_order(self) -> None:
        """But for what a person had a hand in: a start may bring once more what was dropped before its batch ended."""
        first: dict[str, None] = dict.fromkeys(event.id for event in self.sink.events)
        place = {event_id: number for number, event_id in enumerate(self.appended)}
        for chat in set(self.chats.values()):
            come = [place[i] for i in first if self.chats[i] == chat and i not in self.replayed | self.dropped]
            assert come == sorted(come)

    @precondition(lambda self: not self.may_repeat)
    @invariant()
    def nothing_is_delivered_twice(self) -> None:
        counts = Counter(event.id for event in self.sink.events if event.id not in self.replayed)
        assert [event_id for event_id, count in counts.items() if count > 1] == []

    @invariant()
    def an_event_never_changes(self) -> None:
        for event in self.sink.events:
            number = int(event.id.removeprefix("event-"))
            assert event.data == sample_event(number, chat=self.chats[event.id]).data


class OnAFile(DeliveryMachine):
    """The journal of the product. A crash is a copy of file and log, taken while all is open."""

    copies = 0

    def new_journal(self, number: int) -> SqliteJournal:
        (self.folder / str(number)).mkdir()
        return SqliteJournal(path=self.folder / str(number) / "journal.db")

    async def crashed(self) -> tuple[SqliteJournal, int]:
        """Copied before a commit: a copy takes a while, a power cut does not."""
        return await self.journal._change(lambda _: self._copied())

    def _copied(self) -> tuple[SqliteJournal, int]:
        before, taken = self.folder / str(self.copies), len(self.sink.events)
        self.copies += 1
        copy = self.new_journal(self.copies)
        for name in ("journal.db-wal", "journal.db"):
            with suppress(FileNotFoundError):
                shutil.copy(before / name, self.folder / str(self.copies) / name)
        return copy, taken


class InMemory(DeliveryMachine):
    """The double that ships. What it holds is durable by definition."""

    def new_journal(self, _number: int) -> MemoryJournal:
        return MemoryJournal()

    async def crashed(self) -> tuple[MemoryJournal, int]:
        """It cannot be copied, so nothing is brought any more when it is looked at."""
        await self.end_lane()
        return self.journal, len(self.sink.events)


STEADY = settings(max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))
TestOnAFile = OnAFile.TestCase
TestOnAFile.settings = settings(STEADY, max_examples=15)  # a start on a file takes its time
TestInMemory = InMemory.TestCase
TestInMemory.settings = STEADY
