"""Three replicas that do whatever comes to mind while calls and answers get lost, against what has to be true of it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from listener.errors import JournalError, JournalFenced, JournalFull, JournalStale, JournalUncertain
from listener.journal.shared.database import Database
from listener.model.event import Event, JournalBatch, LastValue
from listener.model.replica import Offer
from listener.runtime.host import THIS_HOST, Host
from listener.testing import MemoryConnection, MemoryDatabase, sample_event
from support.eventually import eventually
from support.postgresjournal import PostgresWorld
from support.postgresserver import PostgresServer
from support.replicas import Replica
from support.virtual import LoopClock, VirtualLoop, virtual_host

NAMES = ("one", "two", "three")
CHATS = ("c1", "c2")
DUTIES = (*(f"account/{n}" for n in range(5)), "lane/crm", "housekeeping")
KINDS = {
    kind: tuple(duty for duty in DUTIES if duty.startswith(kind)) for kind in ("account/", "lane/", "housekeeping")
}
LOSSES = ("lose_requests", "lose_answers", "late")
CALLS = ("append", "beat", "release", "advance", "last_values")


@dataclass
class Attempt:
    """A batch that somebody wants to have stored: what it says of its chat, and what became of it.

    `outcome` is the sequence of its last event, `refused`, or None for what its writer did not live to see.
    """

    ids: tuple[str, ...]
    chat: str
    previous: str | None
    value: str
    outcome: int | str | None = None


@dataclass
class At:
    """Who plays a replica's part now: its incarnation, the daemon above it, and what that knows of the chats."""

    replica: Replica
    values: dict[str, str | None] = field(default_factory=dict)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class InMemory:
    """A database in memory, in virtual time."""

    lease_s = 1.0
    new_loop = VirtualLoop

    def __init__(self) -> None:
        self._database = MemoryDatabase(LoopClock().now_s)

    def client(self) -> Database:
        return MemoryConnection(self._database)

    def host(self) -> Host:
        return virtual_host()

    async def end(self) -> None:
        """Nothing is left."""


class OnPostgres:
    """A real one, in the time that it takes."""

    lease_s = 0.5
    new_loop = asyncio.SelectorEventLoop

    def __init__(self, server: PostgresServer) -> None:
        self._world = PostgresWorld(server)
        self.client = self._world.client
        self.end = self._world.end

    def host(self) -> Host:
        return THIS_HOST


class Replicas(RuleBasedStateMachine):
    """Three of them, on an engine."""

    def __init__(self, new_engine: Callable[[], InMemory | OnPostgres] = InMemory) -> None:
        super().__init__()
        self.engine = new_engine()
        self.lease_s = self.engine.lease_s
        self.runner = asyncio.Runner(loop_factory=self.engine.new_loop)
        self.attempts: list[Attempt] = []
        self.at: dict[str, At] = {}
        self.gone: list[Replica] = []
        self.asked: dict[str, int] = {}
        self.moved: dict[str, int] = {}
        self.doubts: list[str] = []

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.runner.run(work)

    @initialize()
    def begin(self) -> None:
        self.run(self._begin())

    async def _begin(self) -> None:
        self.eye = self.engine.client()
        await self.eye.open()
        for name in NAMES:
            await self._start(name)
        self.watcher = asyncio.create_task(self._watch())
        await asyncio.sleep(self.lease_s / 2)

    # --- a daemon -----------------------------------------------------------------------------------------------------

    async def _start(self, name: str) -> None:
        while True:
            replica = Replica(self.engine.client(), name, host=self.engine.host(), lease_s=self.lease_s)
            try:
                await replica.start()
            except JournalError:  # one that it is to evict is in the middle of a write
                await asyncio.sleep(0.1)
            else:
                break
        self.at[name] = one = At(replica)
        one.tasks = [asyncio.create_task(self._work(one)), asyncio.create_task(self._begin_anew(name, one))]

    async def _work(self, one: At) -> None:
        """Take what is given, and give back what is wanted once it is at rest."""
        duties = one.replica.membership
        with suppress(JournalFenced):
            await duties.offer([Offer(duty=duty) for duty in DUTIES])
            while True:
                changes = await duties.changes()
                assert set(changes.given) <= set(duties.held)
                await asyncio.sleep(0.05)
                await duties.release(changes.wanted_back)

    async def _begin_anew(self, name: str, one: At) -> None:
        """Once it is fenced, another incarnation takes its place, as soon as it can."""
        await one.replica.membership.fenced.wait()
        await one.replica.end()
        self.gone.append(one.replica)
        await asyncio.sleep(0.1)
        if self.at.get(name) is one:
            await self._start(name)

    async def _end(self, name: str) -> At:
        one = self.at.pop(name)
        for task in one.tasks:
            task.cancel()
        await asyncio.gather(*one.tasks, return_exceptions=True)
        await one.replica.end()
        return one

    async def _watch(self) -> None:
        """No duty is ever certain to be had by two."""
        while True:
            sure = [one.replica.membership for one in self.at.values() if one.replica.membership.is_certain()]
            for duty in DUTIES:
                if sum(duty in membership.held for membership in sure) > 1:
                    self.doubts.append(f"{duty} at {asyncio.get_running_loop().time()}")
            await asyncio.sleep(0.01)

    async def _append(self, one: At, count: int, chat: str) -> None:
        """As a recorder does: one at a time, against what it knows, which it learns where that does not hold."""
        async with one.turn:
            number = len(self.attempts)
            ids = tuple(f"event-{number * 10 + n}" for n in range(count))
            while self.at.get(one.replica.name) is one and not one.replica.membership.fenced.is_set():
                attempt = Attempt(ids, chat, one.values.get(chat), f"v{number}-{len(self.attempts)}")
                self.attempts.append(attempt)
                new = (chat,) if chat not in one.values else ()
                value = LastValue(chat, "DispositionCode", attempt.value, "agent1", None, 1)
                events = tuple(sample_event(number * 10 + n, chat=chat) for n in range(count))
                try:
                    attempt.outcome = await one.replica.journal.append(
                        JournalBatch(events=events, values=(value,), new_chats=new)
                    )
                except JournalStale:
                    attempt.outcome = "refused"
                    await self._learn(one, chat)
                except JournalUncertain:  # its incarnation was closed meanwhile
                    return
                except JournalError:
                    attempt.outcome = "refused"
                    await asyncio.sleep(0.1)
                else:
                    one.values[chat] = attempt.value
                    return

    async def _learn(self, one: At, chat: str) -> None:
        while True:
            try:
                found = await one.replica.journal.last_values([chat])
            except JournalError:
                await asyncio.sleep(0.1)
            else:
                one.values[chat] = found[0].value if found else None
                return

    async def _advance(self, one: At, sink: str, sequence: int) -> None:
        self.asked[sink] = max(self.asked.get(sink, 0), sequence)
        with suppress(JournalError):
            await one.replica.journal.advance(sink, sequence)
            self.moved[sink] = max(self.moved.get(sink, 0), sequence)

    def _spawn(self, one: At, work: Coroutine[Any, Any, None]) -> None:
        async def quietly() -> None:
            with suppress(JournalFenced):
                await work

        one.tasks.append(asyncio.create_task(quietly()))

    # --- what happens -------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 3), chat=st.sampled_from(CHATS))
    def append(self, name: str, count: int, chat: str) -> None:
        async def work() -> None:
            self._spawn(self.at[name], self._append(self.at[name], count, chat))
            await asyncio.sleep(0.001)

        self.run(work())

    @rule(name=st.sampled_from(NAMES), sink=st.sampled_from(["crm", "bi"]), sequence=st.integers(1, 30))
    def advance(self, name: str, sink: str, sequence: int) -> None:
        async def work() -> None:
            self._spawn(self.at[name], self._advance(self.at[name], sink, sequence))
            await asyncio.sleep(0.001)

        self.run(work())

    @rule(name=st.sampled_from(NAMES), loss=st.sampled_from(LOSSES), call=st.sampled_from(CALLS))
    def lose(self, name: str, loss: str, call: str) -> None:
        getattr(self.at[name].replica.line, loss)[call] += 1

    @rule(name=st.sampled_from(NAMES), cut=st.booleans())
    def cut(self, name: str, cut: bool) -> None:
        self.at[name].replica.line.cut = cut

    @rule(name=st.sampled_from(NAMES), leases=st.sampled_from([(0.0, 0.0), (0.02, 0.02), (0.3, 0.3), (0.0, 0.9)]))
    def slow_down(self, name: str, leases: tuple[float, float]) -> None:
        line = self.at[name].replica.line
        line.delay_s, line.answer_s = (one * self.lease_s for one in leases)

    @rule(name=st.sampled_from(NAMES), chat=st.sampled_from(CHATS), loss=st.sampled_from(LOSSES), full=st.booleans())
    def append_in_vain(self, name: str, chat: str, loss: str, full: bool) -> None:
        """One of which nothing is heard, and which is refused when it is asked again while there is no room."""

        async def work() -> None:
            one = self.at[name]
            getattr(one.replica.line, loss)["append"] += 1
            self._spawn(one, self._append(one, 2, chat))
            await asyncio.sleep(self.lease_s / 10)
            if full:
                one.replica.line.refuse["append"] = JournalFull("database: no room")
                await asyncio.sleep(self.lease_s / 2)
                one.replica.line.refuse.clear()

        self.run(work())

    @rule(leases=st.sampled_from([0.02, 0.3, 1.3, 3.0]))
    def wait(self, leases: float) -> None:
        self.run(asyncio.sleep(leases * self.lease_s))

    @rule(name=st.sampled_from(NAMES))
    def crash(self, name: str) -> None:
        """It is gone in the middle of whatever it does, and comes again under its name."""

        async def work() -> None:
            self.gone.append((await self._end(name)).replica)
            await self._start(name)

        self.run(work())

    @rule(name=st.sampled_from(NAMES))
    def stop(self, name: str) -> None:
        """It leaves in order, and comes again."""

        async def work() -> None:
            await self.at[name].replica.membership.leave()
            self.gone.append((await self._end(name)).replica)
            await self._start(name)

        self.run(work())

    @rule(name=st.sampled_from(NAMES), draining=st.booleans())
    def drain(self, name: str, draining: bool) -> None:
        self.run(self._drain(name, draining=draining))

    async def _drain(self, name: str, *, draining: bool) -> None:
        await self.eye.drain(name, draining=draining)

    @precondition(lambda self: self.gone)
    @rule(call=st.sampled_from(["append", "advance", "offer", "beat", "release"]))
    def write_late(self, call: str) -> None:
        """What was fenced or is gone is refused, whatever it still wants."""

        async def work() -> None:
            me, database = self.gone[-1].membership._incarnation, self.eye
            calls = {
                "append": partial(database.append, me, 1_000, JournalBatch(events=(sample_event(9_999),)), {}, {}),
                "advance": partial(database.advance, me, "crm", 10_000, ()),
                "offer": partial(database.offer, me, ()),
                "release": partial(database.release, me, ()),
                "beat": partial(database.beat, me, seen=0),
            }
            with pytest.raises(JournalFenced):
                await calls[call]()

        self.run(work())

    # --- what has to be true ------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        if self.at:
            self.run(self._check())
        self.runner.close()

    async def _check(self) -> None:
        for name in NAMES:
            await self._drain(name, draining=False)
        await eventually(self._is_settled, timeout_s=60, what=lambda: f"all at rest: {self._had()}")
        for name in NAMES:
            await self._end(name)
        self.watcher.cancel()
        assert self.doubts == []
        self._check_events(await self.eye.read(0, 10_000))
        for sink, cursor in (await self.eye.cursors()).items():
            assert self.moved.get(sink, 0) <= cursor <= self.asked[sink]
        await self.eye.close()
        await self.engine.end()

    def _had(self) -> dict[str, list[str]]:
        return {name: sorted(one.replica.membership.held) for name, one in self.at.items()}

    async def _is_settled(self) -> bool:
        """Everything gets through again, and all that is under way has come to its end: each has its fair share."""
        lines = [one.replica.line for one in self.at.values()]
        for line in lines:
            line.cut, line.delay_s, line.answer_s = False, 0.001, 0.001
            for fault in (line.lose_requests, line.lose_answers, line.late):
                fault.clear()
        had = self._had().values()
        shares = {kind: -(-len(duties) // len(NAMES)) for kind, duties in KINDS.items()}
        return (
            sorted(duty for duties in had for duty in duties) == sorted(DUTIES)
            and all(sum(duty in duties for duty in KINDS[kind]) <= shares[kind] for kind in KINDS for duties in had)
            and all(one.replica.membership.is_certain() and not one.turn.locked() for one in self.at.values())
            and not any(line.under_way for line in lines)
            and {one.replica for one in await self.eye.duties()} <= set(NAMES)
        )

    def _check_events(self, events: Sequence[Event]) -> None:
        assert [event.sequence for event in events] == list(range(1, len(events) + 1)), "no hole"
        ids = [event.id for event in events]
        assert len(ids) == len(set(ids)), "nothing twice"
        place = {event.id: event.sequence for event in events}
        stored: list[tuple[int, Attempt]] = []
        for number, attempt in enumerate(self.attempts):
            later = [other for other in self.attempts[number + 1 :] if other.ids == attempt.ids]
            if isinstance(attempt.outcome, int):
                count = len(attempt.ids)
                assert [place.get(one) for one in attempt.ids] == list(
                    range(attempt.outcome - count + 1, attempt.outcome + 1)
                ), "what was acknowledged is there, as a whole and where it was said to be"
                stored.append((attempt.outcome, attempt))
            elif attempt.outcome is None:
                found = [place[one] for one in attempt.ids if one in place]
                assert len(found) in (0, len(attempt.ids)), "whole or not at all"
                if found:
                    stored.append((found[-1], attempt))
            elif not any(other.outcome != "refused" for other in later):
                assert not any(one in place for one in attempt.ids), "what was refused is not there"
        last: dict[str, str] = {}
        for _, attempt in sorted(stored, key=lambda one: one[0]):
            assert attempt.previous == last.get(attempt.chat), "previous is that of the event before"
            last[attempt.chat] = attempt.value
        assert sum(len(attempt.ids) for _, attempt in stored) == len(events), "and nothing else is"


# To make a failure small takes longer than a test may take; leave `phases` out for that.
ONCE = settings(deadline=None, stateful_step_count=40, phases=(Phase.explicit, Phase.reuse, Phase.generate))

TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(ONCE, max_examples=30)


@pytest.mark.long
def test_replicas_on_postgresql():
    with PostgresServer(fsync="off") as server:  # no test cuts its power
        run_state_machine_as_test(
            lambda: Replicas(lambda: OnPostgres(server)),
            settings=settings(
                ONCE, max_examples=3, stateful_step_count=20, suppress_health_check=list(HealthCheck)
            ),  # it takes its time
        )
