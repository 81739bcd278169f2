"""The verdict on an audit trail: which of its lines are proven, by whom, and what was done to the others."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from listener.audit.chain import Head


class Kind(StrEnum):
    """What can be wrong with a trail."""

    EDITED = "edited"
    INSERTED = "inserted"
    DELETED = "deleted"
    REORDERED = "reordered"
    CUT = "cut"
    FORKED = "forked"
    FORGED = "forged"
    MALFORMED = "malformed"


class Proof(StrEnum):
    """What stands for the lines of a stretch.

    Attributes:
        SIGNED: a trusted key has signed them.
        CHAINED: each follows the one before, but no signature of a trusted key covers them.
        NONE: nothing.
    """

    SIGNED = "signed"
    CHAINED = "chained"
    NONE = "none"


class Trust(StrEnum):
    """Why a key counts.

    Attributes:
        GIVEN: the caller trusts it.
        INTRODUCED: a trusted key has named it as its successor.
        BESIDE: nobody trusts it, and it lies beside the files, where whoever can change them can exchange it.
        UNKNOWN: nobody trusts it; its signatures are not looked at.
    """

    GIVEN = "given"
    INTRODUCED = "introduced"
    BESIDE = "beside"
    UNKNOWN = "unknown"


class Location(NamedTuple):
    """A line in a file, counted from 1."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Finding(NamedTuple):
    """One thing that is wrong, and where."""

    kind: Kind
    place: Location
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.kind}: {self.text}"


class Span(NamedTuple):
    """The numbers from `first` to `last`, both included."""

    first: int
    last: int


class Stretch(NamedTuple):
    """Lines that stand one behind the other and have the same proof.

    Attributes:
        proof: what stands for them.
        first: where they begin.
        last: where they end, that line included; it may be in a later file.
        lines: how many they are.
        records: their indexes in the chain; None if they are no records of it.
        keys: the names and ids of the keys that signed them, as `VerifierKey.label` has them.
    """

    proof: Proof
    first: Location
    last: Location
    lines: int
    records: Span | None = None
    keys: tuple[str, ...] = ()


class KeyUse(NamedTuple):
    """A key that has signed checkpoints of the trail, or should have.

    Attributes:
        label: its name and id.
        trust: why it counts.
        checkpoints: how many checkpoints it has signed; of an unknown key how many say so.
        signed: how many records the largest of them that fits the trail covers; 0 for none.
        introduced_by: the label of the key that named it as its successor.
    """

    label: str
    trust: Trust
    checkpoints: int
    signed: int = 0
    introduced_by: str | None = None


class Tolerance(NamedTuple):
    """What may be without a signature in a trail that is called proven.

    Attributes:
        unsigned: so many records at its end, which no checkpoint covers yet.
        unchained: so many lines from before the chain began.
    """

    unsigned: int = 0
    unchained: int = 0


NOTHING_UNSIGNED = Tolerance()


@dataclass(kw_only=True, slots=True)
class Verdict:
    """The result of a verification.

    Attributes:
        findings: what is wrong.
        files: what was read, in the order in which it was written.
        stretches: every line of the files, in that order, with what proves it.
        keys: who signed, the trusted ones first.
        first: the index of the first record; None if there is none.
        head: the end of the chain.
        records: how many records were read.
        unchained: lines before the first record, from before there was a chain; nothing proves what they say.
        unused: files of checkpoints that were kept elsewhere, none of which a trusted key has signed.
    """

    findings: list[Finding] = field(default_factory=list)
    files: tuple[Path, ...] = ()
    stretches: tuple[Stretch, ...] = ()
    keys: tuple[KeyUse, ...] = ()
    first: int | None = None
    head: Head = field(default_factory=Head)
    records: int = 0
    unchained: int = 0
    unused: tuple[Path, ...] = ()

    def find(self, kind: Kind, place: Location, text: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(kind, place, text))

    @property
    def signed(self) -> int:
        """Up to how many records a trusted signature covers; 0 for none."""
        return max((one.records.last + 1 for one in self.stretches if _is_signed(one) and one.records), default=0)

    @property
    def checkpoints(self) -> int:
        """How many checkpoints trusted keys have signed."""
        return sum(one.checkpoints for one in self.keys if one.trust is not Trust.UNKNOWN)

    @property
    def unsigned(self) -> int:
        """How many lines no trusted signature covers."""
        return sum(one.lines for one in self.stretches if not _is_signed(one))

    def stretches_of(self, file: Path) -> Iterator[tuple[int | None, Stretch]]:
        """What is in one file, in order: the last line there, None if it goes on in a later file, and the stretch."""
        place = {path: number for number, path in enumerate(self.files)}
        at = place.get(file, -1)
        for one in self.stretches:
            if place[one.first.file] <= at <= place[one.last.file]:
                yield (one.last.line if one.last.file == file else None), one

    def doubts(self, tolerance: Tolerance = NOTHING_UNSIGNED) -> Iterator[str]:
        """Why the trail is not proven, a sentence each; nothing if every line is, as far as that is asked for."""
        if self.findings:
            yield f"the trail was altered: {len(self.findings)} finding{'s'[: len(self.findings) != 1]}"
        trusted = [one for one in self.keys if one.trust in (Trust.GIVEN, Trust.INTRODUCED)]
        if not any(map(_is_signed, self.stretches)):
            yield self._why_nothing(trusted)
        elif not trusted:
            yield "the key lies beside the files: it proves nothing against anyone who can write there (give --pubkey)"
        if any(map(_is_signed, self.stretches)):
            yield from self._doubtful_stretches(tolerance)
        for path in self.unused:
            yield f"no checkpoint in {path} is by a trusted key: the trail was held against none of them"

    def is_proven(self, tolerance: Tolerance = NOTHING_UNSIGNED) -> bool:
        """Whether every line is proven by a key that the caller trusts, as far as that is asked for."""
        return next(self.doubts(tolerance), None) is None

    def _why_nothing(self, trusted: list[KeyUse]) -> str:
        if not self.stretches:
            return "there are no lines"
        if self.first is None:
            return "no line is a record of a chain"
        if not self.keys:
            return "nothing is signed: there are no checkpoints, and no key"
        if not any(one.checkpoints for one in trusted):
            return "nothing is signed: there is no checkpoint by " + (
                " or ".join(one.label for one in trusted) or "a trusted key"
            )
        return "nothing is signed: no checkpoint fits the lines"

    def _doubtful_stretches(self, tolerance: Tolerance) -> Iterator[str]:
        last = max(place for place, one in enumerate(self.stretches) if _is_signed(one))
        tail = sum(one.lines for one in self.stretches[last + 1 :])
        strangers = [one for one in self.keys if one.trust is Trust.UNKNOWN and one.signed > self.signed]
        for place, one in enumerate(self.stretches):
            older = not place and self.unchained == one.lines
            if one.proof is Proof.CHAINED and place < last:
                yield f"{_of(one)} chained, but not signed"
            elif one.proof is Proof.CHAINED and strangers:
                names = " and ".join(key.label for key in strangers)
                yield f"{_of(one)} chained, but the checkpoints behind are by {names}, and not by a trusted key"
            elif one.proof is Proof.CHAINED and tail > tolerance.unsigned:
                yield f"{_of(one)} chained, but not signed" + ("" if self.findings else " yet (see --max-unsigned)")
            elif one.proof is Proof.NONE and not older:
                yield f"{_of(one)} not proven"
            elif one.proof is Proof.NONE and one.lines > tolerance.unchained:
                yield f"{_of(one)} from before the chain began, and not proven (see --max-unchained)"


def _is_signed(one: Stretch) -> bool:
    return one.proof is Proof.SIGNED


def _of(one: Stretch) -> str:
    many = one.lines != 1
    return f"{one.lines} line{'s' if many else ''} from {one.first} on {'are' if many else 'is'}"
