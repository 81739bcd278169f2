"""The state of the daemon: readiness problems, `/status.json`, `/summary.json`, and gauges."""

import asyncio
import platform
from collections.abc import Callable, Iterable, Sequence

from listener import __version__
from listener.config.settings import Settings
from listener.daemon.diagnosis import Diagnosis, of_accounts, of_configuration, of_dead_letters
from listener.daemon.duties import offers_of
from listener.daemon.failures import Patience
from listener.daemon.last_hour import Hour
from listener.daemon.replicas import Look, Replicas
from listener.daemon.roll import MOST_NAMED, Roll, gaps_of_all
from listener.daemon.storage import Storage
from listener.delivery import readiness_problem
from listener.errors import JournalError
from listener.intake.recorder import Recorder
from listener.model.condition import Configuration, ReadinessProblem, SinkReport
from listener.model.event import AccountStatus, Damage, JournalStats, LaneStatus, rfc3339
from listener.model.filter import DeadLetterGroup, grouped
from listener.ports import Journal
from listener.runtime.clock import SYSTEM_CLOCK
from listener.runtime.host import Host
from listener.runtime.metrics import Metrics
from listener.web.status import (
    SCHEMA_VERSION,
    Build,
    ConfigurationReport,
    DamageReport,
    DeadLetters,
    JournalReport,
    Status,
    Stored,
)
from listener.web.summary import AccountPage, AccountState, Summary

_COMMIT_S = 30.0  # a disk that hangs neither fails nor succeeds
_ASKED_EVERY_S = 1.0
_ANSWER_S = 2.0


class Health:
    """Collects the state of all parts when somebody asks.

    Args:
        roll: the state of the sessions, in the order of the configuration.
        lanes: the state of the lanes.
        journal: asked for its figures once a second at most, since lanes read through the same thread.
        wal_bytes: the size of its write-ahead log; must not raise.
        recorder: knows about failing commits.
        configuration: what is in force, and what was refused.
        now_ms: epoch milliseconds.
        monotonic_s: seconds that only run forward.
        starting: why it has not started yet, in words; empty once it has.
        started_ms: since when the process runs, epoch milliseconds; now by default.
        hour: what the process has done lately.
        server: the URL of the Web Services.

    Attributes:
        replicas: knows all that share the journal; None where one process owns it.
        patience: knows what waits for the journal.
    """

    replicas: Replicas | None = None
    patience: Patience | None = None

    def __init__(
        self,
        *,
        roll: Roll,
        lanes: Callable[[], Sequence[LaneStatus]],
        journal: Journal,
        wal_bytes: Callable[[], int],
        recorder: Recorder,
        configuration: Callable[[], Configuration],
        now_ms: Callable[[], int],
        monotonic_s: Callable[[], float] = SYSTEM_CLOCK.monotonic_s,
        starting: Callable[[], str] = str,
        started_ms: int | None = None,
        hour: Hour | None = None,
        server: str = "",
    ) -> None:
        self._roll = roll
        self._lanes = lanes
        self._journal = journal
        self._wal_bytes = wal_bytes
        self._recorder = recorder
        self._configuration = configuration
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s
        self._starting = starting
        self._started_ms = now_ms() if started_ms is None else started_ms
        self._hour = hour or Hour(SYSTEM_CLOCK)
        self._server = server
        self._diagnosis = Diagnosis(now_ms=now_ms, started_ms=self._started_ms)
        self._groups: tuple[dict[str, int], list[DeadLetterGroup]] = {}, []
        self._shown: set[str] = set()
        self._asking = asyncio.Lock()
        self._stats: JournalStats | None = None
        self._asked_s: float | None = None

    def problems(self) -> list[ReadinessProblem]:
        """Why the daemon is not ready; empty if it is. Of very many accounts in trouble the first are named."""
        starting = self._starting()
        found = [ReadinessProblem(brief=starting.partition(":")[0], full=starting, kind="start")] if starting else []
        found += self._account_problems()
        found += [trouble for lane in self._lanes() if (trouble := readiness_problem(lane))]
        found += self._journal_problems()
        self._diagnosis.look(found)
        return found

    def _account_problems(self) -> list[ReadinessProblem]:
        unsubscribed, unheard, silent = self._roll.unsubscribed(), self._roll.unheard(), self._roll.silent()
        found = [_unsubscribed(self._roll.mark(place), one) for place, one in unsubscribed.first]
        found += _more(unsubscribed.more, "accounts have no subscription")
        found += [_unheard(self._roll.mark(place), one) for place, one in unheard.first]
        found += _more(unheard.more, "accounts do not hear all that they should")
        found += [_silent(self._roll.mark(place), account, for_s) for place, account, for_s in silent[:MOST_NAMED]]
        found += _more(len(silent[MOST_NAMED:]), "accounts are silent")
        return found

    def _journal_problems(self) -> list[ReadinessProblem]:
        if trouble := self._journal.trouble or (self.patience and self.patience.trouble):
            return [ReadinessProblem(brief=trouble.partition(":")[0], full=trouble, kind="journal")]
        failing, waiting_s = self._recorder.failing, self._recorder.waiting_s()
        if failing:
            what = "the journal cannot commit"
            return [ReadinessProblem(brief=what, full=f"{what}: {failing}", kind="journal")]
        if waiting_s > _COMMIT_S:
            what = f"the journal has not committed for {waiting_s:.0f} s"
            return [ReadinessProblem(brief=what, full=what, kind="journal")]
        return []

    def sample(self, metrics: Metrics) -> None:
        """Set the gauges that are derived from the state."""
        now_ms, lanes = self._now_ms(), self._lanes()
        for sink in self._shown - {lane.sink for lane in lanes}:  # since the configuration was read again
            metrics.forget("sink_lag_events", sink)
            metrics.forget("sink_lag_seconds", sink)
            metrics.forget("sink_parked", sink)
        self._shown = {lane.sink for lane in lanes}
        for lane in lanes:
            metrics.set("sink_lag_events", lane.lag, lane.sink)
            metrics.set("sink_lag_seconds", lane.lag_s, lane.sink)
        metrics.set("journal_depth_events", max((lane.lag for lane in lanes), default=0))
        metrics.set("journal_oldest_age_seconds", max((lane.lag_s for lane in lanes), default=0.0))
        metrics.set("journal_bytes", self._journal.size_bytes)
        metrics.set("journal_wal_bytes", self._wal_bytes())
        summary = self._roll.summary()
        first_ms, last_ms = summary.since_ms or (now_ms, now_ms)
        metrics.set("session_youngest_age_seconds", max(0, now_ms - last_ms) / 1000)
        metrics.set("session_oldest_age_seconds", max(0, now_ms - first_ms) / 1000)
        metrics.set("session_epoch", summary.epoch)

        if self.replicas is not None:
            self.replicas.sample(metrics)

    async def status(self) -> Status:
        """Everything, for `/status.json`."""
        stats = await self._journal_stats()
        reports = await self._roll.reports()
        others = self.replicas
        look = None if others is None else await others.look()
        problems = self.problems()
        sinks, gaps = self._sinks(look, stats), self._roll.troubles.gaps()
        if others is not None:
            reports = others.accounts(look, reports)
            gaps = gaps_of_all(reports)
        return Status(
            schema_version=SCHEMA_VERSION,
            at=rfc3339(self._now_ms()),
            ready=not problems,
            problems=tuple(one.full for one in problems),
            build=self._build(),
            configuration=_configuration(self._configuration()),
            accounts=tuple(reports),
            sinks=sinks,
            gaps=gaps,
            dead_letters=letters_of(stats),
            journal=self._journal_report(sinks, stats),
            replica=None if others is None else others.name,
            replicas=() if others is None else None if look is None else look.replicas,
        )

    async def summary(self) -> Summary:
        """What is well and what is not, for `/summary.json`."""
        stats = await self._journal_stats()
        groups = await self._letter_groups(stats)
        others = self.replicas
        look = None if others is None else await others.look()
        problems = self.problems()
        lanes, sinks = self._all_lanes(look, stats), self._sinks(look, stats)
        accounts = self._roll.troubles if look is None else look.troubles
        counts, troubles, configuration = accounts.counts(), accounts.groups(), self._configuration()
        replicas = () if others is None else None if look is None else look.replicas
        told = self._diagnosis
        health = (
            *told.of_the_process(problems),
            *told.of_sinks((lane for lane, _ in lanes), stats, nobodys_of(lanes) if others is not None else ()),
            *of_accounts(counts, troubles),
            *told.of_replicas(replicas or (), None if others is None else others.name),
            *of_configuration(configuration),
            *of_dead_letters(None if stats is None else stats.dead_letters, groups),
        )
        return Summary(
            schema_version=SCHEMA_VERSION,
            at=rfc3339(self._now_ms()),
            ready=not problems,
            instance=platform.node(),
            server=self._server,
            build=self._build(),
            configuration=_configuration(configuration),
            health=health,
            rates=self._hour.rates(),
            last_hour=self._hour.told(None if others is None else others.name),
            accounts=counts,
            troubles=troubles,
            open_gaps=accounts.open_gaps(),
            sinks=sinks,
            gaps=accounts.gaps(),
            dead_letters=letters_of(stats),
            journal=self._journal_report(sinks, stats),
            replica=None if others is None else others.name,
            replicas=replicas,
        )

    async def accounts(self, part: str, state: AccountState, after: str, limit: int) -> AccountPage:
        """Accounts by a part of their names or troubles, for `/accounts.json`."""
        look = None if self.replicas is None else await self.replicas.look()
        self._roll.silent()
        known = self._roll.troubles if look is None else look.troubles
        names, following, total = known.find(part, state, after=after, limit=limit)
        report = self._roll.report if look is None else look.accounts.__getitem__
        return AccountPage(accounts=tuple(map(report, names)), next=following, total=total)

    def _build(self) -> Build:
        return Build(version=__version__, python=platform.python_version(), started_at=rfc3339(self._started_ms))

    def _all_lanes(self, look: Look | None, stats: JournalStats | None) -> list[tuple[LaneStatus, str | None]]:
        """Those of all replicas, each with the one that has it."""
        lanes = self._lanes()
        return [(lane, None) for lane in lanes] if self.replicas is None else self.replicas.lanes(look, lanes, stats)

    def _sinks(self, look: Look | None, stats: JournalStats | None) -> tuple[SinkReport, ...]:
        letters = None if stats is None else stats.dead_letters
        return tuple(
            SinkReport.of(lane, None if letters is None else letters.get(lane.sink, 0), replica)
            for lane, replica in self._all_lanes(look, stats)
        )

    async def _letter_groups(self, stats: JournalStats | None) -> list[DeadLetterGroup]:
        """The dead letters by sink and reason; asked for again when there are more or fewer."""
        letters = {} if stats is None else stats.dead_letters
        if letters != self._groups[0]:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    self._groups = letters, grouped(await self._journal.dead_letter_groups())
            except (JournalError, TimeoutError):
                return []
        return self._groups[1]

    async def _journal_stats(self) -> JournalStats | None:
        """The journal's own figures, at most a second old; None if it does not answer in time."""
        async with self._asking:
            if self._asked_s is None or self._monotonic_s() - self._asked_s >= _ASKED_EVERY_S:
                try:
                    async with asyncio.timeout(_ANSWER_S):
                        self._stats = await self._journal.stats()
                except (JournalError, TimeoutError):
                    self._stats = None
                self._asked_s = self._monotonic_s()
            return self._stats

    def _journal_report(self, sinks: Sequence[SinkReport], stats: JournalStats | None) -> JournalReport:
        return JournalReport(
            last_sequence=self._journal.last_sequence,
            depth_events=max((one.lag_events for one in sinks), default=0),
            oldest_age_seconds=max((one.lag_seconds for one in sinks), default=0.0),
            bytes=self._journal.size_bytes,
            failing=self._recorder.failing,
            commit_waiting_seconds=round(self._recorder.waiting_s(), 3),
            stored=None if stats is None else stored_of(stats),
        )


def new_health(
    *,
    settings: Callable[[], Settings],
    storage: Storage,
    roll: Roll,
    lanes: Callable[[], Sequence[LaneStatus]],
    recorder: Recorder,
    configuration: Callable[[], Configuration],
    starting: Callable[[], str],
    patience: Patience,
    started_ms: int,
    hour: Hour,
    host: Host,
) -> Health:
    """The health of a daemon with this configuration; where replicas share the journal, it knows all of them."""
    health = Health(
        roll=roll,
        lanes=lanes,
        configuration=configuration,
        journal=storage.journal,
        wal_bytes=storage.wal_bytes,
        recorder=recorder,
        starting=starting,
        started_ms=started_ms,
        now_ms=host.clock.now_ms,
        monotonic_s=host.clock.monotonic_s,
        hour=hour,
        server=settings().server.url,
    )
    health.patience = patience
    if storage.database is not None and storage.membership is not None:
        health.replicas = Replicas(
            name=settings().journal.replica_name,
            knows=storage.database,
            duties=storage.membership,
            offered=lambda: [offer.duty for offer in offers_of(settings())],
            roll=roll,
            lanes=lanes,
            kinds=lambda: {name: lane.type for name, lane in settings().sinks.items()},
            problems=health.problems,
            monotonic_s=host.clock.monotonic_s,
            now_ms=host.clock.now_ms,
        )
    return health


def nobodys_of(lanes: Iterable[tuple[LaneStatus, str | None]]) -> list[str]:
    """The sinks that no replica has."""
    return [lane.sink for lane, replica in lanes if replica is None]


def letters_of(stats: JournalStats | None) -> DeadLetters | None:
    """How many dead letters there are; None if that is not known."""
    return None if stats is None else DeadLetters(total=sum(stats.dead_letters.values()), by_sink=stats.dead_letters)


def _unsubscribed(mark: str, one: AccountStatus) -> ReadinessProblem:
    why = one.last_error or "connecting"
    return ReadinessProblem(
        brief=f"{mark} has no subscription",
        full=f"account {one.account} has no subscription: {why}",
        kind="accounts",
    )


def _unheard(mark: str, one: AccountStatus) -> ReadinessProblem:
    if one.unheard is None and one.team is not None:
        return ReadinessProblem(
            brief=f"{mark} does not hear all of its team",
            full=f"supervisor {one.account} {one.team.problem}",
            kind="accounts",
        )
    return ReadinessProblem(
        brief=f"{mark} does not hear all media",
        full=f"account {one.account}: {one.unheard}",
        kind="accounts",
    )


def _silent(mark: str, account: str, silent_s: float) -> ReadinessProblem:
    what = f"has been silent for {silent_s:.0f} s"
    return ReadinessProblem(brief=f"{mark} {what}", full=f"account {account} {what}", kind="accounts")


def _more(count: int, what: str) -> list[ReadinessProblem]:
    full = f"{count} more {what}"
    return [ReadinessProblem(brief=full, full=full, kind="accounts")] if count else []


def _configuration(one: Configuration) -> ConfigurationReport:
    refused_at = None if one.refused_ms is None else rfc3339(one.refused_ms)
    return ConfigurationReport(loaded_at=rfc3339(one.loaded_ms), refused_at=refused_at, problems=one.problems)


def stored_of(stats: JournalStats) -> Stored:
    """What a journal holds."""
    return Stored(
        events=stats.events,
        first_sequence=stats.first_sequence,
        oldest_at=None if stats.oldest_ms is None else rfc3339(stats.oldest_ms),
        damages=tuple(_damage(damage) for damage in stats.damages),
    )


def _damage(damage: Damage) -> DamageReport:
    return DamageReport(at=rfc3339(damage.at_ms), set_aside=damage.set_aside, kept=damage.kept)
