"""Proving an audit trail: every record against its neighbours, and against the checkpoints that were signed of them."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from listener.audit.files import in_order
from listener.audit.findings import Kind, Location, Verdict
from listener.audit.notes import Checkpoint, VerifierKey, parse_checkpoints
from listener.audit.walk import Walk

Signed = tuple[Location, Checkpoint]
"""A checkpoint, and the place of its note: the file, and its number among the notes."""


def read_checkpoints(path: Path) -> list[Signed]:
    """The checkpoints of a file. Raises OSError, NoteError."""
    notes = parse_checkpoints(path.read_text(encoding="utf-8"))
    return [(Location(path, number), checkpoint) for number, checkpoint in enumerate(notes, start=1)]


def verify(
    files: Iterable[Path], *, checkpoints: Sequence[Signed] = (), key: VerifierKey | None = None, partial: bool = False
) -> Verdict:
    """Verify the files of one trail, in whatever order they are named. Blocks; reads each line once and keeps none.

    Args:
        files: plain or `.gz`.
        checkpoints: signed checkpoints.
        key: who must have signed them; None trusts nobody, and then they are not looked at.
        partial: whether older files may be missing.

    Raises:
        OSError: a file cannot be read.
    """
    verdict = Verdict()
    trusted = list(_trusted(checkpoints, key, verdict))
    walk = Walk(verdict, {checkpoint.head.size: (place, checkpoint.head.hash) for place, checkpoint in trusted})
    for path in in_order(files):
        walk.read(path)
    walk.end()
    if verdict.first and not partial and walk.first_place is not None:
        text = (
            f"the trail begins here with record {verdict.first}: older files are missing (or are left out on purpose)"
        )
        verdict.find(Kind.DELETED, walk.first_place, text)
    _hold_against(trusted, verdict, walk.last_place)
    return verdict


def _trusted(checkpoints: Sequence[Signed], key: VerifierKey | None, verdict: Verdict) -> Iterator[Signed]:
    """Those that the key has signed, the largest first; two of one size that disagree are a fork."""
    if key is None:
        return
    sizes: dict[int, Signed] = {}
    for place, checkpoint in sorted(checkpoints, key=lambda one: -one[1].head.size):
        size = checkpoint.head.size
        if not checkpoint.is_signed_by(key):
            names = ", ".join(sorted({one.name for one in checkpoint.signatures}))
            text = f"the checkpoint of {size} records is not signed by {key.name} with this key (but as {names})"
            verdict.find(Kind.FOREIGN_KEY, place, text)
        elif size in sizes and sizes[size][1].head != checkpoint.head:
            text = f"two histories of {size} records were signed, the other one in {sizes[size][0]}"
            verdict.find(Kind.FORKED, place, text)
        else:
            sizes[size] = (place, checkpoint)
            verdict.checkpoints += 1
            yield place, checkpoint


def _hold_against(trusted: Sequence[Signed], verdict: Verdict, last_place: Location | None) -> None:
    """The largest checkpoint says how long the trail was at least."""
    if not trusted:
        return
    place, checkpoint = trusted[0]
    verdict.signed = min(checkpoint.head.size, verdict.head.size)
    if (missing := checkpoint.head.size - verdict.head.size) > 0:
        text = f"the trail ends with {verdict.head.size} records, {missing} fewer than were signed in {place}"
        verdict.find(Kind.CUT, last_place or place, text)
