"""What must hold where replicas share a journal, beside everything that must hold in every world."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from listener.model.event import Origin, epoch_ms
from listener.model.replica import ACCOUNT
from simulation.database import HOST as DATABASE
from simulation.evidence import Owned, Shared, Unwell
from simulation.oracle import Case, Finding, Promise
from simulation.wellness import ENDS, GONE, JOINED_WITHIN_S, MOVES, PINNED, TAKEN_OVER_WITHIN_S, is_well

_ON_ITS_WAY_S = 0.05
_QUIET_S = 6.0
_Key = tuple[str, str, str | None, int]


def _shared(case: Case) -> Shared:
    assert case.evidence.shared is not None
    return case.evidence.shared


def nothing_is_written_late(case: Case) -> Iterator[Finding]:
    """The database stores nothing for a replica that is gone, and all for one that is not."""
    for at, text in _shared(case).late:
        yield Finding(promise="late write", at=at, agent="", text=text)


def sequences_are_whole(case: Case) -> Iterator[Finding]:
    """Sequences have no holes, at the end and whenever somebody reads."""
    for at, text in _shared(case).torn:
        yield Finding(promise="hole", at=at, agent="", text=text)
    sequences = [event.sequence for event in case.evidence.journal]
    if sequences != list(range(1, len(sequences) + 1)):
        yield Finding(promise="hole", at=case.evidence.ended_at, agent="", text=f"{sequences}")


def only_what_is_durable_is_confirmed(case: Case) -> Iterator[Finding]:
    """The server forgets nothing before it is durable, and by nobody but who stored it or had the account since."""
    stored: dict[_Key, tuple[float, str]] = {}
    for one in _shared(case).stored:
        if one.event.id in case.data and one.event.change is not None and one.event.origin is Origin.NOTIFICATION:
            value = case.data[one.event.id]["disposition"]
            key = one.event.account, one.event.subject, value, epoch_ms(one.event.time)
            stored.setdefault(key, (one.at, one.host))
    for done in _shared(case).confirmed:
        at, host = stored.get((done.agent, done.chat, done.value, done.stamp_ms), (float("inf"), ""))
        what = f"{done.value!r} of chat {done.chat}"
        if at > done.at:
            text = f"{what} was confirmed by {done.host}, and not durable"
            yield Finding(promise="confirmed", at=done.at, agent=done.agent, text=text)
        elif done.host != host and not _had(case, ACCOUNT + done.agent, done.host, at, done.at):
            text = f"{what} was stored for {host} at {at:.3f} s, and confirmed by {done.host}, which had nothing to do"
            yield Finding(promise="confirmed", at=done.at, agent=done.agent, text=text)


def _had(case: Case, duty: str, host: str, since: float, until: float) -> bool:
    return any(
        (one.duty, one.host) == (duty, host) and one.since <= until and one.until >= since
        for one in _shared(case).owned
    )


def nobody_is_evicted_in_vain(case: Case) -> Iterator[Finding]:
    """Who has beaten as he should stays, also after a restart of the database, when everybody is late."""
    shared = _shared(case)
    for at, host, joined_at in shared.evicted:
        if any(one.host == host and one.why in ENDS and one.since >= joined_at for one in shared.unwell):
            continue  # it has ended, and may not have been able to say so
        lately = [one for one in shared.unwell if one.since < at and one.until > at - JOINED_WITHIN_S]
        if not any(one.host == host or one.why == "DatabaseSlow" for one in lately):
            yield Finding(promise="evicted", at=at, agent="", text=f"{host} was evicted, and nothing was wrong with it")


def what_is_left_is_taken_over(case: Case) -> Iterator[Finding]:
    """Within three seconds another has the duties of a replica that is gone, if one is well and the database is."""
    shared = _shared(case)
    for gone in shared.unwell:
        if gone.why not in GONE:
            continue
        by = gone.since + TAKEN_OVER_WITHIN_S
        returns_before = gone.why != "KillReplica" and gone.until - JOINED_WITHIN_S < by
        if returns_before or not _can_be_taken_over(shared, gone, by) or by > case.evidence.ended_at:
            continue
        for left in shared.owned:
            if left.host == gone.host and left.since <= gone.since < left.until and left.duty not in PINNED:
                yield from _taken_over(case, gone, left, by)


def _can_be_taken_over(shared: Shared, gone: Unwell, by: float) -> bool:
    others = shared.clocks.keys() - {gone.host, "guest"}
    return is_well(shared.unwell, DATABASE, gone.since, by) and any(
        is_well(shared.unwell, host, gone.since, by) for host in others
    )


def _taken_over(case: Case, gone: Unwell, left: Owned, by: float) -> Iterator[Finding]:
    agent = left.duty.removeprefix(ACCOUNT) if left.duty.startswith(ACCOUNT) else ""
    if left.until > by:
        text = f"{left.duty} was {gone.host}'s until {left.until:.3f} s, which was gone ({gone.why})"
        yield Finding(promise="not taken over", at=gone.since, agent=agent, text=text)
    elif agent and _server_is_well(case, gone.since, by):
        polls = case_polls(case)[agent]
        place = bisect_right(polls, gone.since + _ON_ITS_WAY_S)
        if place == len(polls) or polls[place] > by:
            after_s = "never" if place == len(polls) else f"{polls[place] - gone.since:.3f} s later"
            text = f"{gone.host} was gone ({gone.why}), and the next poll came {after_s}"
            yield Finding(promise="not taken over", at=gone.since, agent=agent, text=text)


def case_polls(case: Case) -> dict[str, list[float]]:
    """When each agent's session was polled."""
    found: dict[str, list[float]] = defaultdict(list)
    for at, agent, _ in _shared(case).polls:
        found[agent].append(at)
    return found


def _server_is_well(case: Case, since: float, until: float) -> bool:
    """Whether nothing else stood in the way of a poll for a good while."""
    return not any(
        one.fault not in MOVES and one.since < until and one.until > since - 15.0 for one in case.evidence.troubles
    )


def each_duty_is_somebodys(case: Case) -> Iterator[Finding]:
    """In the end every duty has one owner, nobody has more than a fair share, and nobody else polls."""
    shared, at = _shared(case), case.evidence.ended_at
    kinds: dict[str, list[str]] = defaultdict(list)
    for duty, host in shared.at_the_end.items():
        if host is None:
            yield Finding(promise="nobody's", at=at, agent="", text=f"nobody has {duty}")
        elif duty not in PINNED:
            kinds[duty.partition("/")[0]].append(host)
    for kind, hosts in kinds.items():
        share = -(-len(hosts) // case.plan.replicas)
        host, amount = Counter(hosts).most_common(1)[0]
        if amount > share:
            yield Finding(promise="unfair", at=at, agent="", text=f"{host} has {amount} of {len(hosts)} ({kind})")
    for polled_at, agent, host in shared.polls:
        if at - _QUIET_S < polled_at < at and shared.at_the_end.get(ACCOUNT + agent) != host:
            text = f"{host} polls, and it is {shared.at_the_end.get(ACCOUNT + agent)}'s"
            yield Finding(promise="two owners", at=polled_at, agent=agent, text=text)


OF_REPLICAS: Sequence[Promise] = (
    nothing_is_written_late,
    sequences_are_whole,
    only_what_is_durable_is_confirmed,
    nobody_is_evicted_in_vain,
    what_is_left_is_taken_over,
    each_duty_is_somebodys,
)
