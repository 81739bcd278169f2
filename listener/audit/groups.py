"""What a report tells, counted by chat, agent, code, day or hour."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain, repeat

import msgspec

from listener.audit.events import epoch_ms, minutes_of
from listener.audit.periods import Calendar, Unit


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
    """How many there are, and the first and the last time, of UTC as it is written."""

    number: int
    first: str
    last: str


_Group = str | int | None
_Place = tuple[_Group, str, str | None]


class Groups:
    """Counts dispositions. One with several agents counts for each of them.

    Args:
        by: what makes a group.
        calendar: whose days and hours are meant.
        agent: the one agent that is asked for, so that the others in the chats make no groups.
    """

    def __init__(self, *, by: By, calendar: Calendar, agent: str | None = None) -> None:
        self._by, self._calendar, self._agent = by, calendar, agent
        self._counts: dict[tuple[_Group | tuple[str, ...], str, str | None, str], _Count] = {}

    def anew(self) -> "Groups":
        """One that counts the same, and has counted nothing."""
        return Groups(by=self._by, calendar=self._calendar, agent=self._agent)

    def add(
        self,
        times: Sequence[str],
        chat_ids: Sequence[str],
        agents: Sequence[tuple[str, ...]],
        keys: Sequence[str],
        codes: Sequence[str | None],
        changes: Sequence[str],
    ) -> None:
        """Count dispositions, given as columns; times are of UTC, as they are written."""
        groups: Iterable[_Group | tuple[str, ...]] = repeat(None)
        match self._by:
            case By.CHAT:
                groups = chat_ids
            case By.AGENT:
                groups = agents if self._agent is None else repeat((self._agent,))
            case By.DAY | By.HOUR:
                groups = map(self._calendar.hour_of, minutes_of(times))
        for place, time in zip(zip(groups, keys, codes, changes, strict=False), times, strict=True):
            count = self._counts.get(place)
            if count is None:
                self._counts[place] = _Count(1, time, time)
            else:
                count.number += 1
                if time > count.last:
                    count.last = time
                elif time < count.first:
                    count.first = time

    def rows(self) -> Iterator[GroupRow]:
        """Days and hours in their order, other groups by their size; the codes of each by theirs."""
        found: dict[_Place, dict[str, list[_Count]]] = {}
        sizes: Counter[_Group] = Counter()
        for (groups, key, code, change), count in self._counts.items():
            for group in self._groups_in(groups):
                sizes[group] += count.number
                found.setdefault((group, key, code), {}).setdefault(change, []).append(count)
        rows = {place: self._row(*place, counts) for place, counts in found.items()}
        in_time = self._by in (By.DAY, By.HOUR)

        def order(place: _Place) -> tuple[float, str, int, str, str]:
            group, key, code = place
            rank = float(group) if in_time and isinstance(group, int) else -sizes[group]
            return rank, str(group or ""), -rows[place].events, key, code or ""

        yield from map(rows.__getitem__, sorted(rows, key=order))

    def _row(self, group: _Group, key: str, code: str | None, changes: Mapping[str, Sequence[_Count]]) -> GroupRow:
        every = list(chain.from_iterable(changes.values()))
        return GroupRow(
            by=self._by,
            group=self._calendar.label(Unit(self._by), group) if isinstance(group, int) else group,
            key=key,
            code=code,
            events=sum(one.number for one in every),
            changes={change: sum(one.number for one in counts) for change, counts in changes.items()},
            first=self._calendar.stamp(epoch_ms(min(one.first for one in every))),
            last=self._calendar.stamp(epoch_ms(max(one.last for one in every))),
        )

    def _groups_in(self, group: _Group | tuple[str, ...]) -> Sequence[_Group]:
        """What it counts for: each agent, or the day of an hour."""
        if isinstance(group, tuple):
            return tuple(dict.fromkeys(group)) or (None,)
        return (self._calendar.start_of(Unit.DAY, group) if self._by is By.DAY and isinstance(group, int) else group,)
