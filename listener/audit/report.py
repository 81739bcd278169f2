"""What was set when, and who was in the chat: audit files as rows, with what limits the answer."""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from listener.audit.events import (
    AccountGaps,
    DispositionData,
    Event,
    GapData,
    Gaps,
    SeenIds,
    Stretch,
    event_of,
    glance,
)
from listener.audit.periods import Calendar
from listener.audit.reading import AuditFile, CutShort
from listener.audit.verdict import Proof, Verdict
from listener.model.event import Change, Kind, Origin

_AGENT = "Agent"
_GAP_HINT = b".chat.gap"
_CHATS_KNOWN = 100_000
_UNPROVEN = {Proof.SIGNED: "", Proof.CHAINED: "not signed", Proof.NONE: "not proven"}


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
    the last one of the chat before it has them. `reference_id` is there where the account itself asked for it. `proof`
    is what stands for its line: `signed`, `chained` or `none`.
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
    proof: Proof
    near_gap: bool
    reference_id: int | None
    sequence: str
    id: str

    @property
    def notes(self) -> str:
        """What qualifies it, in words."""
        found = "found by re-reading" if self.origin == Origin.RECONCILED else ""
        return ", ".join(filter(None, (_UNPROVEN[self.proof], found, "near a gap" if self.near_gap else "")))


class GapRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="row", tag="gap", gc=False):
    """One stretch in which a disposition of the account could have been missed."""

    time: str
    account: str
    from_: str = msgspec.field(name="from")
    to: str
    seconds: float
    reason: str
    closed_by: str
    proof: Proof
    sequence: str
    id: str

    @property
    def notes(self) -> str:
        """What qualifies it, in words."""
        return _UNPROVEN[self.proof]


class Known(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """For how long the files know of an account: from its first event to its last one, apart from its gaps.

    A session that listens and hears nothing leaves no event, and neither does one that is deaf until it ends: what is
    before or behind is not known. Gaps and their seconds are those in the period that is asked for.
    """

    account: str
    first: str
    last: str
    gaps: int
    seconds: float


class Coverage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="row", tag="coverage"):
    """Of which accounts and times the files can tell, before what they tell.

    Attributes:
        from_: the start of the period that is asked for; None if it is open.
        to: its end.
        accounts: what is known of each account; none of them where nothing is.
        whole: whether every account is known from the start of the period to its end; an open end is where the first
            account begins to be known, or the last one ceases to be.
    """

    from_: str | None = msgspec.field(name="from")
    to: str | None
    accounts: list[Known]
    whole: bool


class Summary(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag_field="row", tag="summary"):
    """What was read and what came of it; the counts of dispositions are those of the rows.

    `first` and `last` are their times. `unproven` counts those that no key has signed, `left_out` the `unchanged` ones
    that would be rows, `repeated` events of the period that came again, `others` events of unknown types by type.
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
    unproven: int
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

    Reads them twice: first for what they cover and for the gaps, of which they tell only after what a gap may touch.

    Args:
        files: open audit files.
        wanted: the question.
        calendar: whose hours are counted, and in whose zone times are told.
        report: gets a line of text for each place that cannot be read.
        verdict: on the trail, from these very files; None if there is none, and then nothing is proven.

    Attributes:
        hours: how many rows there were by the start of their hour (epoch seconds), key and code.
    """

    def __init__(
        self,
        files: Sequence[AuditFile],
        *,
        wanted: Wanted,
        calendar: Calendar,
        report: Callable[[str], None],
        verdict: Verdict | None = None,
    ) -> None:
        self.wanted = wanted
        self.hours: Counter[tuple[int, str, str | None]] = Counter()
        self._calendar = calendar
        self.gaps = Gaps(from_ms=wanted.from_ms, to_ms=wanted.to_ms)
        self._files = files
        self._verdict = verdict or Verdict()
        self._ordered: list[AuditFile] = []
        self._coverage: Coverage | None = None
        self._known: dict[str, Stretch] = {}
        self._faults = Faults(report)
        self._seen = SeenIds()
        self._agents_of: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._count: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._first_ms: int | None = None
        self._last_ms: int | None = None

    def coverage(self) -> Coverage:
        """Of what the files can tell; reads them at the first call."""
        if self._coverage is None:
            self._coverage = self._survey()
        return self._coverage

    def _survey(self) -> Coverage:
        self._ordered = sorted(self._files, key=self._survey_one)
        wanted, stamp = self.wanted, self._calendar.stamp
        known = {name: one for name, one in sorted(self._known.items()) if wanted.account in (None, name)}
        within = {name: one for name, one in known.items() if self.gaps.is_in_period(one)}
        from_ms = min((one.start_ms for one in known.values()), default=0) if wanted.from_ms is None else wanted.from_ms
        to_ms = max((one.end_ms for one in known.values()), default=0) if wanted.to_ms is None else wanted.to_ms
        return Coverage(
            from_=None if wanted.from_ms is None else stamp(wanted.from_ms),
            to=None if wanted.to_ms is None else stamp(wanted.to_ms),
            accounts=[self._of(name, one) for name, one in within.items()],
            whole=bool(within) and all(one.start_ms <= from_ms and one.end_ms >= to_ms for one in known.values()),
        )

    def _of(self, account: str, known: Stretch) -> Known:
        gaps, stamp = self.gaps.of(account), self._calendar.stamp
        first, last = stamp(known.start_ms), stamp(known.end_ms)
        return Known(account=account, first=first, last=last, gaps=gaps.gaps, seconds=gaps.seconds)

    def rows(self) -> Iterator[Row | GapRow]:
        """What is asked for, the oldest file first. To be called once."""
        self.coverage()
        for file in self._ordered:
            for event, proof in self._events(file):
                if (row := self._row_of(event, proof)) is not None:
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
            unproven=count["unproven"],
            tests=count["tests"],
            others=dict(self._others),
            first=None if self._first_ms is None else self._calendar.stamp(self._first_ms),
            last=None if self._last_ms is None else self._calendar.stamp(self._last_ms),
            gaps=self.gaps.by_account(self.wanted.account),
        )

    def _survey_one(self, file: AuditFile) -> tuple[bool, int]:
        """Note what a file knows; returns what to sort it by: when its first event was, files without any last."""
        first_ms: int | None = None
        try:
            for line, proof in self._lines(file):
                try:
                    time_ms, account = glance(line)
                    gap = event_of(line) if _GAP_HINT in line else None
                except ValueError:
                    continue
                first_ms = time_ms if first_ms is None else first_ms
                if gap is not None and isinstance(gap.data, GapData):
                    self.gaps.add(gap.id, gap.data)
                    time_ms = min(time_ms, gap.data.stretch.start_ms)
                if account and (proof is not Proof.NONE or not self._verdict.records):
                    self._know(account, time_ms, gap.time_ms if gap is not None else time_ms)
        except CutShort:
            pass  # the second reading comes to the same place, and tells
        return first_ms is None, first_ms or 0

    def _know(self, account: str, first_ms: int, last_ms: int) -> None:
        known = self._known.get(account)
        if known is None:
            self._known[account] = Stretch(first_ms, last_ms)
        elif first_ms < known.start_ms or last_ms > known.end_ms:
            self._known[account] = Stretch(min(first_ms, known.start_ms), max(last_ms, known.end_ms))

    def _lines(self, file: AuditFile) -> Iterator[tuple[bytes, Proof]]:
        """Every line of a file, and what stands for it. Raises CutShort."""
        stretches = iter([(last, one.proof) for last, one in self._verdict.stretches_of(Path(file.name))])
        last, proof = next(stretches, (None, Proof.NONE))
        for number, line in enumerate(file.lines(), start=1):
            while last is not None and number > last:
                last, proof = next(stretches, (None, Proof.NONE))
            yield line, proof

    def _events(self, file: AuditFile) -> Iterator[tuple[Event, Proof]]:
        """Every event of a file and what stands for it; other lines are reported, empty ones skipped."""
        number = 0
        try:
            for number, (line, proof) in enumerate(self._lines(file), start=1):
                try:
                    yield event_of(line), proof
                except ValueError as exc:
                    if line.strip():
                        self._faults.add(file.name, number, f"not an event of the file sink ({exc})")
        except CutShort as exc:
            self._faults.add(file.name, number + 1, str(exc))
        self._faults.end()
        self._count["lines"] += number

    def _row_of(self, event: Event, proof: Proof) -> Row | GapRow | None:
        match event.data:
            case DispositionData():
                agents = self._agents(event, event.data)
                if self._is_in_period(event.time_ms):
                    return self._disposition(event, event.data, agents, proof)
            case GapData():
                return self._gap(event, event.data, proof)
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

    def _disposition(self, event: Event, data: DispositionData, agents: tuple[str, ...], proof: Proof) -> Row | None:
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
            proof=proof,
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
        self._count["unproven"] += row.proof != Proof.SIGNED
        self._first_ms = time_ms if self._first_ms is None else min(self._first_ms, time_ms)
        self._last_ms = time_ms if self._last_ms is None else max(self._last_ms, time_ms)

    def _gap(self, event: Event, data: GapData, proof: Proof) -> GapRow | None:
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
            seconds=data.seconds,
            reason=data.reason,
            closed_by=data.closed_by,
            proof=proof,
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
