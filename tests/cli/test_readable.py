"""Events as rows."""

import json

import pytest

from listener.cli.readable import Row, parse, row_of
from support.events import disposition_event, gap_event

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
