"""The readiness of a lane."""

from listener.model.condition import ReadinessProblem
from listener.model.event import LaneStatus

_STALLED_S = 300.0


def readiness_problem(status: LaneStatus) -> ReadinessProblem | None:
    """Why a lane does not bring its sink what it should; None if it does, or may soon."""
    sink, resume = f"sink {status.sink}", f"disposition-listener sinks resume {status.sink}"
    if status.parked is not None:
        return _problem(status, f"{sink} is parked", status.parked, resume)
    why = status.last_error or "no answer"
    if status.quiet_s and status.stalled_s + status.quiet_s > _STALLED_S:
        return _problem(status, f"{sink} is to be left alone for {status.quiet_s:.0f} s more", why, resume)
    if status.stalled_s > _STALLED_S:
        test = f"disposition-listener sinks test {status.sink}"
        return _problem(status, f"{sink} has taken nothing for {status.stalled_s:.0f} s", why, test)
    return None


def _problem(status: LaneStatus, what: str, why: str, help_: str) -> ReadinessProblem:
    return ReadinessProblem(brief=what, full=f"{what}: {why}", kind="sink", about=status.sink, help=help_)
