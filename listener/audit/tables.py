"""Rows as a table of HTML."""

from collections.abc import Iterator, Sequence

from listener.audit.groups import By, GroupRow
from listener.audit.markup import element, text
from listener.audit.report import GapRow, Row
from listener.model.event import Change

CHANGES = tuple(map(str, Change))
_NOTHING = "–"  # noqa: RUF001 - a dash, as it is set in print


def table(rows: Sequence[Row | GapRow | GroupRow], *, total: int) -> Iterator[str]:
    """The rows under a heading of their own, piece by piece; `total` tells how many there are elsewhere.

    A key that all of them share stands in the caption, where it takes no room of theirs.
    """
    if not rows:
        return
    first, left = rows[0], total - len(rows)
    keys = {row.key for row in rows if not isinstance(row, GapRow)}
    several = len(keys) > 1
    caption = "Times are in UTC."
    caption += "" if several else "".join(f" The key is {key}." for key in keys)
    caption += f" {left:,} more rows are left out here; --csv has all of them." if left else ""
    yield element("h2", f"By {first.by}" if isinstance(first, GroupRow) else "One by one")
    yield f'<div class="wide"><table>{element("caption", text(caption))}'
    yield _group_heading(first.by, several) if isinstance(first, GroupRow) else _list_heading(several)
    yield "<tbody>"
    for row in rows:
        yield _row(row, several) + "\n"
    yield "</tbody></table></div>"


def heading(names: Sequence[str], *, numbers: Sequence[str] = ()) -> str:
    """The head of a table; columns of `numbers` are set to the right."""
    cells = (element("th", text(name), scope="col", class_="n" if name in numbers else None) for name in names)
    return element("thead", element("tr", *cells))


def _group_heading(by: By, with_key: bool) -> str:  # noqa: FBT001 - one question, asked for every row
    names = ("code",) if by is By.CODE else (str(by), "code")
    key = ("key",) if with_key else ()
    return heading((*names, *key, "events", *CHANGES, "first", "last"), numbers=("events", *CHANGES))


def _list_heading(with_key: bool) -> str:  # noqa: FBT001 - as above
    key = ("key",) if with_key else ()
    return heading(("when", "chat", "agents", "account", *key, "previous", "disposition", "change", "notes"))


def _row(row: Row | GapRow | GroupRow, with_key: bool) -> str:  # noqa: FBT001 - as above
    match row:
        case Row():
            key = (row.key,) if with_key else ()
            agents = ", ".join(row.agents)
            texts = (row.chat_id, agents, row.account, *key, row.previous, row.disposition, row.change, row.notes)
            return element("tr", _when(row.time), *map(_cell, texts))
        case GapRow():
            told = f"{row.seconds:,.1f} s from {row.from_} to {row.to}: {row.reason}, closed by {row.closed_by}"
            span = element("td", text(told), colspan=2 + with_key)
            cells = (*map(_cell, (None, None, row.account)), span, _cell("gap"), _cell(""))
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
