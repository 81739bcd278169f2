"""`dead-letters`: list, show, replay or drop what sinks did not take, also while the daemon runs."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import msgspec
import typer
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from listener.cli import control
from listener.cli.looks import Journal, dead_letter_events, dead_letter_groups, dead_letters, stats
from listener.cli.options import ConfigOption, PathOption, place_of, sink_names, time_ms
from listener.cli.readable import NOTHING, write_table
from listener.errors import ListenerError
from listener.model.escaping import printable
from listener.model.event import DeadLetter, DeadLetterFilter, Kind, LaneStatus, rfc3339
from listener.model.filter import MOST_COUNTED, DeadLetterGroup

SHOWN_ID = 12
"""Characters of an event's id that a table shows; so many identify it."""

_HEADING = ("when", "sink", "sequence", "id", "chat", "tries", "reason")
_NUMBERS = ("sequence", "tries")
_GROUP_HEADING = ("sink", "letters", "first", "last", "reason")
_GROUP_NUMBERS = ("letters",)
_INTERRUPTED = 130
_LOOK_S = 0.2
_LINE_S = 2.0
_NO_PROGRESS_S = 10.0
_NAMED_IDS = 5  # enough to see how they differ

SinkOption = Annotated[
    str | None, typer.Option("--sink", metavar="NAME", help="Only those of this sink.", autocompletion=sink_names)
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only those since: 2026-11-22T09:39:00Z, or 2h, 3d ago."),
]
UntilOption = Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only those until: as --since.")]
AllOption = Annotated[bool, typer.Option("--all", help="All dead letters.")]
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Event ids, or their beginnings.")]
IdsOption = Annotated[
    list[str] | None, typer.Option("--id", metavar="ID", help="An event id, or its beginning. Can be repeated.")
]
EachOption = Annotated[bool, typer.Option("--each", help="Each dead letter, instead of how many there are.")]
LimitOption = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many rows; not with --json.")]
LettersJsonOption = Annotated[bool, typer.Option("--json", help="One JSON object per dead letter and line.")]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the deliveries.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The event id, or its beginning.")]


class NotReplayed(ListenerError):
    """Not every dead letter was delivered."""


class Selected(ListenerError):
    """There is nothing like what was asked for; the text says what there is."""


class Selection(NamedTuple):
    """Which dead letters a command line selects; `ids` may be beginnings of ids."""

    ids: Sequence[str] = ()
    sink: str | None = None
    since: str | None = None
    until: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing was selected."""
        return not (self.ids or self.sink or self.since or self.until)


def select(journal: Journal, selection: Selection) -> list[DeadLetter]:
    """The selected dead letters, oldest first; empty if none match.

    Raises:
        Selected: an unknown sink, or an id that belongs to no dead letter or to several.
        BadParameter: not a time.
        JournalError: there is no such journal.
    """
    found = dead_letters(journal, _conditions(selection))
    if not found:
        _require_sink(journal, selection.sink)
    if not selection.ids:
        return found
    ids = {_resolve(beginning, found) for beginning in selection.ids}
    return [letter for letter in found if letter.event_id in ids]


def _conditions(selection: Selection) -> DeadLetterFilter:
    """A filter for all but its ids. Raises BadParameter: not a time."""
    now = datetime.now(UTC)
    return DeadLetterFilter(
        sink=selection.sink,
        since_ms=time_ms(selection.since, "--since", now),
        until_ms=time_ms(selection.until, "--until", now),
    )


def _require_sink(journal: Journal, sink: str | None) -> None:
    """Raises Selected: the journal knows no such sink."""
    if sink is None:
        return
    known = stats(journal)
    names = sorted({*known.cursors, *known.lanes, *known.dead_letters})
    if sink not in names:
        raise Selected(f"--sink: this journal knows no sink {sink!r} (known: {', '.join(names) or 'none'})")


def filter_of(meant: Sequence[DeadLetter], selection: Selection) -> DeadLetterFilter:
    """A filter for these letters, which excludes any that are added later."""
    return DeadLetterFilter(
        event_ids=tuple({letter.event_id: None for letter in meant}) if selection.ids else (),
        sink=selection.sink,
        since_ms=min(letter.at_ms for letter in meant) if selection.since else None,
        until_ms=max(letter.at_ms for letter in meant),
    )


def _resolve(beginning: str, found: Sequence[DeadLetter]) -> str:
    ids = sorted({letter.event_id for letter in found if letter.event_id.startswith(beginning)})
    if beginning in ids:
        return beginning
    if not ids:
        raise Selected(f"no dead letter of an event {beginning!r}; `dead-letters list` shows what there is")
    if len(ids) > 1:
        named = ", ".join([*ids[:_NAMED_IDS], *(["…"] if len(ids) > _NAMED_IDS else [])])
        raise Selected(f"several events begin with {beginning!r}: {named}")
    return ids[0]


def list_letters(
    config: ConfigOption = None,
    path: PathOption = None,
    sink: SinkOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    ids: IdsOption = None,
    each: EachOption = False,
    limit: LimitOption = 50,
    as_json: LettersJsonOption = False,
) -> None:
    """Count dead letters by sink and reason, or list each.

    Then come the sinks that are parked. Reasons that differ in ports, times and ids alone count as one. With --each or
    --id each letter is a row, the oldest first.

    Examples:
        disposition-listener dead-letters list
        # Those of a sink since two hours ago, one by one:
        disposition-listener dead-letters list --sink crm --since 2h --each
        disposition-listener dead-letters list --sink crm --since 2h --json
    """
    journal = place_of(config, path).journal
    selection = Selection(ids or (), sink, since, until)
    if as_json:
        for letter in select(journal, selection):
            print(json.dumps(_as_json(letter)))
        return
    if each or ids:
        _list_each(journal, selection, limit)
    else:
        _list_groups(journal, selection, limit)
    for name, state in sorted(stats(journal).lanes.items()):
        if state.parked is not None and sink in (None, name):
            print(f"sink {name} has been parked since {rfc3339(state.parked_ms)}: {printable(state.parked)}")


def _list_each(journal: Journal, selection: Selection, limit: int) -> None:
    found = select(journal, selection)
    if not found:
        print("no dead letters")
        return
    shown = found[:limit]
    events = dead_letter_events(journal, DeadLetterFilter(event_ids=tuple(letter.event_id for letter in shown)))
    chats = {event.sequence: event.subject for event in events if event.kind is not Kind.GAP}
    write_table(_HEADING, [_row(letter, chats) for letter in shown], numbers=_NUMBERS)
    _tell_of_more(len(found) - len(shown), "dead letters", len(found))


def _list_groups(journal: Journal, selection: Selection, limit: int) -> None:
    found = dead_letter_groups(journal, _conditions(selection))
    if not found:
        _require_sink(journal, selection.sink)
        print("no dead letters")
        return
    write_table(_GROUP_HEADING, [_group_row(one) for one in found[:limit]], numbers=_GROUP_NUMBERS)
    _tell_of_more(len(found) - len(found[:limit]), "reasons", len(found))
    if sum(one.count for one in found) >= MOST_COUNTED:
        print(f"these are the newest {MOST_COUNTED}: there may be more")
    print("`dead-letters list --each` shows each of them, `dead-letters show ID` one with its event")


def _tell_of_more(left: int, what: str, all_of_them: int) -> None:
    if left:
        print(f"{left} more {what}: --limit {all_of_them} shows them all")


def _group_row(one: DeadLetterGroup) -> tuple[str, ...]:
    again = "" if not one.replaying else f" ({one.replaying} of {one.count} to be replayed)"
    return one.sink, str(one.count), rfc3339(one.first_ms), rfc3339(one.last_ms), one.reason + again


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


def show_letter(
    event: IdArgument, config: ConfigOption = None, path: PathOption = None, sink: SinkOption = None
) -> None:
    """Show everything known of a dead letter, and its event.

    Examples:
        disposition-listener dead-letters show be0f6d27 --config listener.toml
    """
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
    yield "replay", "to be delivered again" if letter.replaying else NOTHING


class ReplayProgress(NamedTuple):
    """How far a replay is; `halt` says why waiting is pointless although some are pending."""

    delivered: int
    rejected: int
    pending: int
    halt: str | None = None

    @property
    def done(self) -> int:
        """Those that are settled."""
        return self.delivered + self.rejected

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return not self.pending or self.halt is not None

    def __str__(self) -> str:
        parts = [f"{self.delivered} delivered"]
        parts += [f"{self.rejected} rejected again"] if self.rejected else []
        parts += [f"{self.pending} still to come"] if self.pending else []
        return ", ".join(parts)


class Replay:
    """Dead letters being replayed: what the journal and the daemon say of them.

    Args:
        journal: where it is.
        before: the letters as they were before they were marked.
        clock: seconds that only run forward.
    """

    def __init__(
        self, *, journal: Journal, before: Sequence[DeadLetter], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._journal = journal
        self._before = {(letter.sink, letter.sequence): letter for letter in before}
        self._clock = clock
        self._moved_s = clock()
        self._last_done = 0

    def poll(self) -> ReplayProgress:
        """How far it is now. Raises ControlError or JournalError."""
        sinks = {sink for sink, _ in self._before}
        found = dead_letters(self._journal, DeadLetterFilter(sink=sinks.pop() if len(sinks) == 1 else None))
        now = {place: letter for letter in found if (place := (letter.sink, letter.sequence)) in self._before}
        gone = [place for place in self._before if place not in now]
        waiting = [letter for place, letter in now.items() if letter.replaying]
        rejected = [
            place
            for place, letter in now.items()
            if not letter.replaying and letter != replace(self._before[place], replaying=False)
        ]
        progress = ReplayProgress(delivered=len(gone), rejected=len(rejected), pending=len(waiting))
        if progress.done != self._last_done:
            self._last_done, self._moved_s = progress.done, self._clock()
        return progress._replace(halt=self._halt({letter.sink for letter in waiting})) if waiting else progress

    def _halt(self, sinks: set[str]) -> str | None:
        """Why none of these sinks takes anything now; None if one may."""
        lanes = control.lanes(self._journal)
        if lanes is None:
            return "the daemon has stopped; the rest is delivered when it runs again"
        reasons = [self._problem(lane) for lane in lanes if lane.sink in sinks]
        return "; ".join(reason for reason in reasons if reason) if reasons and all(reasons) else None

    def _problem(self, lane: LaneStatus) -> str | None:
        if lane.parked is not None:
            return f"sink {lane.sink} is parked: {lane.parked}; `sinks resume {lane.sink}` resumes it"
        if lane.last_error is not None and self._clock() - self._moved_s > _NO_PROGRESS_S:
            return f"sink {lane.sink} takes none now: {lane.last_error}; the daemon keeps trying"
        return None


def follow(replay: Replay, *, sleep: Callable[[float], None] = time.sleep) -> ReplayProgress:
    """Show a replay until it is over, or until Ctrl-C, which raises KeyboardInterrupt."""
    shown = _draw_bar if sys.stdout.isatty() else _print_lines
    return shown(_polls(replay, sleep))


def _polls(replay: Replay, sleep: Callable[[float], None]) -> Iterator[ReplayProgress]:
    """Poll until it is over; a large journal takes long to read, and the disk has other work."""
    while True:
        began_s = time.monotonic()
        progress = replay.poll()
        yield progress
        if progress.is_over:
            return
        sleep(max(_LOOK_S, 4 * (time.monotonic() - began_s)))


def _draw_bar(polls: Iterator[ReplayProgress]) -> ReplayProgress:
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = ReplayProgress(0, 0, 0)
    with Progress(*columns, console=Console(highlight=False), transient=True) as bar:
        task = bar.add_task("replaying")
        for progress in polls:
            bar.update(task, completed=progress.done, total=progress.done + progress.pending)
    return progress


def _print_lines(polls: Iterator[ReplayProgress]) -> ReplayProgress:
    progress = printed = ReplayProgress(0, 0, 0)
    printed_s = time.monotonic()
    for progress in polls:
        if progress != printed and not progress.is_over and time.monotonic() - printed_s >= _LINE_S:
            print(progress, flush=True)
            printed, printed_s = progress, time.monotonic()
    return progress


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
    """Deliver dead letters again, with their original ids.

    They arrive after younger events of their chats. If a daemon runs, this waits until all are settled.

    Examples:
        disposition-listener dead-letters replay --sink crm --since 2h
        disposition-listener dead-letters replay be0f6d27 ca911878 --no-wait

    Exit status:
        1: Not all were delivered.
        130: Ctrl-C: the daemon delivers the rest.
    """
    journal = place_of(config, path).journal
    selection = Selection(ids or (), sink, since, until)
    meant = _meant(journal, selection, every=every)
    if not meant:
        return
    done = control.replay(journal, filter_of(meant, selection))
    if (unmarked := len(meant) - done.letters) > 0:
        # Retention deleted the event before it became a dead letter, or its sink is no longer configured.
        text = "cannot be replayed: their sink is not configured, or their event is gone"
        print(f"{_letters(unmarked)} {text}", file=sys.stderr)
    if not done.letters:
        raise NotReplayed("nothing to replay")
    if not done.daemon:
        print(f"{_letters(done.letters)} to be replayed: no daemon is running, the next one delivers them")
        return
    if no_wait:
        print(f"{_letters(done.letters)} to be replayed")
        return
    try:
        progress = follow(Replay(journal=journal, before=meant))
    except KeyboardInterrupt:
        print("\nThe daemon delivers the rest; `dead-letters list` shows the result.")
        raise typer.Exit(_INTERRUPTED) from None
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
    """Delete dead letters for good, after confirmation.

    Examples:
        disposition-listener dead-letters drop be0f6d27 --yes
        disposition-listener dead-letters drop --sink bi --until 30d --yes
    """
    journal = place_of(config, path).journal
    selection = Selection(ids or (), sink, since, until)
    meant = _meant(journal, selection, every=every)
    if not meant:
        return
    if not yes and not _confirmed(meant):
        raise typer.BadParameter("without a terminal for the question, give --yes")
    print(f"{_letters(control.drop(journal, filter_of(meant, selection)).letters)} dropped")


def _confirmed(meant: Sequence[DeadLetter]) -> bool:
    """Ask for confirmation; False without a terminal. A no ends the command."""
    if not sys.stdin.isatty():
        return False
    sinks = ", ".join(sorted({letter.sink for letter in meant}))
    typer.confirm(f"Drop {_letters(len(meant))} of {sinks} for good?", abort=True)
    return True


def _meant(journal: Journal, selection: Selection, *, every: bool) -> list[DeadLetter]:
    """The dead letters that a command changes; a selection is required."""
    if selection.is_empty and not every:
        raise typer.BadParameter("say which ones: ID…, --sink, --since, --until, or --all")
    if every and not selection.is_empty:
        raise typer.BadParameter("--all excludes every other selection")
    found = select(journal, selection)
    if not found:
        print("no such dead letters")
    return found


def _letters(count: int) -> str:
    return f"{count} dead letter{'' if count == 1 else 's'}"


COMMANDS: dict[str, Callable[..., Any]] = {
    "list": list_letters,
    "show": show_letter,
    "replay": replay_letters,
    "drop": drop_letters,
}
