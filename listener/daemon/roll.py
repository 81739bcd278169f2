"""The roll of all accounts: how each stands, kept as it changes, so that a look at ten thousand of them is cheap."""

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest

import msgspec
from msgspec.structs import replace

from listener.daemon.troubles import SILENT, Standing, Troubles
from listener.model.event import AccountStatus, GapTally, rfc3339
from listener.runtime.clock import SYSTEM_CLOCK
from listener.web.status import AccountReport, Gaps, TeamReport

MOST_NAMED = 100
"""Accounts in one kind of trouble; the others are only counted."""
UNREAD = "its chats cannot be read, so a subscription that is dead would not be found"

_AT_ONCE = 250  # reports made in one turn of the event loop


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """Place and status of the first of some accounts, in the order of their places, and how many `more` there are."""

    first: tuple[tuple[int, AccountStatus], ...]
    more: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All accounts together.

    Attributes:
        since_ms: since when those that are subscribed are: first and last; None without any.
        epoch: the highest.
        gaps: of all of them.
    """

    since_ms: tuple[int, int] | None
    epoch: int
    gaps: Gaps


@dataclass(slots=True)
class _Row:
    status: AccountStatus
    silence: Callable[[], tuple[float, float]]
    report: AccountReport | None = None


class Roll:
    """The accounts, each with its place: what it is called where its name is not to be told.

    Args:
        monotonic_s: seconds that only run forward.
        now_ms: epoch milliseconds.

    Attributes:
        troubles: what they come to together; of silence it knows what `silent` has found last.
    """

    def __init__(self, *, monotonic_s: Callable[[], float], now_ms: Callable[[], int] = SYSTEM_CLOCK.now_ms) -> None:
        self._monotonic_s = monotonic_s
        self._now_ms = now_ms
        self.troubles = Troubles()
        self._silent: set[str] = set()
        self._doubts: dict[str, str] = {}
        self._unread: dict[str, str] = {}
        self._rows: dict[str, _Row] = {}
        self._places: dict[str, int] = {}
        self._marks: Sequence[str] = ()
        self._summary: Summary | None = None
        self._unsubscribed, self._unheard = set[str](), set[str]()
        self._heard_until_s = -math.inf

    def __len__(self) -> int:
        return len(self._rows)

    def number(self, accounts: Iterable[str], marks: Sequence[str] = ()) -> None:
        """The accounts of the configuration, entered or not: their places in it are how they are numbered.

        `marks` are what they are called where their names are not to be told, in the same order.
        """
        self._marks = marks
        self._places = {account: place for place, account in enumerate(accounts)}
        self._summary = None

    def mark(self, place: int) -> str:
        """What the account with this place is called where its name is not to be told."""
        return self._marks[place] if place < len(self._marks) else f"accounts[{place}]"

    def enter(self, status: AccountStatus, silence: Callable[[], tuple[float, float]]) -> None:
        """One more account; one without a place gets the last.

        Args:
            status: how it stands.
            silence: for how long nothing has happened in its session, and how long that may be.
        """
        row = self._rows[status.account] = _Row(status, silence)
        self._places.setdefault(status.account, len(self._places))
        self._summary = None
        self._heard_until_s = -math.inf
        self._stands(row)

    def strike(self, account: str) -> None:
        """An account is no more."""
        del self._rows[account]
        self._unsubscribed.discard(account)
        self._unheard.discard(account)
        self._summary = None
        self.troubles.drop(account)

    def note(self, status: AccountStatus) -> None:
        """How an account stands now."""
        row = self._rows.get(status.account)
        if row is not None:
            row.status = status
            self._summary = None
            self._stands(row)

    def doubt(self, account: str, text: str | None) -> None:
        """What is wrong with an account although it is heard, in words; None once nothing is. It outlives the entry."""
        if text is None:
            self._doubts.pop(account, None)
        else:
            self._doubts[account] = text
        if (row := self._rows.get(account)) is not None:
            self._stands(row)

    def unread(self, account: str, why: str | None) -> None:
        """Why an account's chats cannot be read, None once they can: likewise. Once is not told, it may pass."""
        before = self._unread.pop(account, None)
        now = "" if why is None or before is None else f"{UNREAD}: {why}"
        if why is not None:
            self._unread[account] = now
        if now != (before or "") and (row := self._rows.get(account)) is not None:
            self._stands(row)

    def _doubted(self, account: str) -> str | None:
        return self._doubts.get(account) or self._unread.get(account) or None

    def _stands(self, row: _Row, silent_s: float | None = None) -> None:
        """Keep what changes for all of them together."""
        status, now_ms = row.status, self._now_ms()
        before = self.troubles.standing(status.account)
        trouble, since_ms = None if silent_s is None else SILENT, now_ms - round((silent_s or 0.0) * 1000)
        if not status.subscribed:
            trouble = f"no subscription: {status.last_error or 'connecting'}"
        else:
            trouble = _not_heard(status) or trouble or self._doubted(status.account)
        standing = Standing(
            subscribed=status.subscribed,
            trouble=trouble,
            since_ms=since_ms if before is None or before.trouble is None else before.since_ms,
            certain_ms=status.certain_ms,
            why=status.last_error or "restart",
            gaps=status.gaps,
        )
        self.troubles.put(status.account, standing, at_ms=now_ms)
        row.report = None
        for some, is_one in (
            (self._unsubscribed, not status.subscribed),
            (self._unheard, status.subscribed and _not_heard(status) is not None),
        ):
            (some.add if is_one else some.discard)(status.account)

    def statuses(self) -> list[AccountStatus]:
        """Every account at this moment."""
        return [row.status for row in self._rows.values()]

    def summary(self) -> Summary:
        """All of them at this moment."""
        if self._summary is None:
            self._summary = _summary(self.statuses())
        return self._summary

    def unsubscribed(self) -> Named:
        """Those without a subscription at this moment; whoever has one is not looked at."""
        return self._named(self._unsubscribed)

    def unheard(self) -> Named:
        """Likewise those that are subscribed and do not hear all that they should.

        That is a medium of which the server refuses the topic, or agents of a supervisor's team.
        """
        return self._named(self._unheard)

    def _named(self, accounts: Collection[str]) -> Named:
        last = len(self._places)
        places = ((self._places.get(account, last), account) for account in accounts)
        first = tuple((place, self._rows[account].status) for place, account in nsmallest(MOST_NAMED, places))
        return Named(first=first, more=len(accounts) - len(first))

    def silent(self) -> list[tuple[int, str, float]]:
        """Place, account and seconds of those in which nothing has happened for longer than it may.

        While none can be, since a fact that comes only puts it off, nobody is asked.
        """
        now_s = self._monotonic_s()
        if now_s < self._heard_until_s:
            return []
        found, first_s = [], math.inf
        for account, row in self._rows.items():
            silent_s, most_s = row.silence()
            if silent_s > most_s:
                found.append((self._places.get(account, len(self._places)), account, silent_s))
            first_s = min(first_s, max(0.0, most_s - silent_s))
        self._heard_until_s = now_s + first_s
        self._note_silent({account: silent_s for _, account, silent_s in found})
        return sorted(found)

    def _note_silent(self, now: Mapping[str, float]) -> None:
        """What of silence has begun or ended since the last look."""
        for account in self._silent - now.keys():
            if account in self._rows:
                self._stands(self._rows[account])
        for account, silent_s in now.items():
            standing = self.troubles.standing(account)
            if standing is not None and standing.trouble in (None, self._doubted(account)):
                self._stands(self._rows[account], silent_s)
        self._silent = set(now)

    def report(self, account: str) -> AccountReport:
        """One account as `/status.json` shows it. Raises KeyError."""
        row = self._rows[account]
        if row.report is None:
            row.report = _report(row.status, self.troubles.standing(account))
        return row.report if account not in self._silent else replace(row.report, silent_seconds=row.silence()[0])

    async def reports(self) -> Sequence[AccountReport]:
        """Every account likewise; what has not changed is not made again."""
        self.silent()
        stale = [account for account, row in self._rows.items() if row.report is None]
        for made, account in enumerate(stale, 1):
            if account in self._rows:
                self.report(account)
            if not made % _AT_ONCE:
                await asyncio.sleep(0)
        return [self.report(account) for account in self._rows]


def _report(one: AccountStatus, standing: Standing | None) -> AccountReport:
    trouble = None if standing is None else standing.trouble
    return AccountReport(
        account=one.account,
        subscribed=one.subscribed,
        subscribed_at=None if one.since_ms is None or not one.subscribed else rfc3339(one.since_ms),
        epoch=one.epoch,
        ack=one.ack,
        silent_seconds=0.0,
        gaps=Gaps(count=one.gaps.count, seconds=one.gaps.seconds, last=one.gaps.last),
        last_error=one.last_error,
        trouble=trouble,
        trouble_since=None if standing is None or trouble is None else rfc3339(standing.since_ms),
        gap_since=None if one.certain_ms is None else rfc3339(one.certain_ms),
        team=None if one.team is None else TeamReport.of(one.team),
    )


def _summary(statuses: Sequence[AccountStatus]) -> Summary:
    since_ms = [one.since_ms for one in statuses if one.subscribed and one.since_ms]
    return Summary(
        since_ms=(min(since_ms), max(since_ms)) if since_ms else None,
        epoch=max((one.epoch for one in statuses), default=0),
        gaps=_all_gaps(one.gaps for one in statuses if one.gaps.count),
    )


def _not_heard(one: AccountStatus) -> str | None:
    """What of all that it should hear it does not, in words; None if it hears all."""
    return one.unheard if one.unheard is not None or one.team is None else one.team.problem


def gaps_of_all(reports: Iterable[AccountReport]) -> Gaps:
    """The gaps of these accounts together."""
    some = [one.gaps for one in reports if one.gaps.count]
    return _all_gaps(GapTally(count=one.count, seconds=one.seconds, last=one.last) for one in some)


def _all_gaps(of_those_that_have_some: Iterable[GapTally]) -> Gaps:
    tallies = list(of_those_that_have_some)
    last = max((tally.last for tally in tallies if tally.last is not None), key=lambda gap: gap.to, default=None)
    return Gaps(count=sum(tally.count for tally in tallies), seconds=sum(tally.seconds for tally in tallies), last=last)
