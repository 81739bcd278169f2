"""The page: what it says, and what it lets nobody do."""

import re
from base64 import b64encode
from datetime import UTC
from hashlib import sha256
from html.parser import HTMLParser

import pytest

from listener.audit.distribution import distribute
from listener.audit.page import Page, render
from listener.audit.periods import Calendar
from support.reports import event, missed, report_on, said

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

    def make(*lines, **wanted):
        path = tmp_path / "audit.jsonl"
        path.write_bytes(b"".join(lines))
        rows, report = report_on(path, **wanted)
        shown = Page(
            period="November",
            asked=[f"agent {wanted['agent']}"] if "agent" in wanted else [],
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
        "The numbers of the chart",
    ):
        assert words in text


def test_without_gaps_it_says_so(page):
    text = Read(page(said())).text
    assert "No gaps" in text
    assert "There are gaps" not in text


def test_without_dispositions_it_is_still_a_page(page):
    assert "none in this period" in Read(page()).text


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
    assert "<summary>Gaps of 20 accounts</summary>" in page(*lines)
