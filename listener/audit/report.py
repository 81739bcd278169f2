"""What was set when, and who was in the chat: audit files as rows or counts, with what limits the answer."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase

import msgspec

from listener.audit.events import AccountGaps, DispositionData, Event, GapData, Gaps, SeenIds, epoch_ms, event_of
from listener.audit.periods import Calendar, Unit
from listener.audit.reading import AuditFile, CutShort
from listener.model.event import Change, Kind, Origin

_AGENT = "Agent"
_GAP_HINT = b".chat.gap"
_CHATS_KNOWN = 100_000


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: rows that every given condition holds for.

    The period is in epoch milliseconds of an event's `time`, its end excluded. `agent` is a nickname, `code` a pattern
    with `*`, `?` and `[…]`, for which a cleared disposition is an empty text. With `unchanged` events count that only
    repeat the known value.
    """

    from_ms: int | None = None
    to_ms: int | None = None
    chat: str | None = None
    agent: str | None = None
    account: str | None = None
    code: str | None = None
    key: str | None = None
    unchanged: bool = False


class Row(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="row", tag="disposition", gc=False):
    """One disposition.

    Times are RFC 3339 in the zone that is asked for. `agents` were in the chat, as the event or, where it names none,
    the last one of the chat before it has them. `reference_id` is there where the account itself asked for it.
    """

    time: str
    chat_id: str
    agents: tuple[str, ...]
    account: str
    key: str
    previous: str | None
    disposition: str | None
    change: str
    origin: str
    near_gap: bool
    reference_id: int | None
    sequence: str
    id: str

    @property
    def notes(self) -> str:
        """What qualifies it, in words."""
        found = self.origin == Origin.RECONCILED
        return ", ".join(filter(None, ("found by re-reading" if found else "", "near a gap" if self.near_gap else "")))


class GapRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="row", tag="gap", gc=False):
    """One stretch in which a disposition of the account could have been missed."""

    time: str
    account: str
    from_: str = msgspec.field(name="from")
    to: str
    seconds: float
    reason: str
    closed_by: str
    sequence: str
    id: str


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="row", tag="summary"):
    """What was read and what came of it; the counts of dispositions are those of the rows.

    `first` and `last` are their times. `left_out` counts the `unchanged` ones that would be rows, `repeated` events of
    the period that came again, `others` events of unknown types by type.
    """

    files: int
    lines: int
    unreadable: int
    repeated: int
    dispositions: int
    changes: dict[str, int]
    left_out: int
    reconciled: int
    near_gap: int
    tests: int
    others: dict[str, int]
    first: str | None
    last: str | None
    gaps: list[AccountGaps]


class Faults:
    """Counts and reports the lines that cannot be read; consecutive ones in one text.

    Args:
        report: gets `FILE:LINE: what is wrong`, or `FILE:FIRST-LAST: …`.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._name, self._why = "", ""
        self._first = self._last = 0
        self.count = 0

    def add(self, name: str, number: int, why: str) -> None:
        """A line of the file `name`, counted from 1."""
        self.count += 1
        if (name, number) != (self._name, self._last + 1):
            self.end()
            self._name, self._first, self._why = name, number, why
        self._last = number

    def end(self) -> None:
        """Report what was not reported yet."""
        if self._name:
            lines = f"{self._first}" if self._first == self._last else f"{self._first}-{self._last}"
            self._report(f"{self._name}:{lines}: {self._why}")
        self._name = ""


class Report:
    """The answer to one question, from files that are given in any order.

    Reads them twice: first for the gaps, which the file tells of only after the events that they may touch.

    Args:
        files: open audit files.
        wanted: the question.
        calendar: whose hours are counted, and in whose zone times are told.
        report: gets a line of text for each place that cannot be read.

    Attributes:
        hours: how many rows there were by the start of their hour (epoch seconds), key and code.
    """

    def __init__(
        self, files: Sequence[AuditFile], *, wanted: Wanted, calendar: Calendar, report: Callable[[str], None]
    ) -> None:
        self.wanted = wanted
        self.hours: Counter[tuple[int, str, str | None]] = Counter()
        self._calendar = calendar
        self.gaps = Gaps(from_ms=wanted.from_ms, to_ms=wanted.to_ms)
        self._files = files
        self._faults = Faults(report)
        self._seen = SeenIds()
        self._agents_of: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._count: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._first_ms: int | None = None
        self._last_ms: int | None = None

    def rows(self) -> Iterator[Row | GapRow]:
        """What is asked for, the oldest file first. To be called once."""
        for file in sorted(self._files, key=self._survey):
            for event in self._events(file):
                if (row := self._row_of(event)) is not None:
                    yield row

    def summary(self) -> Summary:
        """What was read until now."""
        count = self._count
        return Summary(
            files=len(self._files),
            lines=count["lines"],
            unreadable=self._faults.count,
            repeated=count["repeated"],
            dispositions=self._changes.total(),
            changes=dict(self._changes),
            left_out=count["left out"],
            reconciled=count["reconciled"],
            near_gap=count["near gap"],
            tests=count["tests"],
            others=dict(self._others),
            first=None if self._first_ms is None else self._calendar.stamp(self._first_ms),
            last=None if self._last_ms is None else self._calendar.stamp(self._last_ms),
            gaps=self.gaps.by_account(self.wanted.account),
        )

    def _survey(self, file: AuditFile) -> tuple[bool, int]:
        """Note a file's gaps; returns what to sort it by: when its first event was, files without any last."""
        first_ms: int | None = None
        try:
            for line in file.lines():
                if first_ms is not None and _GAP_HINT not in line:
                    continue
                try:
                    event = event_of(line)
                except ValueError:
                    continue
                first_ms = event.time_ms if first_ms is None else first_ms
                if isinstance(event.data, GapData):
                    self.gaps.add(event.id, event.data)
        except CutShort:
            pass  # the second reading comes to the same place, and tells
        return first_ms is None, first_ms or 0

    def _events(self, file: AuditFile) -> Iterator[Event]:
        """Every event of a file; other lines are reported, empty ones skipped."""
        number = 0
        try:
            for number, line in enumerate(file.lines(), start=1):
                try:
                    yield event_of(line)
                except ValueError as exc:
                    if line.strip():
                        self._faults.add(file.name, number, f"not an event of the file sink ({exc})")
        except CutShort as exc:
            self._faults.add(file.name, number + 1, str(exc))
        self._faults.end()
        self._count["lines"] += number

    def _row_of(self, event: Event) -> Row | GapRow | None:
        match event.data:
            case DispositionData():
                agents = self._agents(event, event.data)
                return self._disposition(event, event.data, agents) if self._is_in_period(event.time_ms) else None
            case GapData():
                return self._gap(event, event.data)
            case None if self._is_in_period(event.time_ms) and self._is_first(event):
                if event.kind == Kind.TEST:
                    self._count["tests"] += 1
                else:
                    self._others[event.type] += 1
        return None

    def _agents(self, event: Event, data: DispositionData) -> tuple[str, ...]:
        """Who is in the chat. The last notification of a chat comes when all have left: then those who were in it."""
        chat, known = data.chat_id or event.subject, self._agents_of
        agents = tuple([one.nickname for one in data.participants if one.type == _AGENT and one.nickname is not None])
        if not agents:
            return known.get(chat, ())
        known[chat] = agents
        known.move_to_end(chat)
        if len(known) > _CHATS_KNOWN:
            known.popitem(last=False)
        return agents

    def _disposition(self, event: Event, data: DispositionData, agents: tuple[str, ...]) -> Row | None:
        if not self._is_wanted(event, data, agents) or not self._is_first(event):
            return None
        if data.change == Change.UNCHANGED and not self.wanted.unchanged:
            self._count["left out"] += 1
            return None
        row = Row(
            time=self._calendar.stamp(event.time_ms),
            chat_id=data.chat_id or event.subject,
            agents=agents,
            account=data.account,
            key=data.key,
            previous=data.previous,
            disposition=data.disposition,
            change=data.change,
            origin=data.origin,
            near_gap=self.gaps.is_near(data.account, event.time_ms),
            reference_id=data.reference_id,
            sequence=event.sequence,
            id=event.id,
        )
        self._note(row, event.time_ms)
        return row

    def _note(self, row: Row, time_ms: int) -> None:
        self.hours[self._calendar.hour_of(time_ms), row.key, row.disposition] += 1
        self._changes[row.change] += 1
        self._count["reconciled"] += row.origin == Origin.RECONCILED
        self._count["near gap"] += row.near_gap
        self._first_ms = time_ms if self._first_ms is None else min(self._first_ms, time_ms)
        self._last_ms = time_ms if self._last_ms is None else max(self._last_ms, time_ms)

    def _gap(self, event: Event, data: GapData) -> GapRow | None:
        stretch = data.stretch
        if self.wanted.account not in (None, data.account) or not self.gaps.is_in_period(stretch):
            return None
        if not self._is_first(event):
            return None
        return GapRow(
            time=self._calendar.stamp(event.time_ms),
            account=data.account,
            from_=self._calendar.stamp(stretch.start_ms),
            to=self._calendar.stamp(stretch.end_ms),
            seconds=(stretch.end_ms - stretch.start_ms) / 1000,
            reason=data.reason,
            closed_by=data.closed_by,
            sequence=event.sequence,
            id=event.id,
        )

    def _is_in_period(self, time_ms: int) -> bool:
        wanted = self.wanted
        too_early = wanted.from_ms is not None and time_ms < wanted.from_ms
        return not (too_early or (wanted.to_ms is not None and time_ms >= wanted.to_ms))

    def _is_wanted(self, event: Event, data: DispositionData, agents: tuple[str, ...]) -> bool:
        wanted = self.wanted
        return (
            wanted.chat in (None, data.chat_id or event.subject)
            and wanted.account in (None, data.account)
            and wanted.key in (None, data.key)
            and (wanted.agent is None or wanted.agent in agents)
            and (wanted.code is None or fnmatchcase(data.disposition or "", wanted.code))
        )

    def _is_first(self, event: Event) -> bool:
        first = self._seen.add(event.id)
        self._count["repeated"] += not first
        return first


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
