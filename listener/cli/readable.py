"""Events as a person reads them: one row each, in colour where there is a terminal."""

import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from rich.console import Console
from rich.text import Text

from listener.audit.escaping import printable

STYLES = {"set": "green", "changed": "yellow", "cleared": "magenta", "unchanged": "dim", "gap": "bold red"}
NOTHING = "-"
_USUAL_KEY = "DispositionCode"


class Line(msgspec.Struct, frozen=True):
    """The fields of an event that a reader needs; unknown ones are ignored, as every reader must."""

    type: str
    time: str
    subject: str
    data: dict[str, Any]
    id: str = ""
    sequence: str = ""

    @property
    def change(self) -> str:
        """`set`, `changed`, `unchanged`, `cleared`; for an event that is no disposition its kind, such as `gap`."""
        kind = self.type.rpartition(".chat.")[2]
        return _text(self.data.get("change"), kind) if kind == "disposition" else kind


class Row(NamedTuple):
    """An event's columns; `what` is what happened, in words."""

    time: str
    chat: str
    account: str
    change: str
    what: str

    @property
    def style(self) -> str:
        """How its change looks on a terminal."""
        return STYLES.get(self.change, "")


_DECODER = msgspec.json.Decoder(Line)


def parse(line: bytes) -> Line:
    """One line of an audit file. Raises ValueError: it is no event."""
    try:
        return _DECODER.decode(line)
    except (msgspec.MsgspecError, RecursionError) as exc:
        raise ValueError(str(exc)) from exc


def row_of(line: Line) -> Row:
    """The row of an event; whatever came from outside has no control characters left."""
    is_gap = line.change == "gap"
    what = _gap(line.data) if is_gap else _disposition(line.change, line.data)
    account = _text(line.data.get("account"))
    return Row(*map(printable, (line.time, NOTHING if is_gap else line.subject, account, line.change, what)))


def _disposition(change: str, data: dict[str, Any]) -> str:
    value = _text(data.get("disposition"))
    key = _text(data.get("key"), _USUAL_KEY)
    text = value if change == "unchanged" else f"{_text(data.get('previous'))} -> {value}"
    named = text if key == _USUAL_KEY else f"{key}: {text}"
    return named + ("  (found by re-reading)" if data.get("origin") == "reconciled" else "")


def _gap(data: dict[str, Any]) -> str:
    """A stretch in which something could have been missed."""
    start, end = _text(data.get("from")), _text(data.get("to"))
    return f"{start} to {end}: {_text(data.get('reason'))}, closed by {_text(data.get('closedBy'))}"


def _text(value: Any, missing: str = NOTHING) -> str:
    return missing if value is None else str(value)


class Writer:
    """Writes rows to standard output: in colour on a terminal, in plain columns elsewhere."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=True) if sys.stdout.isatty() else None

    def write(self, row: Row) -> None:
        """One line, at once."""
        plain = f"{row.time:<24}  {row.chat:<16}  {row.account:<8}  {row.change:<9}  {row.what}"
        if self._console is None:
            print(plain, flush=True)
            return
        start = len(plain) - len(row.what) - len(f"{row.change:<9}") - 2
        text = Text(plain)
        text.stylize("dim", 0, 24)
        text.stylize(row.style, start)
        self._console.print(text)

    def write_all(self, rows: Iterable[Row]) -> None:
        """One line each."""
        for row in rows:
            self.write(row)
