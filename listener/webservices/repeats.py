"""What a session received recently: recognises repeated notifications and seen chats."""

import math
from collections import deque
from collections.abc import Iterable
from itertools import islice

from listener.webservices.notifications import DecodedBatch

MOST_CHATS = 1000
_VALUES = 16  # of a key
_REMEMBERED = 128  # notifications; or those of the last two answers, where those are more, and
_MOST_REMEMBERED = 10_000


class _Seen:
    """What a session was told of one chat.

    `first_s` is when anything was told first, `at_s` when something else than a disposition was told last. `told` has
    the last values of each key: a hash, since values may be long, until when it was the last one, and whether it only
    came along. `has_ended` is so while the account is out of it.
    """

    __slots__ = ("at_s", "first_s", "has_ended", "told")

    def __init__(self, first_s: float) -> None:
        self.first_s = first_s
        self.has_ended = False
        self.at_s = -math.inf
        self.told: dict[str, deque[tuple[int, float, bool]]] = {}

    def tell(self, key: str, value: str | None, at_s: float, *, along: bool) -> None:
        recent = self.told.get(key)
        if recent is None:
            recent = self.told[key] = deque(maxlen=_VALUES)
        kept = 1 + along  # of what came along the first time counts as well as the last
        if [(one[0], one[2]) for one in islice(reversed(recent), kept)] == [(hash(value), along)] * kept:
            recent.pop()
        recent.append((hash(value), at_s, along))


class SeenChats:
    """What a session was told of which chats: bounded, the least recently seen one is removed first.

    Times are seconds of any clock that runs forward.
    """

    __slots__ = ("_chats",)

    most_chats = MOST_CHATS

    def __init__(self) -> None:
        self._chats: dict[str, _Seen] = {}

    def __contains__(self, chat_id: str) -> bool:
        return chat_id in self._chats

    def by(self, chat_id: str, at_s: float) -> bool:
        """Whether it was heard of by this time, or has come with more than dispositions since."""
        seen = self._chats.get(chat_id)
        return seen is not None and (seen.first_s <= at_s or seen.at_s > -math.inf)

    def since(self, chat_id: str, since_s: float) -> bool:
        """Whether something else than a disposition was told of it at this time or later."""
        seen = self._chats.get(chat_id)
        return seen is not None and seen.at_s >= since_s

    def told(self, chat_id: str, key: str, since_s: float, until_s: float) -> dict[int, float]:
        """The values that were told since then, as hashes, and when; along with something else only until `until_s`."""
        seen = self._chats.get(chat_id)
        recent = () if seen is None else seen.told.get(key, ())
        return {value: at_s for value, at_s, along in recent if at_s >= since_s and (at_s <= until_s or not along)}

    def has_forgotten(self, chat_id: str, key: str, since_s: float) -> bool:
        """Whether so many values were told since then that the first of them are not known any more."""
        seen = self._chats.get(chat_id)
        recent = None if seen is None else seen.told.get(key)
        return recent is not None and len(recent) == _VALUES and recent[0][1] > since_s

    def add(self, decoded: DecodedBatch, at_s: float) -> None:
        """What a batch tells, in the order in which it came at this time."""
        for chat_id in decoded.chats:
            seen = self._chats.pop(chat_id, None) or _Seen(at_s)
            has_ended = chat_id in decoded.ended
            if seen.has_ended and not has_ended:
                seen.told.clear()  # what was set until it is back was not told
            seen.at_s, seen.has_ended = at_s, has_ended
            self._chats[chat_id] = seen
        for (chat_id, key), value in decoded.told.items():
            self._chats[chat_id].tell(key, value, at_s, along=True)
        for one in decoded.observations:
            if not one.prime:
                seen = self._chats.get(one.chat_id) or self._chats.setdefault(one.chat_id, _Seen(at_s))
                seen.tell(one.key, one.value, at_s, along=False)
        while len(self._chats) > self.most_chats:
            del self._chats[next(iter(self._chats))]

    def clear(self) -> None:
        """A new session begins."""
        self._chats.clear()


class Repeats:
    """The notifications that one account received recently.

    Only what carries the server's time can be recognised: two of these that are alike exactly, the millisecond of
    their making included, are one. Of others nobody can tell whether they are two; they are kept.

    Args:
        known: digests of what an earlier process took, oldest first.
    """

    __slots__ = ("_before", "_now", "_recent")

    def __init__(self, known: Iterable[bytes] = ()) -> None:
        self._recent = dict.fromkeys(known)
        self._before = self._now = 0

    @property
    def known(self) -> tuple[bytes, ...]:
        """The digests of these, oldest first."""
        return tuple(self._recent)

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
            for digest in list(islice(self._recent, excess)):
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
