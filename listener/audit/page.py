"""The report as one HTML page: what was asked, the answer at a glance, the chart, the rows; nothing from elsewhere."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256

import msgspec

from listener.audit import chart
from listener.audit.distribution import Distribution
from listener.audit.gaps import AccountGaps
from listener.audit.groups import GroupRow
from listener.audit.markup import element, text
from listener.audit.report import GapRow, Row, Summary
from listener.audit.style import STYLE
from listener.audit.tables import CHANGES, heading, table

MOST_ROWS = 2000
"""So many rows are on a page; a browser has trouble with many more."""

_FEW_ACCOUNTS = 8  # more would push the chart off the first page


_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'"
)


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a page shows.

    Attributes:
        period: the period that was asked for, in words, with the zone that days and hours are of.
        asked: the conditions, in words.
        files: the names of the files that were read.
        made: when, in words.
        rows: the rows, or the first `MOST_ROWS` of them.
        total_rows: how many there are.
    """

    period: str
    asked: Sequence[str]
    files: Sequence[str]
    made: str
    summary: Summary
    distribution: Distribution
    rows: Sequence[Row | GapRow | GroupRow]
    total_rows: int


def render(page: Page) -> Iterator[str]:
    """The page, piece by piece. Whatever comes from an event is text in it, and nothing else."""
    yield "<!doctype html>\n"
    yield f'<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{text(f'Dispositions, {page.period}')}</title><style>{STYLE}</style></head><body>\n"
    yield "<header><h1>Who set which disposition when</h1>"
    yield element("p", text(page.period))
    if page.asked:
        yield element("ul", *(element("li", text(one)) for one in page.asked), class_="asked")
    yield "</header><main>"
    yield _figures(page.summary)
    yield from _qualified(page.summary)
    yield from _chart(page)
    yield from table(page.rows, total=page.total_rows)
    yield f"</main>{_footer(page)}</body></html>\n"


def _figures(summary: Summary) -> str:
    changes = ", ".join(f"{summary.changes[name]:,} {name}" for name in CHANGES if summary.changes.get(name))
    seconds = sum(one.seconds for one in summary.gaps)
    tiles = (
        ("Dispositions", f"{summary.dispositions:,}", changes or "none in this period"),
        ("Found by re-reading", f"{summary.reconciled:,}", "not heard, but seen afterwards"),
        ("Near a gap", f"{summary.near_gap:,}", "in one of their account, or within a minute"),
        ("Gaps", f"{sum(one.gaps for one in summary.gaps):,}", f"{seconds:,.0f} s, accounts added up"),
        ("Only repeated", f"{summary.left_out:,}", "the known value again; left out"),
    )
    return element("dl", *(_tile(*tile) for tile in tiles))


def _tile(name: str, figure: str, more: str) -> str:
    return element(
        "div",
        element("dt", text(name)),
        element("dd", text(figure), class_="figure"),
        element("dd", text(more), class_="more"),
    )


def _qualified(summary: Summary) -> Iterator[str]:
    """What limits the answer, before the answer."""
    if summary.unreadable:
        yield _notice(
            "alarm-box",
            f"{summary.unreadable:,} lines could not be read",
            "This report is without them. The command named each of them on standard error.",
        )
    if not summary.gaps:
        yield _notice(
            "calm-box",
            "No gaps",
            "No stretch of this period is on record in which a disposition could have been missed.",
        )
        return
    yield _notice(
        "alarm-box",
        "There are gaps",
        "While an account was without its subscription, a disposition of its chats may have been set and replaced "
        "unseen. What re-reading the chats has found afterwards is here, with the time at which it was found.",
    )
    rows = [_gap_figures(one) for one in summary.gaps]
    head = heading(("account", "gaps", "seconds"), numbers=("gaps", "seconds"))
    gaps = element("table", element("caption", "Gaps by account"), head, element("tbody", *rows), class_="small")
    many = len(rows) > _FEW_ACCOUNTS
    yield element("details", element("summary", f"Gaps of {len(rows)} accounts"), gaps) if many else gaps


def _gap_figures(gaps: AccountGaps) -> str:
    figures = (f"{gaps.gaps:,}", f"{gaps.seconds:,.1f}")
    return element("tr", element("td", text(gaps.account)), *(element("td", one, class_="n") for one in figures))


def _notice(kind: str, title: str, words: str) -> str:
    return element("div", element("strong", text(title)), text(words), class_=f"notice {kind}", role="note")


def _chart(page: Page) -> Iterator[str]:
    yield element("h2", "Distribution of codes")
    title = f"Dispositions by code, {page.period}"
    yield element("figure", chart.draw(page.distribution, title=title))
    if page.distribution.labels:
        yield element("details", element("summary", "The numbers of the chart"), _numbers(page.distribution))


def _numbers(shown: Distribution) -> str:
    names = [one.name for one in shown.series]
    rows = [
        element(
            "tr",
            element("th", text(label), scope="row", class_="id"),
            *(element("td", f"{one.counts[at]:,}", class_="n") for one in shown.series),
            element("td", f"{total:,}", class_="n"),
            element("td", "gap" if shown.in_gap[at] else ""),
        )
        for at, (label, total) in enumerate(zip(shown.labels, shown.totals, strict=True))
    ]
    head = heading((str(shown.unit), *names, "total", "gap"), numbers=(*names, "total"))
    caption = element("caption", f"Dispositions by {shown.unit} and code")
    return element("div", element("table", caption, head, element("tbody", *rows)), class_="wide")


def _footer(page: Page) -> str:
    read = page.summary
    others = "".join(f" {count:,} of the unknown type {name}." for name, count in sorted(read.others.items()))
    words = (
        f"Read {read.lines:,} lines of {', '.join(page.files)} on {page.made}. {read.repeated:,} repeated events are "
        f"counted once, {read.tests:,} test events not at all.{others} Agents are those who were in the chat; an "
        "account is whose session heard of the disposition."
    )
    return element("footer", text(words))
