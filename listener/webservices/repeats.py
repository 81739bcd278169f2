"""Notifications that a server sends once more: recognised, counted, and not taken again."""

from collections.abc import Iterable

from listener.webservices.notifications import Harvest

_REMEMBERED = 128  # notifications; or the last two batches, where those are larger


class Repeats:
    """What was brought of late to one account.

    Only what carries the server's time can be recognised: two of these that are alike to the letter, the millisecond of
    their making included, are one. Of others nobody can tell whether they are two; they are kept.

    Args:
        known: digests of what an earlier process took, oldest first.
    """

    def __init__(self, known: Iterable[bytes] = ()) -> None:
        self._recent = dict.fromkeys(known)
        self._before = 0

    def strike(self, harvest: Harvest) -> None:
        """Take out of a batch what came before; it counts as filtered, by the reason `repeated`."""
        digests = [one.digest for one in harvest.observations if one.server_time_ms is not None]
        stamped = dict.fromkeys(digests)
        if not stamped:
            return
        if len(digests) > len(stamped):
            self._strike_twins(harvest)
        known = frozenset(stamped.keys() & self._recent.keys())
        self._recent |= stamped
        self._forget(max(_REMEMBERED, len(stamped) + self._before))
        self._before = len(stamped)
        if known:
            self._strike(harvest, known)

    def _forget(self, most: int) -> None:
        excess = len(self._recent) - most
        if excess > 0:
            for digest in list(self._recent)[:excess]:
                del self._recent[digest]

    @staticmethod
    def _strike_twins(harvest: Harvest) -> None:
        """Leave one of those that came twice in the batch; of one payload every key has its observation."""
        seen: set[tuple[bytes, str]] = set()
        kept = []
        first_keys: dict[bytes, str] = {}
        for one in harvest.observations:
            first_key = first_keys.setdefault(one.digest, one.key)
            if one.server_time_ms is None or (one.digest, one.key) not in seen:
                seen.add((one.digest, one.key))
                kept.append(one)
            elif one.key == first_key and not one.prime:
                harvest.forwarded -= 1
                harvest.filtered["repeated"] += 1
        harvest.observations = kept

    @staticmethod
    def _strike(harvest: Harvest, known: frozenset[bytes]) -> None:
        repeated = [one for one in harvest.observations if one.digest in known]
        harvest.observations = [one for one in harvest.observations if one.digest not in known]
        first_keys: dict[bytes, str] = {}
        # One payload gives one observation a key: those of its first key count it.
        payloads = sum(one.key == first_keys.setdefault(one.digest, one.key) for one in repeated if not one.prime)
        harvest.forwarded -= payloads
        harvest.filtered["repeated"] += payloads
