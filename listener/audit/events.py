"""The events of audit files, typed; which have come before; and the gaps, in which others could have been missed."""

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import msgspec

from listener.errors import UNDECODABLE
from listener.model.event import Kind, Participant, rfc3339
from listener.model.media import CHAT

NEAR_MS = 60_000
"""Events this close to a gap of their account count as near it: re-reading follows a gap within seconds."""

Reference = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A number that every output can tell."""

_NEVER = (math.inf, -math.inf, False)


class DispositionData(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """`data` of a disposition. What a sink's `fields` may have left out has a default; without the rest it is none."""

    change: str
    disposition: str | None
    key: str = ""
    previous: str | None = None
    chat_id: str = ""
    reference_id: Reference | None = None
    account: str = ""
    participants: tuple[Participant, ...] = ()
    origin: str = ""
    media_type: str = CHAT
    agent: str | None = None


class Stretch(NamedTuple):
    """Epoch milliseconds from where to where."""

    start_ms: int
    end_ms: int


class GapData(NamedTuple):
    """What a gap tells: a stretch in which a disposition of the account could have been missed.

    `seconds` is how long it really was: a wall clock that was set meanwhile makes the stretch longer. `agent` is whose
    chats it is about, None if it is about all that the account hears.
    """

    account: str
    stretch: Stretch
    seconds: float
    reason: str
    closed_by: str
    agent: str | None = None


class Event(msgspec.Struct, frozen=True, gc=False):
    """One line. `kind` is what the type ends in; `time` is RFC 3339 in UTC; `data` is None for what is neither."""

    id: str
    kind: str
    type: str
    time: str
    time_ms: int
    subject: str
    sequence: str
    data: DispositionData | GapData | None


class _Gap(msgspec.Struct, frozen=True, rename={"from_": "from", "closed_by": "closedBy"}):
    """`data` of a gap event."""

    account: str
    from_: str
    to: str
    reason: str = ""
    closed_by: str = ""
    seconds: float | None = None
    agent: str | None = None


class _Envelope(msgspec.Struct, frozen=True):
    """Attributes that are not named here are ignored, as every reader must."""

    type: str
    time: str
    id: str
    subject: str = ""
    sequence: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class Said(msgspec.Struct, frozen=True, gc=False):
    """A disposition, as nearly every line has one, in one piece; `time` is RFC 3339."""

    type: str
    time: str
    id: str
    data: DispositionData
    subject: str = ""
    sequence: str = ""


class _Who(msgspec.Struct, frozen=True, gc=False):
    """Of `data` the account alone."""

    account: str = ""


class Glance(msgspec.Struct, frozen=True, gc=False):
    """Of an event its time, its account, and its type, whatever that is."""

    time: str
    data: _Who = _Who()
    type: Any = None


_STRANGE = Said("", "", "", DispositionData("", None))
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_GLANCE = msgspec.json.Decoder(Glance)
_SAID = msgspec.json.Decoder(Said)
_SET = msgspec.json.Decoder(DispositionData)
_GAP = msgspec.json.Decoder(_Gap)
_MARK = ".chat."
_SAID_TYPE = f"{_MARK}{Kind.DISPOSITION}"


class Told(NamedTuple):
    """What lines tell.

    Attributes:
        said: by line its disposition, with its time in the form in which we write it.
        others: the indexes of the lines that are something else, or strange, in order.
    """

    said: list[Said]
    others: list[int]

    def parts(self) -> Iterator[tuple[int, list[Said]]]:
        """Dispositions that stand one behind the other, and the index of the first; none for each of the others."""
        start = 0
        for place in self.others:
            if place > start:
                yield start, self.said[start:place]
            yield place, []
            start = place + 1
        if start < len(self.said):
            yield start, self.said[start:] if start else self.said


def told_by(lines: Sequence[bytes]) -> Told:
    """What lines tell, many at once."""
    try:
        said = list(map(_SAID.decode, lines))
    except UNDECODABLE:
        said = list(map(_said_or_strange, lines))
    if all(type_.endswith(_SAID_TYPE) for type_ in {one.type for one in said}) and are_ours([one.time for one in said]):
        return Told(said, [])
    others = [at for at, one in enumerate(said) if not (one.type.endswith(_SAID_TYPE) and are_ours([one.time]))]
    return Told(said, others)


def _said_or_strange(line: bytes) -> Said:
    try:
        return _SAID.decode(line)
    except UNDECODABLE:
        return _STRANGE


def ids_in(lines: Sequence[bytes]) -> Iterator[str]:
    """The ids of the events that lines hold."""
    told = told_by(lines)
    for start, said in told.parts():
        yield from [one.id for one in said]
        if not said:
            with suppress(ValueError):
                yield event_of(lines[start]).id


def event_of(line: bytes) -> Event:
    """The event of a line. Raises ValueError: it is none."""
    try:
        said = _SAID.decode(line)
        if said.type.endswith(_SAID_TYPE):
            return _event(said, Kind.DISPOSITION, said.data)
    except UNDECODABLE:
        pass  # another event, or something strange
    return _other_event_of(line)


def _other_event_of(line: bytes) -> Event:
    try:
        envelope = _ENVELOPE.decode(line)
        kind = envelope.type.rpartition(_MARK)[2] if _MARK in envelope.type else ""
        data: DispositionData | GapData | None = None
        if kind == Kind.DISPOSITION:
            data = _SET.decode(envelope.data)
        elif kind == Kind.GAP:
            data = _gap(_GAP.decode(envelope.data))
    except UNDECODABLE as exc:
        raise ValueError(str(exc)) from exc
    return _event(envelope, kind, data)


def _event(envelope: Said | _Envelope, kind: str, data: DispositionData | GapData | None) -> Event:
    time = envelope.time
    try:
        time_ms = _MINUTES[time[:_SECOND]] + _SECONDS[time[_SECOND:_POINT]] + _MILLISECONDS[time[_POINT:]]
    except KeyError:
        time_ms = _read_time(time)
        time = rfc3339(time_ms)
    return Event(envelope.id, kind, envelope.type, time, time_ms, envelope.subject, envelope.sequence, data)


def _gap(gap: _Gap) -> GapData:
    start, end = epoch_ms(gap.from_), epoch_ms(gap.to)
    stretch = Stretch(start, max(start, end))
    by_clock_s = (stretch.end_ms - stretch.start_ms) / 1000
    seconds = by_clock_s if gap.seconds is None else min(max(0.0, gap.seconds), by_clock_s)
    return GapData(gap.account, stretch, seconds, gap.reason, gap.closed_by, gap.agent)


def glance(line: bytes) -> Glance:
    """What a line tells at a glance. Raises ValueError."""
    try:
        return _GLANCE.decode(line)
    except UNDECODABLE as exc:
        raise ValueError(str(exc)) from exc


def epoch_ms(text: str) -> int:
    """Epoch milliseconds of RFC 3339. Raises ValueError.

    In the form in which we write it a time is the sum of three that are known by heart.
    """
    try:
        return _MINUTES[text[:_SECOND]] + _SECONDS[text[_SECOND:_POINT]] + _MILLISECONDS[text[_POINT:]]
    except KeyError:
        return _read_time(text)


def are_ours(times: Sequence[str]) -> bool:
    """Whether all are moments in the form in which we write them: their order is that of the texts."""
    if not times:
        return True
    written = "".join(times).encode(errors="replace")
    if written.translate(_DIGITS) != _FORM * len(times) or set(map(len, times)) != {len(_FORM)}:
        return False
    if max(written[_SECOND + 1 :: len(_FORM)]) > ord("5"):
        return False
    try:
        for minute in {time[:_SECOND] for time in times}:
            _MINUTES[minute]
    except KeyError:
        return False
    return True


def minutes_of(times: Sequence[str]) -> list[int]:
    """The starts of their minutes (epoch milliseconds), of times that are ours."""
    return [_MINUTES[time[:_SECOND]] for time in times]


_SECOND, _POINT = len("2026-11-22T09:39"), len("2026-11-22T09:39:00")
_FORM, _DIGITS = b"0000-00-00T00:00:00.000Z", bytes.maketrans(b"123456789", b"0" * 9)
_MINUTE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]")
_MOST_MINUTES = 100_000
# Every zone tells these in four digits of a year, and the year behind, too.
_FIRST_MS, _BEHIND_MS = (int(datetime(*day, tzinfo=UTC).timestamp()) * 1000 for day in ((1000, 1, 2), (9998, 12, 31)))


class _Minutes(dict[str, int]):
    """Epoch milliseconds of minutes of UTC, learned as they are asked for. KeyError: it is none, or not as we write."""

    def __missing__(self, minute: str) -> int:
        if not _MINUTE.fullmatch(minute):
            raise KeyError(minute)
        try:
            moment = datetime.fromisoformat(f"{minute}+00:00")
        except ValueError as exc:
            raise KeyError(minute) from exc
        found = round(moment.timestamp() * 1000)
        if not _FIRST_MS <= found < _BEHIND_MS:
            raise KeyError(minute)
        if len(self) >= _MOST_MINUTES:
            self.clear()
        self[minute] = found
        return found


_MINUTES = _Minutes()
_SECONDS = {f":{second:02d}": second * 1000 for second in range(60)}
_MILLISECONDS = {f".{ms:03d}Z": ms for ms in range(1000)}


def _read_time(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"the time {text!r} has no zone")
    time_ms = round(moment.timestamp() * 1000)
    if not _FIRST_MS <= time_ms < _BEHIND_MS:
        raise ValueError(f"the time {text!r} is beyond the calendar")
    return time_ms


class AccountGaps(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was missed of one account in the period; stretches that overlap count their seconds once.

    A gap in which the wall clock was set counts for as long as it was, if it lies in the period as a whole.
    """

    account: str
    gaps: int
    seconds: float


class Gaps:
    """All gaps that are on record, by account.

    Args:
        from_ms: the start of the period, None if it is open. Of a gap that crosses it the part within counts.
        to_ms: its end, excluded.
    """

    def __init__(self, *, from_ms: int | None, to_ms: int | None) -> None:
        self._from_ms, self._to_ms = from_ms, to_ms
        self._known: set[tuple[str, GapData]] = set()
        self._stretches: dict[str, list[Stretch]] = {}
        self._excess: dict[str, list[tuple[Stretch, float]]] = {}
        self._widened: dict[str, list[Stretch]] = {}
        self._lately: dict[str, tuple[float, float, bool]] = {}

    def add(self, id_: str, gap: GapData) -> None:
        """Note a gap; one that comes again counts once. Another one under the same id hides none."""
        if (id_, gap) not in self._known:
            self._known.add((id_, gap))
            self._stretches.setdefault(gap.account, []).append(gap.stretch)
            excess_s = (gap.stretch.end_ms - gap.stretch.start_ms) / 1000 - gap.seconds
            if excess_s >= 1:
                self._excess.setdefault(gap.account, []).append((gap.stretch, excess_s))
            self._widened.clear()
            self._lately.clear()

    def is_in_period(self, stretch: Stretch) -> bool:
        """Whether any of it lies in the period."""
        ends_before = self._from_ms is not None and stretch.end_ms < self._from_ms
        begins_behind = self._to_ms is not None and stretch.start_ms >= self._to_ms
        return not (ends_before or begins_behind)

    def is_near(self, account: str, time_ms: int) -> bool:
        """Whether a moment lies in a gap of the account, or within a minute of one."""
        if account not in self._stretches:
            return False
        first, behind, near = self._lately.get(account, _NEVER)
        if not first <= time_ms < behind:
            first, behind, near = self._lately[account] = self._around(account, time_ms)
        return near

    def are_near(self, accounts: Sequence[str], times: Sequence[str]) -> list[bool]:
        """The same for many moments that are ours, each with its account; looks at each only where they differ."""
        first_ms, last_ms = epoch_ms(min(times)), epoch_ms(max(times))
        known = self._stretches.keys() & set(accounts)
        if not any(self._is_near_within(account, first_ms, last_ms) for account in known):
            return [False] * len(times)
        return [self.is_near(account, epoch_ms(time)) for account, time in zip(accounts, times, strict=True)]

    def _is_near_within(self, account: str, first_ms: int, last_ms: int) -> bool:
        """Whether any of the moments from the first to the last one is near a gap."""
        return self.is_near(account, first_ms) or self._lately[account][1] <= last_ms

    def _around(self, account: str, time_ms: int) -> tuple[float, float, bool]:
        """From where to before where all moments are near a gap as this one is, or all are not."""
        if account not in self._widened:
            wide = (Stretch(start - NEAR_MS, end + NEAR_MS) for start, end in self._stretches[account])
            self._widened[account] = _united(wide)
        stretches = self._widened[account]
        at = bisect_right(stretches, time_ms, key=lambda one: one.start_ms)
        behind = stretches[at].start_ms if at < len(stretches) else math.inf
        if not at:
            return -math.inf, behind, False
        start_ms, end_ms = stretches[at - 1]
        return (start_ms, end_ms + 1, True) if time_ms <= end_ms else (end_ms + 1, behind, False)

    def of(self, account: str) -> AccountGaps:
        """What lies in the period of one account."""
        within = [self._clipped(one) for one in self._stretches.get(account, ()) if self.is_in_period(one)]
        seconds = sum(end - start for start, end in _united(within)) / 1000
        seconds -= sum(excess_s for one, excess_s in self._excess.get(account, ()) if self._clipped(one) == one)
        return AccountGaps(account=account, gaps=len(within), seconds=max(0.0, seconds))

    def by_account(self, account: str | None = None) -> list[AccountGaps]:
        """What lies in the period, the account with the most seconds first; with `account` of this one alone."""
        found = [self.of(name) for name in self._stretches if account in (None, name)]
        return sorted((one for one in found if one.gaps), key=lambda one: (-one.seconds, one.account))

    def united(self, account: str | None = None) -> list[Stretch]:
        """The moments of the period that lie in a gap of any account, or of `account`; in order, none overlaps."""
        chosen = [one for name, these in self._stretches.items() if account in (None, name) for one in these]
        return _united(self._clipped(one) for one in chosen if self.is_in_period(one))

    def _clipped(self, stretch: Stretch) -> Stretch:
        start, end = stretch
        start = start if self._from_ms is None else max(start, self._from_ms)
        end = end if self._to_ms is None else min(end, self._to_ms)
        return Stretch(start, max(start, end))


def _united(stretches: Iterable[Stretch]) -> list[Stretch]:
    found: list[Stretch] = []
    for start, end in sorted(stretches):
        if found and start <= found[-1].end_ms:
            found[-1] = Stretch(found[-1].start_ms, max(found[-1].end_ms, end))
        else:
            found.append(Stretch(start, end))
    return found
