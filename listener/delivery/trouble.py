"""When a lane does not do its work."""

from listener.model import LaneStatus

_STALLED_S = 300.0


def trouble_of(status: LaneStatus) -> str | None:
    """Why a lane does not bring its sink what it should, in a sentence; None where it does, or may soon."""
    if status.parked is not None:
        return f"sink {status.sink} is parked: {status.parked}"
    if status.stalled_s > _STALLED_S:
        why = status.last_error or "no answer"
        return f"sink {status.sink} has taken nothing for {status.stalled_s:.0f} s: {why}"
    return None
