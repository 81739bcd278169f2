"""The last hour in minutes, and the last minute in seconds: events, deliveries, delays and gaps, counted by batches."""

from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from listener.errors import JournalError
from listener.model.event import Event, Gap, epoch_ms, rfc3339
from listener.ports import Journal
from listener.runtime.clock import Clock
from listener.web.summary import HourGap, LastHour, Rates

STEP_S = 60
_STEPS = 60
_RATE_S = 60
_MOST_GAPS = 100
_MOST_READ = 5000  # events of an earlier process
_HOUR_MS = STEP_S * _STEPS * 1000


class Ring:
    """A count for each of the last steps of time, and the largest of what was measured in it.

    Args:
        size: how many steps are kept.
    """

    __slots__ = ("_counts", "_largest", "_newest")

    def __init__(self, size: int) -> None:
        self._counts = [0] * size
        self._largest: list[int | None] = [None] * size
        self._newest = 0

    def add(self, step: int, count: int, largest: int | None = None) -> None:
        """Something has happened in a step; what is older than the ring is forgotten."""
        self.move_to(step)
        size = len(self._counts)
        if step <= self._newest - size:
            return
        self._counts[step % size] += count
        before = self._largest[step % size]
        if largest is not None and (before is None or largest > before):
            self._largest[step % size] = largest

    def move_to(self, step: int) -> None:
        """It is this step now, unless it was a later one already."""
        if step <= self._newest:
            return
        size = len(self._counts)
        for passed in range(max(self._newest + 1, step - size + 1), step + 1):
            self._counts[passed % size], self._largest[passed % size] = 0, None
        self._newest = step

    def counts(self) -> list[int]:
        """Oldest first."""
        begin = (self._newest + 1) % len(self._counts)
        return [*self._counts[begin:], *self._counts[:begin]]

    def largest(self) -> list[int | None]:
        """Likewise; None where nothing was measured."""
        begin = (self._newest + 1) % len(self._largest)
        return [*self._largest[begin:], *self._largest[:begin]]


class Flow:
    """Events of one sort, by the minute and by the second; those of the present second are summed up first.

    Attributes:
        minutes: of the last hour.
        seconds: of the last minute, and the present one.
    """

    __slots__ = ("_count", "_largest", "_second", "minutes", "seconds")

    def __init__(self) -> None:
        self.minutes, self.seconds = Ring(_STEPS), Ring(_RATE_S + 1)
        self._second, self._count = 0, 0
        self._largest: int | None = None

    def add(self, now_s: float, count: int, largest: int | None = None) -> None:
        """So many now."""
        if int(now_s) != self._second:
            self.move_to(now_s)
        self._count += count
        if largest is not None and (self._largest is None or largest > self._largest):
            self._largest = largest

    def move_to(self, now_s: float) -> None:
        """It is this time now: both rings say all."""
        if self._count or self._largest is not None:
            self.minutes.add(self._second // STEP_S, self._count, self._largest)
            self.seconds.add(self._second, self._count)
        self._second, self._count, self._largest = int(now_s), 0, None
        self.minutes.move_to(self._second // STEP_S)
        self.seconds.move_to(self._second)


class Hour:
    """What was recorded and delivered by this process, told by batches.

    Minutes begin where those of the wall clock did when the process began, and are as long as the monotonic clock says.

    Args:
        clock: both of its clocks are read.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_ms = self._known_ms = clock.now_ms()
        self._offset_s = self._began_ms / 1000 - clock.monotonic_s()
        self._recorded, self._delivered = Flow(), Flow()
        self._gaps: deque[tuple[float, Gap]] = deque(maxlen=_MOST_GAPS)
        self._began_s = self._now_s()

    def _now_s(self) -> float:
        """Now, by a clock that only runs forward, and showed what the wall clock did when the process began."""
        return self._clock.monotonic_s() + self._offset_s

    def recorded(self, events: Sequence[Event]) -> None:
        """These are durable."""
        now_s = self._now_s()
        self._recorded.add(now_s, len(events))
        self._note_gaps(events, now_s)

    def delivered(self, events: int, delay_s: float) -> None:
        """A sink has so many more; the oldest of them was received so long ago."""
        now_s = self._now_s()
        self._delivered.add(now_s, events, round(delay_s * 1000) if events else None)

    def _note_gaps(self, events: Iterable[Event], at_s: float | None = None) -> None:
        for event in [event for event in events if event.change is None]:
            gap = msgspec.json.decode(event.data, type=Gap)
            self._gaps.append((event.received_ms / 1000 if at_s is None else at_s, gap))

    async def recall(self, journal: Journal) -> None:
        """Take what an earlier process has recorded in this hour, as far as the newest events of the journal tell."""
        try:
            events = await journal.read(max(0, journal.last_sequence - _MOST_READ), _MOST_READ)
        except JournalError:
            return
        earlier = [event for event in events if event.received_ms < self._began_ms]
        since_ms = self._began_ms - _HOUR_MS
        is_all = events[0].sequence == 1 if events else journal.last_sequence == 0
        if events or is_all:
            self._known_ms = min(self._known_ms, since_ms if is_all else events[0].received_ms)
        counts: dict[int, int] = {}
        for event in earlier:
            step = event.received_ms // 1000 // STEP_S
            counts[step] = counts.get(step, 0) + 1
        for step, count in counts.items():
            self._recorded.minutes.add(step, count)
        later, self._gaps = self._gaps, deque(maxlen=_MOST_GAPS)
        self._note_gaps(earlier)
        self._gaps.extend(later)

    def rates(self) -> Rates:
        """Means over the last minute, or since the process began."""
        now_s = self._now_s()
        seconds = min(float(_RATE_S), max(1.0, now_s - self._began_s))

        def mean(flow: Flow) -> float:
            flow.move_to(now_s)
            ring = flow.seconds
            return round(sum(ring.counts()[:-1] if seconds == _RATE_S else ring.counts()) / seconds, 2)

        return Rates(events_per_second=mean(self._recorded), deliveries_per_second=mean(self._delivered))

    def told(self, replica: str | None = None) -> LastHour:
        """All of it."""
        now_s, now_ms = self._now_s(), self._clock.now_ms()
        step = int(now_s // STEP_S)
        for flow in (self._recorded, self._delivered):
            flow.move_to(now_s)
        first_s = (step - _STEPS + 1) * STEP_S
        shift_ms = now_ms - round(now_s * 1000)  # by how much the wall clock was set since
        known_ms = max(first_s * 1000, self._known_ms)
        unknown = max(0, int((known_ms / 1000 - first_s) // STEP_S))
        events = self._recorded.minutes.counts()
        return LastHour(
            since=rfc3339(first_s * 1000 + shift_ms),
            known_since=rfc3339(known_ms + shift_ms),
            step_seconds=STEP_S,
            events=(*[None] * unknown, *events[unknown:]),
            delay_ms=tuple(self._delivered.minutes.largest()),
            gaps=tuple(_gap(gap) for at_s, gap in reversed(self._gaps) if at_s >= first_s),
            replica=replica,
        )


def _gap(gap: Gap) -> HourGap:
    seconds = gap.seconds if gap.seconds is not None else (epoch_ms(gap.to) - epoch_ms(gap.from_)) / 1000
    return HourGap(account=gap.account, from_=gap.from_, to=gap.to, seconds=seconds, reason=gap.reason, agent=gap.agent)
