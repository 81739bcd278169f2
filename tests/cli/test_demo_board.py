"""What a demo draws, and what it finds wrong."""

import asyncio
import io

import pytest
from rich.console import Console

from listener.cli.demo_board import Board, LiveView, PlainView, compare, expected
from listener.cli.readable import parse
from listener.simulator import Published
from support.events import disposition_event, events_of, gap_event


def drawn(board, *, height, width=100):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height, _environ={})
    view = LiveView(board=board, console=console, wanted=30, title="a title")
    console.print(view._draw())
    return console.file.getvalue()


def test_events_are_counted_by_change_and_gaps_are_no_dispositions():
    board = Board()
    rows = board.take([*events_of(3), gap_event(4)])
    assert [row.change for row in rows] == ["set", "set", "set", "gap"]
    assert (board.counts["set"], board.counts["gap"], board.dispositions) == (3, 1, 3)
    assert board.rate() == 2.0


async def test_whoever_waits_for_a_count_is_woken_when_it_is_reached():
    board = Board()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(board.heard(2))
        await asyncio.sleep(0)
        board.take([gap_event(1), disposition_event(2)])
        await asyncio.sleep(0)
        assert not waiting.done()
        board.take([disposition_event(3)])


def test_latency_is_unknown_before_the_first_event_and_never_negative():
    board = Board()
    assert board.latency() == "unknown"
    board.take([disposition_event(1)])
    assert all(age >= 0 for age in board.latencies_ms)
    assert "median" in board.latency()


@pytest.mark.parametrize("height", [10, 24, 60])
def test_the_drawing_fits_the_terminal_and_ends_with_the_newest_event(height):
    board = Board()
    board.take([disposition_event(number, chat=f"chat-{number}") for number in range(1, 41)])
    text = drawn(board, height=height)
    assert len(text.splitlines()) < height
    assert "40 of 30 dispositions" in text
    assert "chat-40" in text
    assert "chat-1 " not in text


def test_a_narrow_terminal_cuts_the_last_column_and_no_line_wraps():
    board = Board()
    board.take([disposition_event(1, value="V" * 200)])
    assert {len(line) for line in drawn(board, height=24, width=80).splitlines() if "\x1b" not in line} == {80}


def test_without_a_terminal_each_event_is_a_line(capsys):
    board = Board()
    PlainView(board=board).take(events_of(2))
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert board.dispositions == 2


async def test_the_live_view_leaves_its_last_drawing_behind():
    board = Board()
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=24, _environ={})
    view = LiveView(board=board, console=console, wanted=1, title="a title")
    watching = asyncio.create_task(view.show())
    await asyncio.sleep(0)
    view.take([disposition_event(1, chat="the-last-one")])
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert "the-last-one" in console.file.getvalue()


CHAT = "0000Na9B26EF003M"


def published(value, *, heard_by=("agent1",), key="DispositionCode"):
    return Published(
        chat_id=CHAT,
        operation="SetDisposition",
        key=key,
        value=value,
        reference_id=34,
        agents=("agent1", "agent2"),
        heard_by=heard_by,
    )


def line(sequence, value):
    return parse(disposition_event(sequence, value=value).to_json())


LEDGER = [published("A"), published("B"), published(None, key=None)]


def test_what_came_whole_once_and_in_order_is_good():
    tally = compare(LEDGER, [line(1, "A"), line(2, "B"), parse(gap_event(3).to_json())])
    assert tally.good
    assert (tally.published, tally.events, tally.gaps) == (2, 2, 1)


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ([line(1, "A")], {"missing": 1}),
        ([line(1, "A"), line(2, "B"), line(2, "B")], {"duplicates": 1}),
        ([line(1, "A"), line(2, "B"), line(3, "C")], {"unexpected": 1}),
        ([line(1, "A"), line(2, "B"), line(3, "B")], {"unexpected": 1}),
        ([line(1, "B"), line(2, "A")], {"out_of_order": 1}),
        ([line(1, "A"), line(2, "C")], {"missing": 1, "unexpected": 1}),
    ],
)
def test_each_fault_is_counted_and_is_not_good(lines, fault):
    tally = compare(LEDGER, lines)
    assert not tally.good
    faults = ("missing", "duplicates", "unexpected", "out_of_order")
    assert {name: getattr(tally, name) for name in faults} == dict.fromkeys(faults, 0) | fault


def test_every_session_that_heard_counts_and_an_empty_value_is_a_cleared_one():
    ledger = [published("", heard_by=("agent1", "agent2")), published("A", heard_by=())]
    assert expected(ledger) == 2
    tally = compare(ledger, [line(1, None)])
    assert (tally.published, tally.missing) == (2, 1)
