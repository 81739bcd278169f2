"""The rows of a report, counted by chat, agent, code, day or hour."""

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum

import msgspec

from listener.audit.events import epoch_ms
from listener.audit.periods import Calendar, Unit
from listener.audit.rows import Row


class By(StrEnum):
    """What rows are counted by."""

    CHAT = "chat"
    AGENT = "agent"
    CODE = "code"
    DAY = "day"
    HOUR = "hour"


class GroupRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="row", tag="group", gc=False):
    """One code in one group, between its first and its last time. `group` is None for a code, which is its own."""

    by: By
    group: str | None
    key: str
    code: str | None
    events: int
    changes: dict[str, int]
    first: str
    last: str


class _Count(msgspec.Struct, gc=False):
    """What is kept of the rows of one code in one group."""

    first_ms: int
    last_ms: int
    changes: dict[str, int]
    events: int = 0

    def add(self, change: str, time_ms: int) -> None:
        self.events += 1
        self.changes[change] = self.changes.get(change, 0) + 1
        self.first_ms = min(self.first_ms, time_ms)
        self.last_ms = max(self.last_ms, time_ms)


_Group = str | int | None


class Groups:
    """Counts rows. A row with several agents counts for each of them.

    Args:
        by: what makes a group.
        calendar: whose days and hours are meant.
        agent: the one agent that is asked for, so that the others in the chats make no groups.
    """

    def __init__(self, *, by: By, calendar: Calendar, agent: str | None = None) -> None:
        self._by, self._calendar, self._agent = by, calendar, agent
        self._counts: dict[tuple[_Group, str, str | None], _Count] = {}

    def add(self, row: Row) -> None:
        """Count a row."""
        time_ms = epoch_ms(row.time)
        for group in self._groups_of(row, time_ms):
            place = group, row.key, row.disposition
            count = self._counts.get(place)
            if count is None:
                count = self._counts[place] = _Count(time_ms, time_ms, {})
            count.add(row.change, time_ms)

    def rows(self) -> Iterator[GroupRow]:
        """Days and hours in their order, other groups by their size; the codes of each by theirs."""
        sizes: Counter[_Group] = Counter()
        for (group, _, _), count in self._counts.items():
            sizes[group] += count.events
        in_time = self._by in (By.DAY, By.HOUR)

        def order(place: tuple[_Group, str, str | None]) -> tuple[float, str, int, str, str]:
            group, key, code = place
            rank = float(group) if in_time and isinstance(group, int) else -sizes[group]
            return rank, str(group or ""), -self._counts[place].events, key, code or ""

        for place in sorted(self._counts, key=order):
            yield self._row(place)

    def _row(self, place: tuple[_Group, str, str | None]) -> GroupRow:
        group, key, code = place
        count = self._counts[place]
        return GroupRow(
            by=self._by,
            group=self._calendar.label(Unit(self._by), group) if isinstance(group, int) else group,
            key=key,
            code=code,
            events=count.events,
            changes=count.changes,
            first=self._calendar.stamp(count.first_ms),
            last=self._calendar.stamp(count.last_ms),
        )

    def _groups_of(self, row: Row, time_ms: int) -> tuple[_Group, ...]:
        match self._by:
            case By.CHAT:
                return (row.chat_id,)
            case By.AGENT:
                return ((self._agent,) if self._agent is not None else tuple(dict.fromkeys(row.agents))) or (None,)
            case By.CODE:
                return (None,)
        hour_s = self._calendar.hour_of(time_ms)
        return (hour_s if self._by is By.HOUR else self._calendar.start_of(Unit.DAY, hour_s),)
