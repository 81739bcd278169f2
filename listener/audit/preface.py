"""What a report begins with, in words: what is proven of its files, and of which accounts and times they can tell."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from listener.audit.report import Coverage, Known
from listener.audit.verdict import NOTHING_UNSIGNED, Tolerance, Verdict

_MOST_REASONS = 10
_MOST_ACCOUNTS = 100


class Preface(NamedTuple):
    """The two things that qualify every row.

    Attributes:
        reasons: why the files are not proven, and what was done to them; empty if every line is proven.
        signers: the keys that have signed, by name and id.
        unsigned: how many lines they have not signed; of a proven trail those that were accepted.
        coverage: what the files can tell of.
        zone: whose clocks its times are of, by name.
        older: how many records come before the first one that is there.
    """

    reasons: tuple[str, ...]
    signers: tuple[str, ...]
    unsigned: int
    coverage: Coverage
    zone: str
    older: int = 0

    @property
    def is_proven(self) -> bool:
        """Whether every line is, by a key that was given."""
        return not self.reasons

    @property
    def verdict(self) -> str:
        """What is proven, in one sentence."""
        if self.is_proven:
            return f"proven: {self.signed}"
        return "not proven: " + "; ".join(_first(self.reasons, _MOST_REASONS, "reasons"))

    @property
    def signed(self) -> str:
        """Which lines are signed, and by whom."""
        accepted = f" but {self.unsigned}, which were accepted," if self.unsigned else ""
        older = f"; the {self.older} records before them are not in these files" if self.older else ""
        return f"every line{accepted} is signed by {' or '.join(self.signers)}{older}"

    def known(self) -> Iterator[str]:
        """Of which accounts and times the files can tell, a sentence each; the last one says what they cannot."""
        accounts = self.coverage.accounts
        yield from _first([_in_words(one) for one in accounts], _MOST_ACCOUNTS, "accounts")
        if self.coverage.whole:
            yield f"that is the whole of the period (times are in {self.zone})"
        elif accounts:
            yield f"what lies outside of it is not known (times are in {self.zone})"
        else:
            yield "not known: the files hold nothing about this period"


def preface(verdict: Verdict | str, asked: Tolerance = NOTHING_UNSIGNED, *, coverage: Coverage, zone: str) -> Preface:
    """The preface of a report on files with this verdict, or with the reason why there is none.

    Files that are not proven cover no period as a whole, nor do those cover an open one that begin in the midst.
    """
    reasons = (verdict,) if isinstance(verdict, str) else (*verdict.doubts(asked), *map(str, verdict.findings))
    older = 0 if isinstance(verdict, str) else verdict.first or 0
    whole = coverage.whole and not reasons and not (older and coverage.from_ is None)
    coverage = msgspec.structs.replace(coverage, whole=whole)
    if isinstance(verdict, str):
        return Preface(reasons, (), 0, coverage, zone)
    signers = tuple(dict.fromkeys(key for one in verdict.stretches for key in one.keys))
    return Preface(reasons, signers, verdict.unsigned, coverage, zone, older)


def _in_words(known: Known) -> str:
    gaps = (
        "no gap on record" if not known.gaps else f"{known.gaps} gap{'s'[: known.gaps != 1]} of {known.seconds:.3f} s"
    )
    return f"{known.account} from {known.first} to {known.last}, {gaps}"


def _first(texts: tuple[str, ...] | list[str], most: int, what: str) -> list[str]:
    left = len(texts) - most
    return [*texts[:most], *([f"and {left} more {what}"] if left > 0 else [])]
