"""One delivery by hand, as a lane makes it."""

from collections.abc import Sequence

from listener.errors import Outcome
from listener.model.event import Event
from listener.ports import Sink


async def outcome_of(sink: Sink, events: Sequence[Event]) -> Outcome | None:
    """What `deliver` raises, or None."""
    try:
        await sink.deliver(events)
    except Outcome as outcome:
        return outcome
    return None
