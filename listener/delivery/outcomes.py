"""What a sink says of a batch, and what that makes of each of its events."""

import math
from collections.abc import Sequence

from listener.errors import Outcome, Refusal, Reject, Retry
from listener.model.event import Event
from listener.ports import Sink
from listener.runtime.backoff import Backoff


async def hand_over(sink: Sink, events: Sequence[Event]) -> Outcome | None:
    """One call of `deliver`; None where everything was taken."""
    try:
        await sink.deliver(events)
    except Exception as exc:  # noqa: BLE001 - the bug of a foreign sink stops its own lane, loudly, and nothing else
        return outcome_of(exc, len(events))
    return None


def outcome_of(exc: Exception, events: int = 0) -> Outcome:
    """What an exception means that a sink raised over so many events; the one place that decides it."""
    if isinstance(exc, Reject) and (strange := [index for index in exc.letters if not 0 <= index < events]):
        return Retry(f"the sink rejects event {strange[0]} of {events}: {exc.reason}", delivered=exc.delivered)
    if isinstance(exc, Outcome):
        return exc
    return Retry(f"the sink failed unexpectedly: {type(exc).__name__}: {exc}")


def refused(batch: Sequence[Event], outcome: Outcome | None) -> list[tuple[Event, Refusal]]:
    """The events of a batch that can never be taken, in its order, each with why."""
    if not isinstance(outcome, Reject):
        return []
    return [(batch[index], refusal) for index, refusal in outcome.letters.items()]


def left_of(batch: Sequence[Event], outcome: Outcome | None) -> list[Event]:
    """What is left of a batch: neither delivered nor rejected."""
    if outcome is None:
        return []
    done = set(outcome.delivered)
    if isinstance(outcome, Reject):
        done |= outcome.letters.keys()
    return [event for index, event in enumerate(batch) if index not in done]


def pause_after(outcome: Outcome, backoff: Backoff | None) -> float:
    """Seconds until the next attempt: the time that the destination names, after a Retry no less than the backoff.

    A Park needs more than a pause: 0.0.
    """
    named_s = retry_after_of(outcome)
    return max(named_s, backoff.next() if backoff is not None and isinstance(outcome, Retry) else 0.0)


def retry_after_of(outcome: Outcome) -> float:
    """The seconds for which the destination asked to be left alone; 0.0 where it did not."""
    match outcome:
        case Retry(after_s=float() | int() as after_s) | Reject(after_s=float() | int() as after_s):
            return max(0.0, after_s) if math.isfinite(after_s) else 0.0
    return 0.0


def error_text(outcome: Outcome) -> str:
    """What a destination said that named no event: for the letter of an event that it did not take in time."""
    return f"{outcome.reason}: {outcome.detail}" if outcome.detail else outcome.reason
