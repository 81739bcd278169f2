"""What a gap says of the time that it stands for, and since when a subscription may be dead without a sign of it."""

from listener.model.event import Gap, rfc3339
from listener.model.media import MediaType
from listener.runtime.clock import Moment

_STEP_MS = 1000  # what two clocks that are read one after the other do not differ by


def gap_between(
    since: Moment,
    until: Moment,
    *,
    account: str,
    reason: str,
    closed_by: str,
    media_type: MediaType | None = None,
    agent: str | None = None,
) -> Gap:
    """The gap from one moment to another, whatever was done to the wall clock in between.

    Its length is that of the monotonic clock. If the wall clock was set, `from` and `to` are so far apart that they
    hold the stretch by the clock as it was before and by the clock as it is since.
    """
    length_ms = max(0, round(since.seconds_to(until) * 1000))
    step_ms = until.wall_ms - since.wall_ms - length_ms
    is_timed = since.monotonic_s is not None and until.monotonic_s is not None
    is_set = abs(step_ms) >= _STEP_MS if is_timed else step_ms < 0  # it ended before it began
    return Gap(
        account=account,
        from_=rfc3339(min(since.wall_ms, until.wall_ms - length_ms)),
        to=rfc3339(max(until.wall_ms, since.wall_ms + length_ms)),
        reason=reason,
        closed_by=closed_by,
        media_type=media_type,
        seconds=length_ms / 1000 if is_timed else None,
        clock_step_seconds=step_ms / 1000 if is_set else None,
        agent=agent,
    )


class Liveness:
    """When a subscription was last certain to be alive: polls are granted without one, too.

    What proves it is a subscription that was granted, and a notification. One that comes with a poll may have waited
    since the poll before it was sent. To subscribe again revives what was dead: only a look at the chats, which finds
    all that was told, ends the doubt about the time before.
    """

    __slots__ = ("_doubted", "_polled", "_proven", "_suspected")

    def __init__(self) -> None:
        self._proven: Moment | None = None
        self._doubted: Moment | None = None
        self._polled: Moment | None = None
        self._suspected: tuple[Moment, Moment] | None = None

    @property
    def since(self) -> Moment | None:
        """The last moment before which nothing can have been missed in silence."""
        return self._doubted or self._proven

    @property
    def polled_at(self) -> Moment | None:
        """When the last poll was sent that was answered: until then the session certainly existed."""
        return self._polled

    def begin(self, at: Moment) -> None:
        """A subscription exists, and what came before it is on record."""
        self._proven = self._polled = at
        self.trust()

    def doubt(self, since: Moment) -> None:
        """The subscription may have been dead from then until now."""
        self._doubted = self._doubted or since

    def subscribed_again(self, at: Moment) -> None:
        """It is certain at this moment; whether it was before, the next look at the chats has to tell."""
        if self._proven is not None:
            self.doubt(self._proven)
        self._proven = at

    def suspect(self, polled_at: Moment | None) -> None:
        """A look at the chats has found what was not told: it may come yet, or the subscription was dead.

        `polled_at` is that of when they had come.
        """
        if self._suspected is None and polled_at is not None and (since := self.since) is not None:
            self._suspected = polled_at, since

    def gap_start(self, since: Moment) -> Moment:
        """Where a gap begins that would begin at `since`, but comes before a suspicion is settled.

        Where a poll has been answered since the look, what that found was not lost with the answers of the gap.
        """
        if self._suspected is None:
            return since
        polled_at, alive = self._suspected
        return alive if max(polled_at.order, alive.order) < since.order else since

    def trust(self) -> None:
        """A look at the chats has found nothing that was not told, or what it found is on record."""
        self._doubted = self._suspected = None

    def polled(self, sent_at: Moment | None, *, heard: bool) -> None:
        """A poll that was sent then was answered, with or without a notification."""
        before, self._polled = self._polled, sent_at or self._polled
        if heard and before is not None and (self._proven is None or self._proven.order < before.order):
            self._proven = before
