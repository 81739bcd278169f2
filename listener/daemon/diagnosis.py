"""What is not well, in sentences: since when, and what helps. The page and the `status` command have the same ones."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from listener.daemon.reloading import NEEDS_RESTART
from listener.daemon.troubles import SILENT
from listener.delivery import delivery_problem
from listener.model.condition import Configuration, ReadinessProblem
from listener.model.event import JournalStats, LaneStatus, epoch_ms, rfc3339
from listener.model.filter import DeadLetterGroup
from listener.web.status import ReplicaStatus
from listener.web.summary import AccountCounts, HealthProblem, Trouble

_MOST_GROUPS = 10
_ELSEWHERE = re.compile(r"account |sink |\d+ more accounts ")  # is told of all replicas together
_CHECK = "disposition-listener check --connect"
_RESTART = "systemctl restart disposition-listener"


class Diagnosis:
    """Everything that is not well; what is said of accounts is the same however many there are.

    Args:
        now_ms: epoch milliseconds.
        started_ms: since when the process runs.
    """

    def __init__(self, *, now_ms: Callable[[], int], started_ms: int) -> None:
        self._now_ms = now_ms
        self._started_ms = started_ms
        self._seen_ms: dict[tuple[str, str], int] = {}

    def look(self, problems: Iterable[ReadinessProblem]) -> None:
        """What there is at this moment; whatever is new has begun now."""
        now_ms = self._now_ms()
        self._seen_ms = {key: self._seen_ms.get(key, now_ms) for key in map(_key, problems)}

    def of_the_process(self, problems: Iterable[ReadinessProblem]) -> Iterator[HealthProblem]:
        """What is wrong with it but for accounts and sinks, of which there is more to tell."""
        for problem in problems:
            if problem.kind not in ("accounts", "sink"):
                began_ms = self._started_ms if problem.kind == "start" else self._seen_ms.get(_key(problem))
                since = rfc3339(self._now_ms() if began_ms is None else began_ms)
                yield HealthProblem(what=problem.full, since=since, kind=problem.kind, help=problem.help)

    def of_sinks(
        self, lanes: Iterable[LaneStatus], stats: JournalStats | None, nobodys: Collection[str] = ()
    ) -> Iterator[HealthProblem]:
        """Each that does not get what it should; `nobodys` are those that no replica has."""
        for lane in lanes:
            problem = delivery_problem(lane)
            if problem is None and lane.sink in nobodys:
                what = f"sink {lane.sink} has no replica that delivers to it"
                problem = ReadinessProblem(brief=what, full=what, help="disposition-listener replicas list")
            if problem is None:
                continue
            state = None if stats is None else stats.lanes.get(lane.sink)
            since_ms = self._now_ms() - round(max(lane.stalled_s, lane.failing_s or 0.0) * 1000)
            if lane.parked is not None and state is not None and state.parked_ms:
                since_ms = state.parked_ms
            yield HealthProblem(
                what=problem.full,
                since=rfc3339(since_ms),
                kind="sink",
                help=problem.help,
                link=f"#/sinks/{lane.sink}",
            )

    def of_replicas(self, replicas: Iterable[ReplicaStatus], own: str | None) -> Iterator[HealthProblem]:
        """Each that does not beat, and what the others tell of themselves, but of accounts and sinks."""
        for one in replicas:
            if one.state == "late":
                since_ms = self._now_ms() - round(one.beat_age_seconds * 1000)
                yield _of_replica(one, f"has not beaten for {one.beat_age_seconds:.0f} s", since_ms)
            elif one.name != own:
                for problem in one.problems:
                    if not _ELSEWHERE.match(problem):
                        yield _of_replica(one, f"says: {problem}", epoch_ms(one.joined_at))


def _of_replica(one: ReplicaStatus, what: str, since_ms: int) -> HealthProblem:
    return HealthProblem(
        what=f"replica {one.name} {what}",
        since=rfc3339(since_ms),
        kind="replica",
        help="disposition-listener replicas list",
    )


def _key(problem: ReadinessProblem) -> tuple[str, str]:
    """What stays the same of a problem while it lasts."""
    return problem.kind, problem.about


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
    if trouble.what == SILENT:
        return f"{who} {'is' if is_one else 'are'} {trouble.what}"
    return f"{who}: {trouble.what}"


def of_configuration(configuration: Configuration) -> Iterator[HealthProblem]:
    """A later one than the one in force, which was refused."""
    if configuration.refused_ms is not None:
        first, *others = configuration.problems or ("it was refused",)
        more = f" (and {len(others)} more)" if others else ""
        yield HealthProblem(
            what=f"the configuration was refused, and the one before stays in force: {first}{more}",
            since=rfc3339(configuration.refused_ms),
            kind="configuration",
            help=_RESTART if first.endswith(NEEDS_RESTART) else "disposition-listener check",
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
                help=f"disposition-listener dead-letters list --sink {sink}",
                link=f"#/dead-letters?sink={sink}",
            )
