"""Holds the evidence of a world against every promise that it concerns."""

from simulation.again import what_is_wanted_again_comes_again
from simulation.evidence import Evidence
from simulation.oracle import PROMISES, Case, Finding
from simulation.replica_oracle import OF_REPLICAS
from simulation.schedule import Schedule


def judge(plan: Schedule, evidence: Evidence) -> list[Finding]:
    """Everything that breaks a promise."""
    case = Case(plan, evidence)
    promises = (*PROMISES, what_is_wanted_again_comes_again, *(OF_REPLICAS if plan.replicas else ()))
    return [finding for promise in promises for finding in promise(case)]
