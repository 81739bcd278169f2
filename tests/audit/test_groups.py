"""Rows are counted by what makes a group, in the zone that is asked for."""

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest

from listener.audit.groups import By, Groups
from listener.audit.periods import Calendar
from support.reports import report_on, said

LINES = [
    said("2026-11-22T09:00:00Z", chatId="c1", agents=("Ann", "Bob")),
    said("2026-11-22T23:30:00Z", chatId="c2", agents=("Bob",), disposition="Callback"),
    said("2026-11-23T09:00:00Z", chatId="c2", agents=("Bob",), disposition=None, change="cleared"),
    said("2026-11-23T09:30:00Z", chatId="c3", agents=(), change="changed"),
]


def grouped(tmp_path, by, *, zone=UTC, agent=None):
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(LINES))
    groups = Groups(by=by, calendar=Calendar(zone), agent=agent)
    report = report_on(path, groups=groups, agent=agent)[1]
    return [(row.group, row.code, row.events) for row in report.grouped()]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        (By.CHAT, [("c2", None, 1), ("c2", "Callback", 1), ("c1", "IssueResolved", 1), ("c3", "IssueResolved", 1)]),
        (
            By.AGENT,
            [
                ("Bob", None, 1),
                ("Bob", "Callback", 1),
                ("Bob", "IssueResolved", 1),
                (None, "IssueResolved", 1),
                ("Ann", "IssueResolved", 1),
            ],
        ),
        (By.CODE, [(None, "IssueResolved", 2), (None, None, 1), (None, "Callback", 1)]),
        (
            By.DAY,
            [
                ("2026-11-22", "Callback", 1),
                ("2026-11-22", "IssueResolved", 1),
                ("2026-11-23", None, 1),
                ("2026-11-23", "IssueResolved", 1),
            ],
        ),
    ],
)
def test_groups_are_counted_the_largest_first_and_days_in_their_order(tmp_path, by, expected):
    assert grouped(tmp_path, by) == expected


def test_days_and_hours_are_those_of_the_zone(tmp_path):
    berlin = ZoneInfo("Europe/Berlin")
    assert [group for group, _, _ in grouped(tmp_path, By.DAY, zone=berlin)] == ["2026-11-22"] + ["2026-11-23"] * 3
    assert grouped(tmp_path, By.HOUR, zone=berlin)[1][0] == "2026-11-23T00:00+01:00"


def test_the_agent_that_is_asked_for_is_the_only_group(tmp_path):
    assert grouped(tmp_path, By.AGENT, agent="Ann") == [("Ann", "IssueResolved", 1)]


def test_a_row_tells_the_changes_and_their_times(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join([LINES[3], LINES[0]]))
    (row,) = report_on(path, groups=Groups(by=By.CODE, calendar=Calendar(UTC)))[1].grouped()
    assert (row.changes, row.first, row.last) == (
        {"changed": 1, "set": 1},
        "2026-11-22T09:00:00.000Z",
        "2026-11-23T09:30:00.000Z",
    )
