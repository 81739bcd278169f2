"""`demo`: the whole listener for a newcomer, in one process; what it draws, finds wrong, and says at its end."""

import json
import os
import pty
import re
import signal
import threading
from collections import Counter
from pathlib import Path

from listener.cli.demo import summarise
from listener.cli.demo_board import Tally
from listener.simulator import Summary
from support.eventually import eventually


def events_in(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_it_plays_compares_and_leaves_the_file(invoke, tmp_path):
    result = invoke("demo", "--events", "12", "--pace", "0.005", "--dir", tmp_path / "d")
    assert (result.exit_code, result.stderr) == (0, "")
    events = [event for event in events_in(tmp_path / "d" / "dispositions.jsonl") if event["data"]["account"]]
    shown = [line for line in result.stdout.splitlines() if re.match(r"\d{4}-", line)]
    assert len(shown) == len(events) >= 12
    figures = dict(
        re.findall(r"^  (set|changed|cleared|unchanged|missing|duplicates) +(\d+)", result.stdout, re.MULTILINE)
    )
    changes = [event["data"]["change"] for event in events]
    for change in ("set", "changed", "cleared", "unchanged"):
        assert int(figures[change]) == changes.count(change)
    assert sum(int(figures[change]) for change in ("set", "changed", "cleared")) == 12
    assert (figures["missing"], figures["duplicates"]) == ("0", "0")
    assert str(tmp_path / "d" / "dispositions.jsonl") in result.stdout
    assert "\x1b" not in result.stdout


def test_what_it_leaves_can_be_looked_at_with_the_commands_it_names(invoke, tmp_path):
    invoke("demo", "--agents", "1", "--events", "2", "--pace", "0", "--dir", "d")
    shown = invoke("tail", "--config", "d/listener.toml").stdout.splitlines()
    assert len(shown) == len(events_in(tmp_path / "d" / "dispositions.jsonl")) > 0
    assert invoke("journal", "verify", "--config", "d/listener.toml").exit_code == 0
    log = [json.loads(line) for line in (tmp_path / "d" / "listener.log").read_text("utf-8").splitlines()]
    assert {"started", "subscribed", "stopped"} <= {entry["event"] for entry in log}


def test_the_environment_of_a_real_listener_does_not_reach_it(invoke, monkeypatch):
    monkeypatch.setenv("LISTENER_SERVER__URL", "http://127.0.0.1:9")
    assert invoke("demo", "--agents", "1", "--events", "1", "--pace", "0", "--dir", "d").exit_code == 0


def test_a_folder_of_an_earlier_run_is_not_touched(invoke, tmp_path):
    (tmp_path / "dispositions.jsonl").write_text("precious")
    result = invoke("demo", "--dir", tmp_path)
    assert result.exit_code == 1
    assert (
        result.stderr == f"error: --dir: {tmp_path} holds dispositions.jsonl of an earlier run, name another folder\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["dispositions.jsonl"]


def test_a_folder_that_cannot_be_made_names_the_option(invoke, tmp_path):
    (tmp_path / "file").write_text("")
    result = invoke("demo", "--dir", tmp_path / "file" / "d")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("error: --dir: cannot create ")


async def test_ctrl_c_ends_it_in_order(start_command):
    demo = await start_command("demo", "--events", "1000", "--dir", "d")
    await demo.line(lambda line: "agent" in line)
    demo.send_signal(signal.SIGINT)
    assert await demo.wait() == 0
    assert not any("Traceback" in line or "error" in line for line in demo.lines)


async def test_a_terminal_gets_a_live_table_that_no_log_line_disturbs(start_shell):
    main, side = pty.openpty()
    output = bytearray()

    def collect():
        while chunk := os.read(main, 65_536):
            output.extend(chunk)
            if b"journal stats" in output:
                return

    reader = threading.Thread(target=collect, daemon=True)
    reader.start()
    terminal = os.ttyname(side)
    shell = await start_shell(
        f"$PYTHON -m listener demo --events 5 --dir d > {terminal} 2> {terminal}",
        TERM="xterm-256color",
        COLUMNS="100",
        LINES="30",
    )
    assert await shell.wait() == 0
    await eventually(lambda: not reader.is_alive())
    os.close(main)
    os.close(side)
    text = output.decode()
    assert "5 of 5 dispositions" in text
    assert "\x1b[32m" in text
    assert "╭─ 3 agents on a simulated server, one listener ─" in text
    assert '"event"' not in text


DAY = Summary(chats=12, conferences=5, set=13, changed=13, cleared=4, repeated=4, silent=15)
HEARD = Counter({"set": 13, "changed": 13, "cleared": 4, "unchanged": 10})
GOOD = Tally(published=40, events=40, missing=0, unexpected=0, duplicates=0, out_of_order=0, gaps=0)


def words(tally=GOOD, counts=HEARD):
    lines = summarise(
        day=DAY,
        played_s=8.0,
        counts=counts,
        tally=tally,
        latency="3 ms median",
        audit=Path("/a folder/d.jsonl"),
        config=Path("/a folder/l.toml"),
    )
    return "\n".join(line.plain for line in lines)


def test_a_good_run_says_so_with_its_figures():
    text = words()
    assert "12 chats, 5 of them with two agents, in 8.0 s" in text
    assert "changed      13 of 13" in text
    assert "unchanged    10 of 10" in text
    assert "5.0 events a second" in text
    assert "once and in order" in text
    assert "unexpected" not in text


def test_commands_can_be_pasted_whatever_the_folder_is_called():
    assert "  disposition-listener tail '/a folder/d.jsonl'\n" in words()


def test_a_command_that_is_not_in_the_path_is_shown_as_it_was_called(monkeypatch, tmp_path):
    called = tmp_path / "disposition-listener"
    called.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(called), "demo"])
    monkeypatch.setenv("PATH", "/nonexistent")
    assert f"  {called} tail " in words()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "  disposition-listener tail " in words()


def test_a_bad_run_names_each_fault():
    text = words(GOOD._replace(missing=2, unexpected=1, out_of_order=3))
    assert "Something is wrong." in text
    assert all(word in text for word in ("missing       2", "unexpected    1", "misordered    3"))


def test_other_counts_than_those_of_the_play_are_explained():
    assert "two changes in one millisecond" not in words()
    assert "two changes in one millisecond" in words(counts=HEARD + Counter(set=1))
