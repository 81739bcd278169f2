"""Stretches in which a disposition could have been missed: how many, how long, and what fell near one."""

from bisect import bisect_right
from collections.abc import Iterable

import msgspec

from listener.audit.events import GapData, Stretch

NEAR_MS = 60_000
"""So close to a gap of its account an event counts as near it: re-reading the chats follows a gap by seconds."""


class AccountGaps(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was missed of one account in the period; stretches that overlap count their seconds once."""

    account: str
    gaps: int
    seconds: float


class Gaps:
    """All gaps that are on record, by account.

    Args:
        from_ms: the start of the period, None where it is open. Of a gap that crosses it the part within counts.
        to_ms: its end, excluded.
    """

    def __init__(self, *, from_ms: int | None, to_ms: int | None) -> None:
        self._from_ms, self._to_ms = from_ms, to_ms
        self._ids: set[str] = set()
        self._stretches: dict[str, list[Stretch]] = {}
        self._widened: dict[str, list[Stretch]] = {}

    def add(self, id_: str, gap: GapData) -> None:
        """Note a gap; one that comes again counts once."""
        if id_ not in self._ids:
            self._ids.add(id_)
            self._stretches.setdefault(gap.account, []).append(gap.stretch)
            self._widened.clear()

    def is_in_period(self, stretch: Stretch) -> bool:
        """Whether any of it lies in the period."""
        ends_before = self._from_ms is not None and stretch.end_ms < self._from_ms
        begins_behind = self._to_ms is not None and stretch.start_ms >= self._to_ms
        return not (ends_before or begins_behind)

    def is_near(self, account: str, time_ms: int) -> bool:
        """Whether a moment lies in a gap of the account, or within a minute of one."""
        if account not in self._stretches:
            return False
        if account not in self._widened:
            wide = (Stretch(start - NEAR_MS, end + NEAR_MS) for start, end in self._stretches[account])
            self._widened[account] = _united(wide)
        stretches = self._widened[account]
        at = bisect_right(stretches, time_ms, key=lambda one: one.start_ms) - 1
        return at >= 0 and time_ms <= stretches[at].end_ms

    def by_account(self, account: str | None = None) -> list[AccountGaps]:
        """What lies in the period, the account with the most seconds first; with `account` of this one alone."""
        found = []
        for name, stretches in self._stretches.items():
            within = [self._clipped(one) for one in stretches if self.is_in_period(one)]
            if within and account in (None, name):
                ms = sum(end - start for start, end in _united(within))
                found.append(AccountGaps(account=name, gaps=len(within), seconds=ms / 1000))
        return sorted(found, key=lambda one: (-one.seconds, one.account))

    def united(self, account: str | None = None) -> list[Stretch]:
        """The moments of the period that lie in a gap of any account, or of `account`; in order, none overlaps."""
        chosen = [one for name, these in self._stretches.items() if account in (None, name) for one in these]
        return _united(self._clipped(one) for one in chosen if self.is_in_period(one))

    def _clipped(self, stretch: Stretch) -> Stretch:
        start, end = stretch
        start = start if self._from_ms is None else max(start, self._from_ms)
        end = end if self._to_ms is None else min(end, self._to_ms)
        return Stretch(start, max(start, end))


def _united(stretches: Iterable[Stretch]) -> list[Stretch]:
    found: list[Stretch] = []
    for start, end in sorted(stretches):
        if found and start <= found[-1].end_ms:
            found[-1] = Stretch(found[-1].start_ms, max(found[-1].end_ms, end))
        else:
            found.append(Stretch(start, end))
    return found
