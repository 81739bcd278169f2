"""`dead-letters`: what sinks did not take; looked at, delivered once more, or dropped, also while the daemon runs."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer

from listener.audit.escaping import printable
from listener.cli import control, table
from listener.cli.options import ConfigOption, PathOption, place_of
from listener.cli.readable import NOTHING
from listener.cli.replaying import Replay, ReplayProgress, follow
from listener.cli.selection import (
    SHOWN_ID,
    AllOption,
    IdsArgument,
    IdsOption,
    Selection,
    SinceOption,
    SinkOption,
    UntilOption,
    filter_of,
    select,
)
from listener.errors import ListenerError
from listener.journal.views import dead_letter_events, stats
from listener.model.event import DeadLetter, DeadLetterFilter, Event, Kind, rfc3339

_HEADING = ("when", "sink", "sequence", "id", "chat", "tries", "reason")
_NUMBERS = ("sequence", "tries")
_INTERRUPTED = 130

LettersJsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a letter and line.")]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Leave the delivery to the daemon.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The event's id, or how it begins.")]


class NotReplayed(ListenerError):
    """Not every letter was delivered."""


def list_letters(
    config: ConfigOption = None,
    path: PathOption = None,
    sink: SinkOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    ids: IdsOption = None,
    as_json: LettersJsonOption = False,
) -> None:
    """List dead letters, oldest first, and the lanes that are parked."""
    journal = place_of(config, path).journal
    found = select(journal, Selection(ids or (), sink, since, until))
    if as_json:
        for letter in found:
            print(json.dumps(_as_json(letter)))
        return
    if found:
        chats = {event.sequence: _chat(event) for event in dead_letter_events(journal, DeadLetterFilter(sink=sink))}
        table.write(_HEADING, [_row(letter, chats) for letter in found], numbers=_NUMBERS)
    else:
        print("no dead letters")
    for name, state in sorted(stats(journal).lanes.items()):
        if state.parked is not None and sink in (None, name):
            print(f"sink {name} is parked since {rfc3339(state.parked_ms)}: {printable(state.parked)}")


def _as_json(letter: DeadLetter) -> dict[str, Any]:
    """Named as in `/dead-letters.json`; the answer is here alone, since it may quote an event."""
    return {
        "sink": letter.sink,
        "sequence": letter.sequence,
        "eventId": letter.event_id,
        "reason": letter.reason,
        "answer": letter.answer,
        "attempts": letter.attempts,
        "at": rfc3339(letter.at_ms),
        "replaying": letter.replaying,
    }


def _row(letter: DeadLetter, chats: dict[int, str]) -> tuple[str, ...]:
    return (
        rfc3339(letter.at_ms),
        letter.sink,
        str(letter.sequence),
        letter.event_id[:SHOWN_ID],
        chats.get(letter.sequence, NOTHING),
        str(letter.attempts),
        letter.reason + (" (to be replayed)" if letter.replaying else ""),
    )


def _chat(event: Event) -> str:
    return NOTHING if event.kind is Kind.GAP else event.subject


def show_letter(
    event: IdArgument, config: ConfigOption = None, path: PathOption = None, sink: SinkOption = None
) -> None:
    """Show all that is known of an event that was not taken, and the event itself."""
    journal = place_of(config, path).journal
    found = select(journal, Selection(ids=(event,), sink=sink))
    for letter in found:
        for name, text in _figures(letter):
            print(f"{name:<9} {printable(text)}")
        print()
    for one in dead_letter_events(journal, DeadLetterFilter(event_ids=(found[0].event_id,), sink=found[0].sink)):
        print(_printable_json(msgspec.json.format(one.to_json(), indent=2).decode()))


def _printable_json(text: str) -> str:
    """The same JSON without a character that could drive the terminal: JSON itself escapes the ASCII ones alone."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _figures(letter: DeadLetter) -> Iterator[tuple[str, str]]:
    yield "id", letter.event_id
    yield "sink", letter.sink
    yield "sequence", str(letter.sequence)
    yield "when", rfc3339(letter.at_ms)
    yield "attempts", str(letter.attempts)
    yield "reason", letter.reason
    yield "answer", letter.answer or NOTHING
    yield "replay", "to be delivered once more" if letter.replaying else NOTHING


def replay_letters(
    ids: IdsArgument = None,
    config: ConfigOption = None,
    path: PathOption = None,
    sink: SinkOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    every: AllOption = False,
    no_wait: NoWaitOption = False,
) -> None:
    """Deliver dead letters once more, as the events that they were.

    They come after younger events of their chats. Where a daemon runs, this waits until they are decided; Ctrl-C
    leaves the rest to the daemon. Exit status 1 where not all were delivered.
    """
    journal = place_of(config, path).journal
    selection = Selection(ids or (), sink, since, until)
    meant = _meant(journal, selection, every=every)
    if not meant:
        return
    done = control.replay(journal, filter_of(meant, selection))
    _report_unmarked(len(meant) - done.letters)
    if not done.letters:
        raise NotReplayed("nothing to replay")
    if not done.daemon:
        print(f"{_letters(done.letters)} to be replayed: no daemon runs, the next one delivers them")
        return
    if no_wait:
        print(f"{_letters(done.letters)} to be replayed")
        return
    try:
        _conclude(follow(Replay(journal=journal, before=meant)))
    except KeyboardInterrupt:
        print("\nThe rest is left to the daemon; `dead-letters list` shows what becomes of it.")
        raise typer.Exit(_INTERRUPTED) from None


def _report_unmarked(count: int) -> None:
    """A letter has no event where retention was before it, and no lane where its sink is configured no more."""
    if count > 0:
        text = "cannot be replayed: their sink is not configured, or their event is gone"
        print(f"{_letters(count)} {text}", file=sys.stderr)


def _conclude(progress: ReplayProgress) -> None:
    print(progress)
    if progress.halt is not None:
        raise NotReplayed(progress.halt)
    if progress.rejected:
        raise NotReplayed("`dead-letters list` shows why they were rejected")


def drop_letters(
    ids: IdsArgument = None,
    config: ConfigOption = None,
    path: PathOption = None,
    sink: SinkOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    every: AllOption = False,
    yes: YesOption = False,
) -> None:
    """Delete dead letters for good; asks first."""
    journal = place_of(config, path).journal
    selection = Selection(ids or (), sink, since, until)
    meant = _meant(journal, selection, every=every)
    if not meant:
        return
    if not yes and not _confirmed(meant):
        _refuse("without a terminal to ask on, --yes is needed")
    print(f"{_letters(control.drop(journal, filter_of(meant, selection)).letters)} dropped")


def _confirmed(meant: Sequence[DeadLetter]) -> bool:
    """Whether there was somebody to ask; who says no ends the command."""
    if not sys.stdin.isatty():
        return False
    sinks = ", ".join(sorted({letter.sink for letter in meant}))
    typer.confirm(f"Drop {_letters(len(meant))} of {sinks} for good?", abort=True)
    return True


def _meant(journal: Path, selection: Selection, *, every: bool) -> list[DeadLetter]:
    """The letters that a command changes: some selection has to be made for it."""
    if selection.is_empty and not every:
        _refuse("say which: ID…, --sink, --since, --until, or --all")
    if every and not selection.is_empty:
        _refuse("--all stands alone")
    found = select(journal, selection)
    if not found:
        print("no such dead letters")
    return found


def _refuse(text: str) -> NoReturn:
    raise typer.BadParameter(text)


def _letters(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"


COMMANDS: dict[str, Callable[..., Any]] = {
    "list": list_letters,
    "show": show_letter,
    "replay": replay_letters,
    "drop": drop_letters,
}
