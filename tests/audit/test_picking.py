"""What is picked from lines at once is what is picked from them one by one; and what cannot be read, with its place."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audit import picking
from listener.audit.events import epoch_ms, told_by
from listener.audit.picking import Fault, Picked, Picker, Wanted
from listener.errors import ListenerError
from support.reports import event, missed, said

DAY = "2026-11-22T"
LINES = [
    *(said(f"{DAY}09:{minute:02d}:00.000Z", id=f"e{minute}", chatId=f"chat-{minute % 3}") for minute in range(6)),
    said(f"{DAY}09:07:00Z", id="e1", agents=("Bob",)),
    said(f"{DAY}09:08:00.000Z", id="none", agents=(), change="unchanged", account="agent2", disposition=None),
    said(f"{DAY}10:09:00+01:00", id="zone", origin="reconciled", agents=()),
    said("2026-13-22T09:00:00.000Z"),
    said("9999-12-31T23:59:59-05:00"),
    said("0999-01-01T00:00:00.000Z"),
    missed(f"{DAY}09:00:00Z", f"{DAY}09:01:00Z", id="gap"),
    event("test"),
    event("later"),
    b"nonsense\n",
    said().replace(b"IssueResolved", b"\xff"),
    said(referenceId=2**63),
    b"\n",
]
WANTED = [
    Wanted(),
    Wanted(unchanged=True),
    Wanted(agent="Ann"),
    Wanted(chat="chat-1", key="DispositionCode"),
    Wanted(account="agent2", unchanged=True, code=""),
    Wanted(from_ms=epoch_ms(f"{DAY}09:01:00Z"), to_ms=epoch_ms(f"{DAY}09:08:30Z")),
]


def picked(wanted, groups, *, most_rows=None):
    """What comes of the lines, some at a time: rows one by one, the rest as it is, and the counts."""
    picker, number, found = Picker(wanted, most_rows=most_rows), 0, []
    picker.begin("trail")
    for lines in groups:
        stripped = [line.removesuffix(b"\n") for line in lines]
        picker.take(number, stripped, told_by(stripped))
        number += len(lines)
    picker.end()
    for item in picker.kept:
        if isinstance(item, Picked):
            columns = [getattr(item, name) for name in item.__struct_fields__[1:]]
            found += zip(*(column or [None] * len(item.lines) for column in columns), strict=True)
        else:
            found.append(item)
    picker.kept.close()
    return found, picker.count, picker.tally, picker.others, picker.times


@given(st.lists(st.lists(st.sampled_from(LINES), max_size=6), max_size=6), st.sampled_from(WANTED))
def test_many_lines_at_once_are_as_one_by_one(groups, wanted):
    one_by_one = [[line] for lines in groups for line in lines]
    assert picked(wanted, groups) == picked(wanted, one_by_one)


def test_rows_beyond_those_that_are_shown_are_only_counted():
    found, count, *_ = picked(Wanted(), [LINES[:3], LINES[3:6]], most_rows=1)
    assert [(row[0], row[-2]) for row in found] == [(1, "e0"), (2, "e1"), (3, "e2"), (4, None), (5, None), (6, None)]
    assert count["rows"] == 6


def test_lines_that_cannot_be_read_and_follow_one_another_are_one_fault():
    bad = b"nonsense\n"
    found, count, *_ = picked(Wanted(), [[bad, bad, LINES[0], bad], [bad], [LINES[1]]])
    faults = [(one.first, one.last) for one in found if isinstance(one, Fault)]
    assert (faults, count["unreadable"]) == ([(1, 2), (4, 5)], 4)


def test_a_full_disk_is_told_in_words(monkeypatch):
    monkeypatch.setattr(picking, "_IN_MEMORY", 1)
    with Path("/dev/full").open("w+b", buffering=0) as full:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: full)
        with pytest.raises(ListenerError, match=r"No space left on device \(TMPDIR names"):
            picked(Wanted(), [LINES[:3], LINES[3:6]])


@pytest.mark.parametrize(("known", "agents"), [(1, ("Ann",)), (0, ())])
def test_who_was_in_a_chat_is_known_of_the_last_chats(monkeypatch, known, agents):
    """At least of so many as are to be known, and at most of twice as many and those of one block."""
    monkeypatch.setattr(picking, "_CHATS_KNOWN", 2)
    others = [[said(chatId=f"other-{number}")] for number in range(1 if known else 4)]
    found, *_ = picked(Wanted(), [[said(chatId="x")], *others, [said(id="end", chatId="x", agents=())]])
    assert next(row for row in found if row[-2] == "end")[4] == agents
