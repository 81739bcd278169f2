"""Which dead letters a command means: its options, and what they come to."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from listener.errors import ListenerError
from listener.journal.views import dead_letters, stats
from listener.model.event import DeadLetter, DeadLetterFilter

SHOWN_ID = 12
"""So many characters of an event's id are shown in a table; that many name it."""

_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

SinkOption = Annotated[str | None, typer.Option("--sink", metavar="NAME", help="Those of this sink.")]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Those not older: 2026-11-22T09:39:00Z, or 2h, 3d for so long ago."),
]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Those not younger.")]
AllOption = Annotated[bool, typer.Option("--all", help="All there are.")]
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Events' ids, or how they begin.")]
IdsOption = Annotated[
    list[str] | None, typer.Option("--id", metavar="ID", help="An event's id, or how it begins. Can be repeated.")
]


class Selected(ListenerError):
    """What was asked for cannot be selected; the text says what could be."""


class Selection(NamedTuple):
    """What a command line says of the letters that it means; `ids` may be beginnings of ids."""

    ids: Sequence[str] = ()
    sink: str | None = None
    since: str | None = None
    until: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said."""
        return not (self.ids or self.sink or self.since or self.until)


def select(journal: Path, selection: Selection) -> list[DeadLetter]:
    """The letters that are meant, oldest first; none where the journal has none that fit.

    Raises:
        Selected: a sink that is not there, an id that belongs to no letter or to several.
        BadParameter: a time that is none.
        JournalError: there is no such journal.
    """
    now = datetime.now(UTC)
    which = DeadLetterFilter(
        sink=selection.sink,
        since_ms=time_ms(selection.since, "--since", now),
        until_ms=time_ms(selection.until, "--until", now),
    )
    found = dead_letters(journal, which)
    if selection.sink is not None and not found:
        _require_known(journal, selection.sink)
    if not selection.ids:
        return found
    ids = {_resolve(beginning, found) for beginning in selection.ids}
    return [letter for letter in found if letter.event_id in ids]


def filter_of(meant: Sequence[DeadLetter], selection: Selection) -> DeadLetterFilter:
    """A filter that means these letters, and none that is added later."""
    return DeadLetterFilter(
        event_ids=tuple({letter.event_id: None for letter in meant}) if selection.ids else (),
        sink=selection.sink,
        since_ms=min(letter.at_ms for letter in meant) if selection.since else None,
        until_ms=max(letter.at_ms for letter in meant),
    )


def _require_known(journal: Path, sink: str) -> None:
    found = stats(journal)
    known = sorted({*found.cursors, *found.lanes, *found.dead_letters})
    if sink not in known:
        raise Selected(f"--sink: this journal knows no sink {sink!r} (known: {', '.join(known) or 'none'})")


def _resolve(beginning: str, found: Sequence[DeadLetter]) -> str:
    ids = sorted({letter.event_id for letter in found if letter.event_id.startswith(beginning)})
    if beginning in ids:
        return beginning
    if not ids:
        raise Selected(f"no dead letter of an event {beginning!r}; `dead-letters list` shows those that there are")
    if len(ids) > 1:
        raise Selected(f"several events begin with {beginning!r}: {', '.join(ids[:5])}{', …' if len(ids) > 5 else ''}")  # noqa: PLR2004 - enough to see how they differ
    return ids[0]


def time_ms(text: str | None, option: str, now: datetime, zone: tzinfo = UTC) -> int | None:
    """Epoch milliseconds of RFC 3339, in `zone` where it names none, or of so long ago. Raises BadParameter."""
    if text is None:
        return None
    try:
        if ago := _AGO.fullmatch(text):
            at = now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
        else:
            at = datetime.fromisoformat(text)
            at = at if at.tzinfo is not None else at.replace(tzinfo=zone)
        return round(at.timestamp() * 1000)
    except (ValueError, OverflowError) as exc:
        text = f"{text!r} is no time: give 2026-11-22T09:39:00Z, or so long ago as 45s, 30m, 2h, 3d, 1w"
        raise typer.BadParameter(text, param_hint=option) from exc
