"""What the accounts come to together: counts, those with the same trouble, open gaps; kept as they change."""

from bisect import bisect_right
from heapq import nlargest
from itertools import islice
from typing import NamedTuple

from listener.model.alike import alike
from listener.model.event import GapTally, rfc3339
from listener.web.status import Gaps
from listener.web.summary import AccountCounts, AccountState, OpenGap, OpenGaps, Trouble

SILENT = "silent for longer than it should be"
MOST_TROUBLES = 50
MOST_OPEN_GAPS = 20
_NAMED = 10
_LONGEST = 300  # characters of a trouble that all who have it share
_NO_GAPS = GapTally()


class Standing(NamedTuple):
    """How an account stands.

    Attributes:
        subscribed: whether it is.
        trouble: what is wrong with it, in words; None if nothing is.
        since_ms: since when something is (epoch milliseconds).
        certain_ms: since when a disposition of it can be missed; None while none can.
        why: the reason for that.
        gaps: those of its session.
    """

    subscribed: bool
    trouble: str | None
    since_ms: int = 0
    certain_ms: int | None = None
    why: str = ""
    gaps: GapTally = _NO_GAPS


class _Group:
    """Accounts with the same trouble; its text, None once two of them have told it in different words."""

    __slots__ = ("first_ms", "last_ms", "members", "text")

    def __init__(self, text: str, first_ms: int) -> None:
        self.members: dict[str, None] = {}
        self.text: str | None = text
        self.first_ms = self.last_ms = first_ms

    def add(self, account: str, now: Standing, at_ms: int) -> None:
        """One more, or once more."""
        self.members[account] = None
        self.text = now.trouble if now.trouble == self.text or len(self.members) == 1 else None
        self.first_ms, self.last_ms = min(self.first_ms, now.since_ms), max(self.last_ms, at_ms)


class Troubles:
    """All accounts; whatever changes costs no look at the others."""

    def __init__(self) -> None:
        self._standings: dict[str, Standing] = {}
        self._keys: dict[str, str] = {}  # of those in trouble: what groups them
        self._groups: dict[str, _Group] = {}
        self._uncertain: dict[str, None] = {}  # in the order in which that began here
        self._names: list[str] | None = None
        self._subscribed = 0
        self._gaps, self._gap_seconds = 0, 0.0
        self._with_last = ""

    def standing(self, account: str) -> Standing | None:
        """How it stands; None if there is no such account."""
        return self._standings.get(account)

    def put(self, account: str, now: Standing, *, at_ms: int) -> None:
        """How an account stands since this moment."""
        before = self._standings.get(account)
        key = None
        if now.trouble is not None:
            same = before is not None and before.trouble == now.trouble
            key = self._keys[account] if same else alike(now.trouble, account)[:_LONGEST]
        if before is None:
            self._names = None
        else:
            self._take_away(account, before, key)
        self._standings[account] = now
        self._subscribed += now.subscribed
        self._gaps += now.gaps.count
        self._gap_seconds += now.gaps.seconds
        self._note_last(account, before, now)
        if key is not None and now.trouble is not None:
            self._keys[account] = key
            self._groups.setdefault(key, _Group(now.trouble, now.since_ms)).add(account, now, at_ms)
        if now.certain_ms is None:
            self._uncertain.pop(account, None)
        else:
            self._uncertain[account] = None

    def drop(self, account: str) -> None:
        """An account is no more."""
        self._take_away(account, self._standings.pop(account), None)
        self._uncertain.pop(account, None)
        self._names = None
        if account == self._with_last:
            self._find_last()

    def _note_last(self, account: str, before: Standing | None, now: Standing) -> None:
        """Who has the newest gap. Where another replica takes an account over, its gaps are counted anew."""
        to = "" if now.gaps.last is None else now.gaps.last.to
        if account == self._with_last and before is not None and before.gaps.last is not None:
            if to < before.gaps.last.to:
                self._find_last()
        elif to and to >= self._last_to():
            self._with_last = account

    def _find_last(self) -> None:
        ended = {name: one.gaps.last.to for name, one in self._standings.items() if one.gaps.last is not None}
        self._with_last = max(ended, key=lambda name: ended[name], default="")

    def _take_away(self, account: str, before: Standing, key: str | None) -> None:
        """Count it no more as it stood before; it stays in its group if it has the same trouble again."""
        self._subscribed -= before.subscribed
        self._gaps -= before.gaps.count
        self._gap_seconds -= before.gaps.seconds
        if before.trouble is not None and self._keys[account] != key:
            left = self._keys.pop(account)
            del self._groups[left].members[account]
            if not self._groups[left].members:
                del self._groups[left]

    def _last_to(self) -> str:
        standing = self._standings.get(self._with_last)
        return standing.gaps.last.to if standing is not None and standing.gaps.last is not None else ""

    def counts(self) -> AccountCounts:
        """How many there are."""
        return AccountCounts(total=len(self._standings), subscribed=self._subscribed, troubled=len(self._keys))

    def groups(self) -> tuple[Trouble, ...]:
        """Those with the same trouble, the most frequent first."""
        largest = nlargest(MOST_TROUBLES, self._groups.items(), key=lambda group: len(group[1].members))
        return tuple(
            Trouble(
                what=(group.text or key)[:_LONGEST],
                count=len(group.members),
                accounts=tuple(islice(group.members, _NAMED)),
                first_at=rfc3339(group.first_ms),
                last_at=rfc3339(group.last_ms),
            )
            for key, group in largest
        )

    def open_gaps(self) -> OpenGaps:
        """The stretches that are running."""
        since_ms = {account: self._standings[account].certain_ms or 0 for account in self._uncertain}
        newest = nlargest(MOST_OPEN_GAPS, since_ms, key=lambda account: since_ms[account])
        return OpenGaps(
            count=len(since_ms),
            oldest_at=rfc3339(min(since_ms.values())) if since_ms else None,
            newest=tuple(
                OpenGap(account=account, since=rfc3339(since_ms[account]), why=self._standings[account].why)
                for account in newest
            ),
        )

    def gaps(self) -> Gaps:
        """Those of all of them together."""
        last = self._standings.get(self._with_last)
        return Gaps(count=self._gaps, seconds=self._gap_seconds, last=None if last is None else last.gaps.last)

    def find(self, part: str, state: AccountState, *, after: str, limit: int) -> tuple[list[str], str | None, int]:
        """Accounts by a part of their names or of their trouble, without regard to case, in the order of their names.

        Returns those behind the name `after`, at most `limit`; the last one's name if there are more; how many are
        meant in all.
        """
        if self._names is None:
            self._names = sorted(self._standings)
        meant = self._names
        if state is not AccountState.ALL:
            meant = [name for name in meant if self._is(name, state)]
        if wanted := part.casefold():
            meant = [name for name in meant if self._has(name, wanted)]
        begin = bisect_right(meant, after) if after else 0
        page = meant[begin : begin + limit]
        return page, page[-1] if page and begin + limit < len(meant) else None, len(meant)

    def _is(self, account: str, state: AccountState) -> bool:
        standing = self._standings[account]
        return standing.subscribed if state is AccountState.SUBSCRIBED else standing.trouble is not None

    def _has(self, account: str, wanted: str) -> bool:
        """Whether a text is in its name, or in its trouble as that is told of it or of all who have it."""
        if wanted in account.casefold():
            return True
        trouble = self._standings[account].trouble
        return trouble is not None and (wanted in trouble.casefold() or wanted in self._keys[account].casefold())
