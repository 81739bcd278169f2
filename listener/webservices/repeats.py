"""What a session received recently: recognises repeated notifications and seen chats."""

import math
from collections.abc import Iterable

from listener.webservices.notifications import DecodedBatch

MOST_CHATS = 1000
_REMEMBERED = 128  # notifications; or those of the last two answers, where those are more, and
_MOST_REMEMBERED = 10_000


class SeenChats:
    """The chats that were heard of, when last, and with which values: bounded, the oldest is removed first."""

    def __init__(self) -> None:
        self._chats: dict[str, float] = {}
        self._told: dict[str, dict[str, int]] = {}

    def __contains__(self, chat_id: str) -> bool:
        return chat_id in self._chats

    def since(self, chat_id: str, since_s: float) -> bool:
        """Whether it was seen at this time or later."""
        return self._chats.get(chat_id, -math.inf) >= since_s

    def came_with(self, chat_id: str, key: str, value: str | None) -> bool:
        """Whether that is the value that this key had when the chat was seen last."""
        return self._told.get(chat_id, {}).get(key) == hash(value)

    def add(self, decoded: DecodedBatch, at_s: float) -> None:
        """The chats of a batch were seen at this time, in seconds of any clock that runs forward."""
        for chat_id in decoded.chats:
            self._chats.pop(chat_id, None)
            self._chats[chat_id] = at_s
        for (chat_id, key), value in decoded.told.items():
            self._told.setdefault(chat_id, {})[key] = hash(value)  # values may be long
        while len(self._chats) > MOST_CHATS:
            oldest = next(iter(self._chats))
            del self._chats[oldest]
            self._told.pop(oldest, None)

    def clear(self) -> None:
        """A new session begins."""
        self._chats.clear()
        self._told.clear()


class Repeats:
    """The notifications that one account received recently.

    Only what carries the server's time can be recognised: two of these that are alike exactly, the millisecond of
    their making included, are one. Of others nobody can tell whether they are two; they are kept.

    Args:
        known: digests of what an earlier process took, oldest first.
    """

    def __init__(self, known: Iterable[bytes] = ()) -> None:
        self._recent = dict.fromkeys(known)
        self._before = self._now = 0

    def drop_repeats(self, decoded: DecodedBatch, *, more: bool = False) -> None:
        """Remove repeated notifications from a batch; they count as filtered, with the reason `repeated`.

        With `more` the next batch is of the same answer.
        """
        digests = [one.digest for one in decoded.observations if one.server_time_ms is not None]
        stamped = dict.fromkeys(digests)
        self._now += len(stamped)
        if stamped:
            self._drop(decoded, digests, stamped)
            self._forget(_MOST_REMEMBERED if more else max(_REMEMBERED, self._now + self._before))
        if not more and self._now:
            self._before, self._now = self._now, 0

    def _drop(self, decoded: DecodedBatch, digests: list[bytes], stamped: dict[bytes, None]) -> None:
        if len(digests) > len(stamped):
            self._drop_twins(decoded)
        known = frozenset(stamped.keys() & self._recent.keys())
        self._recent |= stamped
        if known:
            self._drop_repeats(decoded, known)

    def _forget(self, most: int) -> None:
        excess = len(self._recent) - min(most, _MOST_REMEMBERED)
        if excess > 0:
            for digest in list(self._recent)[:excess]:
                del self._recent[digest]

    @staticmethod
    def _drop_twins(decoded: DecodedBatch) -> None:
        """Leave one of those that came twice in the batch; of one payload every key has its observation."""
        seen: set[tuple[bytes, str]] = set()
        kept = []
        first_keys: dict[bytes, str] = {}
        for one in decoded.observations:
            first_key = first_keys.setdefault(one.digest, one.key)
            if one.server_time_ms is None or (one.digest, one.key) not in seen:
                seen.add((one.digest, one.key))
                kept.append(one)
            elif one.key == first_key and not one.prime:
                decoded.forwarded -= 1
                decoded.filtered["repeated"] += 1
        decoded.observations = kept

    @staticmethod
    def _drop_repeats(decoded: DecodedBatch, known: frozenset[bytes]) -> None:
        repeated = [one for one in decoded.observations if one.digest in known]
        decoded.observations = [one for one in decoded.observations if one.digest not in known]
        first_keys: dict[bytes, str] = {}
        # One payload gives one observation a key: those of its first key count it.
        payloads = sum(one.key == first_keys.setdefault(one.digest, one.key) for one in repeated if not one.prime)
        decoded.forwarded -= payloads
        decoded.filtered["repeated"] += payloads
