"""`demo --replicas`: three processes on a real PostgreSQL, one killed; what it says, and what it leaves."""

import contextlib
import re
import signal
from pathlib import Path

import pytest

from listener.cli import demo_postgres
from listener.cli.demo_board import Tally
from listener.cli.demo_postgres import programs
from listener.cli.demo_replicas import Killed, ReplicasDemo
from listener.errors import StartError
from listener.simulator import SimulatorOptions, Summary, WorkingDay
from support.events import events_of
from support.tools import lacking

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def postgres() -> None:
    try:
        programs()
    except StartError as exc:
        lacking(str(exc))


def running_with(folder: Path) -> list[int]:
    """The processes that name a folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(folder).encode() in file.read_bytes():
                found.append(int(file.parent.name))
    return found


@pytest.mark.usefixtures("postgres")
def test_one_is_killed_the_others_take_over_and_everything_is_there_without_a_gap(invoke, tmp_path):
    result = invoke("demo", "--replicas", "3", "--events", "15", "--dir", tmp_path / "d")
    assert (result.exit_code, result.stderr) == (0, "")
    killed = re.search(r"kill -9 of (replica-\d), which has (agent\d.*the sink log.*)", result.stdout)
    assert killed is not None
    seconds = re.search(r"The others have taken over after (\d+\.\d) s", result.stdout)
    assert seconds is not None
    figures = dict(re.findall(r"^  (published|journaled|delivered|missing|gaps) +(\d+)", result.stdout, re.MULTILINE))
    assert figures["published"] == figures["journaled"] == figures["delivered"] > "0"
    assert (figures["missing"], figures["gaps"]) == ("0", "0")
    shown = [line for line in result.stdout.splitlines() if re.match(r"\d{4}-", line)]
    assert len(shown) == int(figures["journaled"])
    assert "\x1b" not in result.stdout
    lines = {line for name in (1, 2, 3) for line in (tmp_path / "d" / f"replica-{name}.out").read_bytes().splitlines()}
    assert len(lines) == int(figures["delivered"])


@pytest.mark.long
@pytest.mark.usefixtures("postgres")
async def test_ctrl_c_ends_all_of_it(start_command, tmp_path):
    demo = await start_command("demo", "--replicas", "2", "--events", "1000", "--dir", tmp_path / "d")
    await demo.line(lambda line: "agent1" in line, timeout_s=60)
    assert len(running_with(tmp_path)) == 3  # the demo, and its replicas
    demo.send_signal(signal.SIGINT)
    assert await demo.wait() == 0
    assert running_with(tmp_path) == []
    assert not any("Traceback" in line or "error" in line for line in demo.lines)


GOOD = Tally(published=3, events=3, missing=0, unexpected=0, duplicates=0, out_of_order=0, gaps=0)


@pytest.mark.parametrize(
    ("tally", "last_sequence", "delivered", "good"),
    [
        (GOOD, 3, 3, True),
        (GOOD._replace(missing=1), 3, 3, False),
        (GOOD._replace(gaps=1), 3, 3, False),
        (GOOD, 4, 3, False),
        (GOOD, 3, 2, False),
    ],
    ids=["all is there", "one is missing", "a gap", "a hole", "one was not delivered"],
)
def test_whatever_is_not_as_promised_is_told(tmp_path, tally, last_sequence, delivered, good):
    demo = ReplicasDemo(home=tmp_path, count=2, options=SimulatorOptions(), day=WorkingDay(events=3))
    lines = [event.to_json() for event in events_of(3)]
    demo._lines, demo._last_sequence, demo._tally = lines, last_sequence, tally
    demo._played = Summary(chats=1, conferences=0, set=3, changed=0, cleared=0, repeated=0, silent=0)
    demo._killed = Killed("replica-1", ["account/agent1", "lane/log"], 1.25)
    (tmp_path / "replica-1.out").write_bytes(lines[0] + b"\n" + lines[1][:9])
    (tmp_path / "replica-2.out").write_bytes(b"\n".join(lines[:delivered]))
    said = "\n".join(line.plain for line in demo.summary())
    assert demo.good is good
    assert ("Something is wrong." in said) is not good
    assert f"delivered {delivered:>5} " in said
    assert "take-over     1.2 s      of agent1, the sink log" in said


def test_whoever_lacks_postgresql_is_told_what_to_install_in_one_line(invoke, monkeypatch, tmp_path):
    monkeypatch.setattr(demo_postgres, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = invoke("demo", "--replicas", "2", "--dir", tmp_path / "d")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "apt-get install postgresql" in result.stderr
