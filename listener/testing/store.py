"""What the journals in memory keep, without a word about who may write it."""

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from itertools import islice, pairwise

from msgspec.structs import replace

from listener.errors import JournalFull
from listener.model.event import (
    EVERY_DEAD_LETTER,
    Damage,
    DeadLetter,
    DeadLetterFilter,
    Event,
    JournalBatch,
    JournalStats,
    LaneState,
    LastValue,
    SessionState,
)
from listener.model.filter import (
    EVERY_EVENT,
    MOST_COUNTED,
    MOST_GROUPS,
    DeadLetterGroup,
    DeadLetterPage,
    EventFilter,
    Found,
    Undelivered,
)
from listener.model.holes import Holes, all_holes

_ROWS_A_LOOK = 5_000


class MemoryStore:
    """Events, last values, sessions, cursors and dead letters; each call is done at once and whole.

    Args:
        max_bytes: how much the events' data may take: then batches with events raise JournalFull.

    Attributes:
        last_sequence: of the newest event ever stored.
        sessions: by account.
        cursors: by sink.
        lanes: what the lanes stored last, by sink.
    """

    def __init__(self, *, max_bytes: int | None = None) -> None:
        self._max_bytes = max_bytes
        self.last_sequence = 0
        self._events: list[Event] = []
        self._used_bytes = 0
        self._values: dict[str, dict[str, LastValue]] = {}
        self.sessions: dict[str, SessionState] = {}
        self.cursors: dict[str, int] = {}
        self._dead: dict[tuple[str, int], DeadLetter] = {}
        self._copies: dict[int, Event] = {}
        self.lanes: dict[str, LaneState] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes of the events' data."""
        return self._used_bytes

    def require_room(self, batch: JournalBatch) -> None:
        """Raise JournalFull if there is none for the events of a batch."""
        if batch.events and self._max_bytes is not None and self._used_bytes >= self._max_bytes:
            raise JournalFull("journal: the limit of its size is reached")

    def add(self, batch: JournalBatch) -> int:
        """Store the batch; returns the sequence of its last event, or of the one before it."""
        for event in batch.events:
            self.last_sequence += 1
            self._events.append(replace(event, sequence=self.last_sequence))
            self._used_bytes += len(event.data)
        for value in batch.values:
            self._values.setdefault(value.chat_id, {})[value.key] = value
        self.sessions.update({session.account: session for session in batch.sessions})
        return self.last_sequence

    def has_values(self, chat_id: str) -> bool:
        """Whether there is a last value of a chat."""
        return chat_id in self._values

    def read(self, after: int, limit: int) -> Sequence[Event]:
        """At most `limit` events above `after`, oldest first."""
        start = max(0, after + 1 - self._events[0].sequence) if self._events else 0
        return self._events[start : start + limit]

    def search(self, which: EventFilter = EVERY_EVENT, *, before: int | None = None, limit: int) -> Found:
        """The newest events that are meant; see `ports.Journal`."""
        older = [event for event in self._events if before is None or event.sequence < before]
        looked_at, is_meant = older[: -_ROWS_A_LOOK - 1 : -1], which.condition()
        events = tuple(islice(filter(is_meant, looked_at), limit))
        if not looked_at:
            return Found(events=(), before=None, through_ms=None)
        oldest = events[-1] if len(events) == limit else looked_at[-1]
        more = oldest.sequence > older[0].sequence
        return Found(events=events, before=oldest.sequence if more else None, through_ms=oldest.received_ms)

    def advance(self, sink: str, sequence: int, dead: Sequence[DeadLetter] = ()) -> None:
        """Move a cursor forward and store dead letters."""
        self.cursors[sink] = max(sequence, self.cursors.get(sink, sequence))
        self._dead.update({(letter.sink, letter.sequence): letter for letter in dead})
        wanted = {letter.sequence for letter in dead}
        if wanted:
            self._copies.update({event.sequence: event for event in self._events if event.sequence in wanted})

    def last_values(self, chat_ids: Collection[str]) -> list[LastValue]:
        """Every last value of these chats."""
        return [value for chat_id in dict.fromkeys(chat_ids) for value in self._values.get(chat_id, {}).values()]

    def sessions_of(self, accounts: Collection[str] | None) -> dict[str, SessionState]:
        """The sessions of these accounts, or of all."""
        return {name: one for name, one in self.sessions.items() if accounts is None or name in accounts}

    def dead_letters(self, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetter]:
        """The dead letters that are meant, oldest first."""
        found = [letter for letter in self._dead.values() if _is_meant(letter, which)]
        return sorted(found, key=lambda letter: (letter.at_ms, letter.sequence, letter.sink))

    def dead_letter_page(self, *, after: int = 0, limit: int, sink: str | None = None) -> DeadLetterPage:
        """Dead letters in journal order; see `ports.Journal`."""
        found = self.dead_letters(DeadLetterFilter(sink=sink, after=after))
        found.sort(key=lambda letter: (letter.sequence, letter.sink))
        last = found[:limit][-1].sequence if found else 0
        page = [letter for letter in found if letter.sequence <= last]
        undelivered = (Undelivered(letter=one, event=self._copies.get(one.sequence)) for one in page)
        return DeadLetterPage(letters=tuple(undelivered), more=len(found) > len(page))

    def dead_letter_groups(self, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetterGroup]:
        """By sink and reason; see `ports.Journal`."""
        found: dict[tuple[str, str], DeadLetterGroup] = {}
        newest = sorted(self.dead_letters(which), key=lambda letter: letter.sequence)[-MOST_COUNTED:]
        for one in newest:
            group = DeadLetterGroup(
                sink=one.sink,
                reason=one.reason,
                count=1,
                first_sequence=one.sequence,
                last_sequence=one.sequence,
                first_ms=one.at_ms,
                last_ms=one.at_ms,
                replaying=int(one.replaying),
            )
            key = one.sink, one.reason
            found[key] = found[key].plus(group, one.reason) if key in found else group
        return sorted(found.values(), key=lambda group: (-group.count, group.sink, group.reason))[:MOST_GROUPS]

    def replay_dead_letters(self, which: DeadLetterFilter) -> list[DeadLetter]:
        """Mark the letters that are meant and have a copy of their event; returns them."""
        meant = [letter for letter in self.dead_letters(which) if letter.sequence in self._copies]
        self._dead.update({(one.sink, one.sequence): replace(one, replaying=True) for one in meant})
        return meant

    def drop_dead_letters(self, which: DeadLetterFilter) -> int:
        """Delete the letters that are meant; returns how many."""
        meant = self.dead_letters(which)
        for letter in meant:
            del self._dead[letter.sink, letter.sequence]
        return len(meant)

    def replays(self, sink: str, limit: int) -> list[Event]:
        """The events that are marked for replay."""
        marked = [one for one in self.dead_letters(DeadLetterFilter(sink=sink)) if one.replaying]
        return [self._copies[sequence] for sequence in sorted(one.sequence for one in marked)[:limit]]

    def settle_replays(self, sink: str, delivered: Collection[int], dead: Sequence[DeadLetter] = ()) -> None:
        """Delete the delivered, keep the others with their news."""
        for sequence in delivered:
            self._dead.pop((sink, sequence), None)
        known = [letter for letter in dead if (letter.sink, letter.sequence) in self._dead]
        self._dead.update({(one.sink, one.sequence): replace(one, replaying=False) for one in known})

    def retain(self, *, before_ms: int, keep_for: Collection[str], max_bytes: int | None = None) -> int:
        """Delete old events and values; see `ports.Journal`."""
        floor = min([self.last_sequence, *(self.cursors.get(sink, 0) for sink in keep_for)])
        deleted = self._delete(floor, lambda: self._events[0].received_ms < before_ms)
        if max_bytes is not None and self._used_bytes > max_bytes:
            deleted += self._delete(floor, lambda: self._used_bytes > max_bytes * 9 // 10)
        self._values = {
            chat_id: values
            for chat_id, values in self._values.items()
            if any(value.received_ms >= before_ms for value in values.values())
        }
        return deleted

    def _delete(self, floor: int, goes: Callable[[], bool]) -> int:
        deleted = 0
        while self._events and self._events[0].sequence <= floor and goes():
            self._used_bytes -= len(self._events.pop(0).data)
            deleted += 1
        return deleted

    def events_between(self, after: int, through: int) -> int:
        """How many events there are above `after`, up to `through`."""
        first, end = (bisect_right(self._events, at, key=lambda event: event.sequence) for at in (after, through))
        return max(0, end - first)

    def _holes(self) -> Holes:
        used = [event.sequence for event in self._events] + [self.last_sequence + 1]
        known = [(one + 1, following - 1) for one, following in pairwise(used) if following > one + 1]
        return all_holes(self._events[0].sequence if self._events else None, self.last_sequence, known)

    def stats(self, damages: Sequence[Damage] = ()) -> JournalStats:
        """Figures; `bytes` counts the events' data."""
        oldest = self._events[0] if self._events else None
        sinks = [letter.sink for letter in self._dead.values()]
        return JournalStats(
            first_sequence=oldest.sequence if oldest else 0,
            last_sequence=self.last_sequence,
            events=len(self._events),
            bytes=self._used_bytes,
            cursors=dict(self.cursors),
            dead_letters={sink: sinks.count(sink) for sink in sinks},
            oldest_ms=oldest.received_ms if oldest else None,
            lanes=dict(self.lanes),
            damages=tuple(damages),
            holes=self._holes(),
        )


def _is_meant(letter: DeadLetter, which: DeadLetterFilter) -> bool:
    return (
        which.sink in (None, letter.sink)
        and (not which.event_ids or letter.event_id in which.event_ids)
        and (which.since_ms is None or letter.at_ms >= which.since_ms)
        and (which.until_ms is None or letter.at_ms <= which.until_ms)
        and letter.sequence > which.after
    )
