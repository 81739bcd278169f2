"""What was set when, and who was in the chat: audit files as rows, with what limits the answer."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import NamedTuple

import msgspec

from listener.audit.events import AccountGaps, Stretch, epoch_ms, ids_in, told_by
from listener.audit.groups import GroupRow, Groups
from listener.audit.periods import QUARTER_MS, Calendar
from listener.audit.picking import Fault, Picked, PickedGap, Picker, Wanted
from listener.audit.reading import AuditFile, CutShort
from listener.audit.rows import GapRow, Rows
from listener.audit.survey import Survey, pieces
from listener.audit.verdict import Proof, Verdict
from listener.model.event import Origin


class Known(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """For how long the files know of an account: from its first event to its last one, apart from its gaps.

    A session that listens and hears nothing leaves no event, and neither does one that is deaf until it ends: what is
    before or behind is not known. Gaps and their seconds are those in the period that is asked for.
    """

    account: str
    first: str
    last: str
    gaps: int
    seconds: float


class Coverage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="row", tag="coverage"):
    """Of which accounts and times the files can tell, before what they tell.

    Attributes:
        from_: the start of the period that is asked for; None if it is open.
        to: its end.
        accounts: what is known of each account; none of them where nothing is.
        whole: whether every account is known from the start of the period to its end, as far as the files are to be
            believed; an open end is where the first account begins to be known, or the last one ceases to be.
    """

    from_: str | None = msgspec.field(name="from")
    to: str | None
    accounts: list[Known]
    whole: bool


NOT_KNOWN = Coverage(from_=None, to=None, accounts=[], whole=False)
"""What files can tell of that nobody has read."""


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="row", tag="summary"):
    """What was read and what came of it; the counts of dispositions are those of the rows.

    `first` and `last` are their times. `unproven` counts those that no key has signed, `left_out` the `unchanged` ones
    that would be rows, `repeated` events of the period that came again, `others` events of unknown types by type.
    """

    files: int
    lines: int
    unreadable: int
    repeated: int
    dispositions: int
    changes: dict[str, int]
    left_out: int
    reconciled: int
    near_gap: int
    unproven: int
    tests: int
    others: dict[str, int]
    first: str | None
    last: str | None
    gaps: list[AccountGaps]


class Reading(NamedTuple):
    """What looks at the lines of files while they are verified: for the coverage, and for the rows."""

    survey: Survey
    picker: Picker

    @classmethod
    def of(
        cls, files: Sequence[AuditFile], wanted: Wanted, *, most_rows: int | None = None, groups: Groups | None = None
    ) -> "Reading":
        """For one question; see `Picker`."""
        picker = Picker(wanted, most_rows=most_rows, groups=groups)
        return cls(Survey(files, from_ms=wanted.from_ms, to_ms=wanted.to_ms, picker=picker), picker)


class Report:
    """The answer to one question, from files that are given in any order.

    Args:
        files: open audit files.
        wanted: the question.
        calendar: whose hours are counted, and in whose zone times are told.
        report: gets a line of text for each place that cannot be read.
        verdict: on the trail, from these very files; None if there is none, and then nothing is proven.
        reading: of these files for this question, as far as they were verified.
    """

    def __init__(
        self,
        files: Sequence[AuditFile],
        *,
        wanted: Wanted,
        calendar: Calendar,
        report: Callable[[str], None],
        verdict: Verdict | None = None,
        reading: Reading | None = None,
    ) -> None:
        self.wanted = wanted
        self._calendar = calendar
        self._survey, self._picker = reading or Reading.of(files, wanted)
        self.gaps = self._survey.gaps
        self._files = files
        self._verdict = verdict or Verdict()
        self._report = report
        self._coverage: Coverage | None = None
        self._near = self._unproven = 0

    def coverage(self) -> Coverage:
        """Of what the files can tell; reads at the first call what was not seen, or in another order."""
        if self._coverage is None:
            ordered, known = self._survey.ended(self._verdict)
            verdict, picker = self._verdict, self._picker
            is_mixed = bool(verdict.signed and verdict.unsigned)
            in_order = self._survey.is_whole and picker.names == [file.name for file in ordered]
            if not in_order or (is_mixed and (verdict.findings or picker.count["repeated"])):
                self._pick(ordered, _signed_again(ordered, verdict) if is_mixed else None)
            self._picker.end()
            self._coverage = self._covered(known)
        return self._coverage

    def _pick(self, ordered: Sequence[AuditFile], signed: frozenset[str] | None) -> None:
        """Go through the files once more. `signed` are the ids of which only signed lines count; None without any."""
        self._picker.kept.close()
        self._picker = picker = self._picker.anew()
        for file in ordered:
            number = 0
            picker.begin(file.name)
            try:
                for lines, proof in pieces(file, self._verdict):
                    picker.take(number, lines, told_by(lines), None if proof is Proof.SIGNED else signed)
                    number += len(lines)
            except CutShort as exc:
                picker.cannot(number + 1, str(exc))

    def _covered(self, every: Mapping[str, Stretch]) -> Coverage:
        wanted, stamp = self.wanted, self._calendar.stamp
        known = {name: one for name, one in sorted(every.items()) if wanted.account in (None, name)}
        within = {name: one for name, one in known.items() if self.gaps.is_in_period(one)}
        from_ms = min((one.start_ms for one in known.values()), default=0) if wanted.from_ms is None else wanted.from_ms
        to_ms = max((one.end_ms for one in known.values()), default=0) if wanted.to_ms is None else wanted.to_ms
        return Coverage(
            from_=None if wanted.from_ms is None else stamp(wanted.from_ms),
            to=None if wanted.to_ms is None else stamp(wanted.to_ms),
            accounts=[self._of(name, one) for name, one in within.items()],
            whole=bool(within) and all(one.start_ms <= from_ms and one.end_ms >= to_ms for one in known.values()),
        )

    def _of(self, account: str, known: Stretch) -> Known:
        gaps, stamp = self.gaps.of(account), self._calendar.stamp
        first, last = stamp(known.start_ms), stamp(known.end_ms)
        return Known(account=account, first=first, last=last, gaps=gaps.gaps, seconds=gaps.seconds)

    def rows(self) -> Iterator[Rows | Sequence[GapRow]]:
        """What is asked for, the oldest file first, some hundred rows at a time. To be called once."""
        self.coverage()
        picker = self._picker
        proofs = [_Proofs.of(self._verdict, name) for name in picker.names]
        for item in picker.kept:
            match item:
                case Picked():
                    yield self._told(item, proofs[item.file].at(item.lines))
                case PickedGap():
                    yield [self._gap(item, *proofs[item.file].at([item.line]))]
                case Fault():
                    lines = f"{item.first}" if item.first == item.last else f"{item.first}-{item.last}"
                    self._report(f"{picker.names[item.file]}:{lines}: {item.why}")

    def grouped(self) -> Iterator[GroupRow]:
        """The groups, where they were asked for."""
        self.coverage()
        if self._picker.groups is not None:
            yield from self._picker.groups.rows()

    @property
    def hours(self) -> Counter[tuple[int, str, str | None]]:
        """How many rows there were by the start of their hour (epoch seconds), key and code."""
        found: Counter[tuple[int, str, str | None]] = Counter()
        for (quarter, key, code, *_), count in self._picker.tally.items():
            found[self._calendar.hour_of(quarter * QUARTER_MS), key, code] += count
        return found

    def summary(self) -> Summary:
        """What was read, and what the rows that were told until now are worth."""
        picker, changes = self._picker, Counter[str]()
        for (_, _, _, change, _), number in picker.tally.items():
            changes[change] += number
        first, last = [self._calendar.stamp(epoch_ms(time)) for time in picker.times] or (None, None)
        return Summary(
            files=len(self._files),
            lines=picker.count["lines"],
            unreadable=picker.count["unreadable"],
            repeated=picker.count["repeated"],
            dispositions=changes.total(),
            changes=dict(changes),
            left_out=picker.count["left out"],
            reconciled=sum(number for (*_, origin), number in picker.tally.items() if origin == Origin.RECONCILED),
            near_gap=self._near,
            unproven=self._unproven,
            tests=picker.count["tests"],
            others=dict(picker.others),
            first=first,
            last=last,
            gaps=self.gaps.by_account(self.wanted.account),
        )

    def close(self) -> None:
        """Let what was read go. Idempotent."""
        self._picker.kept.close()

    def _told(self, item: Picked, proofs: list[Proof]) -> Rows:
        near = self.gaps.are_near(item.accounts, item.times)
        self._near += sum(near)
        self._unproven += len(proofs) - proofs.count(Proof.SIGNED)
        return Rows(
            times=item.times if self._calendar.is_utc else self._calendar.stamps(item.times),
            chat_ids=item.chat_ids,
            agents=item.agents,
            accounts=item.accounts,
            keys=item.keys,
            previous=item.previous,
            dispositions=item.dispositions,
            changes=item.changes,
            origins=item.origins,
            proofs=proofs,
            near_gap=near,
            reference_ids=item.reference_ids,
            sequences=item.sequences,
            ids=item.ids,
            whose=item.whose,
        )

    def _gap(self, item: PickedGap, proof: Proof) -> GapRow:
        gap, stamp = item.data, self._calendar.stamp
        return GapRow(
            time=stamp(item.time_ms),
            account=gap.account,
            from_=stamp(gap.stretch.start_ms),
            to=stamp(gap.stretch.end_ms),
            seconds=gap.seconds,
            reason=gap.reason,
            closed_by=gap.closed_by,
            proof=proof,
            sequence=item.sequence,
            id=item.id,
            agent=gap.agent,
        )


def _signed_again(files: Sequence[AuditFile], verdict: Verdict) -> frozenset[str]:
    """The ids in lines that are not signed which stand in signed ones as well: those are the events."""
    doubtful = set(_ids(files, verdict, signed=False))
    return frozenset(doubtful.intersection(_ids(files, verdict, signed=True)))


def _ids(files: Sequence[AuditFile], verdict: Verdict, *, signed: bool) -> Iterator[str]:
    for file in files:
        with suppress(CutShort):  # who picks the rows comes to the same place, and tells
            for lines, proof in pieces(file, verdict):
                if (proof is Proof.SIGNED) is signed:
                    yield from ids_in(lines)


class _Proofs(NamedTuple):
    """What stands for the lines of one file: by stretch the last line, and its proof."""

    last: list[float]
    proofs: list[Proof]

    @classmethod
    def of(cls, verdict: Verdict, name: str) -> "_Proofs":
        stretches = list(verdict.stretches_of(Path(name)))
        last = [inf if line is None else line for line, _ in stretches]
        return cls([*last, inf], [*(one.proof for _, one in stretches), Proof.NONE])

    def at(self, lines: Sequence[int]) -> list[Proof]:
        """The proof of each of these lines, which rise."""
        first, last = (bisect_left(self.last, line) for line in (lines[0], lines[-1]))
        if first == last:
            return [self.proofs[first]] * len(lines)
        return [self.proofs[bisect_left(self.last, line)] for line in lines]
