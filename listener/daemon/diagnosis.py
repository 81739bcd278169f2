"""What is not well, in sentences: since when, and what helps. The page and the `status` command have the same ones."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from listener.delivery import readiness_problem
from listener.model.condition import Configuration, ReadinessProblem
from listener.model.event import JournalStats, LaneStatus, rfc3339
from listener.model.filter import DeadLetterGroup
from listener.web.status import ReplicaStatus
from listener.web.summary import AccountCounts, HealthProblem, Trouble

_MOST_GROUPS = 10
_CHECK = "disposition-listener check --connect --config FILE"


class Diagnosis:
    """Everything that is not well; what is said of accounts is the same however many there are.

    Args:
        now_ms: epoch milliseconds.
        started_ms: since when the process runs.
    """

    def __init__(self, *, now_ms: Callable[[], int], started_ms: int) -> None:
        self._now_ms = now_ms
        self._started_ms = started_ms
        self._journal_ms: int | None = None

    def look(self, problems: Iterable[ReadinessProblem]) -> None:
        """What there is at this moment: of the journal nothing tells since when."""
        if not any(problem.kind == "journal" for problem in problems):
            self._journal_ms = None
        elif self._journal_ms is None:
            self._journal_ms = self._now_ms()

    def of_the_process(self, problems: Iterable[ReadinessProblem]) -> Iterator[HealthProblem]:
        """Of its start, and of its journal."""
        for problem in problems:
            if problem.kind == "start":
                yield HealthProblem(what=problem.full, since=rfc3339(self._started_ms), kind=problem.kind)
            elif problem.kind == "journal":
                since = rfc3339(self._journal_ms or self._now_ms())
                yield HealthProblem(what=problem.full, since=since, kind=problem.kind, help=problem.help)

    def of_sinks(self, lanes: Iterable[LaneStatus], stats: JournalStats | None) -> Iterator[HealthProblem]:
        """Each that does not get what it should."""
        for lane in lanes:
            if (problem := readiness_problem(lane)) is None:
                continue
            state = None if stats is None else stats.lanes.get(lane.sink)
            since_ms = self._now_ms() - round(lane.stalled_s * 1000)
            if lane.parked is not None and state is not None and state.parked_ms:
                since_ms = state.parked_ms
            yield HealthProblem(
                what=problem.full,
                since=rfc3339(since_ms),
                kind="sink",
                help=problem.help,
                link=f"#/sinks/{lane.sink}",
            )

    def of_replicas(self, replicas: Iterable[ReplicaStatus]) -> Iterator[HealthProblem]:
        """Each that does not beat."""
        for one in replicas:
            if one.state == "late":
                yield HealthProblem(
                    what=f"replica {one.name} has not beaten for {one.beat_age_seconds:.0f} s",
                    since=rfc3339(self._now_ms() - round(one.beat_age_seconds * 1000)),
                    kind="replica",
                    help="disposition-listener replicas list --config FILE",
                )


def of_accounts(counts: AccountCounts, troubles: Sequence[Trouble]) -> Iterator[HealthProblem]:
    """Each kind of trouble; of very many the largest, and how many accounts have others."""
    link = "#/accounts?state=troubled"
    for one in troubles[:_MOST_GROUPS]:
        yield HealthProblem(what=_sentence(one), since=one.first_at, kind="accounts", help=_CHECK, link=link)
    left = counts.troubled - sum(one.count for one in troubles[:_MOST_GROUPS])
    if left > 0:
        since = min(one.first_at for one in troubles)
        what = f"{left} more {'account has' if left == 1 else 'accounts have'} other troubles"
        yield HealthProblem(what=what, since=since, kind="accounts", help=_CHECK, link=link)


def _sentence(trouble: Trouble) -> str:
    """In the words of `/readyz`."""
    is_one = trouble.count == 1
    who = f"account {trouble.accounts[0]}" if is_one else f"{trouble.count} accounts"
    if trouble.what.startswith("no subscription"):
        return f"{who} {'has' if is_one else 'have'} {trouble.what}"
    return f"{who} {'is' if is_one else 'are'} {trouble.what}"


def of_configuration(configuration: Configuration) -> Iterator[HealthProblem]:
    """A later one than the one in force, which was refused."""
    if configuration.refused_ms is not None:
        first, *others = configuration.problems or ("it was refused",)
        more = f" (and {len(others)} more)" if others else ""
        yield HealthProblem(
            what=f"the configuration was refused, and the one before stays in force: {first}{more}",
            since=rfc3339(configuration.refused_ms),
            kind="configuration",
            help="disposition-listener check --config FILE",
        )


def of_dead_letters(letters: Mapping[str, int] | None, groups: Sequence[DeadLetterGroup]) -> Iterator[HealthProblem]:
    """Each sink with some."""
    for sink, count in sorted((letters or {}).items()):
        of_it = [group for group in groups if group.sink == sink]
        if count and of_it:
            most = of_it[0].reason + (f" (and {len(of_it) - 1} other reasons)" if len(of_it) > 1 else "")
            yield HealthProblem(
                what=f"sink {sink} has {count} dead letter{'' if count == 1 else 's'}: {most}",
                since=rfc3339(min(group.first_ms for group in of_it)),
                kind="deadLetters",
                help=f"disposition-listener dead-letters list --sink {sink} --config FILE",
                link=f"#/dead-letters?sink={sink}",
            )
