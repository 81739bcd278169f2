"""What was set when, and who was in the chat: audit files as rows, with what limits the answer."""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import msgspec

from listener.audit.events import AccountGaps, DispositionData, Event, GapData, Stretch, event_of
from listener.audit.periods import QUARTER_MS, Calendar
from listener.audit.reading import AuditFile, CutShort
from listener.audit.survey import Survey, pieces
from listener.audit.verdict import Proof, Verdict
from listener.model.event import Change, Kind, Origin
from listener.model.media import CHAT

_AGENT = "Agent"
_UNCHANGED = Change.UNCHANGED.value
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


class Row(msgspec.Struct, frozen=True, rename="camel", tag_field="row", tag="disposition", gc=False):
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

    Reads them when a survey has seen them: of a gap they tell only after what it may touch. Memory is for the ids of
    all that is asked for, some 150 bytes each, and for the agents of the last 100,000 chats.

    Args:
        files: open audit files.
        wanted: the question.
        calendar: whose hours are counted, and in whose zone times are told.
        report: gets a line of text for each place that cannot be read.
        verdict: on the trail, from these very files; None if there is none, and then nothing is proven.
        survey: of these files, as far as they were verified.
    """

    def __init__(
        self,
        files: Sequence[AuditFile],
        *,
        wanted: Wanted,
        calendar: Calendar,
        report: Callable[[str], None],
        verdict: Verdict | None = None,
        survey: Survey | None = None,
    ) -> None:
        self.wanted = wanted
        self._calendar = calendar
        self._survey = survey or Survey(files, from_ms=wanted.from_ms, to_ms=wanted.to_ms)
        self.gaps = self._survey.gaps
        self._files = files
        self._verdict = verdict or Verdict()
        self._ordered: list[AuditFile] = []
        self._coverage: Coverage | None = None
        self._faults = Faults(report)
        self._seen: set[str] = set()
        self._agents_of: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._count: Counter[str] = Counter()
        self._every = wanted == Wanted(unchanged=wanted.unchanged)
        self._tally: Counter[tuple[int, str, str | None, str, str, Proof, bool]] = Counter()
        self._others: Counter[str] = Counter()
        self._first_ms, self._last_ms = math.inf, -math.inf

    def coverage(self) -> Coverage:
        """Of what the files can tell; reads at the first call those that the survey has not seen."""
        if self._coverage is None:
            self._ordered, known = self._survey.ended(self._verdict)
            self._coverage = self._covered(known)
        return self._coverage

    def _covered(self, every: Mapping[str, Stretch]) -> Coverage:
        wanted, stamp = self.wanted, self._calendar.stamp
        known = {name: one for name, one in sorted(every.items()) if wanted.account in (None, name)}
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

    def rows(self) -> Iterator[Sequence[Row | GapRow]]:
        """What is asked for, the oldest file first, some hundred rows at a time. To be called once."""
        self.coverage()
        for file in self._ordered:
            yield from self._rows_of(file)

    @property
    def hours(self) -> Counter[tuple[int, str, str | None]]:
        """How many rows there were by the start of their hour (epoch seconds), key and code."""
        found: Counter[tuple[int, str, str | None]] = Counter()
        for (quarter, key, code, *_), count in self._tally.items():
            found[self._calendar.hour_of(quarter * QUARTER_MS), key, code] += count
        return found

    def summary(self) -> Summary:
        """What was read until now."""
        count, changes, rows = self._count, Counter[str](), self._tally.items()
        for (_, _, _, change, *_), number in rows:
            changes[change] += number
        return Summary(
            files=len(self._files),
            lines=count["lines"],
            unreadable=self._faults.count,
            repeated=count["repeated"],
            dispositions=changes.total(),
            changes=dict(changes),
            left_out=count["left out"],
            reconciled=sum(number for (*_, origin, _, _), number in rows if origin == Origin.RECONCILED),
            near_gap=sum(number for (*_, near), number in rows if near),
            unproven=sum(number for (*_, proof, _), number in rows if proof is not Proof.SIGNED),
            tests=count["tests"],
            others=dict(self._others),
            first=self._calendar.stamp(int(self._first_ms)) if self._tally else None,
            last=self._calendar.stamp(int(self._last_ms)) if self._tally else None,
            gaps=self.gaps.by_account(self.wanted.account),
        )

    def _rows_of(self, file: AuditFile) -> Iterator[Sequence[Row | GapRow]]:
        number = 0
        try:
            for lines, proof in pieces(file, self._verdict):
                yield self._rows_in(file.name, number, lines, proof)
                number += len(lines)
        except CutShort as exc:
            self._faults.add(file.name, number + 1, str(exc))
        self._faults.end()
        self._count["lines"] += number

    def _rows_in(self, name: str, number: int, lines: Sequence[bytes], proof: Proof) -> Sequence[Row | GapRow]:
        """The rows of lines behind the one with this number; lines that are no events are reported, empty ones not."""
        rows: list[Row | GapRow] = []
        for place, line in enumerate(lines, start=number + 1):
            try:
                event = event_of(line)
            except ValueError as exc:
                if line.strip():
                    self._faults.add(name, place, f"not an event of the file sink ({exc})")
                continue
            data = event.data
            row = self._said(event, data, proof) if type(data) is DispositionData else self._other(event, proof)
            if row is not None:
                rows.append(row)
        return rows

    def _said(self, event: Event, data: DispositionData, proof: Proof) -> Row | None:
        """The row of a disposition, counted; None if it is not asked for."""
        wanted, time_ms = self.wanted, event.time_ms
        chat = data.chat_id if data.chat_id and data.media_type == CHAT else event.subject
        agents = self._agents(chat, data)
        if not (self._every or (self._is_in_period(time_ms) and self._is_wanted(chat, agents, data))):
            return None
        if not self._is_first(event):
            return None
        change, account = data.change, data.account
        if change == _UNCHANGED and not wanted.unchanged:
            self._count["left out"] += 1
            return None
        near = self.gaps.is_near(account, time_ms)
        self._tally[time_ms // QUARTER_MS, data.key, data.disposition, change, data.origin, proof, near] += 1
        if not self._first_ms <= time_ms <= self._last_ms:
            self._first_ms, self._last_ms = min(self._first_ms, time_ms), max(self._last_ms, time_ms)
        return Row(
            event.time if self._calendar.is_utc else self._calendar.stamp(time_ms),
            chat,
            agents,
            account,
            data.key,
            data.previous,
            data.disposition,
            change,
            data.origin,
            proof,
            near,
            data.reference_id,
            event.sequence,
            event.id,
        )

    def _other(self, event: Event, proof: Proof) -> GapRow | None:
        if isinstance(event.data, GapData):
            return self._gap(event, event.data, proof)
        if self._is_in_period(event.time_ms) and self._is_first(event):
            if event.kind == Kind.TEST:
                self._count["tests"] += 1
            else:
                self._others[event.type] += 1
        return None

    def _agents(self, chat: str, data: DispositionData) -> tuple[str, ...]:
        """Who is in the chat. The last notification of a chat comes when all have left: then those who were in it."""
        known = self._agents_of
        people = data.participants
        agents = tuple([one.nickname for one in people if one.type == _AGENT and one.nickname is not None])
        if not agents:
            return known.get(chat, ())
        known[chat] = agents
        known.move_to_end(chat)
        if len(known) > _CHATS_KNOWN:
            known.popitem(last=False)
        return agents

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

    def _is_wanted(self, chat: str, agents: tuple[str, ...], data: DispositionData) -> bool:
        wanted = self.wanted
        return (
            wanted.chat in (None, chat)
            and wanted.account in (None, data.account)
            and wanted.key in (None, data.key)
            and (wanted.agent is None or wanted.agent in agents)
            and (wanted.code is None or fnmatchcase(data.disposition or "", wanted.code))
        )

    def _is_first(self, event: Event) -> bool:
        if event.id in self._seen:
            self._count["repeated"] += 1
            return False
        self._seen.add(event.id)
        return True
