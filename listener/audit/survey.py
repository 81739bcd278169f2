"""What audit files hold, before anything is told of it: from when to when each account is heard of, and all gaps."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from listener.audit.events import GapData, Gaps, Stretch, epoch_ms, event_of, glance
from listener.audit.reading import AuditFile, Block, CutShort
from listener.audit.verdict import Proof, Verdict
from listener.model.event import Kind

_GAP_TYPE = f".chat.{Kind.GAP}"


class Survey:
    """Looks at lines while they are verified, and itself reads only those files that a verdict leaves doubts about.

    Args:
        files: open audit files.
        from_ms: the start of the period that gaps count in, None if it is open.
        to_ms: its end, excluded.

    Attributes:
        gaps: all that were seen.
    """

    def __init__(self, files: Sequence[AuditFile], *, from_ms: int | None = None, to_ms: int | None = None) -> None:
        self._files = files
        self._seen: dict[Path, _Seen] = {}
        self.gaps = Gaps(from_ms=from_ms, to_ms=to_ms)

    def blocks(self, path: Path) -> Iterator[Block]:
        """The lines of one of the files, for `verify`. Raises OSError."""
        file = next(file for file in self._files if Path(file.name) == path)
        seen = _Seen(self.gaps)
        try:
            for block in file.blocks(whole=True):
                seen.take(block.lines)
                yield block
        except CutShort as exc:
            raise OSError(f"{path}: {exc}") from exc
        self._seen[path] = seen

    def ended(self, verdict: Verdict) -> tuple[list[AuditFile], dict[str, Stretch]]:
        """The files by when their first event was, those without any last; and how long each account is known of.

        What is not proven tells of no account, unless nothing is.
        """
        known: dict[str, Stretch] = {}
        first: dict[str, tuple[bool, int]] = {}
        for file in self._files:
            seen = self._seen.get(Path(file.name))
            if seen is None or (verdict.records and _is_doubtful(verdict, file)):
                seen = self._read(file, verdict)
            first[file.name] = seen.first_ms is None, seen.first_ms or 0
            for account, (start_ms, end_ms) in seen.known.items():
                before = known.get(account, Stretch(start_ms, end_ms))
                known[account] = Stretch(min(start_ms, before.start_ms), max(end_ms, before.end_ms))
        return sorted(self._files, key=lambda file: first[file.name]), known

    def _read(self, file: AuditFile, verdict: Verdict) -> "_Seen":
        seen = _Seen(self.gaps)
        with suppress(CutShort):  # who reads the rows comes to the same place, and tells
            for lines, proof in pieces(file, verdict):
                seen.take(lines, counts=proof is not Proof.NONE or not verdict.records)
        return seen


class _Seen:
    """What was seen of one file.

    Attributes:
        first_ms: when its first event was; None if it has none.
        known: by account from when to when it is known of (epoch milliseconds).
    """

    def __init__(self, gaps: Gaps) -> None:
        self._gaps = gaps
        self.first_ms: int | None = None
        self.known: dict[str, list[int]] = {}

    def take(self, lines: Sequence[bytes], *, counts: bool = True) -> None:
        """Look at lines; accounts are known of by those that count."""
        known: dict[str, list[int]] = self.known if counts else {}
        for line in lines:
            try:
                seen = glance(line)
                last_ms = first_ms = epoch_ms(seen.time)
                if isinstance(seen.type, str) and seen.type.endswith(_GAP_TYPE):
                    first_ms = self._gap(line, first_ms)
            except ValueError:
                continue
            if self.first_ms is None:
                self.first_ms = last_ms
            account = seen.data.account
            stretch = known.get(account)
            if stretch is None:
                if account:
                    known[account] = [first_ms, last_ms]
            elif last_ms > stretch[1]:
                stretch[1] = last_ms
            if stretch is not None and first_ms < stretch[0]:
                stretch[0] = first_ms

    def _gap(self, line: bytes, time_ms: int) -> int:
        """Note a gap; returns from when on it tells of its account."""
        gap = event_of(line)
        if not isinstance(gap.data, GapData):
            return time_ms
        self._gaps.add(gap.id, gap.data)
        return min(time_ms, gap.data.stretch.start_ms)


def _is_doubtful(verdict: Verdict, file: AuditFile) -> bool:
    return any(one.proof is Proof.NONE for _, one in verdict.stretches_of(Path(file.name)))


def pieces(file: AuditFile, verdict: Verdict) -> Iterator[tuple[Sequence[bytes], Proof]]:
    """The lines of a file, some at a time, and what stands for all of them. Raises CutShort."""
    stretches = iter([(last, one.proof) for last, one in verdict.stretches_of(Path(file.name))])
    last, proof = next(stretches, (None, Proof.NONE))
    number = 0
    for lines, _ in file.blocks():
        behind = number + len(lines)
        while last is not None and last < behind:
            if last > number:
                yield lines[: last - number], proof
                lines, number = lines[last - number :], last  # noqa: PLW2901 - the rest of the same block
            last, proof = next(stretches, (None, Proof.NONE))
        if lines:
            yield lines, proof
        number = behind
