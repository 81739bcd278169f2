"""`audit`: whether an audit trail is what was written, the key that says so, and what is in it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from listener.audit.escaping import printable
from listener.audit.files import CHECKPOINTS, PUBLIC_KEY, Paths, beside, of_the_trail
from listener.audit.notes import NoteError, VerifierKey, load_verifier
from listener.audit.verify import Signed, Verdict, read_checkpoints, verify
from listener.cli import audit_report
from listener.errors import ListenerError

_SHOWN = 100  # findings; where there are more, the trail is not worth reading on

FilesArgument = Annotated[
    list[Path], typer.Argument(metavar="FILES…", help="The audit file and its predecessors, .gz too, in any order.")
]
CheckpointOption = Annotated[
    list[Path] | None,
    typer.Option("--checkpoint", metavar="FILE", help="Signed checkpoints; without it those beside the files."),
]
KeyOption = Annotated[
    str | None,
    typer.Option("--pubkey", metavar="KEY", help="The public key that must have signed them, or a file that holds it."),
]
PartialOption = Annotated[bool, typer.Option("--partial", help="Older files were deleted, or are left out on purpose.")]
VerdictJsonOption = Annotated[bool, typer.Option("--json", help="The verdict as one JSON object.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The audit file.")]


class NotProven(ListenerError):
    """The trail is not what was written."""


def verify_trail(
    files: FilesArgument,
    checkpoint: CheckpointOption = None,
    pubkey: KeyOption = None,
    partial: PartialOption = False,
    as_json: VerdictJsonOption = False,
) -> None:
    """Prove that a trail is what was written, or name what was done to it, with file and line.

    Edits, insertions, deletions and another order show in the files alone. That the end was cut off, or all of it
    written anew, shows against a checkpoint that was signed later: copies of those belong elsewhere. Exit status 1
    where anything is found.
    """
    began_s = time.monotonic()
    files = of_the_trail(files)
    try:
        key = load_verifier(pubkey) if pubkey is not None else _key_beside(files)
        signed = [one for path in checkpoint or beside(files, CHECKPOINTS) for one in read_checkpoints(path)]
        if checkpoint and not signed:
            raise NoteError(f"{', '.join(map(str, checkpoint))}: no checkpoint in there")
        if signed and key is None:
            raise NoteError("there are checkpoints and no key to hold them against: give --pubkey")
        verdict = verify(files, checkpoints=signed, key=key, partial=partial)
    except (OSError, UnicodeDecodeError) as exc:
        raise ListenerError(_why_unreadable(exc)) from exc
    if as_json:
        print(json.dumps(_as_json(verdict, key)))
    else:
        _report(verdict, signed, key, pinned=pubkey is not None)
        print(f"{verdict.records} lines in {time.monotonic() - began_s:.1f} s")
    if verdict.findings:
        raise NotProven(f"the trail is not what was written: {len(verdict.findings)} findings")


def show_key(file: FileArgument) -> None:
    """Print the public key of an audit file, to be kept where nobody who can change the file can change it."""
    try:
        print(load_verifier(str(Paths(file).public_key)))
    except (OSError, UnicodeDecodeError) as exc:
        raise ListenerError(_why_unreadable(exc)) from exc


def _why_unreadable(exc: OSError | UnicodeDecodeError) -> str:
    if isinstance(exc, UnicodeDecodeError):
        return "a file of checkpoints or of a key is no text"
    return f"{exc.filename}: {exc.strerror}" if exc.filename is not None else str(exc)


def _key_beside(files: Sequence[Path]) -> VerifierKey | None:
    keys = {load_verifier(str(path)) for path in beside(files, PUBLIC_KEY)}
    if len(keys) > 1:
        raise NoteError("the files have more than one public key beside them: give --pubkey")
    return next(iter(keys), None)


def _report(verdict: Verdict, signed: Sequence[Signed], key: VerifierKey | None, *, pinned: bool) -> None:
    for finding in verdict.findings[:_SHOWN]:
        print(printable(str(finding)))
    if len(verdict.findings) > _SHOWN:
        print(f"… and {len(verdict.findings) - _SHOWN} more")
    for line in _summary(verdict, signed, key, pinned=pinned):
        print(printable(line))


def _summary(verdict: Verdict, signed: Sequence[Signed], key: VerifierKey | None, *, pinned: bool) -> Iterator[str]:
    if verdict.unchained:
        yield f"{verdict.unchained} lines before the first record are not chained: nothing proves what they say"
    if verdict.first is None:
        yield "no records"
        return
    if not verdict.findings:
        yield f"proven: records {verdict.first} to {verdict.head.size - 1} follow each other"
    if key is None or not signed:
        yield "no checkpoints: a tail that was cut off, or a trail written anew as a whole, would not show"
        return
    unsigned = verdict.head.size - verdict.signed
    covered = f"all but the last {unsigned} records" if unsigned else "every record"
    yield f"checkpoints signed by {key.name}: {verdict.checkpoints}, which cover {covered}"
    if not pinned:
        yield "the key was found beside the trail: who can change one can change both; keep it elsewhere, give --pubkey"


def _as_json(verdict: Verdict, key: VerifierKey | None) -> dict[str, Any]:
    return {
        "proven": not verdict.findings,
        "findings": [
            {"kind": one.kind, "file": str(one.place.file), "line": one.place.line, "text": one.text}
            for one in verdict.findings
        ],
        "records": verdict.records,
        "first": verdict.first,
        "size": verdict.head.size,
        "hash": verdict.head.hash.hex(),
        "unchained": verdict.unchained,
        "signed": verdict.signed,
        "checkpoints": verdict.checkpoints,
        "key": str(key) if key is not None else None,
    }


COMMANDS: dict[str, Callable[..., Any]] = {"verify": verify_trail, "key": show_key, "report": audit_report.report}
