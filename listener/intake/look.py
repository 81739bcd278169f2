"""What an account's chats said when they were read, and what is kept of that for the next time."""

from collections.abc import Sequence

import msgspec

from listener.model.event import Observation
from listener.runtime.clock import Moment


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What an account's chats said when they were asked for; `going_on` are those that had not ended.

    `media` are those that the server let read, `polled_at` when the last poll was sent that was answered
    before they had come.
    """

    asked_at: Moment
    polled_at: Moment | None = None
    observations: Sequence[Observation] = ()
    going_on: frozenset[str] = frozenset()
    media: frozenset[str] = frozenset()

    @property
    def asked_s(self) -> float:
        """By the monotonic clock."""
        return self.asked_at.monotonic_s or 0.0


class Before:
    """What is kept of a look for the next one: values as their hashes, since they may be long."""

    __slots__ = ("asked_s", "going_on", "media", "values")

    def __init__(self, look: Look) -> None:
        self.asked_s = look.asked_s
        self.media = look.media
        self.going_on = look.going_on
        self.values = {(one.chat_id, one.key): hash(one.value) for one in look.observations}
