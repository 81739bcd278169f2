"""Holds the evidence of a world against every promise that it concerns."""

from simulation.again import what_is_wanted_again_comes_again
from simulation.evidence import Evidence
from simulation.gap_oracle import gaps_are_as_short_as_can_be
from simulation.oracle import PROMISES, Case, Finding
from simulation.replica_oracle import OF_REPLICAS
from simulation.schedule import Schedule
from simulation.teams import OF_TEAMS


def judge(plan: Schedule, evidence: Evidence) -> list[Finding]:
    """Everything that breaks a promise."""
    case = Case(plan, evidence)
    promises = (*PROMISES, gaps_are_as_short_as_can_be, what_is_wanted_again_comes_again)
    of_replicas, of_teams = OF_REPLICAS if plan.replicas else (), OF_TEAMS if plan.team is not None else ()
    return [finding for promise in (*promises, *of_replicas, *of_teams) for finding in promise(case)]
