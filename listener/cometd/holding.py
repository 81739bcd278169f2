"""How long a poll may be held: learned from proxies that cut each one sooner than the server answers it."""

_AT_LEAST_MS = 500  # what fails sooner was not held for too long
_ALIKE_MS, _ALIKE_SHARE = 250, 0.05
_MARGIN_SHARE = 0.75


class HoldLimit:
    """Sees how long polls were held and how they ended. Pure: the caller measures, on the monotonic clock.

    Two polls one after the other that end alike after the same time were cut by something in between: a proxy's read
    timeout, or a firewall that forgets idle connections. From then on less is asked for, until the process ends: a
    longer hold could only be tried at the risk of another cut.

    Attributes:
        limit_ms: the longest hold to ask for; None while nothing is known to cut polls.
    """

    __slots__ = ("_cut", "limit_ms")

    def __init__(self) -> None:
        self.limit_ms: int | None = None
        self._cut: tuple[int, int | None] | None = None

    def answered(self, *, held_s: float) -> None:
        """A poll was held for so long and answered: what cut the one before was no limit if that was shorter."""
        if self._cut is not None and held_s * 1000 > self._cut[0]:
            self._cut = None

    def failed(self, *, held_s: float, advised_ms: int, http_status: int | None) -> str:
        """A poll failed after so long, with this status or none. Returns in words what follows; "" if nothing.

        `advised_ms` is how long the server holds a poll by itself. A poll that failed later than it should have been
        answered fell silent somewhere. Half of that is tried, but nothing more where less was asked for already: then
        the server does not do as it is asked.
        """
        held_ms = round(held_s * 1000)
        if held_ms < _AT_LEAST_MS:
            return ""
        before, self._cut = self._cut, (held_ms, http_status)
        if before is None or before[1] != http_status or not _alike(before[0], held_ms):
            return ""
        asked_ms = advised_ms if self.limit_ms is None else min(self.limit_ms, advised_ms)
        if held_ms < asked_ms:
            self.limit_ms = int(min(before[0], held_ms) * _MARGIN_SHARE)
        elif self.limit_ms is None and asked_ms:
            self.limit_ms = asked_ms // 2
        else:
            return ""
        self._cut = None
        return (
            f"polls fail after {held_ms / 1000:.1f} s, and the server holds them for {advised_ms / 1000:g} s:"
            f" from now on they ask for an answer within {self.limit_ms / 1000:.1f} s"
        )


def _alike(one_ms: int, other_ms: int) -> bool:
    return abs(one_ms - other_ms) <= max(_ALIKE_MS, _ALIKE_SHARE * max(one_ms, other_ms))
