"""What audit files hold, before anything is told of it: from when to when each account is heard of, and all gaps."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from operator import gt
from pathlib import Path

from listener.audit.events import GapData, Gaps, Said, Stretch, Told, epoch_ms, event_of, glance, told_by
from listener.audit.picking import Picker
from listener.audit.reading import AuditFile, Block, CutShort
from listener.audit.verdict import Proof, Verdict
from listener.model.event import Kind, rfc3339

_GAP_TYPE = f".chat.{Kind.GAP}"


class Survey:
    """Looks at lines while they are verified, and itself reads only those files that a verdict leaves doubts about.

    Args:
        files: open audit files.
        from_ms: the start of the period that gaps count in, None if it is open.
        to_ms: its end, excluded.
        picker: takes what is seen while lines are verified.

    Attributes:
        gaps: all that were seen.
    """

    def __init__(
        self,
        files: Sequence[AuditFile],
        *,
        from_ms: int | None = None,
        to_ms: int | None = None,
        picker: Picker | None = None,
    ) -> None:
        self._files = files
        self._seen: dict[Path, _Seen] = {}
        self._picker = picker
        self.gaps = Gaps(from_ms=from_ms, to_ms=to_ms)

    def blocks(self, path: Path) -> Iterator[Block]:
        """The lines of one of the files, for `verify`. Raises OSError."""
        file = next(file for file in self._files if Path(file.name) == path)
        seen, number = _Seen(self.gaps), 0
        if self._picker is not None:
            self._picker.begin(file.name)
        try:
            for block in file.blocks():
                lines = block.lines
                told = told_by(lines)
                seen.take(lines, told)
                if self._picker is not None:
                    self._picker.take(number, lines, told)
                number += len(lines)
                yield block
        except CutShort as exc:
            raise OSError(f"{path}: {exc}") from exc
        self._seen[path] = seen

    @property
    def is_whole(self) -> bool:
        """Whether every file was seen to its end while it was verified."""
        return len(self._seen) == len(self._files)

    def ended(self, verdict: Verdict) -> tuple[list[AuditFile], dict[str, Stretch]]:
        """The files in their order, and how long each account is known of.

        Their order is that of the chain. Where it is broken, or there is none, they come by when their first event was,
        those without any last. What is not proven tells of no account, unless nothing is.
        """
        known: dict[str, Stretch] = {}
        first: dict[str, tuple[bool, str, int]] = {}
        place = {path: number for number, path in enumerate(verdict.files)}
        is_chained = bool(verdict.records and not verdict.findings)
        for file in self._files:
            seen = self._seen.get(Path(file.name))
            if seen is None or (verdict.records and _is_doubtful(verdict, file)):
                seen = self._read(file, verdict)
            began = (False, "") if is_chained else (not seen.first, seen.first)
            first[file.name] = *began, place.get(Path(file.name), 0)
            for account, (start, end) in seen.known.items():
                start_ms, end_ms = epoch_ms(start), epoch_ms(end)
                before = known.get(account, Stretch(start_ms, end_ms))
                known[account] = Stretch(min(start_ms, before.start_ms), max(end_ms, before.end_ms))
        return sorted(self._files, key=lambda file: first[file.name]), known

    def _read(self, file: AuditFile, verdict: Verdict) -> "_Seen":
        seen = _Seen(self.gaps)
        with suppress(CutShort):  # who reads the rows comes to the same place, and tells
            for lines, proof in pieces(file, verdict):
                seen.take(lines, told_by(lines), counts=proof is not Proof.NONE or not verdict.records)
        return seen


class _Seen:
    """What was seen of one file. Its times are in the form in which we write them, so their order is that of the texts.

    Attributes:
        first: when its first event was; empty if it has none.
        known: by account from when to when it is known of.
    """

    def __init__(self, gaps: Gaps) -> None:
        self._gaps = gaps
        self.first = ""
        self.known: dict[str, list[str]] = {}

    def take(self, lines: Sequence[bytes], told: Told, *, counts: bool = True) -> None:
        """Look at lines and what they tell; accounts are known of by those that count."""
        known: dict[str, list[str]] = self.known if counts else {}
        for start, said in told.parts():
            if said:
                self._take_said(said, known)
            else:
                self._take_other(lines[start], known)

    def _take_said(self, said: Sequence[Said], known: dict[str, list[str]]) -> None:
        """Of each account the first and the last one, which is all that matters of them."""
        times, accounts = [one.time for one in said], [one.data.account for one in said]
        self.first = self.first or times[0]
        if any(map(gt, times, islice(times, 1, None))):
            times, accounts = map(list, zip(*sorted(zip(times, accounts, strict=True)), strict=True))
        first: dict[str, str] = {}
        for account, time in dict(zip(accounts, times, strict=True)).items():
            stretch = known.get(account)
            if stretch is not None and stretch[0] <= times[0]:
                stretch[1] = max(stretch[1], time)
            else:
                first = first or dict(zip(reversed(accounts), reversed(times), strict=True))
                _extend(known, account, first[account], time)

    def _take_other(self, line: bytes, known: dict[str, list[str]]) -> None:
        try:
            seen = glance(line)
            last_ms = first_ms = epoch_ms(seen.time)
            if isinstance(seen.type, str) and seen.type.endswith(_GAP_TYPE):
                first_ms = self._gap(line, first_ms)
        except ValueError:
            return
        self.first = self.first or rfc3339(last_ms)
        _extend(known, seen.data.account, rfc3339(first_ms), rfc3339(last_ms))

    def _gap(self, line: bytes, time_ms: int) -> int:
        """Note a gap; returns from when on it tells of its account."""
        gap = event_of(line)
        if not isinstance(gap.data, GapData):
            return time_ms
        self._gaps.add(gap.id, gap.data)
        return min(time_ms, gap.data.stretch.start_ms)


def _extend(known: dict[str, list[str]], account: str, first: str, last: str) -> None:
    """An account is known of from the first moment to the last one, at least. One without a name is none."""
    stretch = known.get(account)
    if stretch is not None:
        stretch[:] = min(stretch[0], first), max(stretch[1], last)
    elif account:
        known[account] = [first, last]


def _is_doubtful(verdict: Verdict, file: AuditFile) -> bool:
    return any(one.proof is Proof.NONE for _, one in verdict.stretches_of(Path(file.name)))


def pieces(file: AuditFile, verdict: Verdict) -> Iterator[tuple[Sequence[bytes], Proof]]:
    """The lines of a file, some at a time, and what stands for all of them. Raises CutShort."""
    stretches = iter([(last, one.proof) for last, one in verdict.stretches_of(Path(file.name))])
    last, proof = next(stretches, (None, Proof.NONE))
    number = 0
    for lines, *_ in file.blocks():
        start, behind = number, number + len(lines)
        while last is not None and last < behind:
            if last > number:
                yield lines[number - start : last - start], proof
                number = last
            last, proof = next(stretches, (None, Proof.NONE))
        if number < behind:
            yield lines[number - start :], proof
        number = behind
