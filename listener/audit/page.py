"""The report as one HTML page: the question, a summary, the chart, the rows; it loads nothing."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from hashlib import sha256

import msgspec

from listener.audit import chart
from listener.audit.chart import Distribution
from listener.audit.escaping import element, text
from listener.audit.groups import By, GroupRow
from listener.audit.preface import Preface
from listener.audit.report import Known, Summary
from listener.audit.rows import GapRow, Row
from listener.model.event import Change

MOST_ROWS = 2000
"""Rows on a page; browsers become slow with many more."""

CHANGES = tuple(map(str, Change))
_NOTHING = "\u2013"  # a dash, as it is set in print
_FEW_REASONS = 5
_FEW_ACCOUNTS = 8  # more would push the chart off the first page

STYLE = (
    """
:root{color-scheme:light dark;--ground:#fff;--raised:#f6f8fa;--line:#d5dae0;--text:#1c232b;--quiet:#57606a;
--alarm:#a4161f;--alarm-ground:#fdeeee;--calm:#0b6b4d;--calm-ground:#eaf6f1}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1240px;padding:32px 24px 48px;background:var(--ground);color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
h1{font-size:26px;line-height:1.2;margin:0 0 4px}
h2{font-size:17px;margin:36px 0 10px}
p{margin:0 0 8px}.quiet{color:var(--quiet)}
dl{display:grid;gap:12px;margin:24px 0;grid-template-columns:repeat(auto-fit,minmax(165px,1fr))}
dl>div{background:var(--raised);border:1px solid var(--line);border-radius:8px;padding:12px 16px}
dt{color:var(--quiet);font-size:13px}dd{margin:0}
dd.figure{font-size:26px;font-weight:600;line-height:1.25;font-variant-numeric:tabular-nums}
dd.more{font-size:13px;color:var(--quiet)}
ul.asked{display:flex;flex-wrap:wrap;gap:6px;list-style:none;margin:12px 0 0;padding:0}
ul.asked li{border:1px solid var(--line);border-radius:99px;font-size:13px;padding:1px 10px}
.notice{border-left:4px solid;border-radius:4px;margin:12px 0;padding:10px 16px}
.notice strong{display:block}
.alarm-box{background:var(--alarm-ground);border-color:var(--alarm)}.alarm-box strong{color:var(--alarm)}
.calm-box{background:var(--calm-ground);border-color:var(--calm)}.calm-box strong{color:var(--calm)}
figure{margin:0;overflow-x:auto}svg{display:block;height:auto;min-width:640px;width:100%}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:13px;width:100%}
caption{color:var(--quiet);padding-bottom:6px;text-align:left}
table.small{width:auto}table.small th,table.small td{padding-right:32px}
th,td{border-bottom:1px solid var(--line);max-width:24em;overflow-wrap:break-word;padding:5px 14px 5px 0;
text-align:left;vertical-align:top}
th{font-weight:600}thead th{color:var(--quiet);white-space:nowrap}
.n{font-variant-numeric:tabular-nums;text-align:right}
time,.id{white-space:nowrap;font-variant-numeric:tabular-nums}
tr.gap td{color:var(--alarm)}
summary{cursor:pointer;margin:10px 0}
footer{border-top:1px solid var(--line);color:var(--quiet);font-size:13px;margin-top:40px;padding-top:12px}
@media screen and (prefers-color-scheme:dark){:root{--ground:#11161d;--raised:#19202a;--line:#313a45;--text:#e4e9ef;
--quiet:#a3aebb;--alarm:#ff8b91;--alarm-ground:#331a1e;--calm:#5fd3ab;--calm-ground:#12291f}}
@media print{@page{margin:14mm}body{max-width:none;padding:0;font-size:11px}table{font-size:9.5px}
thead{display:table-header-group}tr,dl>div,.notice,figure{break-inside:avoid}.wide,figure{overflow:visible}
svg{min-width:0}.notice{border:1px solid;border-left-width:4px}h2{break-after:avoid}}
"""
    + chart.STYLE
)
"""The only one that the page's content security policy lets in."""

_POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'"
)


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What a page shows.

    Attributes:
        period: the period that was asked for, in words.
        zone: whose clocks all times are of, by name.
        asked: the conditions, in words.
        preface: what is proven of the files, and what they can tell of.
        files: the names of the files that were read.
        made: when, in words.
        rows: the rows, or the first `MOST_ROWS` of them.
        total_rows: how many there are.
    """

    period: str
    zone: str
    asked: Sequence[str]
    preface: Preface
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
    yield "<header><h1>Which disposition was set when, and who was in the chat</h1>"
    yield element("p", text(page.period))
    if page.asked:
        yield element("ul", *(element("li", text(one)) for one in page.asked), class_="asked")
    yield "</header><main>"
    yield from _proven(page.preface)
    yield from _known(page.preface)
    yield _figures(page.summary)
    yield from _qualified(page.summary, page.preface)
    yield from _chart(page)
    yield from table(page.rows, total=page.total_rows, zone=page.zone)
    yield f"</main>{_footer(page)}</body></html>\n"


def _figures(summary: Summary) -> str:
    changes = ", ".join(f"{summary.changes[name]:,} {name}" for name in CHANGES if summary.changes.get(name))
    seconds = sum(one.seconds for one in summary.gaps)
    tiles = (
        ("Dispositions", f"{summary.dispositions:,}", changes or "none on record"),
        ("Found by re-reading", f"{summary.reconciled:,}", "missed, but seen afterwards"),
        ("Near a gap", f"{summary.near_gap:,}", "in a gap of their account, or within a minute"),
        ("Gaps", f"{sum(one.gaps for one in summary.gaps):,}", f"{seconds:,.0f} s, summed over accounts"),
        ("Only repeated", f"{summary.left_out:,}", "the known value again; not shown"),
    )
    return element("dl", *(_tile(*tile) for tile in tiles))


def _tile(name: str, figure: str, more: str) -> str:
    return element(
        "div",
        element("dt", text(name)),
        element("dd", text(figure), class_="figure"),
        element("dd", text(more), class_="more"),
    )


def _proven(preface: Preface) -> Iterator[str]:
    if preface.is_proven:
        yield _notice("calm-box", "Proven", f"{preface.signed[:1].upper()}{preface.signed[1:]}.")
        return
    reasons = [element("li", text(one)) for one in preface.reasons[:_FEW_REASONS]]
    if len(preface.reasons) > _FEW_REASONS:
        reasons.append(element("li", f"and {len(preface.reasons) - _FEW_REASONS:,} more: see audit verify"))
    words = "Rows that no key has signed are marked."
    yield element(
        "div", element("strong", "Not proven"), words, element("ul", *reasons), class_="notice alarm-box", role="note"
    )


def _known(preface: Preface) -> Iterator[str]:
    """Of which accounts and times the page can tell."""
    accounts = preface.coverage.accounts
    if not accounts:
        yield _notice("alarm-box", "Not known", "The files hold nothing about this period.")
        return
    if preface.coverage.whole:
        yield _notice("calm-box", "The whole period is known", "Of every account, from the start to the end.")
    else:
        yield _notice(
            "alarm-box",
            "Known in part",
            "An account is known from its first event to its last one. What lies before or behind is not known.",
        )
    head = heading(("account", "known from", "to", "gaps", "seconds"), numbers=("gaps", "seconds"))
    body = element("tbody", *map(_known_row, accounts))
    known = element("table", element("caption", "Coverage by account"), head, body, class_="small")
    many = len(accounts) > _FEW_ACCOUNTS
    yield element("details", element("summary", f"Coverage of {len(accounts)} accounts"), known) if many else known


def _known_row(known: Known) -> str:
    figures = (f"{known.gaps:,}", f"{known.seconds:,.1f}")
    times = _when(known.first), _when(known.last)
    return element(
        "tr", element("td", text(known.account)), *times, *(element("td", one, class_="n") for one in figures)
    )


def _qualified(summary: Summary, preface: Preface) -> Iterator[str]:
    """What limits the answer, before the answer."""
    if summary.unreadable:
        yield _notice(
            "alarm-box",
            f"{summary.unreadable:,} lines could not be read",
            "This report lacks them. The command named each of them on standard error.",
        )
    if summary.gaps:
        yield _notice(
            "alarm-box",
            "There are gaps",
            "While an account was not subscribed, a disposition of its chats may have been set and replaced "
            "unseen. The report includes what was found by re-reading the chats, with the time at which it was found.",
        )
    elif preface.is_proven and preface.coverage.whole:
        yield _notice(
            "calm-box",
            "No gaps",
            "No gap in this period is on record: no disposition could have been missed.",
        )


def _notice(kind: str, title: str, words: str) -> str:
    return element("div", element("strong", text(title)), text(words), class_=f"notice {kind}", role="note")


def _chart(page: Page) -> Iterator[str]:
    yield element("h2", "Distribution of codes")
    title = f"Dispositions by code, {page.period}"
    yield element("figure", chart.draw(page.distribution, title=title))
    if page.distribution.labels:
        yield element("details", element("summary", "The chart as a table"), _numbers(page.distribution))


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
        "account is the one whose session received the disposition."
    )
    return element("footer", text(words))


def table(rows: Sequence[Row | GapRow | GroupRow], *, total: int, zone: str) -> Iterator[str]:
    """The rows under a heading of their own, piece by piece; `total` tells how many there are elsewhere.

    A key that all of them share stands in the caption, where it takes no room of theirs.
    """
    if not rows:
        return
    first, left = rows[0], total - len(rows)
    keys = {row.key for row in rows if not isinstance(row, GapRow)}
    several = len(keys) > 1
    caption = f"Times are in {zone}."
    caption += "" if several else "".join(f" The key is {key}." for key in keys)
    caption += f" {left:,} more rows are not shown here; --csv has all of them." if left else ""
    yield element("h2", f"By {first.by}" if isinstance(first, GroupRow) else "One by one")
    yield f'<div class="wide"><table>{element("caption", text(caption))}'
    yield _heading_of(first, with_key=several)
    yield "<tbody>"
    for row in rows:
        yield _row(row, with_key=several) + "\n"
    yield "</tbody></table></div>"


def heading(names: Sequence[str], *, numbers: Sequence[str] = ()) -> str:
    """The head of a table; columns of `numbers` are set to the right."""
    cells = (element("th", text(name), scope="col", class_="n" if name in numbers else None) for name in names)
    return element("thead", element("tr", *cells))


def _heading_of(first: Row | GapRow | GroupRow, *, with_key: bool) -> str:
    key = ("key",) if with_key else ()
    if isinstance(first, GroupRow):
        names = ("code",) if first.by is By.CODE else (str(first.by), "code")
        return heading((*names, *key, "events", *CHANGES, "first", "last"), numbers=("events", *CHANGES))
    who = ("chat", "agents in the chat", "account")
    return heading(("when", *who, *key, "previous", "disposition", "change", "notes"))


def _row(row: Row | GapRow | GroupRow, *, with_key: bool) -> str:
    match row:
        case Row():
            key = (row.key,) if with_key else ()
            agents = ", ".join(row.agents)
            texts = (row.chat_id, agents, row.heard, *key, row.previous, row.disposition, row.change, row.notes)
            return element("tr", _when(row.time), *map(_cell, texts))
        case GapRow():
            told = f"{row.seconds:,.1f} s from {row.from_} to {row.to}: {row.reason}, closed by {row.closed_by}"
            span = element("td", text(told), colspan=2 + with_key)
            cells = (*map(_cell, (None, None, row.heard)), span, _cell("gap"), _cell(row.notes))
            return element("tr", _when(row.time), *cells, class_="gap")
        case GroupRow():
            key = (row.key,) if with_key else ()
            names = (row.code, *key) if row.by is By.CODE else (row.group, row.code, *key)
            figures = (row.events, *(row.changes.get(change, 0) for change in CHANGES))
            numbers = (element("td", f"{one:,}", class_="n") for one in figures)
            return element("tr", *map(_cell, names), *numbers, _when(row.first), _when(row.last))


def _cell(value: str | None) -> str:
    return element("td", _NOTHING if value is None else text(value))


def _when(time: str) -> str:
    return element("td", element("time", text(time), datetime=time))
