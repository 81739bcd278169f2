"""`status`: against something that answers as a daemon does, without one, and on a terminal."""

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from itertools import chain, repeat

import msgspec
import pytest
from msgspec.structs import replace

from listener.cli import status as status_command
from listener.cli.status import follow, what_matters
from listener.daemon.control import ControlServer, Summarize
from listener.errors import ControlError
from listener.model.event import LaneStatus
from listener.model.replica import Offer
from listener.web.summary import AccountCounts, HealthProblem, Rates, Summary
from support.pages import DENIED, SUMMARY
from support.process import command_environment
from support.sharing import Sharing

PARKED = HealthProblem(what="sink crm is parked: 401", since=SUMMARY.at, kind="sink", help="sinks resume crm")
ILL = replace(SUMMARY, ready=False, health=(PARKED,))


@pytest.fixture
async def daemon(letters):
    """Something that has a journal and tells what the test lets it."""

    class Daemon:
        summary = SUMMARY
        journal = letters

        async def obey(self, command):
            assert command == Summarize()
            return msgspec.Raw(msgspec.json.encode(self.summary))

    one = Daemon()
    server = ControlServer(journal=letters, execute=one.obey)
    await server.start()
    yield one
    await server.stop()


async def test_all_is_well_is_status_0(invoke, daemon):
    result = await asyncio.to_thread(invoke, "status", "--path", daemon.journal)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "all is well")


async def test_what_is_not_well_is_status_1(invoke, daemon):
    daemon.summary = ILL
    result = await asyncio.to_thread(invoke, "status", "--path", daemon.journal)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (1, "1 thing is not well")
    assert "sink crm is parked: 401" in result.stdout


async def test_json_is_what_http_answers(invoke, daemon):
    daemon.summary = ILL
    result = await asyncio.to_thread(invoke, "status", "--json", "--path", daemon.journal)
    assert result.exit_code == 1
    assert msgspec.json.decode(result.stdout, type=Summary) == ILL
    assert json.loads(result.stdout)["schemaVersion"] == 1


def test_without_a_daemon_it_is_told_how_the_last_one_left_things(invoke, letters):
    result = invoke("status", "--path", letters)
    assert result.exit_code == 69
    lines = result.stdout.splitlines()
    assert (lines[0], lines[3]) == ("3 things are not well", "no daemon is running: nobody listens")
    assert "sink bi has 1 dead letter: bi answered 422" in lines
    assert invoke("status", "--json", "--path", letters).exit_code == 69


def test_without_a_journal_there_is_one_clear_line(invoke, tmp_path):
    result = invoke("status", "--path", tmp_path / "none.db")
    assert (result.exit_code, result.stderr) == (1, f"error: journal {tmp_path}/none.db: no such file\n")


LANE = LaneStatus(sink="crm", kind="webhook", cursor=0, lag=3, delivered=0, failures=1, parked="401", last_error="401")


def test_of_replicas_the_database_tells(invoke, shared_config, monkeypatch):
    sharing = Sharing(monkeypatch)

    async def own(database):
        joined = await database.join("node-a", version="1", lease_s=60.0)
        await database.offer(joined.incarnation, [Offer(duty="lane/crm"), Offer(duty="account/agent1")])
        await database.beat(joined.incarnation, seen=0)
        reports = {"lane/crm": msgspec.json.encode(LANE), "account/agent1": msgspec.json.encode(DENIED)}
        await database.beat(joined.incarnation, seen=9, reports=reports)

    none = invoke("status", "--config", shared_config)
    assert (none.exit_code, none.stdout.splitlines()[3]) == (69, "no replica is running: nobody listens")
    sharing.run(own)
    result = invoke("status", "--config", shared_config)
    assert result.exit_code == 1
    for text in (
        "sink crm is parked: 401",
        "account agent1 has no subscription: denied",
        "1 replica · 1 account, 0 subscribed",
        "0 closed since the replicas run; 1 running",
        "crm   webhook      3       -     0  node-a   parked: 401",
    ):
        assert text in result.stdout, text


class Ended(Exception):
    """The test has seen enough."""


@pytest.fixture
def followed(monkeypatch, capsys):
    """What is printed while these come one after the other, each a second."""

    def run(*looks, as_json=False):
        left = chain(looks, repeat(Ended()))

        def look():
            one = next(left)
            if isinstance(one, Exception):
                raise one
            return one, True

        monkeypatch.setattr(status_command.time, "sleep", lambda _: None)
        with pytest.raises(Ended):
            follow(look, None, as_json=as_json)
        return capsys.readouterr()

    return run


def test_elsewhere_than_on_a_terminal_a_block_comes_for_each_change_and_none_for_figures(followed):
    busy = replace(SUMMARY, rates=Rates(events_per_second=9.0, deliveries_per_second=9.0))
    printed = followed(SUMMARY, busy, ILL, ILL, ControlError("no answer"), ControlError("no answer"), SUMMARY)
    verdicts = [line for line in printed.out.splitlines() if line.endswith("well")]
    assert verdicts == ["all is well", "1 thing is not well", "all is well"]
    assert printed.err == "error: no answer\n"


def test_json_comes_for_each_change_too(followed):
    found = [json.loads(line) for line in followed(SUMMARY, SUMMARY, ILL, as_json=True).out.splitlines()]
    assert [one["ready"] for one in found] == [True, False]


@pytest.mark.parametrize(
    ("other", "matters"),
    [
        ({"health": (replace(PARKED, what="no answer within 3 s"),)}, True),
        ({"accounts": AccountCounts(total=1, subscribed=0, troubled=1)}, True),
        ({"rates": Rates(events_per_second=1.0, deliveries_per_second=0.0)}, False),
        ({"at": "2026-11-22T10:00:00.000Z"}, False),
    ],
)
def test_a_figure_that_moves_is_no_change(other, matters):
    assert (what_matters(SUMMARY) != what_matters(replace(SUMMARY, **other))) == matters


class Terminal:
    """`status --watch` on a terminal of 70 columns and 20 lines."""

    def __init__(self, folder, journal):
        self.fd, side = pty.openpty()
        self.resize(20, 70)
        argv = [sys.executable, "-m", "listener", "status", "--watch", "--path", str(journal)]
        env = command_environment(folder, {"TERM": "xterm"})
        self.process = subprocess.Popen(argv, env=env, cwd=folder, stdin=side, stdout=side, stderr=side)
        os.close(side)

    def resize(self, lines, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, pattern, *, within_s=60.0):
        """Read on until this is shown; returns what came."""
        came, deadline = "", time.monotonic() + within_s
        while not re.search(pattern, came, re.DOTALL):
            assert time.monotonic() < deadline, came
            if select.select([self.fd], [], [], 0.1)[0]:
                came += os.read(self.fd, 65_536).decode(errors="replace")
        return came

    def press(self, key):
        os.write(self.fd, key)

    def ended(self):
        """Its exit status."""
        try:
            while os.read(self.fd, 65_536):
                pass
        except OSError:  # how a terminal says that nobody has its other end any more
            pass
        return self.process.wait()


async def test_on_a_terminal_it_is_drawn_in_place_again_and_again_until_q(daemon, tmp_path):
    terminal = Terminal(tmp_path, daemon.journal)
    try:
        first = await asyncio.to_thread(terminal.until, r"all is well.*q quits")
        assert "\x1b[?1049h" in first, "the other screen"
        daemon.summary = ILL
        second = await asyncio.to_thread(terminal.until, r"1 thing is not well.*q quits")
        assert second.count("\x1b[H") >= 1, "in place"
        terminal.resize(8, 40)
        third = await asyncio.to_thread(terminal.until, r"more lines.*q quits")
        assert third.count("\n") <= second.count("\n")
        terminal.press(b"q")
        assert await asyncio.to_thread(terminal.ended) == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.fd)
