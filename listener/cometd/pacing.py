"""The pause before the next poll of a session that is well."""

HELD_MS = 50
NOT_HELD_AT_MOST = 10
NOT_HELD_PAUSE_S = 0.5


class Pacing:
    """The advised interval; more where the server neither holds polls nor has events, which would make a storm."""

    def __init__(self) -> None:
        self._not_held = 0

    def pause_s(self, *, idle: bool, took_ms: int, interval_ms: int) -> float:
        """The pause after a poll that took so long and, if `idle`, brought nothing."""
        self._not_held = self._not_held + 1 if idle and took_ms < HELD_MS else 0
        return max(interval_ms / 1000, NOT_HELD_PAUSE_S if self._not_held > NOT_HELD_AT_MOST else 0.0)

    @property
    def slowed_down(self) -> bool:
        """Whether the last pause was the first of the longer ones."""
        return self._not_held == NOT_HELD_AT_MOST + 1
