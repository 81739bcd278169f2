"""Notifications that a server sends once more: recognised, counted, and not taken again."""

from collections import deque

from listener.webservices.notifications import Harvest

_BATCHES = 2


class Repeats:
    """What the last batches of one session brought.

    Only what carries the server's time can be recognised: two of these that are alike to the letter, the millisecond of
    their making included, are one. Of others nobody can tell whether they are two; they are kept.
    """

    def __init__(self) -> None:
        self._recent: deque[frozenset[bytes]] = deque(maxlen=_BATCHES)

    def strike(self, harvest: Harvest) -> None:
        """Take out of a batch what a recent one brought; it counts as filtered, by the reason `repeated`."""
        stamped = frozenset([one.digest for one in harvest.observations if one.server_time_ms is not None])
        if not stamped:
            return
        known = stamped.intersection(frozenset().union(*self._recent))
        self._recent.append(stamped)
        if known:
            self._strike(harvest, known)

    @staticmethod
    def _strike(harvest: Harvest, known: frozenset[bytes]) -> None:
        repeated = [one for one in harvest.observations if one.digest in known]
        harvest.observations = [one for one in harvest.observations if one.digest not in known]
        first_keys: dict[bytes, str] = {}
        # One payload gives one observation a key: those of its first key count it.
        payloads = sum(one.key == first_keys.setdefault(one.digest, one.key) for one in repeated if not one.prime)
        harvest.forwarded -= payloads
        harvest.filtered["repeated"] += payloads
