"""The readiness of a lane."""

from listener.model.condition import ReadinessProblem
from listener.model.event import LaneStatus

_STALLED_S = 300.0


def readiness_problem(status: LaneStatus) -> ReadinessProblem | None:
    """Why a lane does not bring its sink what it should; None if it does, or may soon: readiness must not flap."""
    return delivery_problem(status) if status.parked is not None or _takes_long(status) else None


def delivery_problem(status: LaneStatus) -> ReadinessProblem | None:
    """The same from the first failure on; None if nothing fails."""
    sink, resume = f"sink {status.sink}", f"disposition-listener sinks resume {status.sink}"
    if status.parked is not None:
        return _problem(status, f"{sink} is parked", status.parked, resume)
    if status.failing_s is None and not _takes_long(status):
        return None
    why = status.last_error or "no answer"
    if status.quiet_s:
        return _problem(status, f"{sink} is to be left alone for {status.quiet_s:.0f} s more", why, resume)
    what = f"{sink} has taken nothing for {status.stalled_s:.0f} s" if _takes_long(status) else f"{sink} is failing"
    return _problem(status, what, why, f"disposition-listener sinks test {status.sink}")


def _takes_long(status: LaneStatus) -> bool:
    return status.stalled_s + status.quiet_s > _STALLED_S


def _problem(status: LaneStatus, what: str, why: str, help_: str) -> ReadinessProblem:
    return ReadinessProblem(brief=what, full=f"{what}: {why}", kind="sink", about=status.sink, help=help_)
