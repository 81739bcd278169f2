"""Daemons that share a database: each does what its duties are, and hands over what others are to do."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from structlog.testing import capture_logs

from listener.config.settings import Settings
from listener.daemon.daemon import Daemon
from listener.daemon.work import _obeyed
from listener.errors import JournalError, JournalUncertain, Retry
from listener.model.event import Event, Gap, Kind, LaneState
from listener.model.replica import Order
from listener.runtime.backoff import Backoff
from listener.runtime.metrics import Metrics
from listener.simulator import SimulatorOptions
from listener.testing import MemoryConnection, MemoryDatabase
from support.broker import free_port
from support.eventually import eventually
from support.ground import WatchedSimulator
from support.lanes import World
from support.receiver import Answer, Receiver

AGENTS = ("agent1", "agent2", "agent3", "agent4")


class Line:
    """What the calls of one replica go through; it can be cut, or for the calls of one name."""

    def __init__(self) -> None:
        self.is_cut = False
        self.unanswered: str | None = None

    async def __call__(self, call: Any, /) -> Any:
        await asyncio.sleep(0)
        if self.is_cut or call.func.__name__ == self.unanswered:
            await asyncio.sleep(0.05)
            raise JournalUncertain("database: no answer")
        return call()


class Replica:
    """A daemon of this process that shares a database with others."""

    def __init__(self, database: MemoryDatabase, settings: Settings) -> None:
        self.settings = settings
        self.line = Line()
        self.told: list[Event] = []
        self.daemon = Daemon(
            settings,
            metrics=Metrics(),
            on_record=self.told.extend,
            database=lambda: MemoryConnection(database, self.line),
            load=lambda: self.settings,
        )
        self.task = asyncio.create_task(self.daemon.run(), name=f"replica {settings.journal.replica}")

    def accounts(self) -> set[str]:
        """Those that are subscribed here."""
        return {one.account for one in self.daemon._roll.statuses() if one.subscribed}

    def duties(self) -> set[str]:
        return set(self.daemon._duties.held)

    def lanes(self) -> set[str]:
        return set(self.daemon._lanes.running)

    def metric(self, name: str) -> float:
        return self.daemon.metrics.value(name)

    async def stop(self) -> None:
        self.daemon.stop()
        async with asyncio.timeout(30):
            await self.task

    async def die(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task


class Site:
    """A server, a database, a receiver, and replicas."""

    def __init__(self, sim: WatchedSimulator, receiver: Receiver, folder: Path) -> None:
        self.sim = sim
        self.receiver = receiver
        self.folder = folder
        self.database = MemoryDatabase(time.time)
        self.replicas: list[Replica] = []

    def settings(self, name: str, **more: Any) -> Settings:
        return Settings.model_validate(
            {
                "server": {"url": self.sim.url},
                "accounts": [{"username": name, "password": "secret"} for name in AGENTS],
                "sinks": {"crm": {"type": "webhook", "url": self.receiver.url}},
                "journal": {"url": "postgresql://db/x", "replica": name},
                "base": self.folder,
                **more,
            }
        )

    def start(self, name: str, **more: Any) -> Replica:
        one = Replica(self.database, self.settings(name, **more))
        self.replicas.append(one)
        return one

    async def events(self) -> list[Event]:
        reader = MemoryConnection(self.database)
        await reader.open()
        return list(await reader.read(0, 10_000))

    async def gaps(self) -> list[tuple[str, str, float | None]]:
        """Account, reason and seconds of each that is on record."""
        gaps = [msgspec.json.decode(event.data, type=Gap) for event in await self.events() if event.kind is Kind.GAP]
        return [(gap.account, gap.reason, gap.seconds) for gap in gaps]

    def tell(self, value: str) -> None:
        """Each agent sets this disposition in a chat of his own."""
        for agent in AGENTS:
            self.sim.set_disposition(agent, f"chat of {agent}", value)

    async def heard(self, *values: str) -> None:
        """Return once the receiver has each of these of each agent, in this order and once."""
        wanted = {agent: list(values) for agent in AGENTS}

        def found() -> dict[str, list[str]]:
            events = [one for one in self.receiver.accepted() if one["type"].endswith("disposition")]
            events = list({one["id"]: one for one in events}.values())
            return {
                agent: [one["data"]["disposition"] for one in events if one["data"]["account"] == agent]
                for agent in AGENTS
            }

        await eventually(lambda: found() == wanted, what=lambda: str(found()))
        stored = [event.id for event in await self.events() if event.kind is Kind.DISPOSITION]
        assert len(stored) == len(set(stored)) == len(values) * len(AGENTS)


@pytest.fixture
def ack() -> bool:
    return True


@pytest.fixture
async def site(request: pytest.FixtureRequest, ack: bool, tmp_path: Path) -> AsyncIterator[Site]:
    """Its parameters, if any, are options of the simulator."""
    options = replace(SimulatorOptions(agents=len(AGENTS), ack=ack, timeout_ms=3000), **getattr(request, "param", {}))
    async with AsyncExitStack() as stack:
        sim = await stack.enter_async_context(WatchedSimulator(options))
        receiver = await stack.enter_async_context(Receiver())
        site = Site(sim, receiver, tmp_path)
        for agent in AGENTS:
            sim.add_chat(f"chat of {agent}", agents=[agent])
        yield site
        for one in site.replicas:
            if not one.task.done():
                await one.die()


def spread(*replicas: Replica) -> Callable[[], bool]:
    """Whether each account is heard by exactly one of them, and each has a fair share."""

    def is_so() -> bool:
        shares = [one.accounts() for one in replicas]
        sizes = sorted(map(len, shares))
        return set().union(*shares) == set(AGENTS) and sum(sizes) == len(AGENTS) and sizes[-1] - sizes[0] <= 1

    return is_so


async def test_one_replica_does_everything_and_a_second_gets_its_share(site: Site):
    first = site.start("first")
    await eventually(spread(first))
    assert first.lanes() == {"crm"}
    assert first.daemon.not_ready() == []
    second = site.start("second")
    await eventually(spread(first, second))
    site.tell("a")
    await site.heard("a")
    assert len(first.told) == len(second.told) == 2
    assert await site.gaps() == []
    assert (first.metric("sessions_configured"), second.metric("sessions_configured")) == (2, 2)
    assert (first.metric("sessions_subscribed"), second.metric("sessions_subscribed")) == (2, 2)


@pytest.mark.parametrize("ack", [True, False])
async def test_one_that_stops_hands_over_in_order_and_nothing_is_missed(site: Site):
    first, second = site.start("first"), site.start("second")
    await eventually(spread(first, second))
    site.tell("a")
    await site.heard("a")
    stopping = asyncio.create_task(first.stop())
    site.tell("b")
    await stopping
    await eventually(spread(second))
    assert second.lanes() == {"crm"}
    site.tell("c")
    await site.heard("a", "b", "c")
    assert await site.gaps() == []
    assert site.sim.state()["handshakes"] == len(AGENTS)


@pytest.mark.parametrize("ack", [True, False])
async def test_what_one_had_that_is_gone_without_a_word_is_taken_over(site: Site, ack: bool):
    first, second = site.start("first"), site.start("second")
    await eventually(spread(first, second))
    site.tell("a")
    await site.heard("a")
    lost = first.accounts()
    await first.die()
    began_s = time.monotonic()
    await eventually(spread(second))
    took_s = time.monotonic() - began_s
    gaps = await site.gaps()
    assert sorted(account for account, _, _ in gaps) == ([] if ack else sorted(lost))
    for account, reason, seconds in gaps:
        assert reason == "restart"
        asked_s = site.sim.first_asked(account, after_s=began_s)
        assert asked_s is not None
        assert seconds is not None
        assert asked_s - began_s - 0.002 <= seconds < took_s + 20.0, "polls are held for 3 s"
    site.tell("b")
    await site.heard("a", "b")


async def test_one_that_is_cut_off_confirms_nothing_and_joins_anew(site: Site):
    first, second = site.start("first"), site.start("second")
    await eventually(spread(first, second))
    with capture_logs() as logs:
        first.line.is_cut = True
        await eventually(spread(second))
        site.tell("a")
        await site.heard("a")
        told = len(first.told)
        first.line.is_cut = False
        await eventually(lambda: first.metric("fenced_total") == 1)
        await eventually(spread(first, second))
    assert told == 0
    assert [line["log_level"] for line in logs if line["event"] == "starting_over"] == ["error"]
    site.tell("b")
    await site.heard("a", "b")
    assert len(first.told) == 2
    assert (first.metric("sessions_configured"), first.metric("sessions_subscribed")) == (2, 2)
    await first.stop()


async def test_what_a_database_has_lost_that_was_durable_is_a_gap_of_every_account(site: Site):
    """A standby is promoted that lacked the last commits: whoever knows of them joins it, and finds them missing."""
    one = site.start("one")
    await eventually(spread(one))
    site.tell("a")
    await site.heard("a")
    one.line.is_cut = True
    store = site.database.store
    del store._events[1:]
    store.last_sequence = store.cursors["crm"] = 1
    site.database._replicas.clear()
    site.database._duties.clear()
    one.line.is_cut = False
    await eventually(lambda: one.metric("fenced_total") == 1)
    await eventually(spread(one))
    recorded = partial(one.daemon.metrics.value, "gaps_total", "journal_lost")
    await eventually(lambda: recorded() == len(AGENTS), what="the gaps are on record")
    gaps = [(account, reason) for account, reason, _ in await site.gaps()]
    assert sorted(gaps) == [(agent, "journal_lost") for agent in sorted(AGENTS)]
    await one.stop()


async def asked(address: str) -> dict[str, tuple[int, str]]:
    """Status and text of what an orchestrator asks."""
    found = {}
    async with aiohttp.ClientSession() as http:
        for path in ("/livez", "/readyz"):
            async with http.get(f"http://{address}{path}") as answer:
                found[path] = answer.status, await answer.text()
    return found


async def test_a_database_that_is_away_at_the_start_is_waited_for_and_the_probes_tell(site: Site):
    address = f"127.0.0.1:{free_port()}"
    first = site.start("first", http={"listen": address})
    first.line.is_cut = True
    await eventually(lambda: "the journal cannot be opened: database: no answer" in first.daemon.not_ready())
    told = await asked(address)
    assert (told["/livez"][0], told["/readyz"][0]) == (200, 503)
    assert "the journal cannot be opened" in told["/readyz"][1]
    first.line.is_cut = False
    await eventually(spread(first))
    assert [status for status, _ in (await asked(address)).values()] == [200, 200]


async def test_one_that_begins_anew_serves_at_the_same_port_and_counts_on(site: Site):
    address = f"127.0.0.1:{free_port()}"
    first, second = site.start("first", http={"listen": address}), site.start("second")
    await eventually(spread(first, second))
    handshakes = first.metric("handshakes_total") + first.metric("resumes_total")
    first.line.is_cut = True
    await eventually(spread(second))
    first.line.is_cut = False
    await eventually(lambda: first.metric("fenced_total") == 1)
    await eventually(spread(first, second))
    assert [status for status, _ in (await asked(address)).values()] == [200, 200]
    assert first.metric("handshakes_total") + first.metric("resumes_total") == handshakes + 2


async def test_one_that_waits_for_its_database_can_be_stopped(site: Site):
    first = site.start("first")
    first.line.is_cut = True
    await eventually(lambda: "cannot be opened" in " ".join(first.daemon.not_ready()))
    await first.stop()


async def test_one_that_is_drained_gives_everything_back_and_stays(site: Site):
    first, second = site.start("first"), site.start("second")
    await eventually(spread(first, second))
    assert site.database.drain("first", draining=True)
    await eventually(spread(second))
    await eventually(lambda: first.lanes() == set() and second.lanes() == {"crm"})
    assert first.daemon.not_ready() == []
    assert site.database.drain("first", draining=False)
    await eventually(spread(first, second))
    assert await site.gaps() == []


async def test_nothing_is_released_while_something_of_it_may_still_be_stored(site: Site):
    first, second = site.start("first", shutdown_timeout_s=0.2), site.start("second")
    await eventually(spread(first, second))
    first.line.unanswered = "append"
    site.database.drain("first", draining=True)
    with capture_logs() as logs:
        await eventually(lambda: not len(first.daemon._roll))
        await asyncio.sleep(1.0)
    assert [line["event"] for line in logs].count("account_not_stopped_in_time") == 2
    assert len([one for one in site.database.duties() if one.replica == "first" and "account/" in one.duty]) == 2
    first.line.unanswered = None
    await eventually(spread(second))
    site.tell("a")
    await site.heard("a")
    assert await site.gaps() == []


async def test_a_sink_may_be_one_replicas_alone(site: Site):
    sinks = {"mine": {"type": "file", "path": "mine.jsonl", "on": "second"}, "crm": {"type": "stdout", "on": "first"}}
    first, second = site.start("first", sinks=sinks), site.start("second", sinks=sinks)
    await eventually(spread(first, second))
    await eventually(lambda: (first.lanes(), second.lanes()) == ({"crm"}, {"mine"}))
    await second.stop()
    await eventually(spread(first))
    await asyncio.sleep(0.5)
    assert first.lanes() == {"crm"}


async def polls_within(site: Site, seconds: float) -> int:
    """How many polls begin."""
    begun, were = 0, dict.fromkeys(AGENTS, True)
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        are = {agent: site.sim.polling(agent) for agent in AGENTS}
        begun += sum(are[agent] and not were[agent] for agent in AGENTS)
        were = are
        await asyncio.sleep(0.01)
    return begun


SHORT_POLLS = pytest.mark.parametrize("site", [{"timeout_ms": 300}], indirect=True)


@SHORT_POLLS
@pytest.mark.parametrize("ack", [False])
async def test_while_the_database_is_away_nothing_is_asked_for_that_is_given_once(site: Site):
    first = site.start("first")
    await eventually(spread(first))
    first.line.is_cut = True
    await asyncio.sleep(1.5)  # a lease, and a poll
    await eventually(lambda: not any(map(site.sim.polling, AGENTS)), what="the last polls are answered")
    site.tell("a")
    for _ in range(20):
        assert not any(map(site.sim.polling, AGENTS))
        await asyncio.sleep(0.01)
    first.line.is_cut = False
    await site.heard("a")
    assert await site.gaps() == []


@pytest.mark.long
@SHORT_POLLS
async def test_while_the_database_is_away_sessions_with_acknowledgements_live_on_slowly(site: Site):
    first = site.start("first")
    await eventually(spread(first))
    first.line.is_cut = True
    await asyncio.sleep(1.0)
    assert await polls_within(site, 11.0) <= 4 * len(
        AGENTS
    )  # beyond maxInterval; at full speed there are nine times as many
    site.tell("a")
    await asyncio.sleep(0.5)
    assert first.told == []
    first.line.is_cut = False
    await site.heard("a")
    assert site.sim.state()["handshakes"] == len(AGENTS)
    assert await site.gaps() == []


async def test_a_new_configuration_moves_what_is_new_and_releases_what_is_gone(site: Site):
    first, second = site.start("first"), site.start("second")
    await eventually(spread(first, second))
    epochs = {one.account: one.epoch for one in first.daemon._roll.statuses()}
    for one in (first, second):
        accounts = [account.model_dump() for account in one.settings.accounts[1:]]
        sinks = {"other": {"type": "webhook", "url": site.receiver.url}}
        one.settings = site.settings(one.settings.journal.replica_name, accounts=accounts, sinks=sinks)
        one.daemon.reload()
    await eventually(lambda: first.accounts() | second.accounts() == set(AGENTS[1:]))
    await eventually(lambda: first.lanes() | second.lanes() == {"other"})
    wanted = {"lane/other", "housekeeping", *(f"account/{agent}" for agent in AGENTS[1:])}
    await eventually(lambda: {one.duty for one in site.database.duties()} == wanted)
    await eventually(lambda: {*first.duties(), *second.duties()} == wanted)
    assert all(one.epoch == epochs.get(one.account, one.epoch) for one in first.daemon._roll.statuses())
    assert await site.gaps() == []
    site.tell("a")
    await eventually(lambda: len({one["data"]["account"] for one in site.receiver.accepted()}) == len(AGENTS) - 1)


async def test_an_order_reaches_the_lane_wherever_it_is(site: Site):
    site.receiver.answers = Answer(status=401)
    first, second = site.start("first"), site.start("second")
    await eventually(spread(first, second))
    owner = first if first.lanes() else second
    site.tell("a")
    await eventually(lambda: "sink crm is parked" in " ".join(owner.daemon.not_ready()))
    site.receiver.answers = Answer()
    other = MemoryConnection(site.database)
    await other.open()
    assert await other.order("lane/crm", "resume") == owner.settings.journal.replica
    await site.heard("a")
    before = len(site.receiver.accepted())
    assert await other.order("lane/crm", "resend 0 1") == owner.settings.journal.replica
    await other.order("lane/crm", "of a later version")
    await eventually(lambda: len(site.receiver.accepted()) == before + 1)
    assert site.receiver.accepted()[-1] == site.receiver.accepted()[0]
    assert await other.order("lane/crm", "resend-cancel") == owner.settings.journal.replica


async def test_an_order_to_resume_lets_a_lane_that_fails_try_at_once():
    world = World(Retry("503"))
    world.lane._backoff = Backoff(first_s=600.0, limit_s=600.0, floor_s=600.0)
    await world.journal.open()
    await world.number(1)
    world.task = asyncio.create_task(world.lane.run(), name="lane under test")
    await eventually(lambda: world.lane.status().next_attempt_s)
    assert await _obeyed(Order(number=1, duty="lane/crm", what="resume"), {"crm": world.lane})
    await world.drained()
    world.task.cancel()
    await asyncio.wait((world.task,))


async def test_an_order_that_is_not_carried_out_yet_goes_with_its_lane(site: Site, monkeypatch: pytest.MonkeyPatch):
    first, second = site.start("first"), site.start("second")
    await eventually(spread(first, second))
    owner = first if first.lanes() else second
    site.tell("a")
    await site.heard("a")
    before, tried = len(site.receiver.accepted()), asyncio.Event()

    async def no_room(_state: LaneState) -> None:
        tried.set()
        raise JournalError("no room")

    monkeypatch.setattr(owner.daemon._journal, "store_lane_state", no_room)
    other = MemoryConnection(site.database)
    await other.open()
    await other.order("lane/crm", "resend 0 1")
    await tried.wait()
    await owner.stop()
    await eventually(lambda: len(site.receiver.accepted()) == before + 1)
    assert site.receiver.accepted()[-1] == site.receiver.accepted()[0]


async def test_a_stop_takes_no_longer_than_it_may_while_the_database_is_away(site: Site):
    first = site.start("first", shutdown_timeout_s=0.5)
    await eventually(spread(first))
    first.line.is_cut = True
    await first.stop()
    second = site.start("second")
    await eventually(spread(second))
    assert await site.gaps() == []


async def test_any_replica_shows_what_all_of_them_have(site: Site):
    first, second = site.start("first"), site.start("second")
    await eventually(spread(first, second))

    async def shown(one: Replica) -> dict[str, Any]:
        status: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(await one.daemon.health.status()))
        return status

    async def told(one: Replica) -> bool:
        status = await shown(one)
        return all(account["subscribed"] for account in status["accounts"]) and status["replicas"][1]["ready"]

    for one in (first, second):
        await eventually(lambda one=one: told(one))
        status = await shown(one)
        owners = {account["account"]: account["replica"] for account in status["accounts"]}
        assert owners == dict.fromkeys(first.accounts(), "first") | dict.fromkeys(second.accounts(), "second")
        (sink,) = status["sinks"]
        assert (sink["sink"], sink["kind"], sink["replica"]) == (
            "crm",
            "webhook",
            "first" if first.lanes() else "second",
        )
        assert [(two["name"], two["state"], two["accounts"]) for two in status["replicas"]] == [
            ("first", "alive", 2),
            ("second", "alive", 2),
        ]
    for one, name in ((first, "first"), (second, "second")):
        value = one.daemon.metrics.value
        assert (value("replica_up", name), value("replica_others", name)) == (1, 1)
        assert (value("replica_duties", name, "account"), value("replica_duties_offered", name, "account")) == (2, 4)


@pytest.mark.parametrize("ends", ["in_order", "cut_off"])
async def test_how_the_session_of_what_is_taken_over_had_ended_is_counted(site: Site, ends: str):
    first, second = site.start("first"), site.start("second")
    await eventually(spread(first, second))
    site.tell("a")
    await site.heard("a")
    before = second.daemon.metrics.value("accounts_begun_total", ends)
    await (first.stop() if ends == "in_order" else first.die())
    await eventually(spread(second))
    assert second.daemon.metrics.value("accounts_begun_total", ends) - before == 2
