"""The state of a subscription: whether it certainly exists, since when, and why it was lost. Gaps follow from it."""

import msgspec

from listener.cometd.facts import Cause, RestoredBy
from listener.runtime.clock import Moment

_NEVER = Moment(0, None)


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription is restored.

    `since` is when it last existed, None if not yet in this process; `until` is up to when something could be missed,
    None if that is up to now.
    """

    since: Moment | None
    until: Moment | None = None
    restored_by: RestoredBy
    cause: Cause


class SubscriptionState:
    """What an engine knows about its subscription; the engine reports everything that concerns it.

    A granted connect proves that the session existed when the connect reached the server, not when its answer left: a
    server may forget a session while it holds a connect, and grant the answer nevertheless.

    Attributes:
        last: the last moment at which it certainly existed, None before the first.
        asked_at: when the request under way, or the last one, was sent.
        cut: an answer that could not come again was lost since then.
        cause: why it is lost, None while it is not; of a session of an earlier process, that this one began.
    """

    __slots__ = ("_cut_until", "_granted_at", "_network_failed", "_new_session", "asked_at", "cause", "cut", "last")

    def __init__(self) -> None:
        self.last: Moment | None = None
        self.cut = False
        self._cut_until: Moment | None = None
        self.asked_at = self._granted_at = _NEVER
        self.cause: Cause | None = Cause.RESTART
        self._new_session = False
        self._network_failed = False

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was asked of the server yet: all is as an earlier process has left it."""
        return self.asked_at is _NEVER

    @property
    def is_new(self) -> bool:
        """Whether a session has begun that `restored` has not told of yet."""
        return self._new_session

    def asked(self, at: Moment) -> None:
        """A request is on its way to the server."""
        self.asked_at = at

    def failed(self, *, cut: bool, refused: bool = False) -> None:
        """The network or the server failed a request, or `refused` it for want of a login.

        `cut` if its answer may have been on the way, for good.
        """
        self._network_failed = self._network_failed or not refused
        if cut:
            self.doubted()

    def doubted(self, *, since: Moment | None = None, until: Moment | None = None) -> None:
        """An answer may have been on the way, for good, whatever came in its place.

        `since` is the last certain moment when it was asked for, if that was beside the polls: what it held may be
        older than the polls that were granted meanwhile. It holds nothing younger than `until`, however long the poll
        beside it is held; None where it may be on the way yet, or was that to a poll.
        """
        self._cut_until = until if not self.cut or self._cut_until is not None else None
        self.cut = True
        self.last = since or self.last
        self.lost(Cause.NO_ACK_CUT)

    def rested(self, asked_at: Moment) -> bool:
        """Every answer has come, also that to the request of this time, which ended the polling; False if one was cut.

        The subscription is certain up to that request only now: until here the answer that it has overtaken may hold
        what is older, and may be lost.
        """
        if not self.cut:
            self.last = asked_at
        return not self.cut

    def lost(self, cause: Cause) -> None:
        """The subscription is lost, or its loss turns out to be worse than a cut answer; the first real cause stays."""
        if self.cause in (None, Cause.NO_ACK_CUT):
            self.cause = Cause.NETWORK if cause is Cause.SESSION_EXPIRED and self._network_failed else cause

    def session_began(self) -> None:
        """A handshake was granted, so the session before is gone, whoever found that out."""
        self.lost(Cause.SESSION_EXPIRED)
        self._new_session = True

    def granted(self) -> None:
        """A subscription was granted, by the server's word; a connect has to show that the session lasts."""
        self._granted_at = self.asked_at

    def begun(self) -> Restored | None:
        """The first connect of a new session brought nothing, but the session is there, and nobody knows of it yet."""
        if not self._new_session or self.cause is None:
            return None
        restored = self._restored(self.cause)
        self.last, self.cause = self._granted_at, None
        self._new_session = self._network_failed = self.cut = False
        return restored

    def restored(self) -> Restored | None:
        """A connect was granted; None if the subscription was not lost before."""
        restored = self._restored(self.cause) if self.cause is not None else None
        self.last, self.cause = self.asked_at, None
        self._new_session = self._network_failed = self.cut = False
        return restored

    def _restored(self, cause: Cause) -> Restored:
        if self._new_session:
            return Restored(since=self.last, restored_by=RestoredBy.HANDSHAKE, cause=cause)
        restored_by = RestoredBy.RESUME if self.last is None else RestoredBy.POLL
        if not self.cut:
            return Restored(since=self.last, restored_by=restored_by, cause=cause)
        # A session that still exists has lost only what was cut.
        until = self._cut_until if restored_by is RestoredBy.POLL else None
        return Restored(since=self.last, until=until, restored_by=restored_by, cause=Cause.NO_ACK_CUT)
