"""The readiness of a lane."""

from listener.model.condition import ReadinessProblem
from listener.model.event import LaneStatus

_STALLED_S = 300.0


def readiness_problem(status: LaneStatus) -> ReadinessProblem | None:
    """Why a lane does not bring its sink what it should; None if it does, or may soon."""
    if status.parked is not None:
        return _problem(f"sink {status.sink} is parked", status.parked)
    why = status.last_error or "no answer"
    if status.quiet_s and status.stalled_s + status.quiet_s > _STALLED_S:
        return _problem(f"sink {status.sink} is to be left alone for {status.quiet_s:.0f} s more", why)
    if status.stalled_s > _STALLED_S:
        return _problem(f"sink {status.sink} has taken nothing for {status.stalled_s:.0f} s", why)
    return None


def _problem(what: str, why: str) -> ReadinessProblem:
    return ReadinessProblem(brief=what, full=f"{what}: {why}")
