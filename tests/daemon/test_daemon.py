"""The composition: every part built from settings, at work together on a simulated site, and ended in order."""

import asyncio
import gc
import json
import re
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from listener.config.settings import Settings
from listener.daemon import daemon as composition
from listener.daemon import housekeeping
from listener.daemon.control import LaneList, ListLanes, ask
from listener.daemon.daemon import Daemon
from listener.delivery import readiness
from listener.errors import ConfigError, JournalError, JournalLocked, NoDaemon, StartError
from listener.intake import recorder
from listener.simulator import Simulator, SimulatorOptions
from support.eventually import eventually
from support.httpproxy import HttpProxy
from support.receiver import Answer, Receiver

CHAT = "0000Na9B26EF003M"
AUDIT = {"type": "file", "path": "audit.jsonl"}


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    """What a daemon does to its process is undone."""
    limits, threshold = resource.getrlimit(resource.RLIMIT_NOFILE), gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


class Running:
    """A daemon in this process."""

    def __init__(self, daemon: Daemon, folder: Path) -> None:
        self.daemon = daemon
        self.task = asyncio.create_task(daemon.run(), name="daemon under test")
        self._folder = folder

    async def ready(self) -> "Running":
        await eventually(
            lambda: self.task.done() or not self.daemon.not_ready(), what=lambda: str(self.daemon.not_ready())
        )
        if self.task.done():
            self.task.result()
        return self

    async def stop(self) -> None:
        self.daemon.stop()
        async with asyncio.timeout(15):
            await self.task

    async def die(self) -> None:
        """End as a killed process does: in no order."""
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    def lines(self, kind: str = "disposition") -> list[dict[str, Any]]:
        """The events of this kind in the audit file."""
        path = self._folder / "audit.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [event for event in map(json.loads, lines) if event["type"].endswith(f".chat.{kind}")]

    async def heard(self, count: int) -> list[dict[str, Any]]:
        await eventually(lambda: len(self.lines()) >= count)
        return self.lines()


Start = Callable[..., Running]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorOptions(csrf=True, timeout_ms=5000)) as sim:
        yield sim


@pytest.fixture
async def start(sim: Simulator, tmp_path: Path) -> AsyncIterator[Start]:
    """Start a daemon in the test's folder; each further one finds what the one before has left."""
    async with AsyncExitStack() as stack:

        def new(*, server: dict[str, Any] | None = None, on_record: Any = None, **more: Any) -> Running:
            settings = Settings.model_validate(
                {
                    "server": {"url": sim.url, **(server or {})},
                    "accounts": [{"username": "agent1", "password": "secret"}],
                    "sinks": {"audit": AUDIT},
                    "base": tmp_path,
                    **more,
                }
            )
            running = Running(Daemon(settings, on_record=on_record), tmp_path)

            async def end() -> None:
                if not running.task.done():
                    await running.die()

            stack.push_async_callback(end)
            return running

        yield new


async def test_a_disposition_goes_from_the_server_to_the_sink(start: Start, sim: Simulator):
    told: list[Any] = []
    running = await start(on_record=told.extend).ready()
    sim.set_disposition("agent1", CHAT, "First")
    sim.set_disposition("agent1", CHAT, "Second")
    events = await running.heard(2)
    assert [(one["data"]["disposition"], one["data"]["previous"]) for one in events] == [
        ("First", None),
        ("Second", "First"),
    ]
    assert {one["source"] for one in events} == {f"{sim.url}/api/v2/me/chats"}
    assert [event.id for event in told] == [one["id"] for one in events]
    await running.stop()


async def test_login_and_session_go_through_the_proxy_whose_password_may_be_replaced(
    start: Start, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    secret = tmp_path / "proxy.secret"
    secret.write_text("old")
    monkeypatch.setattr(composition, "_LOOK_S", 0.05)
    async with HttpProxy(login="listener:new") as proxy:
        login = {"proxy": proxy.url, "proxy_user": "listener", "proxy_password_file": secret}
        running = start(server=login)
        await eventually(lambda: len(proxy.asked) > 0)
        assert running.daemon.not_ready()
        secret.write_text("new")
        await running.ready()
        sim.set_disposition("agent1", CHAT, "First")
        await running.heard(1)
        assert all(one.target.startswith(sim.url) for one in proxy.asked)
        await running.stop()


async def test_what_is_configured_is_what_is_delivered(start: Start, sim: Simulator):
    running = await start(
        disposition={"keys": ["Outcome"], "user_data": ["Queue"], "participants": "none", "type_prefix": "com.example"}
    ).ready()
    sim.operate("agent1", CHAT, "UpdateUserData", userData={"Outcome": "Done", "Queue": "q", "Name": "a customer"})
    (event,) = await running.heard(1)
    assert event["type"] == "com.example.chat.disposition"
    data = event["data"]
    assert (data["key"], data["disposition"], data["userData"], data["participants"]) == (
        *("Outcome", "Done"),
        {"Queue": "q"},
        [],
    )
    await running.stop()


async def test_a_conference_makes_one_change_however_many_accounts_hear_it(start: Start, sim: Simulator):
    names = ["agent1", "agent2", "agent3"]
    sim.add_chat("conference", agents=names)
    running = await start(accounts=[{"username": name, "password": "secret"} for name in names]).ready()
    sim.set_disposition("agent2", "conference", "Done")
    events = await running.heard(3)
    assert sorted(one["data"]["change"] for one in events) == ["set", "unchanged", "unchanged"]
    assert sorted(one["data"]["account"] for one in events) == names
    await running.stop()


async def test_nothing_is_left_when_it_has_ended(start: Start, sim: Simulator):
    before = asyncio.all_tasks()
    running = await start(http={"listen": "127.0.0.1:0"}).ready()
    await running.stop()
    mine = {task for task in asyncio.all_tasks() if "RequestHandler" not in repr(task)}
    assert mine <= before
    assert len(sim.state()["sessions"]) == 1, "the session is left for the next process"


async def test_a_stop_and_a_start_cost_no_gap_and_lose_nothing_in_between(start: Start, sim: Simulator):
    first = await start().ready()
    sim.set_disposition("agent1", CHAT, "A")
    await first.heard(1)
    await first.stop()
    sim.set_disposition("agent1", CHAT, "B")
    second = await start().ready()
    events = await second.heard(2)
    assert [(one["data"]["change"], one["data"]["origin"]) for one in events] == [
        ("set", "notification"),
        ("changed", "notification"),
    ]
    assert second.lines("gap") == []
    assert sim.state()["handshakes"] == 1
    await second.stop()


@pytest.mark.long
async def test_a_password_that_was_replaced_while_it_was_down_is_tried_and_the_session_goes_on(
    start: Start, sim: Simulator, tmp_path: Path
):
    (tmp_path / "agent1.secret").write_text("secret")
    accounts = [{"username": "agent1", "password_file": tmp_path / "agent1.secret"}]
    await (first := await start(accounts=accounts).ready()).stop()
    (tmp_path / "agent1.secret").write_text("wrong")
    with capture_logs() as logs:
        second = await start(accounts=accounts).ready()
        await eventually(lambda: [one for one in logs if one["event"] == "new_password_refused"])
        await second.stop()
        third = await start(accounts=accounts).ready()
        await asyncio.sleep(3.0)
    assert len([one for one in logs if one["event"] == "new_password_refused"]) == 1, "it is tried once"
    assert sim.state()["handshakes"] == 1
    assert first.lines("gap") == []
    await third.stop()


async def test_a_start_that_the_host_refuses_to_a_sink_costs_no_session_its_clean_end(
    start: Start, sim: Simulator, tmp_path: Path
):
    first = await start(server={"ack": False}).ready()
    await first.stop()
    (tmp_path / "folder").mkdir()
    refused = start(server={"ack": False}, sinks={"audit": AUDIT, "other": {"type": "file", "path": "folder"}})
    with pytest.raises(StartError):
        await refused.task
    second = await start(server={"ack": False}).ready()
    sim.set_disposition("agent1", CHAT, "A")
    await second.heard(1)
    assert second.lines("gap") == []
    await second.stop()


async def test_a_start_after_the_session_was_swept_tells_the_gap_and_finds_what_was_missed(
    start: Start, sim: Simulator
):
    first = await start().ready()
    await first.stop()
    sim.control("expire")
    sim.set_disposition("agent1", CHAT, "missed")
    second = await start().ready()
    (event,) = await second.heard(1)
    (gap,) = second.lines("gap")
    assert (event["data"]["disposition"], event["data"]["origin"]) == ("missed", "reconciled")
    assert (gap["data"]["reason"], gap["data"]["closedBy"]) == ("restart", "handshake")
    assert int(gap["sequence"]) < int(event["sequence"])
    await second.stop()


async def test_a_process_that_died_leaves_a_gap_and_no_loss(start: Start, sim: Simulator):
    first = await start().ready()
    await first.die()
    sim.set_disposition("agent1", CHAT, "meanwhile")
    second = await start().ready()
    await second.heard(1)
    await eventually(lambda: second.lines("gap"))
    await second.stop()


async def test_a_session_of_another_server_is_not_continued(start: Start, sim: Simulator):
    first = await start().ready()
    await first.stop()
    async with Simulator(SimulatorOptions()) as other:
        second = await start(server={"url": other.url}).ready()
        assert other.state()["handshakes"] == 1
        assert second.daemon.metrics.value("exchanges_failed_total", "expired") == 0, "it is not even tried"
        await second.stop()


async def test_the_key_that_the_server_names_is_known_before_anything_is_heard_after_a_restart_too(start: Start):
    auto = {"disposition": {"keys": "auto"}}
    async with Simulator(SimulatorOptions(disposition_key="Outcome")) as site:
        first = await start(server={"url": site.url}, **auto).ready()
        site.set_disposition("agent1", CHAT, "A")
        await first.heard(1)
        await first.stop()
        site.set_disposition("agent1", CHAT, "B")
        site.control("fail", target="rest", count=2)
        second = await start(server={"url": site.url}, **auto).ready()
        events = await second.heard(2)
        assert [(one["data"]["key"], one["data"]["disposition"]) for one in events] == [
            ("Outcome", "A"),
            ("Outcome", "B"),
        ]
        assert site.state()["handshakes"] == 1
        await second.stop()


async def test_a_session_is_ended_on_the_server_where_that_is_configured(start: Start, sim: Simulator):
    running = await start(disconnect_on_stop=True).ready()
    await running.stop()
    assert sim.state()["sessions"] == []


async def test_the_lanes_are_drained_before_the_end(start: Start, sim: Simulator, receiver: Receiver):
    receiver.answers = Answer(delay_s=0.05)
    running = await start(sinks={"crm": {"type": "webhook", "url": receiver.url, "batch": 1}}).ready()
    for n in range(10):
        sim.set_disposition("agent1", CHAT, str(n))
    await eventually(lambda: running.daemon._journal.last_sequence == 10)
    await running.stop()
    assert [post["data"]["disposition"] for post in receiver.accepted()] == [str(n) for n in range(10)]


async def test_a_parked_lane_does_not_delay_the_end(start: Start, sim: Simulator, receiver: Receiver):
    receiver.answers = Answer(status=401)
    sinks = {"crm": {"type": "webhook", "url": receiver.url}, "audit": AUDIT}
    running = await start(sinks=sinks, shutdown_timeout_s=30).ready()
    sim.set_disposition("agent1", CHAT, "A")
    await running.heard(1)
    await eventually(running.daemon.not_ready)
    assert [reason.split(":")[0] for reason in running.daemon.not_ready()] == ["sink crm is parked"]
    loop = asyncio.get_running_loop()
    stopping = loop.time()
    await running.stop()
    assert loop.time() - stopping < 3
    receiver.answers = Answer()
    again = await start(sinks=sinks).ready()
    await receiver.received(2)
    assert receiver.accepted()[-1]["data"]["disposition"] == "A"
    assert len(again.lines()) == 1, "the other sink has it already"
    await again.stop()


async def test_it_takes_orders_while_it_runs(start: Start, tmp_path: Path):
    running = await start().ready()
    (lane,) = (await asyncio.to_thread(ask, tmp_path / "journal.db", ListLanes(), LaneList)).lanes
    assert (lane.sink, lane.kind) == ("audit", "file")
    await running.stop()
    with pytest.raises(NoDaemon):
        ask(tmp_path / "journal.db", ListLanes(), LaneList)


async def test_where_no_socket_can_be_it_listens_without_orders(start: Start, sim: Simulator, tmp_path: Path):
    (tmp_path / "journal.db.control").mkdir()
    with capture_logs() as logs:
        running = await start().ready()
    assert [line["log_level"] for line in logs if line["event"] == "control_unavailable"] == ["warning"]
    sim.set_disposition("agent1", CHAT, "A")
    await running.heard(1)
    await running.stop()


async def test_lanes_that_are_parked_go_on_when_it_is_told_so(start: Start, sim: Simulator, receiver: Receiver):
    receiver.answers = Answer(status=403)
    running = await start(sinks={"crm": {"type": "webhook", "url": receiver.url}, "audit": AUDIT}).ready()
    sim.set_disposition("agent1", CHAT, "A")
    await eventually(lambda: "sink crm is parked" in str(running.daemon.not_ready()))
    receiver.answers = Answer()
    with capture_logs() as logs:
        running.daemon.reload()
        await eventually(receiver.accepted)
    assert next(line["sinks"] for line in logs if line["event"] == "sinks_resumed") == ["crm"]
    await running.ready()
    await running.stop()


async def test_a_sink_that_takes_nothing_for_minutes_is_not_ready(
    start: Start, sim: Simulator, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(readiness, "_STALLED_S", 0.2)
    receiver.answers = Answer(status=503)
    running = await start(sinks={"crm": {"type": "webhook", "url": receiver.url, "retry_limit_s": 0.05}}).ready()
    sim.set_disposition("agent1", CHAT, "A")
    await eventually(running.daemon.not_ready)
    assert re.fullmatch(
        r"sink crm has taken nothing for \d+ s: http://127.0.0.1:\d+ answered 503", *running.daemon.not_ready()
    )
    receiver.answers = Answer()
    await running.ready()
    await running.stop()


async def test_readiness_says_what_is_missing(start: Start, sim: Simulator):
    sim.control("deny-handshake", count=1000)
    running = start()
    assert running.daemon.not_ready() == ["starting"]
    await eventually(lambda: "denied" in str(running.daemon.not_ready()))
    assert running.daemon.not_ready()[0].startswith("account agent1 has no subscription: handshake_refused: 403")
    sim.control("deny-handshake", count=0)
    await running.ready()
    await running.stop()


async def test_the_status_has_every_account_and_sink(start: Start):
    running = await start().ready()
    status = await running.daemon.health.status()
    assert (status.ready, status.problems) == (True, ())
    assert [(one.account, one.subscribed, one.epoch) for one in status.accounts] == [("agent1", True, 1)]
    assert [(one.sink, one.kind, one.lag_events, one.dead_letters) for one in status.sinks] == [("audit", "file", 0, 0)]
    await running.stop()


async def test_the_http_side_is_part_of_it(start: Start, unused_port: int):
    running = await start(http={"listen": f"127.0.0.1:{unused_port}"}).ready()
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{unused_port}/readyz") as answer:
        assert answer.status == 200
    await running.stop()


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def test_a_journal_belongs_to_one_process(start: Start):
    running = await start().ready()
    with pytest.raises(JournalLocked, match=r"journal\.path"):
        await start().task
    await running.stop()


async def test_the_problems_of_all_sinks_are_told_at_once(start: Start):
    sinks = {"a": {"type": "file", "pth": "x"}, "b": {"type": "webhook"}, "c": AUDIT}
    with pytest.raises(ConfigError) as caught:
        await start(sinks=sinks).task
    places = {problem.path.split(".")[1] for problem in caught.value.problems}
    assert places == {"a", "b"}


async def test_a_second_sink_on_standard_output_is_refused(start: Start):
    with pytest.raises(ConfigError) as caught:
        await start(sinks={"a": {"type": "stdout"}, "b": {"type": "stdout"}}).task
    assert [problem.path for problem in caught.value.problems] == ["sinks.b.type"]


async def test_a_sink_that_the_host_refuses_ends_it_with_that_error_and_where(start: Start, tmp_path: Path):
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(StartError) as caught:
        await start().task
    assert "sinks.audit" in str(caught.value)
    assert "in lane audit" in caught.value.__notes__


async def test_a_value_that_no_journal_can_hold_ends_it_and_tells_which_part(
    start: Start, sim: Simulator, monkeypatch: pytest.MonkeyPatch
):
    running = await start().ready()
    monkeypatch.setattr(recorder, "rfc3339", lambda _: 2**64)
    sim.set_disposition("agent1", CHAT, "A")
    async with asyncio.timeout(10):
        with pytest.raises(OverflowError) as caught:
            await running.task
    assert "in recorder" in caught.value.__notes__


async def test_a_journal_that_cannot_be_opened_names_the_setting(start: Start):
    with pytest.raises(JournalError, match=r"^journal\.path: "):
        await start(journal={"path": "nowhere/journal.db"}).task


async def test_the_journal_is_released_whatever_ends_it(start: Start, tmp_path: Path):
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(StartError):
        await start().task
    (tmp_path / "audit.jsonl").rmdir()
    running = await start().ready()
    await running.stop()


async def test_a_retention_that_fails_is_no_end(start: Start, sim: Simulator, monkeypatch: pytest.MonkeyPatch):
    failures = 0

    async def fail(*_: Any, **__: Any) -> None:
        nonlocal failures
        failures += 1
        raise JournalError("disk I/O error")

    monkeypatch.setattr(housekeeping, "AGE_EVERY_S", 0.01)
    running = start()
    monkeypatch.setattr(running.daemon._journal, "retain", fail)
    await running.ready()
    await eventually(lambda: failures >= 3)
    sim.set_disposition("agent1", CHAT, "A")
    await running.heard(1)
    await running.stop()


async def test_old_events_that_every_sink_has_are_let_go_of(
    start: Start, sim: Simulator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(housekeeping, "AGE_EVERY_S", 0.01)
    running = await start(journal={"retention_days": 1e-9}).ready()
    sim.set_disposition("agent1", CHAT, "A")
    await running.heard(1)

    async def is_empty() -> bool:
        return (await running.daemon._journal.stats()).events == 0

    await eventually(is_empty)
    await running.stop()


async def test_the_journals_own_figures_are_among_the_metrics(start: Start, sim: Simulator, tmp_path: Path):
    running = await start().ready()
    metrics, commits = running.daemon.metrics, "disposition_listener_journal_commit_seconds"
    before_bytes = metrics.value("journal_bytes")
    before = metrics.registry.get_sample_value(f"{commits}_count") or 0
    sim.set_disposition("agent1", CHAT, "A")
    await running.heard(1)
    assert metrics.value("journal_bytes") > before_bytes >= (tmp_path / "journal.db").stat().st_size
    assert (metrics.registry.get_sample_value(f"{commits}_count") or 0) > before
    assert 0 < (metrics.registry.get_sample_value(f"{commits}_sum") or 0) < 5
    await running.stop()


async def test_a_retention_of_any_length_is_no_end(start: Start, sim: Simulator):
    running = await start(journal={"retention_days": 1e308}).ready()
    sim.set_disposition("agent1", CHAT, "A")
    await running.heard(1)
    await running.stop()


def remove_journal(folder: Path) -> None:
    for file in folder.glob("journal.db*"):
        file.unlink()


def move(folder: Path, target: Path) -> Path:
    return folder.rename(target)


async def test_a_journal_that_was_deleted_beside_its_trail_is_a_gap_and_its_sequences_are_not_used_again(
    start: Start, sim: Simulator, tmp_path: Path
):
    first = await start().ready()
    for code in "ABC":
        sim.set_disposition("agent1", CHAT, code)
    before = await first.heard(3)
    await first.stop()
    remove_journal(tmp_path)
    second = await start().ready()
    sim.set_disposition("agent1", CHAT, "D")
    await eventually(lambda: len(second.lines("gap")) == 2)
    lost, until_subscribed = (gap["data"] for gap in second.lines("gap"))
    assert (lost["reason"], lost["account"], until_subscribed["reason"]) == ("journal_lost", "agent1", "restart")
    assert (lost["from"], lost["to"]) == (before[-1]["data"]["receivedAt"], until_subscribed["from"])
    await eventually(lambda: "D" in [one["data"]["disposition"] for one in second.lines()])
    since = second.lines()[3:]  # what the chat had is read again before, or D is heard before that
    assert min(int(one["sequence"]) for one in since) > int(before[-1]["sequence"]) + 1_000_000
    await second.stop()
    assert second.daemon.metrics.value("gaps_total", "journal_lost") == 1


async def test_who_has_no_session_since_the_journal_was_lost_has_a_gap_until_there_is_one_over_restarts_too(
    start: Start, sim: Simulator, tmp_path: Path
):
    first = await start().ready()
    sim.set_disposition("agent1", CHAT, "A")
    await first.heard(1)
    await first.stop()
    remove_journal(tmp_path)
    sim.control("deny-handshake", count=1_000_000)
    second = start()
    lost = partial(second.daemon.metrics.value, "gaps_total", "journal_lost")
    await eventually(lambda: lost() == 1, what="the loss is on record")
    await eventually(lambda: len(second.lines("gap")) == 1)
    await second.die()
    sim.control("deny-handshake", count=0)
    third = await start().ready()
    await eventually(lambda: len(third.lines("gap")) == 2)
    gap, until_subscribed = (one["data"] for one in third.lines("gap"))
    assert (gap["reason"], until_subscribed["reason"]) == ("journal_lost", "restart")
    assert until_subscribed["from"] == gap["to"]
    await third.stop()


async def test_a_journal_that_is_taken_away_is_written_anew_also_while_nothing_comes(
    start: Start, sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(housekeeping, "PLACE_EVERY_S", 0.02)
    first = await start().ready()
    sim.set_disposition("agent1", CHAT, "A")
    await first.heard(1)
    away = move(tmp_path, tmp_path.with_name("away"))
    await eventually(lambda: any("the journal's files were taken away" in one for one in first.daemon.not_ready()))
    move(away, tmp_path)
    await first.ready()
    remove_journal(tmp_path)
    await eventually(lambda: first.daemon.metrics.value("journal_rescues_total") == 1)
    assert first.daemon.not_ready() == []
    sim.set_disposition("agent1", CHAT, "B")
    await first.heard(2)
    await first.stop()
    second = await start().ready()
    assert second.lines("gap") == []
    assert second.daemon.metrics.value("events_total", "disposition", "set", "notification") == 0
    await second.stop()
