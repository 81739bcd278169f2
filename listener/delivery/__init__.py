"""Delivery lanes: each takes the journal to one sink at its own pace, and keeps everything until the sink has it.

`Lane` delivers a batch until nothing of it is left. The cursor follows; dead letters are stored in the same
transaction. While an older event of the batch is still retried, the cursor stays before it and the dead letters are
above the cursor; the next start reads them and skips their events, which would otherwise arrive after younger ones of
their chat.

The stream, replays and resends share a sink through `Destination.turn`, taken once a batch. `docs/sinks.md` describes
retries, parks, the horizon and replays as a user sees them.
"""

from listener.delivery.destination import outcome_of, try_out
from listener.delivery.lane import Lane
from listener.delivery.policy import LanePolicy
from listener.delivery.readiness import delivery_problem, readiness_problem

__all__ = ["Lane", "LanePolicy", "delivery_problem", "outcome_of", "readiness_problem", "try_out"]
