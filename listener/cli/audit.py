"""`audit`: verify a trail, show its key, and report which dispositions were set when."""

import gc
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from listener.audit.chart import distribute, draw_alone
from listener.audit.events import epoch_ms
from listener.audit.files import NEXT, Paths, of_the_trail
from listener.audit.groups import By, Groups
from listener.audit.notes import load_verifier
from listener.audit.page import MOST_ROWS, Page, render
from listener.audit.periods import Calendar
from listener.audit.picking import Wanted
from listener.audit.preface import Preface, preface
from listener.audit.reading import AuditFile
from listener.audit.report import NOT_KNOWN, Reading, Report, Summary
from listener.audit.signer import make_successor
from listener.audit.verdict import Tolerance, Verdict
from listener.audit.verify import gather, verify
from listener.cli.audit_outputs import (
    GROUP_HEADING,
    LIST_HEADING,
    AnyRows,
    Counts,
    FirstRows,
    JsonLines,
    Listing,
    Output,
    Sheet,
    SummaryOnly,
)
from listener.cli.audit_verdict import print_verdict, verdict_json
from listener.cli.options import nameable, replacing, time_ms
from listener.errors import ListenerError
from listener.model.escaping import printable

TrailArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE",
        help="The audit file and its predecessors, plain or .gz, in any order. Keys and checkpoints are left out.",
        readable=False,
    ),
]
CheckpointOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--checkpoint",
        metavar="FILE",
        help="Signed checkpoints that were kept elsewhere, besides those beside the files.",
    ),
]
PubkeyOption = Annotated[
    list[str] | None,
    typer.Option("--pubkey", metavar="KEY", help="A public key that you trust, or a file with it. Repeatable."),
]
UnsignedOption = Annotated[
    int, typer.Option("--max-unsigned", metavar="N", min=0, help="Accept so many records behind the last checkpoint.")
]
UnchainedOption = Annotated[
    int, typer.Option("--max-unchained", metavar="N", min=0, help="Accept so many lines from before the chain began.")
]
PartialOption = Annotated[bool, typer.Option("--partial", help="Older files were deleted, or are omitted on purpose.")]
VerdictJsonOption = Annotated[bool, typer.Option("--json", help="The verdict as one JSON object.")]
RotateOption = Annotated[bool, typer.Option("--rotate", help="Make the key that takes the place of this one.")]
KeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file", metavar="FILE", callback=nameable, help="The private key, if it does not lie beside the file."
    ),
]
TrailFileArgument = Annotated[Path, typer.Argument(metavar="FILE", callback=nameable, help="The audit file.")]

FilesArgument = Annotated[
    list[Path],
    typer.Argument(metavar="FILE", help="The files of a file sink, rotated ones too, plain or .gz, in any order."),
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="TIME", help="Not before: 2026-11-01, 2026-11-22T09:39:00Z, or 2h, 3d ago."),
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="Before this time: 2026-12-01 is the end of November.")
]
ChatOption = Annotated[str | None, typer.Option("--chat", metavar="ID", help="Only this chat.")]
AgentOption = Annotated[str | None, typer.Option("--agent", metavar="NICK", help="Only chats with this agent in them.")]
AccountOption = Annotated[str | None, typer.Option("--account", metavar="NAME", help="Only what this account heard.")]
CodeOption = Annotated[
    str | None,
    typer.Option("--code", metavar="GLOB", help="Only dispositions like this: Refund*; a cleared one is empty."),
]
KeyOption = Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only this disposition key.")]
AllOption = Annotated[bool, typer.Option("--all", help="Also events that only repeat the known value.")]
ByOption = Annotated[By | None, typer.Option("--by", help="Counts by this and code, instead of one row each.")]
ZoneOption = Annotated[
    str,
    typer.Option("--zone", metavar="NAME", help="The time zone of all times, such as Europe/Berlin."),
]
CsvOption = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="FILE",
        callback=nameable,
        help="Rows as CSV; - is standard output. What a spreadsheet would run as a formula is prefixed with '.",
    ),
]
HtmlOption = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", callback=nameable, help="An HTML page with summary, chart and the first 2000 rows."
    ),
]
SvgOption = Annotated[Path | None, typer.Option("--svg", metavar="FILE", callback=nameable, help="The chart alone.")]
ReportJsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object per row; verdict and coverage first, the summary last.")
]

_TOLD = 5  # reasons why a trail is not proven
_STDOUT = Path("-")
_SUFFIXES = {"--csv": (".csv",), "--html": (".html", ".htm"), "--svg": (".svg",)}


class NotProven(ListenerError):
    """Not every line of the trail is proven."""


def _not_proven(doubts: Sequence[str]) -> NotProven:
    more = [f"and {len(doubts) - _TOLD} more reasons"] if len(doubts) > _TOLD else []
    return NotProven("not proven: " + "; ".join(map(printable, [*doubts[:_TOLD], *more])))


def verify_trail(
    files: TrailArgument,
    checkpoint: CheckpointOption = None,
    pubkey: PubkeyOption = None,
    max_unsigned: UnsignedOption = 0,
    max_unchained: UnchainedOption = 0,
    partial: PartialOption = False,
    as_json: VerdictJsonOption = False,
) -> None:
    r"""Prove that a trail is as it was written.

    Or list each alteration with file and line. Proven is what a checkpoint covers that a --pubkey has signed. A trail
    that was rewritten or cut together with its checkpoints shows only against checkpoints that were kept elsewhere
    (--checkpoint).

    Examples:
        disposition-listener audit verify dispositions.jsonl* --pubkey kept.pub
        # Of a running listener, whose last lines no checkpoint covers yet:
        disposition-listener audit verify dispositions.jsonl* \
            --pubkey kept.pub --max-unsigned 1000

    Exit status:
        0: Every line is proven, but for those that were asked to be accepted.
        1: Some are not; the last line says why.
    """
    began_s = time.monotonic()
    files = of_the_trail(files)
    try:
        evidence = gather(files, pubkeys=pubkey or (), checkpoints=checkpoint or ())
        verdict = verify(files, evidence, partial=partial)
    except (OSError, UnicodeDecodeError) as exc:
        raise ListenerError(_why_unreadable(exc)) from exc
    asked = Tolerance(unsigned=max_unsigned, unchained=max_unchained)
    if as_json:
        print(json.dumps(verdict_json(verdict, asked)))
    else:
        print_verdict(verdict)
        print(f"{verdict.records} records in {time.monotonic() - began_s:.1f} s")
        if verdict.is_proven(asked):
            print(printable(preface(verdict, asked, coverage=NOT_KNOWN, zone="UTC").verdict))
    if doubts := list(verdict.doubts(asked)):
        raise _not_proven(doubts)


def show_key(file: TrailFileArgument, rotate: RotateOption = False, key_file: KeyFileOption = None) -> None:
    """Print the public key of an audit file.

    Keep it where nobody who can change the file can change it. With --rotate print the public key of a new one, which
    takes over at the listener's next start or SIGHUP.

    Examples:
        disposition-listener audit key dispositions.jsonl > kept.pub
        disposition-listener audit key dispositions.jsonl --rotate > next.pub
    """
    try:
        public = Paths(file).public_key
        path = key_file or Paths(file).key
        print(make_successor(path, public=public) if rotate else load_verifier(str(public)))
    except FileExistsError as exc:
        text = "there is a new key already, which takes over at the listener's next start or SIGHUP"
        raise ListenerError(f"{path}{NEXT}: {text}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ListenerError(_why_unreadable(exc)) from exc


def _why_unreadable(exc: OSError | UnicodeDecodeError) -> str:
    if isinstance(exc, UnicodeDecodeError):
        return "a file of checkpoints or of a key is no text"
    return f"{exc.filename}: {exc.strerror}" if exc.filename is not None else str(exc)


class Unreadable(ListenerError):
    """Some of the audit trail could not be read."""


def report(  # noqa: PLR0913, PLR0917 - typer makes an option of each
    files: FilesArgument,
    since: FromOption = None,
    until: ToOption = None,
    chat: ChatOption = None,
    agent: AgentOption = None,
    account: AccountOption = None,
    code: CodeOption = None,
    key: KeyOption = None,
    every: AllOption = False,
    by: ByOption = None,
    zone: ZoneOption = "UTC",
    csv: CsvOption = None,
    html: HtmlOption = None,
    svg: SvgOption = None,
    as_json: ReportJsonOption = False,
    checkpoint: CheckpointOption = None,
    pubkey: PubkeyOption = None,
    max_unsigned: UnsignedOption = 0,
    max_unchained: UnchainedOption = 0,
) -> None:
    """Report which disposition was set when, and which agents were there.

    First comes what is proven of the files, and of which accounts and times they can tell: what lies outside is not
    known. Each event counts once, however often the files contain it. Gaps, in which a disposition could have been
    missed, are listed too.

    Examples:
        disposition-listener audit report dispositions.jsonl* --from 7d --by agent
        disposition-listener audit report dispositions.jsonl* --csv all.csv

    Exit status:
        1: After the report: lines were altered, could not be read, or are not proven although --pubkey was given.
    """
    if as_json and csv == _STDOUT:
        raise typer.BadParameter("--json and --csv - both need standard output")
    local, now = _zone(zone), datetime.now(UTC)
    wanted = Wanted(
        from_ms=time_ms(since, "--from", now, local),
        to_ms=time_ms(until, "--to", now, local),
        chat=chat,
        agent=agent,
        account=account,
        code=code,
        key=key,
        unchanged=every,
    )
    tolerance = Tolerance(max_unsigned, max_unchained)
    asked = _Request(wanted, by, Calendar(local), pubkey or (), checkpoint or (), tolerance, csv, html, svg)
    _report_on(of_the_trail(files), asked, _on_stdout(asked, as_json=as_json))


def _report_on(paths: Sequence[Path], asked: "_Request", outputs: list[Output]) -> None:
    """Verify and read, and write all that was asked for. Raises NotProven and Unreadable when that is done."""
    with ExitStack() as stack:
        gc.disable()  # nothing here is cyclic, and to look for cycles among millions of rows takes a tenth of the time
        stack.callback(gc.enable)
        opened = [stack.enter_context(AuditFile(path)) for path in paths]
        asked.require_sound(opened)
        reading = Reading.of(opened, asked.wanted, most_rows=asked.most_rows(outputs), groups=asked.groups)
        verdict = _verdict_on(paths, asked, reading)
        for file, path in zip(opened, paths, strict=True):
            if not file.is_same(path):
                raise ListenerError(f"{path} was exchanged for another file while it was verified: try again")
        unreadable = _answer(asked, opened, outputs, verdict, reading, stack)
    doubts = [verdict] if isinstance(verdict, str) else list(verdict.doubts(asked.tolerance))
    if doubts and (asked.pubkeys or (isinstance(verdict, Verdict) and verdict.findings)):
        raise _not_proven(doubts)
    if unreadable:
        lines = f"{unreadable} line{'' if unreadable == 1 else 's'}"
        raise Unreadable(f"{lines} could not be read; the report lacks them")


def _verdict_on(paths: Sequence[Path], asked: "_Request", reading: Reading) -> Verdict | str:
    """The verdict on the files, whether or not older ones are missing; or why there is none. Raises ListenerError."""
    try:
        evidence = gather(paths, pubkeys=asked.pubkeys, checkpoints=asked.checkpoints or ())
    except (OSError, UnicodeDecodeError) as exc:
        raise ListenerError(_why_unreadable(exc)) from exc
    try:
        return verify(paths, evidence, partial=True, blocks=reading.survey.blocks)
    except OSError as exc:
        return f"cannot be verified: {_why_unreadable(exc)}"


def require_harmless(path: Path, option: str, suffixes: Sequence[str], inputs: Sequence[AuditFile]) -> None:
    """Raise BadParameter if the path could be an audit file, such as after an option without its value."""
    if path.suffix.lower() not in suffixes:
        text = f"{path} should end in {' or '.join(suffixes)}, so that no audit file is overwritten by mistake"
        raise typer.BadParameter(text, param_hint=option)
    if any(one.is_same(path) for one in inputs):
        raise typer.BadParameter(f"{path} is one of the files that are read", param_hint=option)


class _Request(NamedTuple):
    """What is asked for, what it is held against, and the files that get the answer."""

    wanted: Wanted
    by: By | None
    calendar: Calendar
    pubkeys: Sequence[str]
    checkpoints: Sequence[Path]
    tolerance: Tolerance
    csv: Path | None
    html: Path | None
    svg: Path | None

    def require_sound(self, inputs: Sequence[AuditFile]) -> None:
        """Raise BadParameter."""
        wanted = self.wanted
        if wanted.from_ms is not None and wanted.to_ms is not None and wanted.from_ms >= wanted.to_ms:
            raise typer.BadParameter("should be after --from", param_hint="--to")
        for path, option in ((self.csv, "--csv"), (self.html, "--html"), (self.svg, "--svg")):
            if path is not None and path != _STDOUT:
                require_harmless(path, option, _SUFFIXES[option], inputs)

    def most_rows(self, outputs: Sequence[Output]) -> int | None:
        """How many rows it tells at most; None for all."""
        if self.by is not None:
            return 0
        return MOST_ROWS if self.csv is None and all(isinstance(one, SummaryOnly) for one in outputs) else None

    @property
    def groups(self) -> Groups | None:
        """What counts rows, if that is asked for."""
        return None if self.by is None else Groups(by=self.by, calendar=self.calendar, agent=self.wanted.agent)

    @property
    def heading(self) -> Sequence[str]:
        """That of the sheet."""
        return LIST_HEADING if self.by is None else GROUP_HEADING


def _on_stdout(asked: _Request, *, as_json: bool) -> list[Output]:
    """The table, unless another output was asked for."""
    if as_json:
        return [JsonLines()]
    if asked.csv == _STDOUT:
        return [Sheet(sys.stdout, asked.heading), SummaryOnly(sys.stderr)]
    if asked.csv or asked.html or asked.svg:
        return [SummaryOnly(sys.stdout)]
    return [Listing(asked.calendar.name) if asked.by is None else Counts(asked.by, asked.calendar.name)]


def _answer(
    asked: _Request,
    opened: Sequence[AuditFile],
    outputs: list[Output],
    verdict: Verdict | str,
    reading: Reading,
    stack: ExitStack,
) -> int:
    """Read, and write all that was asked for; returns how many lines could not be read."""
    found = Report(
        opened,
        wanted=asked.wanted,
        calendar=asked.calendar,
        report=_say,
        verdict=verdict if isinstance(verdict, Verdict) else None,
        reading=reading,
    )
    stack.callback(found.close)
    begin = preface(verdict, asked.tolerance, coverage=found.coverage(), zone=asked.calendar.name)
    kept = FirstRows()
    if asked.html is not None:
        outputs.append(kept)
    if asked.csv is not None and asked.csv != _STDOUT:
        outputs.append(Sheet(stack.enter_context(replacing(asked.csv, "--csv")), asked.heading))
    for output in outputs:
        output.begin(begin)
    for rows in _rows(found, asked):
        for output in outputs:
            output.add(rows)
    summary = found.summary()
    for output in outputs:
        output.end(summary)
    if asked.html is not None or asked.svg is not None:
        _draw(asked, found, kept, begin, [file.name for file in opened])
    return summary.unreadable


def _rows(found: Report, asked: _Request) -> Iterator[AnyRows]:
    if asked.by is None:
        yield from found.rows()
        return
    deque(found.rows(), maxlen=0)  # counts what qualifies them
    yield list(found.grouped())


def _draw(asked: _Request, found: Report, kept: FirstRows, begin: Preface, names: Sequence[str]) -> None:
    """The page and the chart."""
    wanted = asked.wanted
    shown = distribute(
        found.hours,
        calendar=asked.calendar,
        gaps=found.gaps.united(wanted.account),
        from_ms=wanted.from_ms,
        to_ms=wanted.to_ms,
    )
    summary = found.summary()
    period = _period(asked, summary)
    if asked.svg is not None:
        with replacing(asked.svg, "--svg") as file:
            file.write(draw_alone(shown, title=f"Dispositions by code, {period}"))
    if asked.html is not None:
        page = Page(
            period=period,
            zone=asked.calendar.name,
            asked=_conditions(asked),
            preface=begin,
            files=names,
            made=asked.calendar.stamp(int(datetime.now(UTC).timestamp() * 1000)),
            summary=summary,
            distribution=shown,
            rows=kept.rows,
            total_rows=kept.total,
        )
        with replacing(asked.html, "--html") as file:
            file.writelines(render(page))


def _period(asked: _Request, found: Summary) -> str:
    """The period asked for; where it is open, that of the rows. In the time zone."""
    wanted = asked.wanted
    start_ms = wanted.from_ms if wanted.from_ms is not None or found.first is None else epoch_ms(found.first)
    end_ms = wanted.to_ms if wanted.to_ms is not None or found.last is None else epoch_ms(found.last)
    start, end = (None if ms is None else asked.calendar.clock(ms) for ms in (start_ms, end_ms))
    if start is None or end is None:
        whole = "the whole of the files" if start == end else f"from {start}" if start else f"before {end}"
        return f"{whole}, {asked.calendar.name}"
    return f"{start} to {end}, {asked.calendar.name}"


def _conditions(asked: _Request) -> list[str]:
    wanted = asked.wanted
    named = (
        ("chat", wanted.chat),
        ("agent", wanted.agent),
        ("account", wanted.account),
        ("code", wanted.code),
        ("key", wanted.key),
    )
    every = ["with repetitions of the known value"] if wanted.unchanged else []
    return [f"{name} {value}" for name, value in named if value is not None] + every


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC  # known without the host's data
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        text = f"this host has no time zone {name!r}: give one such as Europe/Berlin (Debian: package tzdata)"
        raise typer.BadParameter(text, param_hint="--zone") from exc


def _say(text: str) -> None:
    print(f"audit report: {printable(text)}", file=sys.stderr, flush=True)


COMMANDS: dict[str, Callable[..., Any]] = {"verify": verify_trail, "key": show_key, "report": report}
