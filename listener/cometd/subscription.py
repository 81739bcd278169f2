"""Whether a subscription is certain, since when, and why it was not: what a gap on record is made of."""

import msgspec

from listener.cometd.facts import Cause, RestoredBy


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription is certain again. `since_ms` is when it last was, None if not yet in this process."""

    since_ms: int | None
    restored_by: RestoredBy
    cause: Cause


class SubscriptionState:
    """What an engine knows of its subscription; it is told of everything that bears on it.

    Certain is that the session was known when a connect reached the server that was granted then, not that it still was
    when the answer to a held one left: a server may forget a session meanwhile and grant the answer all the same.

    Attributes:
        last_ms: the last certain moment (epoch milliseconds), None before the first.
        asked_ms: when the request under way was sent (epoch milliseconds).
        cut: an answer that could not come again was lost since then.
    """

    def __init__(self) -> None:
        self.last_ms: int | None = None
        self.cut = False
        self.asked_ms = 0
        self._cause: Cause | None = Cause.RESTART
        self._new_session = False
        self._network_failed = False

    def asked(self, at_ms: int) -> None:
        """A request is on its way to the server."""
        self.asked_ms = at_ms

    def failed(self, *, cut: bool) -> None:
        """The network or the server failed a request; `cut` if its answer may have been on the way, for good."""
        self._network_failed = True
        if cut:
            self.cut = True
            self.lost(Cause.NO_ACK_CUT)

    def lost(self, cause: Cause) -> None:
        """Certainty ended, or its end turns out to be worse than a cut answer; the first real cause stays."""
        if self._cause in (None, Cause.NO_ACK_CUT):
            self._cause = Cause.NETWORK if cause is Cause.SESSION_EXPIRED and self._network_failed else cause

    def session_began(self) -> None:
        """A handshake was granted, so the session before is gone, whoever found that out."""
        self.lost(Cause.SESSION_EXPIRED)
        self._new_session = True

    def restored(self) -> Restored | None:
        """A connect was granted; None if the subscription was certain before."""
        restored = self._restored(self._cause) if self._cause is not None else None
        self.last_ms, self._cause = self.asked_ms, None
        self._new_session = self._network_failed = self.cut = False
        return restored

    def _restored(self, cause: Cause) -> Restored:
        if self._new_session:
            return Restored(since_ms=self.last_ms, restored_by=RestoredBy.HANDSHAKE, cause=cause)
        restored_by = RestoredBy.RESUME if self.last_ms is None else RestoredBy.POLL
        # A session that stands has lost what was cut and no more.
        return Restored(since_ms=self.last_ms, restored_by=restored_by, cause=Cause.NO_ACK_CUT if self.cut else cause)
