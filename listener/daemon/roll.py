"""The roll of all accounts: how each stands, kept as it changes, so that a look at ten thousand of them is cheap."""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from listener.model.event import AccountStatus, GapTally, rfc3339
from listener.web.status import AccountReport, Gaps

MOST_NAMED = 100
"""Accounts in one kind of trouble; the others are only counted."""

_AT_ONCE = 250  # reports made in one turn of the event loop


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All accounts together.

    Attributes:
        unsubscribed: place and status of those without a subscription, in the order of their places; the first ones.
        more_unsubscribed: how many there are beyond these.
        unheard: likewise those that are subscribed but for a medium, of which the server refuses the topic.
        more_unheard: how many there are beyond these.
        since_ms: since when those that are subscribed are: first and last; None without any.
        epoch: the highest.
        gaps: of all of them.
    """

    unsubscribed: tuple[tuple[int, AccountStatus], ...]
    more_unsubscribed: int
    unheard: tuple[tuple[int, AccountStatus], ...]
    more_unheard: int
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
    """

    def __init__(self, *, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._rows: dict[str, _Row] = {}
        self._places: dict[str, int] = {}
        self._summary: Summary | None = None
        self._heard_until_s = -math.inf

    def __len__(self) -> int:
        return len(self._rows)

    def number(self, accounts: Iterable[str]) -> None:
        """The accounts of the configuration, entered or not: their places in it are how they are numbered."""
        self._places = {account: place for place, account in enumerate(accounts)}
        self._summary = None

    def enter(self, status: AccountStatus, silence: Callable[[], tuple[float, float]]) -> None:
        """One more account; one without a place gets the last.

        Args:
            status: how it stands.
            silence: for how long nothing has happened in its session, and how long that may be.
        """
        self._rows[status.account] = _Row(status, silence)
        self._places.setdefault(status.account, len(self._places))
        self._summary = None
        self._heard_until_s = -math.inf

    def strike(self, account: str) -> None:
        """An account is no more."""
        del self._rows[account]
        self._summary = None

    def note(self, status: AccountStatus) -> None:
        """How an account stands now."""
        row = self._rows.get(status.account)
        if row is not None:
            row.status, row.report = status, None
            self._summary = None

    def statuses(self) -> list[AccountStatus]:
        """Every account at this moment."""
        return [row.status for row in self._rows.values()]

    def summary(self) -> Summary:
        """All of them at this moment."""
        if self._summary is None:
            self._summary = _summary(self.statuses(), self._places)
        return self._summary

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
        return sorted(found)

    async def reports(self) -> Sequence[AccountReport]:
        """Every account as `/status.json` shows it; what has not changed is not made again."""
        for made, row in enumerate([row for row in self._rows.values() if row.report is None], 1):
            row.report = _report(row.status)
            if not made % _AT_ONCE:
                await asyncio.sleep(0)
        silent = {account: silent_s for _, account, silent_s in self.silent()}
        return [_with_silence(row.report or _report(row.status), silent) for row in self._rows.values()]


def _with_silence(report: AccountReport, silent: dict[str, float]) -> AccountReport:
    silent_s = silent.get(report.account)
    return report if silent_s is None else msgspec.structs.replace(report, silent_seconds=silent_s)


def _report(one: AccountStatus) -> AccountReport:
    return AccountReport(
        account=one.account,
        subscribed=one.subscribed,
        subscribed_at=None if one.since_ms is None or not one.subscribed else rfc3339(one.since_ms),
        epoch=one.epoch,
        ack=one.ack,
        silent_seconds=0.0,
        gaps=Gaps(count=one.gaps.count, seconds=one.gaps.seconds, last=one.gaps.last),
        last_error=one.last_error,
    )


def _summary(statuses: Sequence[AccountStatus], places: Mapping[str, int]) -> Summary:
    unsubscribed = _placed((one for one in statuses if not one.subscribed), places)
    unheard = _placed((one for one in statuses if one.subscribed and one.unheard), places)
    since_ms = [one.since_ms for one in statuses if one.subscribed and one.since_ms]
    return Summary(
        unsubscribed=tuple(unsubscribed[:MOST_NAMED]),
        more_unsubscribed=len(unsubscribed[MOST_NAMED:]),
        unheard=tuple(unheard[:MOST_NAMED]),
        more_unheard=len(unheard[MOST_NAMED:]),
        since_ms=(min(since_ms), max(since_ms)) if since_ms else None,
        epoch=max((one.epoch for one in statuses), default=0),
        gaps=_all_gaps(one.gaps for one in statuses if one.gaps.count),
    )


def _placed(statuses: Iterable[AccountStatus], places: Mapping[str, int]) -> list[tuple[int, AccountStatus]]:
    return sorted(((places.get(one.account, len(places)), one) for one in statuses), key=lambda one: one[0])


def gaps_of_all(reports: Iterable[AccountReport]) -> Gaps:
    """The gaps of these accounts together."""
    some = [one.gaps for one in reports if one.gaps.count]
    return _all_gaps(GapTally(count=one.count, seconds=one.seconds, last=one.last) for one in some)


def _all_gaps(of_those_that_have_some: Iterable[GapTally]) -> Gaps:
    tallies = list(of_those_that_have_some)
    last = max((tally.last for tally in tallies if tally.last is not None), key=lambda gap: gap.to, default=None)
    return Gaps(count=sum(tally.count for tally in tallies), seconds=sum(tally.seconds for tally in tallies), last=last)
