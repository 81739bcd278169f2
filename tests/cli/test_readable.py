"""Events as rows, and tables for a terminal and for everything else."""

import json

import pytest
from msgspec.structs import replace

from listener.cli import readable
from listener.cli.readable import Columns, Row, duration, parse, row_of, sink_state, write_table
from listener.model.condition import SinkReport
from support.events import disposition_event, gap_event
from support.pages import SINK

TIME = "2026-11-22T09:39:00.123Z"


def row(line):
    return row_of(parse(line))


def test_a_disposition_shows_what_it_was_and_what_it_is(event_line):
    line = event_line(change="changed", previous="IssueResolved", disposition="Callback")
    assert row(line) == Row(TIME, "0000Na9B26EF003M", "agent1", "changed", "IssueResolved -> Callback")


@pytest.mark.parametrize(
    ("data", "what"),
    [
        ({"change": "set"}, "- -> IssueResolved"),
        ({"change": "cleared", "previous": "Callback", "disposition": None}, "Callback -> -"),
        ({"change": "unchanged", "previous": "IssueResolved"}, "IssueResolved"),
        ({"change": "set", "key": "Outcome"}, "Outcome: - -> IssueResolved"),
        ({"change": "set", "origin": "reconciled"}, "- -> IssueResolved  (found by re-reading)"),
    ],
)
def test_what_happened_is_told_in_words(event_line, data, what):
    assert row(event_line(**data)).what == what


def test_a_gap_is_shown_as_one():
    shown = row(gap_event(1).to_json())
    assert (shown.change, shown.account, shown.chat) == ("gap", "agent1", "-")
    assert shown.what == f"{TIME} to {TIME}: network, closed by poll"


def test_a_gap_of_one_medium_names_it():
    line = json.loads(gap_event(1).to_json())
    line["data"] |= {"reason": "topic_refused", "mediaType": "email"}
    assert ": topic_refused of email, closed by" in row(json.dumps(line).encode()).what


def test_a_prefix_of_ones_own_and_unknown_fields_and_kinds_are_no_obstacle():
    event = json.loads(disposition_event(1).to_json())
    event |= {"type": "org.example.chat.disposition", "traceparent": "00"}
    assert row(json.dumps(event).encode()).change == "set"
    event["type"] = "org.example.chat.note"
    assert row(json.dumps(event).encode()).change == "note"


def test_a_value_cannot_drive_the_terminal(event_line):
    what = row(event_line(disposition="a\x1b[31m\nb\u202e", key="k\r")).what
    assert what.isprintable()
    assert "\\x1b[31m\\nb\\u202e" in what


@pytest.mark.parametrize("line", [b"", b"[]", b"{}", b'{"type": 1}', b"\xff", b"[" * 100_000, b'{"type": "x"'])
def test_what_is_no_event_is_refused(line):
    with pytest.raises(ValueError, match=r".+"):
        parse(line)


@pytest.mark.parametrize("data", [{"account": 7}, {"change": ["x"]}, {"disposition": {"a": 1}}])
def test_wrong_types_in_data_are_shown_all_the_same(event_line, data):
    assert all(isinstance(column, str) for column in row(event_line(**data)))


def test_columns_are_fitted_and_only_grow_from_block_to_block(capsys, monkeypatch):
    monkeypatch.setattr(readable, "_BLOCK", 3)
    shown = Columns(("a", "b"))
    for cell in ("1", "22", "333", "4"):
        shown.add([(cell, "x")], [""])
    shown.end()
    assert capsys.readouterr().out == "a   b\n1   x\n22  x\n333  x\n4    x\n"


def test_without_rows_there_is_the_heading(capsys):
    shown = Columns(("a", "b"))
    shown.end()
    shown.end()
    assert capsys.readouterr().out == "a  b\n"


async def test_a_terminal_gets_colours_and_no_cell_drives_it(start_shell):
    program = (
        "from listener.cli.readable import Columns; shown = Columns(('a', 'b')); "
        "shown.add([('[red]x[/red]' + chr(27) + 'c', 'y' * 99)], ['green']); shown.end()"
    )
    shell = await start_shell(f'script -qec "$PYTHON -c \\"{program}\\"" /dev/null', TERM="xterm")
    await shell.wait()
    text = "\n".join(shell.lines)
    assert "\x1b[32m[red]x[/red]\\x1bc  " + "y" * 99 in text


HEADING = ("sink", "at", "state")


def test_elsewhere_columns_are_as_wide_as_they_need_to_be(capsys):
    write_table(HEADING, [("audit", "7", "running"), ("crm", "1234", "parked: \x1b[1m401")], numbers=("at",))
    assert capsys.readouterr().out == ("sink     at  state\naudit     7  running\ncrm    1234  parked: \\x1b[1m401\n")


async def test_on_a_terminal_the_last_column_is_wrapped_and_no_cell_drives_it(start_shell):
    program = (
        "from listener.cli.readable import write_table; "
        "write_table(('sink', 'state'), [('crm', 'answered [red]422[/red] ' + 'x' * 70 + chr(27) + 'c')])"
    )
    shell = await start_shell(f'script -qec "$PYTHON -c \\"{program}\\"" /dev/null', TERM="dumb")
    await shell.wait()
    shown = "".join("".join(shell.lines).split())
    assert "[red]422[/red]" in shown
    assert "\\x1bc" in shown
    assert max(len(line.rstrip()) for line in shell.lines) <= 80


async def test_where_a_terminal_leaves_it_little_room_the_last_column_has_lines_of_its_own(start_shell):
    program = (
        "from listener.cli.readable import write_table; "
        "write_table(('sink', 'chat', 'why'), [('c' * 30, 'd' * 30, 'answered [red]422'), ('e' * 100, 'f', 'g')])"
    )
    shell = await start_shell(f'script -qec "$PYTHON -c \\"{program}\\"" /dev/null', TERM="dumb")
    await shell.wait()
    lines = [line.rstrip() for line in shell.lines]
    assert "    answered [red]422" in lines
    shown = "".join(lines)
    assert "e" * 100 in shown
    assert "    why" in lines


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 s"),
        (999, "0 s"),
        (59_000, "59 s"),
        (61_000, "1 min 1 s"),
        (7_200_000, "2 h"),
        (75 * 3_600_000, "3 d 3 h"),
        (90_061_000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_a_length_of_time_is_told_in_its_largest_units(ms, text):
    assert duration(ms) == text


@pytest.mark.parametrize(
    ("sink", "expected"),
    [
        (SINK, "running"),
        (replace(SINK, resend_left=7), "running; 7 to be delivered again"),
        (replace(SINK, last_error="503"), "failing: 503"),
        (
            replace(SINK, last_error="503", next_attempt_seconds=11.6, resend_left=7),
            "failing, next attempt in 12 s: 503; 7 to be delivered again",
        ),
        (replace(SINK, quiet_seconds=59.6, last_error="429"), "paused for 60 s more, as its destination asked: 429"),
        (replace(SINK, parked="401", last_error="401"), "parked: 401"),
    ],
)
def test_a_sinks_state_is_told_in_a_few_words(sink: SinkReport, expected: str):
    assert sink_state(sink) == expected
