"""The pause between one poll that was answered and the next."""

HELD_MS = 50
NOT_HELD_AT_MOST = 10
NOT_HELD_PAUSE_S = 0.5


class Pacing:
    """The advised interval; longer if the server neither holds polls nor has anything of use, to avoid a storm.

    Attributes:
        last_s: the last pause.
    """

    __slots__ = ("_is_new", "_not_held", "last_s")

    def __init__(self) -> None:
        self.last_s = 0.0
        self._not_held = 0
        self._is_new = False

    def pause_s(self, *, idle: bool, took_ms: int, interval_ms: int) -> float:
        """The pause after a poll that took so long and, if `idle`, brought nothing; else see `heard`."""
        if took_ms >= HELD_MS:
            self._not_held = 0
        elif idle:
            self._count()
        self.last_s = max(interval_ms / 1000, NOT_HELD_PAUSE_S if self._not_held > NOT_HELD_AT_MOST else 0.0)
        return self.last_s

    def heard(self, *, useful: bool) -> None:
        """What a poll brought has been looked at: something of use, or nothing, as if it had been idle."""
        if useful:
            self._not_held = 0
        else:
            self._count()

    def _count(self) -> None:
        self._not_held += 1
        self._is_new = self._is_new or self._not_held == NOT_HELD_AT_MOST + 1

    def has_slowed_down(self) -> bool:
        """Whether the pauses have become longer since this was asked last."""
        is_new, self._is_new = self._is_new, False
        return is_new
