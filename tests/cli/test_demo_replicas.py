"""`demo --replicas`: three processes on a real PostgreSQL, one killed; what it says, and what it leaves."""

import contextlib
import re
import signal
from pathlib import Path

import pytest

from listener.cli import demo_postgres
from listener.cli.demo_postgres import programs
from listener.errors import StartError
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


@pytest.mark.usefixtures("postgres")
async def test_ctrl_c_ends_all_of_it(start_command, tmp_path):
    demo = await start_command("demo", "--replicas", "2", "--events", "1000", "--dir", tmp_path / "d")
    await demo.line(lambda line: "agent1" in line, timeout_s=60)
    assert len(running_with(tmp_path)) == 3  # the demo, and its replicas
    demo.send_signal(signal.SIGINT)
    assert await demo.wait() == 0
    assert running_with(tmp_path) == []
    assert not any("Traceback" in line or "error" in line for line in demo.lines)


def test_whoever_lacks_postgresql_is_told_what_to_install_in_one_line(invoke, monkeypatch, tmp_path):
    monkeypatch.setattr(demo_postgres, "_DEBIAN", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = invoke("demo", "--replicas", "2", "--dir", tmp_path / "d")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "apt-get install postgresql" in result.stderr
