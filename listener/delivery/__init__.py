"""Delivery lanes: each takes the journal to one sink at its own pace, and keeps everything until the sink has it.

`Lane` brings a batch until nothing of it is left. The cursor follows, and a dead letter is one transaction with it.
Where an older event of the batch is still tried, the cursor stays before it and the dead letters lie above the cursor;
the next start reads them and leaves their events out, which would otherwise come behind younger ones of their chat.

The stream and the replays share a sink through `Destination.turn`, taken once a batch. `docs/sinks.md` describes
retries, parks, the horizon and replays as a user sees them.
"""

from listener.delivery.destination import outcome_of
from listener.delivery.lane import Lane, readiness_problem
from listener.delivery.policy import LanePolicy

__all__ = ["Lane", "LanePolicy", "outcome_of", "readiness_problem"]
