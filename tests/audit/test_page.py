"""The page: what it says, and what it lets nobody do."""

import re
from base64 import b64encode
from datetime import UTC
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest

from listener.audit.chart import distribute
from listener.audit.events import epoch_ms
from listener.audit.groups import By, GroupRow
from listener.audit.page import STYLE, Page, heading, render, table
from listener.audit.periods import Calendar
from listener.audit.preface import preface
from listener.audit.verdict import KeyUse, Kind, Location, Proof, Span, Stretch, Trust, Verdict
from support.contrast import contrast
from support.reports import event, missed, report_on, said

_LINE = Location(Path("audit.jsonl"), 1)
_KEY = KeyUse("host/audit+1a2b3c4d", Trust.GIVEN, 1, 1)
PROVEN = Verdict(stretches=(Stretch(Proof.SIGNED, _LINE, _LINE, 1, Span(0, 0), (_KEY.label,)),), keys=(_KEY,), first=0)
HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)>"


class Read(HTMLParser):
    """Tags, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += f"{data} "


@pytest.fixture
def page(tmp_path):
    """`page(line, line)`: the text of the page about these lines."""

    def make(*lines, verdict=PROVEN, **wanted):
        path = tmp_path / "audit.jsonl"
        path.write_bytes(b"".join(lines))
        rows, report = report_on(path, **wanted)
        shown = Page(
            period="November",
            zone="UTC",
            asked=[f"agent {wanted['agent']}"] if "agent" in wanted else [],
            preface=preface(verdict, coverage=report.coverage(), zone="UTC"),
            files=["audit.jsonl"],
            made="2026-12-01T00:00:00.000Z",
            summary=report.summary(),
            distribution=distribute(report.hours, calendar=Calendar(UTC), gaps=report.gaps.united()),
            rows=rows,
            total_rows=len(rows),
        )
        return "".join(render(shown))

    return make


def test_it_tells_the_answer_what_qualifies_it_and_what_was_read(page):
    lines = [said(id="a"), said(id="a"), said(change="unchanged"), event("test"), event("later"), b"x\n"]
    text = Read(page(*lines, missed("2026-11-22T08:00:00Z", "2026-11-22T08:00:05Z"))).text
    for words in (
        "1 lines could not be read",
        "There are gaps",
        "1 set",
        "Read 7 lines of audit.jsonl on 2026-12-01T00:00:00.000Z. 1 repeated events are counted once, 1 test events",
        "1 of the unknown type com.example.chat.later.",
        "The chart as a table",
    ):
        assert words in text


def test_without_gaps_it_says_so(page):
    text = Read(page(said())).text
    assert "Every line is signed by host/audit+1a2b3c4d." in text
    assert "The whole period is known" in text
    assert "No gaps" in text
    assert "There are gaps" not in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"verdict": Verdict()}, ("Not proven", "there are no lines")),
        ({"verdict": "cannot be verified: why"}, ("Not proven", "cannot be verified: why")),
        ({"from_ms": epoch_ms("2026-11-23T00:00:00Z")}, ("Not known",)),
        ({"to_ms": epoch_ms("2026-11-22T00:00:00Z")}, ("Not known",)),
        ({"account": "agent3"}, ("Not known",)),
        ({"to_ms": epoch_ms("2026-11-23T00:00:00Z")}, ("Known in part", "2026-11-22T09:39:00.123Z")),
    ],
)
def test_where_it_cannot_know_it_does_not_say_that_there_were_no_gaps(page, options, words):
    text = Read(page(said(), **options)).text
    assert "No gaps" not in text
    for one in words:
        assert one in text


def test_few_reasons_are_told_and_the_rest_counted(page):
    verdict = Verdict()
    for line in range(20):
        verdict.find(Kind.EDITED, Location(Path("audit.jsonl"), line), "it is not what it was")
    text = Read(page(said(), verdict=verdict)).text
    assert "the trail was altered: 20 findings" in text
    assert "and 17 more: see audit verify" in text


def test_without_dispositions_it_is_still_a_page(page):
    assert "none on record" in Read(page()).text


def test_what_comes_from_events_is_text(page):
    lines = [
        said(
            disposition=HOSTILE,
            previous=HOSTILE,
            chatId=HOSTILE,
            account=HOSTILE,
            agents=(HOSTILE,),
            key=HOSTILE,
            change=HOSTILE,
        ),
        missed("2026-11-22T08:00:00Z", "2026-11-22T08:00:05Z", account=HOSTILE),
        event(HOSTILE),
    ]
    found = Read(page(*lines, agent=HOSTILE))
    assert {"script", "img"} & set(found.tags) == set()
    assert [name for name, _ in found.attributes if name.startswith("on") or name in ("src", "href", "style")] == []
    assert found.text.count("alert(2)") > 8


def test_the_policy_lets_in_its_own_style_and_nothing_else(page):
    text = page(said())
    policy = re.search(r'Policy" content="([^"]+)"', text)[1]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert text.count("<style") == 1
    assert text.index("Content-Security-Policy") < text.index("<style")


def test_every_tag_is_closed_in_its_order(page):
    class Nesting(HTMLParser):
        void, stack, wrong = ("meta", "line"), [], []

        def handle_starttag(self, tag, attrs):
            if tag != "meta":
                self.stack.append(tag)

        def handle_endtag(self, tag):
            if not self.stack or self.stack.pop() != tag:
                self.wrong.append(tag)

    parser = Nesting()
    parser.feed(page(said(), missed("2026-11-22T08:00:00Z", "2026-11-22T08:00:05Z")))
    assert (parser.stack, parser.wrong) == ([], [])


def test_many_accounts_with_gaps_do_not_push_the_chart_away(page):
    lines = [missed("2026-11-22T08:00:00Z", "2026-11-22T08:00:05Z", account=f"a{n}") for n in range(20)]
    assert "<summary>Coverage of 20 accounts</summary>" in page(*lines)


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
    parser.feed("".join(table(rows, total=total, zone="Europe/Berlin")))
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
        *(
            "2026-11-22T09:39:00.123Z",
            "chat-1",
            "Ann, Bob",
            "agent1",
            "\u2013",
            "<b>&",
            "set",
            "not proven, found by re-reading",
        ),
    ]
    assert "5.0 s from 2026-11-22T08:00:00.000Z" in "".join(found.rows[2])
    assert found.caption == "Times are in Europe/Berlin. The key is DispositionCode."


def test_several_keys_have_a_column(tmp_path):
    rows = rows_of(tmp_path, said(key="k"), said(key="l"), missed("2026-11-22T08:00:00Z", "2026-11-22T08:00:05Z"))
    found = cells(rows, 9)
    assert {len(row) for row in found.rows} == {9}
    assert found.caption == "Times are in Europe/Berlin. 6 more rows are not shown here; --csv has all of them."


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
    assert list(table([], total=0, zone="UTC")) == []
    assert 'scope="col"' in heading(("a",))


@pytest.mark.parametrize("shade", [0, 1])
def test_text_has_enough_contrast_on_every_ground(shade):
    """WCAG 2.2, 1.4.3: 4.5:1."""
    colours = dict(re.findall(r"--([\w-]+):(#\w+)", STYLE.split("@media screen")[shade]))
    assert len(colours) == 9
    pairs = [(text, ground) for text in ("text", "quiet", "alarm") for ground in ("ground", "raised")]
    pairs += [(text, f"{kind}-ground") for kind in ("alarm", "calm") for text in ("text", kind)]
    assert [pair for pair in pairs if contrast(colours[pair[0]], colours[pair[1]]) < 4.5] == []


def test_it_takes_nothing_from_elsewhere_and_cares_for_paper():
    assert re.findall(r"url\(|@import|</", STYLE) == []
    assert "@media print" in STYLE
