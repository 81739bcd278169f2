"""Rows in columns are the rows."""

from listener.audit.rows import Row
from listener.audit.verdict import Proof
from support.reports import in_columns

ROW = Row(
    *("2026-11-22T09:39:00.123Z", "chat-1", ("Ann",), "agent1", "DispositionCode", "x", None, "cleared", "reconciled"),
    *(Proof.CHAINED, True, 34, "7", "id-7", "agent7"),
)


def test_each_is_a_row_again():
    rows = in_columns(ROW)
    assert (list(rows), len(rows)) == ([ROW], 1)


def test_what_qualifies_a_row_is_told_in_words():
    assert ROW.notes == "not signed, found by re-reading, near a gap"
    assert ROW.heard == "agent1 for agent7"
    assert list(in_columns(ROW).kinds()) == [(Proof.CHAINED, "reconciled", True)]
