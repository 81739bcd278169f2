"""What a lane does whatever its sink."""

import msgspec

from listener.model import Change, Event, Kind


class LanePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Which events go to a sink, how many at once, and for how long those are tried that fail.

    `retry_horizon_s` counts seconds of attempts, without the time in which the lane is parked or the daemon does not
    run; None is for ever.
    """

    batch: int = 500
    changes_only: bool = False
    gaps: bool = True
    retry_horizon_s: float | None = None

    def wants(self, event: Event) -> bool:
        """Whether the sink gets this event."""
        if event.kind is Kind.GAP:
            return self.gaps
        return not (self.changes_only and event.change is Change.UNCHANGED)

    @property
    def given_up(self) -> str:
        """The reason in the letter of an event that was tried for that long."""
        return f"not taken within {(self.retry_horizon_s or 0.0) / 3600:g} h"
