"""The demo's board counts, and draws what fits."""

import asyncio
import io

import pytest
from rich.console import Console

from listener.cli.board import Board, LiveView, PlainView
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
