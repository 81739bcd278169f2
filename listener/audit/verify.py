"""Verifies an audit trail: every record against its neighbours, and against checkpoints that a trusted key signed."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple

from listener.audit.chain import Head
from listener.audit.coverage import marks, stretches
from listener.audit.files import CHECKPOINTS, PUBLIC_KEY, beside, in_order
from listener.audit.notes import Checkpoint, NoteError, VerifierKey, load_verifier, parse_checkpoint, split_notes
from listener.audit.reading import Block, blocks_of
from listener.audit.verdict import Finding, KeyUse, Kind, Location, Trust, Verdict
from listener.audit.walk import Walk
from listener.runtime.owned import open_to_read

Signed = tuple[Location, Checkpoint]
"""A checkpoint, and the place of its note: the file, and its number among the notes."""


class Evidence(NamedTuple):
    """What a trail is held against.

    Attributes:
        keys: who is trusted.
        beside: who is not, but lies beside the files; looked at where nobody is trusted.
        checkpoints: signed by whomever.
        findings: notes that are none.
        kept: the files of those checkpoints that were kept elsewhere.
    """

    keys: tuple[VerifierKey, ...] = ()
    beside: tuple[VerifierKey, ...] = ()
    checkpoints: tuple[Signed, ...] = ()
    findings: tuple[Finding, ...] = ()
    kept: tuple[Path, ...] = ()


NO_EVIDENCE = Evidence()


def read_checkpoints(path: Path) -> Evidence:
    """The checkpoints of a file, and the notes in it that are none. Raises OSError."""
    signed: list[Signed] = []
    findings = []
    with open_to_read(path, or_pipe=True) as file:
        text = TextIOWrapper(file, encoding="utf-8-sig", errors="replace").read()
    for number, note in enumerate(split_notes(text), start=1):
        place = Location(path, number)
        try:
            signed.append((place, parse_checkpoint(note)))
        except NoteError as exc:
            findings.append(Finding(Kind.MALFORMED, place, f"the note {exc}"))
    return Evidence(checkpoints=tuple(signed), findings=tuple(findings))


def gather(files: Sequence[Path], *, pubkeys: Sequence[str] = (), checkpoints: Sequence[Path] = ()) -> Evidence:
    """What the files of a trail are held against.

    Args:
        files: of the trail.
        pubkeys: the trusted keys, each as text or as the name of a file.
        checkpoints: files of checkpoints that were kept elsewhere; those beside the files are looked at, too.

    Raises:
        OSError: a file cannot be read.
        NoteError: a trusted key is none, or there is no checkpoint in a file that was kept elsewhere.
    """
    kept = [read_checkpoints(path) for path in checkpoints]
    if empty := [str(path) for path, found in zip(checkpoints, kept, strict=True) if not found.checkpoints]:
        raise NoteError(f"{', '.join(empty)}: no checkpoint in there")
    notes = [*kept, *(read_checkpoints(path) for path in beside(files, CHECKPOINTS) if path not in checkpoints)]
    return Evidence(
        keys=tuple(dict.fromkeys(load_verifier(text) for text in pubkeys)),
        beside=tuple(_readable(beside(files, PUBLIC_KEY))),
        checkpoints=tuple(one for each in notes for one in each.checkpoints),
        findings=tuple(one for each in notes for one in each.findings),
        kept=tuple(checkpoints),
    )


def verify(
    files: Iterable[Path],
    evidence: Evidence = NO_EVIDENCE,
    *,
    partial: bool = False,
    blocks: Callable[[Path], Iterable[Block]] = blocks_of,
) -> Verdict:
    """Verify the files of one trail, in whatever order they are named. Blocks; reads each line once and keeps none.

    Args:
        files: plain or `.gz`.
        evidence: as `gather` finds it; without any nothing is proven, and what was altered is found all the same.
        partial: whether older files may be missing.
        blocks: gives the lines of each file, for whoever wants to see them as well.

    Raises:
        OSError: a file cannot be read.
    """
    ring = _Ring(evidence)
    verdict = Verdict(files=tuple(in_order(files)), findings=[*evidence.findings, *ring.findings])
    walk = Walk(verdict, {checkpoint.head.size for _, checkpoint in evidence.checkpoints})
    for path in verdict.files:
        walk.read(path, blocks(path))
    walk.end()
    if verdict.first and not partial and walk.first_place is not None:
        text = f"the trail begins here with record {verdict.first}: older files are missing (or omitted on purpose)"
        verdict.find(Kind.DELETED, walk.first_place, text)
    found = marks(walk.segments)
    verdict.findings += _contradictions(ring.signed, found, verdict.head.size, walk.last_place)
    verdict.stretches = stretches(walk.segments, ring.heads)
    verdict.keys = tuple(ring.uses({head for heads in found.values() for head, _ in heads}))
    verdict.unused = tuple(path for path in evidence.kept if path not in ring.files)
    return verdict


class _Ring:
    """The keys that count: the trusted ones, whom they introduced, or else those beside the files.

    Attributes:
        findings: checkpoints that bear the name of a key that has not signed them, and two of one size that disagree.
        heads: by the label of each key that counts, the heads that it has signed.
        signed: the checkpoints of all of them, the largest first, one for each size.
        files: where there are checkpoints of any of them.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        trust = Trust.GIVEN if evidence.keys else Trust.BESIDE
        self._trust = dict.fromkeys(evidence.keys or evidence.beside, trust)
        self._by: dict[VerifierKey, VerifierKey] = {}
        self._introduce()
        self.findings: list[Finding] = []
        self.heads: Mapping[str, set[Head]] = {key.label: set() for key in self._trust}
        self.files: set[Path] = set()
        self.signed = list(self._checkpoints())

    def uses(self, found: set[Head]) -> Iterator[KeyUse]:
        """Every key, the ones that count first. `found` are the heads that stand in the trail."""
        names = Counter(one.label for _, note in self._evidence.checkpoints for one in note.signatures)
        fit = [
            (name, note.head.size)
            for _, note in self._evidence.checkpoints
            if note.head in found
            for name in {one.label for one in note.signatures}
        ]
        for key, trust in self._trust.items():
            heads = self.heads[key.label]
            by = self._by[key].label if key in self._by else None
            largest = max((head.size for head in heads & found), default=0)
            yield KeyUse(key.label, trust, len(heads), largest, by)
        for label in sorted(names.keys() - self.heads.keys()):
            yield KeyUse(
                label, Trust.UNKNOWN, names[label], max((size for name, size in fit if name == label), default=0)
            )

    def _introduce(self) -> None:
        """A successor counts as the key does that signed for it, as often as that happened."""
        waiting = list(self._trust)
        while waiting:
            key = waiting.pop()
            for _, note in self._evidence.checkpoints:
                successor = note.successor
                if successor is not None and successor not in self._trust and note.is_signed_by(key):
                    self._trust[successor] = Trust.INTRODUCED if self._evidence.keys else Trust.BESIDE
                    self._by[successor] = key
                    waiting.append(successor)

    def _checkpoints(self) -> Iterator[Signed]:
        sizes: dict[int, Signed] = {}
        for place, note in sorted(self._evidence.checkpoints, key=lambda one: -one[1].head.size):
            size, signers = note.head.size, [key for key in self._trust if note.is_signed_by(key)]
            named = {(one.name, one.key_id) for one in note.signatures}
            for key in self._trust:
                if (key.name, key.key_id) in named and key not in signers:
                    text = f"the checkpoint of {size} records says that {key.label} signed it, but it did not"
                    self.findings.append(Finding(Kind.FORGED, place, text))
            for key in signers:
                self.heads[key.label].add(note.head)
                self.files.add(place.file)
            if signers and size in sizes and sizes[size][1].head != note.head:
                text = f"two histories of {size} records were signed, the other one by {_note(sizes[size][0])}"
                self.findings.append(Finding(Kind.FORKED, place, text))
            elif signers and size not in sizes:
                sizes[size] = (place, note)
                yield place, note


def _contradictions(
    signed: Sequence[Signed], found: Mapping[int, list[tuple[Head, Location]]], size: int, last_place: Location | None
) -> Iterator[Finding]:
    """Where the trail has another record than was signed, or ends before the largest checkpoint."""
    for place, note in reversed(signed):
        for head, where in found.get(note.head.size, ()):
            if head != note.head:
                text = f"this is not the record {head.size - 1} that {_note(place)} has signed"
                yield Finding(Kind.FORKED, where, text)
    if signed and (missing := signed[0][1].head.size - size) > 0:
        place = signed[0][0]
        text = f"the trail ends with {size} records, {missing} fewer than {_note(place)} has signed"
        yield Finding(Kind.CUT, last_place or place, text)


def _note(place: Location) -> str:
    return f"checkpoint {place.line} of {place.file}"


def _readable(paths: Iterable[Path]) -> Iterator[VerifierKey]:
    """The keys in files that nobody vouches for: what is none counts for nothing."""
    for path in paths:
        try:
            yield load_verifier(str(path))
        except (NoteError, UnicodeDecodeError):
            continue
