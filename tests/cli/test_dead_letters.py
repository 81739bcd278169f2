"""`dead-letters` without a daemon: which are meant, and what a replay looks like; see also tests/acceptance."""

import asyncio
import json
import sqlite3

import pytest
import typer
from msgspec.structs import replace

from listener.cli import control
from listener.cli import dead_letters as dead_letters_command
from listener.cli.dead_letters import Replay, ReplayProgress, Selected, Selection, filter_of, follow, select
from listener.errors import ControlError
from listener.journal.sqlite import SqliteJournal
from listener.journal.sqlite.views import dead_letters as stored
from listener.model.event import JournalBatch, LaneState, LaneStatus
from listener.testing import ManualClock
from support.events import dead_letter, disposition_event


def keys(journal):
    return [(letter.sink, letter.sequence) for letter in stored(journal)]


def test_the_list_counts_letters_by_sink_and_reason(invoke, letters):
    result = invoke("dead-letters", "list", "--path", letters)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split(maxsplit=4) for line in result.stdout.splitlines()]
    assert lines[:3] == [
        ["sink", "letters", "first", "last", "reason"],
        ["crm", "3", "2026-11-22T09:00:00.000Z", "2026-11-22T11:00:00.000Z", "crm answered 422"],
        ["bi", "1", "2026-11-22T12:00:00.000Z", "2026-11-22T12:00:00.000Z", "bi answered 422"],
    ]
    assert "--each" in result.stdout
    narrowed = invoke("dead-letters", "list", "--path", letters, "--since", "2026-11-22T10:30:00Z").stdout
    assert [line.split()[:2] for line in narrowed.splitlines()[1:3]] == [["bi", "1"], ["crm", "1"]]


def test_of_thousands_of_letters_a_page_is_shown_and_how_to_see_the_others(invoke, tmp_path):
    async def fill():
        journal = SqliteJournal(path=tmp_path / "journal.db")
        await journal.open()
        events = [disposition_event(number, chat=f"chat-{number}") for number in range(1, 3001)]
        await journal.append(JournalBatch(events=tuple(events)))
        reasons = [f"crm answered {number % 70}" for number in range(1, 3001)]
        dead = [replace(dead_letter(n, hour=9), reason=reasons[n - 1]) for n in range(1, 3001)]
        await journal.advance("crm", 3000, dead)
        await journal.close()

    asyncio.run(fill())
    groups = invoke("dead-letters", "list", "--path", tmp_path / "journal.db").stdout.splitlines()
    assert (len(groups), groups[51]) == (53, "20 more reasons: --limit 70 shows them all")
    single = invoke("dead-letters", "list", "--each", "--path", tmp_path / "journal.db").stdout.splitlines()
    assert (len(single), single[-1]) == (52, "2950 more dead letters: --limit 3000 shows them all")
    every = invoke("dead-letters", "list", "--each", "--limit", "3000", "--path", tmp_path / "journal.db").stdout
    assert len(every.splitlines()) == 3001


def test_the_list_is_a_row_each_with_where_and_why(invoke, letters):
    result = invoke("dead-letters", "list", "--each", "--path", letters)
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
    parked = "sink crm has been parked since 2026-11-22T00:00:00.000Z: crm answered 401"
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
        "2 dead letters to be replayed: no daemon is running, the next one delivers them\n",
    )
    assert [letter.sequence for letter in stored(letters) if letter.replaying] == [1, 3]
    assert "(to be replayed)" in invoke("dead-letters", "list", "--each", "--path", letters).stdout
    assert "(2 of 3 to be replayed)" in invoke("dead-letters", "list", "--path", letters).stdout


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
    assert "give --yes" in result.stderr
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
@pytest.mark.parametrize(
    ("selection", "text"), [((), "say which"), (("--all", "--sink", "crm"), "--all excludes every other selection")]
)
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


def meant(journal, **conditions):
    return [(letter.sink, letter.sequence) for letter in select(journal, Selection(**conditions))]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, [("crm", 1), ("crm", 2), ("crm", 3), ("bi", 1)]),
        ({"sink": "crm"}, [("crm", 1), ("crm", 2), ("crm", 3)]),
        ({"sink": "audit"}, []),
        ({"ids": ["event-1"]}, [("crm", 1), ("bi", 1)]),
        ({"ids": ["event-3", "event-1"], "sink": "crm"}, [("crm", 1), ("crm", 3)]),
        ({"since": "2026-11-22T10:00:00Z"}, [("crm", 2), ("crm", 3), ("bi", 1)]),
        ({"since": "2026-11-22T10:00:00.001Z"}, [("crm", 3), ("bi", 1)]),
        ({"until": "2026-11-22T10:00:00"}, [("crm", 1), ("crm", 2)]),
        ({"until": "2026-11-22T12:00:00+02:00"}, [("crm", 1), ("crm", 2)]),
        ({"since": "2026-11-22T10:00:00Z", "until": "2026-11-22T11:30:00Z"}, [("crm", 2), ("crm", 3)]),
        ({"until": "2020-01-01"}, []),
    ],
)
def test_every_condition_narrows(letters, conditions, expected):
    assert meant(letters, **conditions) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "h", "2026-13-01", "1e9d", "99999999999d"])
def test_what_is_no_time_is_told_with_what_is(letters, text):
    with pytest.raises(typer.BadParameter, match="is not a time: give 2026-11-22T09:39:00Z, now, or an age") as caught:
        select(letters, Selection(since=text))
    assert caught.value.param_hint == "--since"


def test_the_beginning_of_an_id_is_enough_where_it_names_one(letters):
    with pytest.raises(Selected, match=r"several events begin with 'event-': event-1, event-2, event-3$"):
        select(letters, Selection(ids=["event-"]))
    assert meant(letters, ids=["event-3"]) == [("crm", 3)]


def test_an_id_of_no_letter_is_told(letters):
    with pytest.raises(Selected, match="no dead letter of an event 'event-9'"):
        select(letters, Selection(ids=["event-1", "event-9"]))


def test_an_unknown_sink_is_told_with_the_known_ones(letters):
    with pytest.raises(Selected, match=r"knows no sink 'cmr' \(known: audit, bi, crm\)"):
        select(letters, Selection(sink="cmr"))


@pytest.mark.parametrize(
    "which",
    [
        Selection(sink="crm"),
        Selection(ids=["event-1"]),
        Selection(since="2026-11-22T10:00:00Z"),
        Selection(until="2026-11-22T10:30:00Z"),
        Selection(),
    ],
)
def test_the_filter_means_the_letters_that_were_seen(letters, which):
    seen = select(letters, which)
    assert stored(letters, filter_of(seen, which)) == seen
    assert filter_of(seen, which).until_ms == seen[-1].at_ms, "and none that comes later"


def test_a_selection_is_empty_where_nothing_was_said():
    assert Selection().is_empty
    assert not any(one.is_empty for one in (Selection(["a"]), Selection(sink="a"), Selection(since="1h")))


CRM = LaneStatus(sink="crm", kind="webhook", cursor=9, lag=0, delivered=1, failures=0, parked=None, last_error=None)


class World:
    """What the journal and the daemon would say; `step` is called between two looks."""

    def __init__(self, monkeypatch, path):
        self.clock = ManualClock()
        self.before = [dead_letter(number, hour=9) for number in (1, 2, 3)]
        self.letters = [replace(letter, replaying=True) for letter in self.before]
        self.lanes = [CRM]
        monkeypatch.setattr(dead_letters_command, "dead_letters", lambda _path, which: self._letters(which))
        monkeypatch.setattr(control, "lanes", lambda _path: self.lanes)
        self.replay = Replay(journal=path, before=self.before, clock=self.clock.monotonic_s)

    def _letters(self, which):
        return [letter for letter in self.letters if which.sink in (None, letter.sink)]

    def reject(self, sequence):
        self.letters = [
            replace(letter, replaying=False, attempts=letter.attempts + 1) if letter.sequence == sequence else letter
            for letter in self.letters
        ]


@pytest.fixture
def world(monkeypatch, tmp_path):
    return World(monkeypatch, tmp_path / "journal.db")


def test_letters_that_are_gone_were_delivered_and_those_that_changed_were_rejected(world):
    assert world.replay.poll() == ReplayProgress(0, 0, 3)
    del world.letters[0]
    assert world.replay.poll() == ReplayProgress(1, 0, 2)
    world.reject(2)
    assert world.replay.poll() == ReplayProgress(1, 1, 1)
    world.letters = world.letters[:1]
    assert world.replay.poll() == ReplayProgress(2, 1, 0)
    assert world.replay.poll().is_over


def test_a_letter_that_could_not_be_marked_is_neither(world):
    world.letters[0] = world.before[0]
    assert world.replay.poll() == ReplayProgress(0, 0, 2)


def test_letters_of_others_do_not_count(world):
    world.letters += [dead_letter(7, hour=9), dead_letter(1, hour=9, sink="bi")]
    assert world.replay.poll() == ReplayProgress(0, 0, 3)


def test_there_is_nothing_to_wait_for_where_the_lane_is_parked(world):
    world.lanes = [replace(CRM, parked="401"), replace(CRM, sink="audit")]
    progress = world.replay.poll()
    assert progress.is_over
    assert progress.halt == "sink crm is parked: 401; `sinks resume crm` resumes it"


def test_a_lane_that_fails_is_waited_for_a_little(world):
    world.lanes = [replace(CRM, last_error="503")]
    assert not world.replay.poll().is_over
    world.clock.advance(10.1)
    assert world.replay.poll().halt == "sink crm takes none now: 503; the daemon keeps trying"
    del world.letters[0]
    assert not world.replay.poll().is_over, "it does take some"


def test_one_lane_of_two_that_goes_on_is_waited_for(world):
    world.before.append(dead_letter(1, hour=9, sink="bi"))
    world.letters.append(replace(world.before[-1], replaying=True))
    world.lanes = [replace(CRM, parked="401"), replace(CRM, sink="bi")]
    both = Replay(journal=world.replay._journal, before=world.before, clock=world.clock.monotonic_s)
    assert not both.poll().is_over
    world.lanes[1] = replace(CRM, sink="bi", parked="403")
    assert both.poll().halt.count("is parked") == 2


def test_a_daemon_that_ends_meanwhile_is_told(world):
    world.lanes = None
    assert world.replay.poll().halt == "the daemon has stopped; the rest is delivered when it runs again"


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (ReplayProgress(3, 0, 0), "3 delivered"),
        (ReplayProgress(2, 1, 0), "2 delivered, 1 rejected again"),
        (ReplayProgress(0, 0, 3), "0 delivered, 3 still to come"),
    ],
)
def test_progress_in_words(progress, text):
    assert str(progress) == text


def test_following_ends_with_the_last_letter(world, capsys, monkeypatch):
    monkeypatch.setattr(dead_letters_command, "_LINE_S", 0.0)

    def step(_delay_s):
        del world.letters[0]

    assert follow(world.replay, sleep=step) == ReplayProgress(3, 0, 0)
    assert capsys.readouterr().out.splitlines() == [
        "0 delivered, 3 still to come",
        "1 delivered, 2 still to come",
        "2 delivered, 1 still to come",
    ]


def test_a_daemon_that_does_not_answer_ends_it(world, monkeypatch):
    def fail(_path):
        raise ControlError("the daemon does not answer")

    monkeypatch.setattr(control, "lanes", fail)
    with pytest.raises(ControlError):
        follow(world.replay)
