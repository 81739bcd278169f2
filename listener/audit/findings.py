"""What a verification finds, and where."""

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
    FOREIGN_KEY = "foreign key"


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


@dataclass(kw_only=True, slots=True)
class Verdict:
    """What a verification came to.

    Attributes:
        findings: what is wrong; empty where the trail is proven.
        first: the index of the first record; None where there is none.
        head: the end of the chain.
        records: how many records were read.
        unchained: lines before the first record, from before there was a chain; nothing proves what they say.
        signed: up to how many records a checkpoint of the trusted key covers; 0 for none.
        checkpoints: how many checkpoints were signed by it.
    """

    findings: list[Finding] = field(default_factory=list)
    first: int | None = None
    head: Head = field(default_factory=Head)
    records: int = 0
    unchained: int = 0
    signed: int = 0
    checkpoints: int = 0

    def find(self, kind: Kind, place: Location, text: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(kind, place, text))
