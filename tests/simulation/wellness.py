"""When replicas could do their work: how long what befalls one of them may stand in the way of its duties."""

from collections.abc import Collection, Iterator, Sequence

from simulation.database import HOST as DATABASE
from simulation.evidence import SessionProblem, Shared, Unwell

TAKEN_OVER_WITHIN_S = 3.0
"""The duties of a replica that is gone are another's, if one is well and the database is."""
JOINED_WITHIN_S = 2.5
"""After its start, or after whatever kept it from the database, a replica may evict others and has its part."""
ORDERLY = ("start", "RestartReplica", "RollingRestart", "Drain", "ReplicaClock")
"""In these a replica gives back what it has."""
MOVES = (
    *ORDERLY,
    "KillReplica",
    "Freeze",
    "CutOff from database",
    "CutOff of answers",
    "Namesake",
    "DatabaseRestart",
    "DatabaseSlow",
)
"""After these, duties may be another's."""

GONE = ("KillReplica", "Freeze", "CutOff from database")
"""In these it does not, and others have to do without."""
ENDS = ("KillReplica", "RestartReplica", "RollingRestart")
"""In these its process comes to an end."""
PINNED = ("lane/audit",)
"""What no other replica may do."""


def is_well(unwell: Sequence[Unwell], host: str, since: float, until: float) -> bool:
    """Whether a host lacked nothing all that time."""
    return not any(one.host == host and one.since < until and one.until > since for one in unwell)


def taken_over_at(unwell: Sequence[Unwell], hosts: Collection[str], at: float) -> float:
    """By when somebody must have taken over what was left at a moment."""
    moments = sorted({at} | {one.until for one in unwell if one.until > at})
    for moment in moments:
        by = moment + TAKEN_OVER_WITHIN_S
        if is_well(unwell, DATABASE, moment, by) and any(is_well(unwell, host, moment, by) for host in hosts):
            return by
    raise AssertionError("no host is ever well again")


def troubles_of(shared: Shared, hosts: Collection[str], agents: Collection[str]) -> Iterator[SessionProblem]:
    """What stood in the way of every session, since any of them may have been that replica's."""
    for one in shared.unwell:
        until = one.until if one.why == "CutOff from gws" else taken_over_at(shared.unwell, hosts, one.since)
        yield SessionProblem(since=one.since, until=until, agents=frozenset(agents), fault=one.why, cuts=True)
