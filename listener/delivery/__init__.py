"""Delivery lanes: each takes the journal to one sink at its own pace, and keeps everything until the sink has it."""

from listener.delivery.destination import outcome_of
from listener.delivery.lane import Lane, readiness_problem
from listener.delivery.policy import LanePolicy

__all__ = ["Lane", "LanePolicy", "outcome_of", "readiness_problem"]
