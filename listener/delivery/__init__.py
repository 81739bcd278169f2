"""Delivery lanes: each takes the journal to one sink at its own pace, and keeps everything until the sink has it."""

from listener.delivery.lane import Lane
from listener.delivery.outcomes import outcome_of
from listener.delivery.policy import LanePolicy
from listener.delivery.readiness import readiness_problem

__all__ = ["Lane", "LanePolicy", "outcome_of", "readiness_problem"]
