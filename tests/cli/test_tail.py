"""`tail`: what it shows, what it leaves out, what it survives."""

import json
import os
import pty
import signal

import pytest

from support.config import write_config
from support.eventually import eventually


@pytest.fixture
def audit(tmp_path, lines):
    path = tmp_path / "dispositions.jsonl"
    path.write_bytes(lines(3))
    return path


def chats(text):
    return [line.split()[1] for line in text.splitlines()]


def test_events_and_gaps_are_shown_as_readable_lines(invoke, audit):
    result = invoke("tail", audit)
    assert (result.exit_code, result.stderr) == (0, "")
    first, *_, gap = result.stdout.splitlines()
    assert first == "2026-11-22T09:39:00.123Z  chat-1            agent1    set        - -> IssueResolved"
    assert gap.split()[3] == "gap"
    assert "\x1b" not in result.stdout, "no colour without a terminal"


def test_the_last_lines_are_enough(invoke, audit):
    assert chats(invoke("tail", audit, "-n", "2").stdout) == ["chat-3", "-"]
    assert invoke("tail", audit, "-n", "0").stdout == ""


def test_a_configuration_leads_to_the_file_of_its_first_file_sink(invoke, config, lines, tmp_path):
    (tmp_path / "dispositions.jsonl").write_bytes(lines(1))
    assert chats(invoke("tail", "--config", config).stdout) == ["chat-1", "-"]


def test_a_configuration_without_a_file_sink_is_refused(invoke, tmp_path):
    server = {"url": "http://127.0.0.1:9", "login": "none"}
    config = write_config(tmp_path, server=server, sinks={"audit": None, "out": {"type": "stdout"}})
    result = invoke("tail", "--config", config)
    assert (result.exit_code, result.stderr.count("\n")) == (78, 1)
    assert result.stderr.startswith("error: sinks: there is no sink of type file")


def test_a_variable_that_is_not_set_here_matters_only_in_the_path_of_the_file(invoke, lines, tmp_path):
    (tmp_path / "dispositions.jsonl").write_bytes(lines(1))
    server = {"url": "https://${GWS_NOT_SET}", "login": "none"}
    config = write_config(tmp_path, server=server)
    assert chats(invoke("tail", "--config", config).stdout) == ["chat-1", "-"]
    config = write_config(tmp_path, server=server, sinks={"audit": {"type": "file", "path": "${DIR_NOT_SET}/d.jsonl"}})
    result = invoke("tail", "--config", config)
    assert result.exit_code == 78
    assert "error: sinks.audit.path: the variable DIR_NOT_SET is not set" in result.stderr
    assert "works without the configuration: tail FILE" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("file", "--config", "config")])
def test_exactly_one_of_file_and_configuration_is_needed(invoke, arguments):
    result = invoke("tail", *arguments)
    assert result.exit_code == 2
    assert "give either FILE or --config" in result.stderr


def test_one_chat_alone_can_be_shown(invoke, audit):
    assert chats(invoke("tail", audit, "--chat", "chat-2").stdout) == ["chat-2"]


def test_changes_leaves_repetitions_out(invoke, audit, event_line):
    audit.write_bytes(event_line(1) + event_line(2, change="unchanged") + event_line(3, change="cleared"))
    shown = [line.split()[3] for line in invoke("tail", audit, "--changes").stdout.splitlines()]
    assert shown == ["set", "cleared"]


def test_the_count_is_that_of_wanted_events(invoke, audit, event_line):
    audit.write_bytes(event_line(1) + event_line(2) + event_line(3, change="unchanged") * 50)
    assert len(invoke("tail", audit, "--changes", "-n", "2").stdout.splitlines()) == 2


def test_json_gives_the_lines_as_they_are(invoke, audit, lines):
    assert invoke("tail", audit, "--json").stdout.encode() == lines(3)


def test_a_broken_line_is_told_and_the_rest_goes_on(invoke, audit, event_line):
    audit.write_bytes(event_line(1) + b'{"type": "x", broken\x1b\n\n' + event_line(2))
    result = invoke("tail", audit)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert result.stderr.startswith("tail: skipped a line that is not an event (")
    assert "\x1b" not in result.stderr


def test_a_line_that_is_not_whole_yet_is_left_out(invoke, audit, event_line):
    audit.write_bytes(event_line(1) + event_line(2)[:-30])
    result = invoke("tail", audit)
    assert (len(result.stdout.splitlines()), result.stderr) == (1, "")


def test_a_missing_file_is_one_clear_line(invoke, tmp_path):
    result = invoke("tail", tmp_path / "none")
    assert (result.exit_code, result.stderr) == (1, f"error: {tmp_path}/none: No such file or directory\n")


async def test_following_goes_over_rotation_until_ctrl_c(start_command, audit, lines):
    tail = await start_command("tail", audit, "-f", "-n", "1")
    await tail.line(lambda line: " gap " in line)
    with audit.open("ab") as file:
        file.write(lines(1, first=10))
    await tail.line(lambda line: "chat-10 " in line)
    audit.rename(audit.with_suffix(".1"))
    audit.write_bytes(lines(1, first=20))
    await tail.line(lambda line: "chat-20 " in line)
    tail.send_signal(signal.SIGINT)
    assert await tail.wait() == 0
    assert not any("Traceback" in line for line in tail.lines)


async def test_following_waits_for_a_file_that_is_not_there_yet(start_command, tmp_path, lines):
    tail = await start_command("tail", tmp_path / "later.jsonl", "-f")
    await tail.line(lambda line: line == f"tail: waiting for {tmp_path}/later.jsonl")
    (tmp_path / "later.jsonl").write_bytes(lines(1))
    await tail.line(lambda line: "chat-1 " in line)


async def test_a_reader_that_goes_away_ends_it_quietly(start_shell, audit, lines):
    audit.write_bytes(lines(5000))
    shell = await start_shell(f"$PYTHON -m listener tail -n 9999 {audit} | head -1; echo ${{PIPESTATUS[0]}}")
    assert await shell.wait() == 0
    assert [line.split()[-1] for line in shell.lines] == ["IssueResolved", "0"]


@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_a_terminal_gets_colours_unless_no_color_is_set(start_shell, audit, extra, coloured):
    main, side = pty.openpty()
    try:
        shell = await start_shell(f"$PYTHON -m listener tail {audit} > {os.ttyname(side)}", TERM="xterm", **extra)
        assert await shell.wait() == 0
        text = os.read(main, 65_536).decode()
    finally:
        os.close(main)
        os.close(side)
    assert ("\x1b[32m" in text) is coloured
    assert "IssueResolved" in text


async def test_a_line_that_is_json_to_us_is_json_to_others(start_shell, audit):
    shell = await start_shell(f"$PYTHON -m listener tail --json {audit}")
    await shell.wait()
    assert [json.loads(line)["sequence"] for line in shell.lines] == ["1", "2", "3", "4"]
    await eventually(lambda: shell.exit_status == 0)
