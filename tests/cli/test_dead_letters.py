"""`dead-letters` without a daemon; with one, see acceptance/test_dead_letters.py."""

import asyncio
import json
import sqlite3

import pytest

from listener.journal import SqliteJournal
from listener.journal.views import dead_letters as stored
from listener.model.event import LaneState


def keys(journal):
    return [(letter.sink, letter.sequence) for letter in stored(journal)]


def test_the_list_is_a_row_each_with_where_and_why(invoke, letters):
    result = invoke("dead-letters", "list", "--path", letters)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split(maxsplit=6) for line in result.stdout.splitlines()]
    assert lines[0] == ["when", "sink", "sequence", "id", "chat", "tries", "reason"]
    assert lines[1] == ["2026-11-22T09:00:00.000Z", "crm", "1", "event-1", "chat-1", "1", "crm answered 422"]
    assert lines[3][4] == "-", "a gap is of no chat"
    assert [line[1] for line in lines[1:]] == ["crm", "crm", "crm", "bi"]
    assert "no such chat" not in result.stdout, "an answer may quote the event"


def test_the_list_can_be_narrowed_and_come_as_json(invoke, letters):
    options = ("--sink", "crm", "--since", "2026-11-22T10:00:00Z", "--id", "event-2", "--id", "event-3", "--json")
    found = [
        json.loads(line) for line in invoke("dead-letters", "list", "--path", letters, *options).stdout.splitlines()
    ]
    assert [(one["sequence"], one["eventId"], one["answer"]) for one in found] == [
        (2, "event-2", "no such chat: 2"),
        (3, "event-3", "no such chat: 3"),
    ]


def test_the_list_tells_which_lanes_are_parked(invoke, letters):
    async def park():
        journal = SqliteJournal(path=letters)
        await journal.open()
        await journal.store_lane_state(LaneState(sink="crm", parked="crm answered 401", parked_ms=1_795_305_600_000))
        await journal.close()

    asyncio.run(park())
    parked = "sink crm is parked since 2026-11-22T00:00:00.000Z: crm answered 401"
    assert invoke("dead-letters", "list", "--path", letters).stdout.splitlines()[-1] == parked
    assert parked not in invoke("dead-letters", "list", "--path", letters, "--sink", "bi").stdout


def test_an_empty_list_says_so(invoke, letters):
    assert invoke("dead-letters", "list", "--path", letters, "--sink", "audit").stdout == "no dead letters\n"
    assert invoke("dead-letters", "list", "--path", letters, "--sink", "audit", "--json").stdout == ""


def test_a_letter_is_shown_whole_with_its_event(invoke, letters):
    shown = invoke("dead-letters", "show", "event-2", "--path", letters).stdout
    figures, _, event = shown.partition("\n\n")
    assert dict(line.split(maxsplit=1) for line in figures.splitlines()) == {
        "id": "event-2",
        "sink": "crm",
        "sequence": "2",
        "when": "2026-11-22T10:00:00.000Z",
        "attempts": "2",
        "reason": "crm answered 422",
        "answer": "no such chat: 2",
        "replay": "-",
    }
    assert json.loads(event)["subject"] == "chat-2"


def test_no_event_that_is_shown_drives_the_terminal(invoke, letters):
    with sqlite3.connect(letters) as journal:
        data = json.dumps({"disposition": "\x1b[31m \x9b31m \u2028 né"}, ensure_ascii=False)
        journal.execute("UPDATE dead_letter SET data = ? WHERE sequence = 2", (data.encode(),))
    event = invoke("dead-letters", "show", "event-2", "--path", letters).stdout.partition("\n\n")[2]
    assert all(line.isprintable() for line in event.split("\n"))
    assert json.loads(event)["data"]["disposition"] == "\x1b[31m \x9b31m \u2028 né"


def test_an_event_that_two_sinks_refused_is_shown_once(invoke, letters):
    shown = invoke("dead-letters", "show", "event-1", "--path", letters).stdout
    assert (shown.count("answer "), shown.count('"specversion"')) == (2, 1)
    assert invoke("dead-letters", "show", "event-1", "--path", letters, "--sink", "bi").stdout.count("answer ") == 1


def test_letters_are_marked_for_the_next_daemon(invoke, letters):
    result = invoke("dead-letters", "replay", "event-1", "event-3", "--sink", "crm", "--path", letters)
    assert (result.exit_code, result.stdout) == (
        0,
        "2 dead letters to be replayed: no daemon runs, the next one delivers them\n",
    )
    assert [letter.sequence for letter in stored(letters) if letter.replaying] == [1, 3]
    assert "(to be replayed)" in invoke("dead-letters", "list", "--path", letters).stdout


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        (("--sink", "crm"), [("bi", 1)]),
        (("--all",), []),
        (("event-1",), [("crm", 2), ("crm", 3)]),
        (("--until", "2026-11-22T10:00:00Z"), [("crm", 3), ("bi", 1)]),
    ],
)
def test_letters_are_dropped_with_yes(invoke, letters, selection, left):
    result = invoke("dead-letters", "drop", *selection, "--yes", "--path", letters)
    assert (result.exit_code, result.stdout) == (0, f"{4 - len(left)} dead letter{'s' * (len(left) < 3)} dropped\n")
    assert keys(letters) == left


def test_without_a_terminal_nothing_is_dropped_that_was_not_confirmed(invoke, letters):
    result = invoke("dead-letters", "drop", "--all", "--path", letters)
    assert result.exit_code == 2
    assert "--yes is needed" in result.stderr
    assert len(keys(letters)) == 4


async def test_on_a_terminal_it_is_asked(start_shell, letters):
    """`script` gives the command a terminal."""
    command = "script -qec '$PYTHON -m listener dead-letters drop --sink crm --path journal.db' /dev/null"
    refusing = await start_shell(f"echo n | {command}")
    await refusing.wait()
    assert any("Drop 3 dead letters of crm for good? [y/N]" in line for line in refusing.lines)
    assert len(keys(letters)) == 4
    agreeing = await start_shell(f"echo y | {command}")
    await agreeing.wait()
    assert keys(letters) == [("bi", 1)]


@pytest.mark.parametrize("command", ["replay", "drop"])
@pytest.mark.parametrize(("selection", "text"), [((), "say which"), (("--all", "--sink", "crm"), "--all stands alone")])
def test_what_changes_letters_wants_to_be_told_which(invoke, letters, command, selection, text):
    result = invoke("dead-letters", command, *selection, "--path", letters)
    assert result.exit_code == 2
    assert text in result.stderr
    assert not any(letter.replaying for letter in stored(letters))


@pytest.mark.parametrize("command", ["replay", "drop"])
def test_where_nothing_fits_nothing_is_done(invoke, letters, command):
    result = invoke("dead-letters", command, "--until", "2020-01-01", "--path", letters)
    assert (result.exit_code, result.stdout) == (0, "no such dead letters\n")


@pytest.mark.parametrize("command", [("list",), ("show", "x"), ("replay", "--all"), ("drop", "--all", "--yes")])
def test_a_journal_that_is_not_there_is_one_clear_line(invoke, tmp_path, command):
    result = invoke("dead-letters", *command, "--path", tmp_path / "none.db")
    assert (result.exit_code, result.stderr) == (1, f"error: journal {tmp_path}/none.db: no such file\n")
    assert list(tmp_path.iterdir()) == []
