"""The stretch in which a supervisor may be missing chats that it was taken out of."""

import msgspec

from listener.runtime.clock import Moment

OVER_AFTER_S = 3600.0
"""So long after a supervisor was taken out of a chat, the chat is taken to be over."""
RECORD_AFTER_S = 3600.0
"""How long a stretch may grow until it is put on record; the next begins where it ends."""


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be put on record, once."""

    since: Moment
    until: Moment


class Revocations:
    """What is uncertain about chats in which the supervisor's state became Revoked, or that it could not come back to.

    Revoked says that a chat is completed, or that the supervisor alone is out of it: some sites take it out when the
    agent leaves the chat, and the agent sets the code after that. The two look alike. So one stretch grows from the
    first such chat until an hour after the last, and goes on record in parts of an hour at most: a gap for each chat
    would bury all others. It is given up if the server is seen to keep supervisors in chats that agents have left.

    Attributes:
        since: when it began; None without one.
        is_certain: a chat was lost that was certainly not over.
    """

    def __init__(self) -> None:
        self.since: Moment | None = None
        self.is_certain = False
        self._last: Moment | None = None

    def restore(self, since: Moment, now: Moment, *, is_certain: bool) -> None:
        """What an earlier process had noted; when it noted the last is not known."""
        self.since, self._last, self.is_certain = since, now, is_certain

    def note(self, at: Moment, *, since: Moment | None = None, is_certain: bool = False) -> bool:
        """The supervisor is out of a chat at `at`, or was since then; whether a stretch begins with it."""
        begins = self.since is None
        if self.since is None or (since is not None and since.order < self.since.order):
            self.since = since or at
        self._last = at
        self.is_certain = self.is_certain or is_certain
        return begins

    def given_up(self) -> None:
        """The server keeps supervisors in: what was only suspected was nothing."""
        if not self.is_certain:
            self.since = self._last = None

    def due(self, now: Moment, *, is_last: bool = False) -> Stretch | None:
        """What goes on record now; with `is_last` whatever there is."""
        if self.since is None or self._last is None:
            return None
        since, is_over = self.since, is_last or self._last.seconds_to(now) >= OVER_AFTER_S
        if not is_over and since.seconds_to(now) < RECORD_AFTER_S:
            return None
        self.since = None if is_over else now
        if is_over:
            self._last, self.is_certain = None, False
        return Stretch(since=since, until=now)
