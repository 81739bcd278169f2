"""What all replicas that share the journal do: asked for `/status.json`, and told by this one."""

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from listener.daemon.roll import Roll
from listener.daemon.troubles import Standing, Troubles
from listener.errors import UNDECODABLE, JournalError
from listener.model.condition import ReadinessProblem
from listener.model.event import GapTally, JournalStats, LaneStatus, epoch_ms, rfc3339
from listener.model.holes import events_between
from listener.model.replica import ACCOUNT, LANE, Beaten, DutyReport, ReplicaReport
from listener.ports import Duties
from listener.runtime.clock import SYSTEM_CLOCK
from listener.runtime.metrics import Metrics
from listener.web.status import AccountReport, Gaps, ReplicaStatus

_ASKED_EVERY_S = 1.0
_ANSWER_S = 2.0
_KINDS = ("account", "lane", "housekeeping")
_TOLD_EVERY_S = 0.5
_AT_ONCE = 250  # reports that are looked at in one turn of the event loop
_MOST_TOLD = 1000  # accounts that are told of at once: all of 10,000 that change together take some seconds
_SILENCE_S = 10.0

NOBODY = "no replica listens for it"

T = TypeVar("T")


class Knows(Protocol):
    """What a database tells of all replicas; see `journal.shared.Database`."""

    async def replicas(self) -> Sequence[ReplicaReport]:
        """See there."""

    async def duties(self) -> Sequence[DutyReport]:
        """See there."""


class Member(Duties, Protocol):
    """The duties of a replica, with what its beats tell; see `journal.shared.Membership`."""

    @property
    def beaten(self) -> Beaten:
        """See there."""

    def beat_age_s(self) -> float:
        """See there."""


class Owned(msgspec.Struct, frozen=True):
    """A duty's name without its kind, who has it, and the report that its owner has left, if it can be read."""

    name: str
    replica: str | None
    report: bytes


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """All replicas, accounts and lanes at one moment, and what the accounts come to together."""

    replicas: tuple[ReplicaStatus, ...]
    accounts: Mapping[str, AccountReport]
    lanes: tuple[Owned, ...]
    troubles: Troubles


class _Process(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica tells of itself."""

    ready: bool
    problems: tuple[str, ...]


class Survey:
    """Makes a look out of what the replicas have left in the database; what has not changed is not read again.

    Args:
        name: of the replica that looks; none by default.
        kinds: the configured sinks, each with its kind.
        now_ms: epoch milliseconds.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        kinds: Callable[[], Mapping[str, str]],
        now_ms: Callable[[], int] = SYSTEM_CLOCK.now_ms,
    ) -> None:
        self._name = name
        self._kinds = kinds
        self._now_ms = now_ms
        self._read: dict[str, tuple[DutyReport, AccountReport]] = {}
        self._troubles = Troubles()

    async def look(self, replicas: Sequence[ReplicaReport], duties: Sequence[DutyReport]) -> Look:
        """All of them at this moment."""
        read, now_ms = {}, self._now_ms()
        for made, one in enumerate(duty for duty in duties if duty.duty.startswith(ACCOUNT)):
            before = self._read.get(one.duty)
            if before is not None and before[0] == one:
                read[one.duty] = before
            else:
                account = _account(one)
                read[one.duty] = one, account
                self._troubles.put(account.account, _standing(account, now_ms), at_ms=now_ms)
            if not made % _AT_ONCE:
                await asyncio.sleep(0)
        for gone in self._read.keys() - read.keys():
            self._troubles.drop(self._read[gone][1].account)
        self._read = read
        return Look(
            replicas=tuple(map(status_of, replicas)),
            accounts={report.account: report for _, report in read.values()},
            lanes=tuple(
                Owned(one.duty.removeprefix(LANE), one.replica, one.report)
                for one in duties
                if one.duty.startswith(LANE)
            ),
            troubles=self._troubles,
        )

    def lanes(
        self, look: Look | None, own: Sequence[LaneStatus], stats: JournalStats | None
    ) -> list[tuple[LaneStatus, str | None]]:
        """The lanes, its own as they stand now, each with who has it; of one that nobody has what the journal holds."""
        here = {one.sink: one for one in own}
        owned = [Owned(one.sink, self._name, b"") for one in own] if look is None else look.lanes
        return [(self._lane(one, here, stats), one.replica) for one in owned]

    def _lane(self, one: Owned, here: Mapping[str, LaneStatus], stats: JournalStats | None) -> LaneStatus:
        if one.replica == self._name and one.name in here:
            return here[one.name]
        reported = _decoded(one.report, LaneStatus)
        if reported is not None and one.replica is not None:
            return reported
        cursor = 0 if stats is None else stats.cursors.get(one.name, 0)
        state = None if stats is None else stats.lanes.get(one.name)
        return LaneStatus(
            sink=one.name,
            kind=self._kinds().get(one.name, "" if reported is None else reported.kind),
            cursor=cursor,
            lag=0 if stats is None else events_between(cursor, stats.last_sequence, stats.holes),
            delivered=0,
            failures=0,
            parked=None if state is None else state.parked,
            last_error="no replica delivers to it" if one.replica is None else None,
        )


class Replicas:
    """Asks the database once a second at most, and only if somebody wants to know.

    What changes here is told with the beats: of an account how it stands in `/status.json`, of a lane its status.

    Args:
        name: of this replica.
        knows: the database.
        duties: of this replica.
        offered: all duties that there are by its configuration.
        roll: its accounts.
        lanes: its lanes.
        kinds: the configured sinks, each with its kind.
        problems: why it is not ready.
        monotonic_s: seconds that only run forward.
        now_ms: epoch milliseconds.
    """

    def __init__(
        self,
        *,
        name: str,
        knows: Knows,
        duties: Member,
        roll: Roll,
        offered: Callable[[], Iterable[str]],
        lanes: Callable[[], Sequence[LaneStatus]],
        kinds: Callable[[], Mapping[str, str]],
        problems: Callable[[], Sequence[ReadinessProblem]],
        monotonic_s: Callable[[], float] = SYSTEM_CLOCK.monotonic_s,
        now_ms: Callable[[], int] = SYSTEM_CLOCK.now_ms,
    ) -> None:
        self.name = name
        self._knows = knows
        self._duties = duties
        self._roll = roll
        self._offered = offered
        self._lanes = lanes
        self._problems = problems
        self._monotonic_s = monotonic_s
        self._began_s = monotonic_s()
        self._asking = asyncio.Lock()
        self._asked_s: float | None = None
        self._look: Look | None = None
        self._survey = Survey(name=name, kinds=kinds, now_ms=now_ms)
        self._told: dict[str, AccountReport] = {}

    def sample(self, metrics: Metrics) -> None:
        """Set the gauges of this replica."""
        beaten, age_s = self._duties.beaten, self._duties.beat_age_s()
        metrics.set("replica_up", self._duties.is_certain(), self.name)
        metrics.set(
            "replica_beat_age_seconds", age_s if age_s < math.inf else self._monotonic_s() - self._began_s, self.name
        )
        metrics.set("replica_others", beaten.others, self.name)
        metrics.set("replica_draining", beaten.draining, self.name)
        for name, duties in (("replica_duties", self._duties.held), ("replica_duties_offered", self._offered())):
            kinds = Counter(duty.partition("/")[0] for duty in duties)
            for kind in _KINDS:
                metrics.set(name, kinds[kind], self.name, kind)

    async def keep_telling(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Tell twice a second until cancelled; `sleep` takes seconds."""
        while True:
            await self.tell()
            await sleep(_TOLD_EVERY_S)

    async def tell(self) -> None:
        """Leave reports; of accounts, which are many, those that changed since the last call. Raises nothing."""
        await self._tell_of_accounts()
        for lane in self._lanes():
            self._duties.report(LANE + lane.sink, msgspec.json.encode(lane))
        problems = tuple(one.full for one in self._problems())
        self._duties.report_process(msgspec.json.encode(_Process(ready=not problems, problems=problems)))

    async def _tell_of_accounts(self) -> None:
        told, left = {}, _MOST_TOLD
        for one in await self._roll.reports():
            before = self._told.get(one.account)
            if before is None or _differs(before, one):
                if not left:
                    continue
                left -= 1
                self._duties.report(ACCOUNT + one.account, msgspec.json.encode(one))
                before = one
            told[one.account] = before
        self._told = told

    async def look(self) -> Look | None:
        """All of them, at most a second ago; None if the database does not answer in time."""
        async with self._asking:
            if self._asked_s is None or self._monotonic_s() - self._asked_s >= _ASKED_EVERY_S:
                try:
                    async with asyncio.timeout(_ANSWER_S):
                        replicas, duties = await self._knows.replicas(), await self._knows.duties()
                except (JournalError, TimeoutError):
                    self._look = None
                else:
                    self._look = await self._survey.look(replicas, duties)
                self._asked_s = self._monotonic_s()
            return self._look

    async def owner_of(self, sink: str) -> str | None:
        """The replica that delivers to a sink; None if it is none, or not known."""
        look = await self.look()
        return next((one.replica for one in look.lanes if one.name == sink), None) if look is not None else None

    def accounts(self, look: Look | None, own: Iterable[AccountReport]) -> list[AccountReport]:
        """Those of all replicas; this one's own as they stand now, and alone where nothing is known of the others."""
        here = {one.account: one for one in own}
        if look is None:
            return [replace(one, replica=self.name) for one in here.values()]
        return [
            replace(here[one.account], replica=self.name) if one.replica == self.name and one.account in here else one
            for one in look.accounts.values()
        ]

    def lanes(
        self, look: Look | None, own: Sequence[LaneStatus], stats: JournalStats | None
    ) -> list[tuple[LaneStatus, str | None]]:
        """Likewise the lanes, each with who has it; of one without an owner what the journal holds."""
        return self._survey.lanes(look, own, stats)


def _differs(before: AccountReport, now: AccountReport) -> bool:
    """Silence grows all the time."""
    if before is now:
        return False
    if abs(now.silent_seconds - before.silent_seconds) >= _SILENCE_S or not now.silent_seconds:
        return before != now
    return replace(before, silent_seconds=now.silent_seconds) != now


def _account(one: DutyReport) -> AccountReport:
    reported = _decoded(one.report, AccountReport)
    if reported is not None and one.replica is not None:
        return replace(reported, replica=one.replica)
    return AccountReport(
        account=one.duty.removeprefix(ACCOUNT),
        subscribed=False,
        subscribed_at=None,
        epoch=0,
        ack=False,
        silent_seconds=0.0,
        gaps=Gaps(count=0, seconds=0.0, last=None),
        last_error=NOBODY if one.replica is None else None,
        trouble=f"no subscription: {NOBODY if one.replica is None else 'connecting'}",
        replica=one.replica,
    )


def _standing(one: AccountReport, now_ms: int) -> Standing:
    """How an account stands by what its replica has left; one of an earlier version leaves less."""
    trouble = one.trouble or (None if one.subscribed else f"no subscription: {one.last_error or 'connecting'}")
    return Standing(
        subscribed=one.subscribed,
        trouble=trouble,
        since_ms=now_ms if one.trouble_since is None else epoch_ms(one.trouble_since),
        certain_ms=None if one.gap_since is None else epoch_ms(one.gap_since),
        why=one.last_error or "restart",
        gaps=GapTally(count=one.gaps.count, seconds=one.gaps.seconds, last=one.gaps.last),
    )


def status_of(one: ReplicaReport) -> ReplicaStatus:
    """A replica as `/status.json` shows it."""
    process = _decoded(one.report, _Process)
    return ReplicaStatus(
        name=one.name,
        state=one.state,
        beat_age_seconds=one.beat_age_s,
        joined_at=rfc3339(one.joined_ms),
        version=one.version,
        accounts=one.accounts,
        sinks=one.lanes,
        housekeeping=one.housekeeping,
        ready=None if process is None else process.ready,
        problems=() if process is None else process.problems,
    )


def _decoded(report: bytes, kind: type[T]) -> T | None:
    """None for one that is not there, or that another version has left."""
    try:
        return msgspec.json.decode(report, type=kind) if report else None
    except UNDECODABLE:
        return None
