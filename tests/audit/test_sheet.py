"""CSV that is read back as it was meant, and runs nothing."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.audit.groups import By, GroupRow
from listener.audit.sheet import GROUP_HEADING, LIST_HEADING, Sheet, defused
from support.reports import missed, report_on, said


def read(heading, *rows):
    file = io.StringIO()
    sheet = Sheet(file, heading)
    for row in rows:
        sheet.add(row)
    assert file.getvalue().count("\n") == len(rows) + 1, "a row is a line"
    return list(csv.DictReader(io.StringIO(file.getvalue())))


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


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("=1+1", "'=1+1"),
        ("+49 30", "'+49 30"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\\t=1"),
        ("\r\n=1", "'\\r\\n=1"),
        ("＝1", "'＝1"),  # noqa: RUF001 - the full-width sign
        ("'=1", "''=1"),
        ("'tHooft", "'tHooft"),
        ("a=1", "a=1"),
        ("", ""),
        ("a\nb\x1b", "a\\nb\\x1b"),
    ],
)
def test_what_would_be_a_formula_is_text(text, field):
    assert defused(text) == field


@given(st.text(st.characters(exclude_categories=("C", "Z"))))
def test_leaving_one_quote_out_gives_the_text_back(text):
    field = defused(text)
    assert not field.startswith(("=", "+", "-", "@"))
    quoted = field.startswith("'") and field.lstrip("'").startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))  # noqa: RUF001 - as the code has them
    assert (field[1:] if quoted else field) == text
