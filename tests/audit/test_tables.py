"""Rows as a table that a browser reads as it was meant."""

from html.parser import HTMLParser

from listener.audit.groups import By, GroupRow
from listener.audit.tables import heading, table
from support.reports import missed, report_on, said


class Cells(HTMLParser):
    """The text of each cell by row, with cells that span several counted as often."""

    def __init__(self):
        super().__init__()
        self.rows, self.caption, self._open = [], "", ""

    def handle_starttag(self, tag, attrs):
        self._open = tag if tag in ("td", "th", "caption") else self._open
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1] += [""] * int(dict(attrs).get("colspan", 1))

    def handle_data(self, data):
        if self._open == "caption":
            self.caption += data
        elif self._open:
            self.rows[-1][-1] += data.strip("\n")


def cells(rows, total):
    parser = Cells()
    parser.feed("".join(table(rows, total=total)))
    return parser


def rows_of(tmp_path, *lines):
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(lines))
    return report_on(path)[0]


def test_rows_and_gaps_have_as_many_cells_as_the_heading(tmp_path):
    rows = rows_of(
        tmp_path,
        said(disposition="<b>&", agents=("Ann", "Bob"), origin="reconciled"),
        missed("2026-11-22T08:00:00Z", "2026-11-22T08:00:05Z"),
    )
    found = cells(rows, 2)
    assert {len(row) for row in found.rows} == {8}
    assert found.rows[1] == [
        *("2026-11-22T09:39:00.123Z", "chat-1", "Ann, Bob", "agent1", "–", "<b>&", "set", "found by re-reading"),  # noqa: RUF001 - as it is set
    ]
    assert "5.0 s from 2026-11-22T08:00:00.000Z" in "".join(found.rows[2])
    assert found.caption == "Times are in UTC. The key is DispositionCode."


def test_several_keys_have_a_column(tmp_path):
    rows = rows_of(tmp_path, said(key="k"), said(key="l"), missed("2026-11-22T08:00:00Z", "2026-11-22T08:00:05Z"))
    found = cells(rows, 9)
    assert {len(row) for row in found.rows} == {9}
    assert found.caption == "Times are in UTC. 6 more rows are left out here; --csv has all of them."


def test_groups_have_their_counts_and_a_code_is_not_told_twice():
    def row(by, group):
        return GroupRow(by=by, group=group, key="k", code="x", events=3, changes={"set": 3}, first="t1", last="t2")

    by_agent = cells([row(By.AGENT, "Ann")], 1).rows
    assert by_agent == [
        ["agent", "code", "events", "set", "changed", "unchanged", "cleared", "first", "last"],
        ["Ann", "x", "3", "3", "0", "0", "0", "t1", "t2"],
    ]
    assert [row[0] for row in cells([row(By.CODE, None)], 1).rows] == ["code", "x"]


def test_without_rows_there_is_no_table():
    assert list(table([], total=0)) == []
    assert 'scope="col"' in heading(("a",))
