"""What `audit report` writes, output by output."""

import csv
import io
import json

from listener.audit.events import AccountGaps
from listener.audit.groups import By, GroupRow
from listener.audit.page import MOST_ROWS
from listener.audit.preface import Preface
from listener.audit.report import Coverage, Summary
from listener.cli.audit_outputs import GROUP_HEADING, LIST_HEADING, Counts, FirstRows, JsonLines, Listing, Sheet
from support.reports import in_columns, missed, report_on, said

SUMMARY = Summary(
    files=2,
    lines=9,
    unreadable=1,
    repeated=3,
    dispositions=2,
    changes={"changed": 1, "set": 1},
    left_out=4,
    reconciled=1,
    near_gap=2,
    unproven=0,
    tests=5,
    others={"x.chat.\x1bnew": 6},
    first="t1",
    last="t2",
    gaps=[AccountGaps(account="a", gaps=2, seconds=75.5), AccountGaps(account="b\x1b", gaps=1, seconds=0.25)],
)
PREFACE = Preface(
    reasons=("the line \x1b is =forged",),
    signers=(),
    unsigned=1,
    coverage=Coverage(from_=None, to=None, accounts=[], whole=False),
    zone="UTC",
)
BEGUN = """\
verdict       not proven: the line \\x1b is =forged
coverage      not known: the files hold nothing about this period

"""
TOLD = """\
dispositions  2: 1 set, 1 changed
              first t1, last t2
              1 found by re-reading, 2 near a gap of their account
left out      4 unchanged, 3 repeated, 5 test events
              6 of an unknown type: x.chat.\\x1bnew
read          9 lines of 2 files, 1 unreadable
gaps          3, in which dispositions of these accounts could have been missed:
              a: 2 of 75.500 s (1 min 15 s)
              b\\x1b: 1 of 0.250 s
"""


def rows(tmp_path, *lines):
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(lines))
    return report_on(path)[0]


def test_a_listing_has_a_line_each_and_gaps_among_them(tmp_path, capsys):
    listing = Listing("UTC")
    listing.begin(PREFACE)
    assert capsys.readouterr().out == BEGUN
    gap = missed("2026-11-22T09:30:00Z", "2026-11-22T09:39:00Z")
    for row in rows(tmp_path, said(agents=(), disposition="\x1b[31m", change="changed", previous="x"), gap):
        listing.add(in_columns(row))
    listing.end(SUMMARY)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == [
        *("2026-11-22T09:39:00.123Z", "chat-1", "-", "agent1", "DispositionCode", "changed"),
        *("x", "->", "\\x1b[31m", "not", "proven,", "near", "a", "gap"),
    ]
    assert lines[2].split() == [
        *("2026-11-22T09:39:00.000Z", "-", "-", "agent1", "-", "gap"),
        *("2026-11-22T09:30:00.000Z", "to", "2026-11-22T09:39:00.000Z:", "network", "not", "proven"),
    ]
    assert "\n".join(lines[4:]) + "\n" == TOLD


def test_counts_are_a_table(capsys):
    counts = Counts(By.AGENT, "UTC")
    counts.add(
        [GroupRow(by=By.AGENT, group=None, key="k", code="x", events=7, changes={"set": 7}, first="t1", last="t2")]
    )
    counts.end(SUMMARY)
    heading, row, *rest = capsys.readouterr().out.splitlines()
    assert heading.split()[:9] == ["agent", "code", "key", "events", "set", "changed", "unchanged", "cleared", "first"]
    assert row.split() == ["-", "x", "k", "7", "7", "0", "0", "0", "t1", "t2"]
    assert "\n".join(rest[1:]) + "\n" == TOLD


def test_json_is_an_object_a_line_with_the_names_of_the_events(tmp_path, capfdbinary):
    lines = JsonLines()
    for row in rows(tmp_path, said(id="a", referenceId=3), missed("2026-11-22T09:30:00Z", "2026-11-22T09:39:00Z")):
        lines.add(in_columns(row))
    lines.end(SUMMARY)
    row, gap, summary = map(json.loads, capfdbinary.readouterr().out.splitlines())
    assert (row["row"], row["chatId"], row["referenceId"], row["nearGap"]) == ("disposition", "chat-1", 3, True)
    assert (gap["row"], gap["from"], gap["closedBy"]) == ("gap", "2026-11-22T09:30:00.000Z", "poll")
    assert (summary["row"], summary["leftOut"], summary["gaps"][0]["seconds"]) == ("summary", 4, 75.5)


def test_a_page_keeps_the_first_rows_and_the_count(tmp_path):
    (row,) = rows(tmp_path, said())
    kept = FirstRows()
    for _ in range(MOST_ROWS + 5):
        kept.add(in_columns(row))
    assert (len(kept.rows), kept.total) == (MOST_ROWS, MOST_ROWS + 5)


def read(heading, *rows):
    file = io.StringIO()
    sheet = Sheet(file, heading)
    sheet.begin(PREFACE)
    for row in rows:
        sheet.add([row] if isinstance(row, GroupRow) else in_columns(row))
    opening, lines = file.getvalue().splitlines()[:2], file.getvalue().splitlines()[2:]
    assert all(line.startswith("# ") for line in opening)
    assert len(lines) == len(rows) + 1, "a row is a line"
    return list(csv.DictReader(lines))


def test_rows_and_gaps_have_every_column(tmp_path):
    path = tmp_path / "audit.jsonl"
    gap = missed("2026-11-22T09:38:00Z", "2026-11-22T09:39:00Z", id="g")
    path.write_bytes(said(id="a", agents=("Ann", 'Bob "B", Jr'), previous="x", referenceId=34) + gap)
    row, gap = read(LIST_HEADING, *report_on(path)[0])
    assert None not in row
    assert row | {"sequence": ""} == {
        **dict.fromkeys(LIST_HEADING, ""),
        "time": "2026-11-22T09:39:00.123Z",
        "chat": "chat-1",
        "agents": 'Ann; Bob "B", Jr',
        "account": "agent1",
        "key": "DispositionCode",
        "previous": "x",
        "disposition": "IssueResolved",
        "change": "set",
        "origin": "notification",
        "proof": "none",
        "near_gap": "yes",
        "reference_id": "34",
        "id": "a",
    }
    assert (gap["change"], gap["gap_from"], gap["gap_to"], gap["gap_reason"], gap["id"]) == (
        *("gap", "2026-11-22T09:38:00.000Z", "2026-11-22T09:39:00.000Z", "network", "g"),
    )


def test_groups_have_every_column():
    group = GroupRow(by=By.AGENT, group="Ann", key="k", code=None, events=3, changes={"set": 3}, first="t1", last="t2")
    (row,) = read(GROUP_HEADING, group)
    assert list(row.values()) == ["agent", "Ann", "k", "", "3", "3", "0", "0", "0", "t1", "t2"]
