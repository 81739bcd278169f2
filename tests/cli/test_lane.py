"""`sinks list` and `sinks resume`, without a daemon and with something that executes their commands."""

import asyncio
import json

import pytest

from listener.daemon.control import ControlServer, LaneList, Resumed, ResumeLane
from listener.journal.sqlite import SqliteJournal
from listener.journal.sqlite.views import stats
from listener.model.event import LaneState, LaneStatus
from support.config import write_config

PARKED_MS = 1_795_305_600_000


@pytest.fixture
async def parked(letters):
    """A journal whose lane `crm` was parked when its daemon ended."""
    journal = SqliteJournal(path=letters)
    await journal.open()
    await journal.store_lane_state(LaneState(sink="crm", parked="crm answered 401", parked_ms=PARKED_MS))
    await journal.close()
    return letters


@pytest.fixture
async def failing(letters):
    """A journal whose lane `crm` was failing when its daemon ended."""
    journal = SqliteJournal(path=letters)
    await journal.open()
    await journal.store_lane_state(LaneState(sink="crm", sequence=5, attempts=3, last_error="crm answered 503"))
    await journal.close()


@pytest.fixture
async def daemon(parked):
    """Something that takes orders for it."""

    def lane(sink, **more):
        fields = {"parked": None, "last_error": None, **more}
        return LaneStatus(sink=sink, kind="webhook", cursor=4, lag=12, delivered=1, failures=0, **fields)

    async def obey(order):
        if isinstance(order, ResumeLane):
            return Resumed(resumed=("crm",), trying=("bi",), running=("audit",))
        lanes = (
            lane("audit"),
            lane("bi", last_error="503", failing_s=3.5, next_attempt_s=11.6),
            lane("crm", parked="crm answered 401"),
            lane("erp", last_error="429", quiet_s=599.6, failing_s=3.5, next_attempt_s=599.6),
        )
        return LaneList(lanes=lanes)

    server = ControlServer(journal=parked, execute=obey)
    await server.start()
    yield parked
    await server.stop()


async def test_the_lanes_of_the_daemon_are_shown_as_they_are(invoke, daemon):
    result = await asyncio.to_thread(invoke, "sinks", "list", "--path", daemon)
    assert [line.split(maxsplit=5) for line in result.stdout.splitlines()[1:]] == [
        ["audit", "webhook", "4", "12", "0", "running"],
        ["bi", "webhook", "4", "12", "1", "failing, next attempt in 12 s: 503"],
        ["crm", "webhook", "4", "12", "3", "parked since 2026-11-22T00:00:00.000Z: crm answered 401"],
        ["erp", "webhook", "4", "12", "0", "paused for 600 s more, as its destination asked: 429"],
        [],
        ["what", "helps:"],
        ["disposition-listener", "sinks", "test", "bi"],
        ["disposition-listener", "sinks", "resume", "crm"],
        ["disposition-listener", "sinks", "resume", "erp"],
    ]


async def test_they_come_as_json_too(invoke, daemon):
    result = await asyncio.to_thread(invoke, "sinks", "list", "--json", "--path", daemon)
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["sink"] for one in found] == ["audit", "bi", "crm", "erp"]
    assert found[3] == {
        "sink": "erp",
        "kind": "webhook",
        "cursor": 4,
        "lagEvents": 12,
        "lagSeconds": 0.0,
        "delivered": 1,
        "failures": 0,
        "parked": None,
        "stalledSeconds": 0.0,
        "quietSeconds": 599.6,
        "lastError": "429",
        "deadLetters": 0,
        "replica": None,
        "resendLeft": 0,
        "failingSeconds": 3.5,
        "nextAttemptSeconds": 599.6,
    }


async def test_the_name_before_still_works(invoke, daemon):
    old = await asyncio.to_thread(invoke, "lane", "list", "--path", daemon)
    assert old.stdout == (await asyncio.to_thread(invoke, "sinks", "list", "--path", daemon)).stdout
    assert "\n  lane " not in invoke("--help").stdout


def test_without_a_daemon_they_are_shown_as_it_left_them(invoke, parked):
    lines = invoke("sinks", "list", "--path", parked).stdout.splitlines()
    assert lines[1].split() == ["audit", "-", "4", "0", "0", "-"]
    assert lines[3].split(maxsplit=5)[5] == "parked since 2026-11-22T00:00:00.000Z: crm answered 401"
    assert lines[-1] == "no daemon is running; this is how the last one left them"


def test_without_a_daemon_the_configuration_tells_what_the_sinks_are(invoke, config, failing):
    lines = invoke("sinks", "list", "--config", config).stdout.splitlines()
    assert lines[1].split() == ["audit", "file", "4", "0", "0", "-"]
    assert lines[3].split(maxsplit=5) == ["crm", "-", "4", "0", "3", "failing: crm answered 503"]


@pytest.mark.parametrize("command", [("sinks", "list"), ("sinks", "resume", "--all"), ("journal", "stats")])
def test_no_secret_is_needed_nor_anything_that_a_sink_needs(invoke, parked, command):
    config = write_config(
        parked.parent,
        server={"url": "https://gws.example.com"},
        accounts=[{"username": "agent1", "password_file": "gone.secret"}],
        webhook="https://crm.example.com",
        sinks={"crm": {"bearer_token_file": "gone.token"}, "log": {"type": "a kind that is not installed"}},
    )
    result = invoke(*command, "--config", config)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "crm" in result.stdout


def test_without_a_daemon_there_is_no_json_of_its_lanes(invoke, parked):
    result = invoke("sinks", "list", "--json", "--path", parked)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no daemon is running" in result.stderr


async def test_a_lane_is_resumed(invoke, daemon):
    result = await asyncio.to_thread(invoke, "sinks", "resume", "crm", "--path", daemon)
    assert result.stdout == "crm resumed\nbi tries again at once\naudit was not parked\n"
    every = await asyncio.to_thread(invoke, "sinks", "resume", "--all", "--path", daemon)
    assert every.stdout == "crm resumed\nbi tries again at once\n"


def test_without_a_daemon_the_journal_is_told(invoke, parked):
    assert invoke("sinks", "resume", "--all", "--path", parked).stdout == "crm will resume when the daemon runs\n"
    assert stats(parked).lanes["crm"].parked is None
    assert invoke("sinks", "resume", "--all", "--path", parked).stdout == "no sink was parked\n"
    assert invoke("sinks", "resume", "crm", "--path", parked).stdout == "crm was not parked\n"
    result = invoke("sinks", "resume", "cmr", "--path", parked)
    assert (result.exit_code, result.stderr) == (
        1,
        "error: this journal knows no sink 'cmr' (known: audit, bi, crm)\n",
    )


@pytest.mark.parametrize("arguments", [(), ("crm", "--all")])
def test_who_resumes_says_what(invoke, parked, arguments):
    result = invoke("sinks", "resume", *arguments, "--path", parked)
    assert result.exit_code == 2
    assert "give either NAME or --all" in result.stderr
