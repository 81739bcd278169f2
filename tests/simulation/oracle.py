"""What must hold in every world, whatever went wrong in it: each promise is a function that yields what breaks it.

Times are virtual seconds. A gap is written in the wall clock of the listener's host. It has to hold a moment in both
readings: by its length, back from its end, and by the times that it names, as the clock showed them.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from msgspec.structs import replace

from listener.cometd.facts import Cause
from listener.intake.monitoring import NOT_TOLD, REVOKED
from listener.model import event as model
from listener.model.event import Change, Event, Kind, Origin, epoch_ms
from listener.model.replica import ACCOUNT
from simulation.clock import EPOCH_MS
from simulation.evidence import Evidence, Publication, Recorded, Session, SessionProblem
from simulation.schedule import RECONCILE_S, Advise, Schedule
from simulation.wellness import MOVES, ORDERLY, TAKEN_OVER_WITHIN_S

RETRY_S = 12.0
"""The longest pause between two attempts, and what an attempt takes."""
LOGIN_S = 65.0
"""The longest pause between two logins that were refused, beyond that."""
UNCERTAIN = (NOT_TOLD, REVOKED)
"""Gaps whose cause is what the site does, not what goes wrong."""
STALLS = ("DiskFull", "DiskStall", "DatabaseRestart", "DatabaseSlow", "CutOff from database")
"""In these nothing is stored, or late."""
KEPT_SHARE = 0.25
"""Of maxInterval: a session that could have been polled for so long without a break must not be lost."""
_SLACK_S = 0.01
_SLACK_MS = 10
_SESSION_STORED_S = 5.0
_NOTICED_S = 1.5  # by then a replica knows that it has lost what it had


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """A gap on record: wall clock times in epoch milliseconds, and the virtual moments that it stands for.

    Attributes:
        length_s: as it is written, None where the listener could not know it.
        begins_at: where a reader has to reckon with its beginning.
        least_s: the shortest length that can be meant: a clock that was set back has shown a time twice.
        clock: the settings of the wall clock that it is written in.
        media_type: of which interactions it is, None of all.
    """

    agent: str
    reason: str
    from_ms: int
    to_ms: int
    length_s: float | None
    step_s: float
    recorded_at: float
    begins_at: float
    ends_at: float
    least_s: float
    clock: Sequence[tuple[float, int]]
    media_type: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A promise that was broken: which, when, for whom, and how in words; `about` is what it was broken on."""

    promise: str
    at: float
    agent: str
    text: str
    about: Publication | Gap | Session | None = None

    def __str__(self) -> str:
        return f"{self.promise} ({self.agent or 'all'} at {self.at:.3f} s): {self.text}"


class Case:
    """A world's evidence, made ready to be looked at."""

    def __init__(self, plan: Schedule, evidence: Evidence) -> None:
        self.plan = plan
        self.evidence = evidence

    @cached_property
    def data(self) -> dict[str, dict[str, Any]]:
        """What the events of the journal say, by their id."""
        return {event.id: msgspec.json.decode(event.data) for event in self.evidence.journal}

    @cached_property
    def recorded(self) -> dict[str, Recorded]:
        """When each event was durable, by its id."""
        return {one.event.id: one for one in reversed(self.evidence.recorded)}

    @cached_property
    def dispositions(self) -> list[Event]:
        """The journal's events without its gaps."""
        return [event for event in self.evidence.journal if event.kind is Kind.DISPOSITION]

    @cached_property
    def gaps(self) -> list[Gap]:
        """The journal's gaps."""
        return [self._gap(event, self.data[event.id]) for event in self.evidence.journal if event.kind is Kind.GAP]

    def _gap(self, event: Event, data: Mapping[str, Any]) -> Gap:
        at = self.recorded[event.id].at if event.id in self.recorded else self.evidence.ended_at
        gap = msgspec.convert(data, model.Gap)
        clock = self._clock_of(event)
        ends_at = max(_moments(clock, gap.ended_ms, not_after=at), default=at)
        from_ms, to_ms = epoch_ms(gap.from_), epoch_ms(gap.to)
        step_s = gap.clock_step_seconds or 0.0
        began_ms = to_ms if step_s < 0 else from_ms  # as the clock before showed it, where no length is known
        named_s = (to_ms - from_ms) / 1000 if gap.seconds is None else gap.seconds
        begins = _moments(clock, began_ms, not_after=ends_at) if gap.seconds is None else []
        begins = begins or [
            ends_at - named_s
        ]  # a time that the clock never showed was counted back from one that it did
        return Gap(
            agent=event.account,
            reason=gap.reason,
            from_ms=from_ms,
            to_ms=to_ms,
            length_s=gap.seconds,
            step_s=step_s,
            recorded_at=at,
            begins_at=min(begins),
            ends_at=ends_at,
            least_s=ends_at - max(begins),
            clock=clock,
            media_type=gap.media_type,
        )

    def _clock_of(self, event: Event) -> Sequence[tuple[float, int]]:
        """The wall clock of the host that has written an event."""
        shared = self.evidence.shared
        return self.evidence.clock if shared is None else shared.clocks[self.writers[event.id]]

    @cached_property
    def writers(self) -> dict[str, str]:
        """For which replica's host the database stored each event, by its id."""
        shared = self.evidence.shared
        return {} if shared is None else {one.event.id: one.host for one in reversed(shared.stored)}

    def hears(self, agent: str, chat: str) -> bool:
        """Whether anybody listens to this chat of the agent at the end: the agent, or a supervisor who is in it."""
        team = self.plan.team
        return team is None or int(agent.removeprefix("agent")) <= team.own or chat in self.evidence.team.heard

    def is_covered(self, agent: str, at: float, media_type: str) -> bool:
        """Whether a gap of the agent, or of what it has of this medium, holds this moment."""
        mine = (gap for gap in self.gaps if gap.agent == agent and gap.media_type in (None, media_type))
        return any(self._holds(gap, at) for gap in mine)

    def _holds(self, gap: Gap, at: float) -> bool:
        """By its length and by its times, as the clock shows them since, and as it did if it was set once at most."""
        if not gap.begins_at - _SLACK_S <= at <= gap.ends_at + _SLACK_S:
            return False
        if gap.length_s is None:
            return True  # all that could be told is when it began by one clock, and when it ended by another
        settings = [since for since, _ in gap.clock if gap.begins_at - _SLACK_S < since <= gap.ends_at]
        # A replica that has taken a session over knows when it was well by its own clock as it was then.
        is_own = self.evidence.shared is None and len(settings) <= 1
        readings = [_offset_ms(gap.clock, gap.ends_at)] + [_offset_ms(gap.clock, at)] * is_own
        return all(
            gap.from_ms - _SLACK_MS <= EPOCH_MS + at * 1000 + offset_ms <= gap.to_ms + _SLACK_MS
            for offset_ms in readings
        )

    @cached_property
    def events_of(self) -> dict[tuple[str, str, str | None, int], list[Event]]:
        """The events that came from notifications, by agent, chat, value and the server's stamp."""
        found: dict[tuple[str, str, str | None, int], list[Event]] = defaultdict(list)
        for event in self.dispositions:
            if event.origin is Origin.NOTIFICATION:
                found[event.account, event.subject, self.data[event.id]["disposition"], epoch_ms(event.time)].append(
                    event
                )
        return found

    @cached_property
    def listened_since(self) -> dict[str, float]:
        """By agent, when something was heard for the first time."""
        first: dict[str, float] = {}
        for one in self.evidence.published:
            if one.heard:
                first.setdefault(one.agent, one.at)
        return first


def _moments(clock: Sequence[tuple[float, int]], shown_ms: int, *, not_after: float) -> list[float]:
    """When a clock showed this; it did not after the given moment.

    A clock shows whole milliseconds: what it showed just before it was set is not put to after that.
    """
    ends = [math.nextafter(since, 0.0) for since, _ in clock[1:]] + [not_after]
    return [
        min(max(at, since), until)
        for (since, offset_ms), until in zip(clock, ends, strict=True)
        if since - _SLACK_S <= (at := (shown_ms - EPOCH_MS - offset_ms) / 1000) <= min(until, not_after) + _SLACK_S
    ]


def _offset_ms(clock: Sequence[tuple[float, int]], at: float) -> int:
    """By how much a clock was off."""
    return next((offset for since, offset in reversed(clock) if since <= at), 0)


def key_of(one: Publication) -> tuple[str, str, str | None, int]:
    """What its event is found by."""
    return one.agent, one.chat, one.value, one.stamp_ms


def everything_is_accounted_for(case: Case) -> Iterator[Finding]:
    """1a. What was published is in the journal, or in a gap of its agent, or came by reading the chats again."""
    reread: dict[tuple[str, str | None], float] = {}
    for event in case.dispositions:
        if event.origin is Origin.RECONCILED and event.id in case.recorded:
            reread[event.subject, case.data[event.id]["disposition"]] = case.recorded[event.id].at
    for one in case.evidence.published:
        since = case.listened_since.get(one.agent)
        if since is None or one.at < since or key_of(one) in case.events_of:
            continue
        media_type = one.chat.partition(":")[0] if ":" in one.chat else "chat"
        if case.is_covered(one.agent, one.at, media_type) or reread.get((one.chat, one.value), 0.0) > one.at:
            continue
        what = f"{one.value!r} of chat {one.chat} (heard by the session: {one.heard})"
        yield Finding(
            promise="lost", at=one.at, agent=one.agent, text=f"{what} is neither recorded nor in a gap", about=one
        )


def what_is_durable_stays(case: Case) -> Iterator[Finding]:
    """1b. What the journal had taken is in it at the end."""
    kept = {event.id: replace(event, sequence=0) for event in case.evidence.journal}
    for one in case.evidence.recorded:
        if kept.get(one.event.id) != replace(one.event, sequence=0):
            text = f"event {one.event.id} of {one.event.subject} was durable and is gone or altered"
            yield Finding(promise="not durable", at=one.at, agent=one.event.account, text=text)


def every_sink_gets_everything(case: Case) -> Iterator[Finding]:
    """1c. What is in the journal is in every sink, or a dead letter of it."""
    filed = {line["id"] for line in case.evidence.lines if "id" in line}
    posted = {one.id for one in case.evidence.posted}
    dead = {(letter.sink, letter.event_id) for letter in case.evidence.letters}
    for event in case.evidence.journal:
        for sink, taken in (("audit", filed), ("crm", posted)):
            if event.id not in taken and (sink, event.id) not in dead and not _is_left(case, event):
                text = f"event {event.sequence} never came to sink {sink}"
                yield Finding(promise="not delivered", at=_at(case, event), agent=event.account, text=text)


def _is_left(case: Case, event: Event) -> bool:
    """Whether replicas recorded it while they were stopped, one after the other: it comes with their next start."""
    return case.evidence.shared is not None and _at(case, event) > case.evidence.ended_at


def _at(case: Case, event: Event) -> float:
    recorded = case.recorded.get(event.id)
    return case.evidence.ended_at if recorded is None else recorded.at


def nothing_is_invented(case: Case) -> Iterator[Finding]:
    """2a. Every event is of something that was published, or that a chat said when it was read."""
    published = Counter(key_of(one) for one in case.evidence.published)
    said: dict[tuple[str, str | None], float] = {}
    for one in case.evidence.published:
        said.setdefault((one.chat, one.value), one.at)
    for event in case.dispositions:
        data = case.data[event.id]
        if event.origin is Origin.RECONCILED:
            known = said.get((event.subject, data["disposition"])) is not None
        else:
            known = (event.account, event.subject, data["disposition"], epoch_ms(event.time)) in published
        if not known:
            text = f"event {event.sequence} ({data['disposition']!r} of {event.subject}) was never published"
            yield Finding(promise="invented", at=_at(case, event), agent=event.account, text=text)


def nothing_is_altered(case: Case) -> Iterator[Finding]:
    """2b. A sink gets an event as it is in the journal, and `previous` is what the chat's event before it said."""
    kept = {event.id: event for event in case.evidence.journal}
    for sink, bodies in (
        ("audit", [line for line in case.evidence.lines if "id" in line]),
        ("crm", [one.body for one in case.evidence.posted]),
    ):
        for body in bodies:
            event = kept.get(body["id"])
            if event is None or (body["data"], body["subject"]) != (case.data[event.id], event.subject):
                text = f"{body['id']} in sink {sink} is not what the journal holds"
                yield Finding(promise="altered", at=case.evidence.ended_at, agent="", text=text)
    last: dict[str, str | None] = {}
    for event in case.dispositions:
        data = case.data[event.id]
        if event.subject in last and data["previous"] != last[event.subject]:
            text = f"event {event.sequence}: previous is {data['previous']!r}, not {last[event.subject]!r}"
            yield Finding(promise="altered", at=_at(case, event), agent=event.account, text=text)
        if event.change is not Change.UNCHANGED:
            last[event.subject] = data["disposition"]


def chats_are_in_order(case: Case) -> Iterator[Finding]:
    """3. The journal has a chat's events in the order of their publication, and each sink has them in the journal's."""
    first = {key_of(one): one for one in reversed(case.evidence.published)}
    newest: dict[tuple[str, str], int] = {}
    for event in case.dispositions:
        key = (event.account, event.subject, case.data[event.id]["disposition"], epoch_ms(event.time))
        if event.origin is Origin.RECONCILED or key not in first:
            continue
        one = first[key]
        if one.number < newest.get(key[:2], -1):
            text = f"event {event.sequence} of {event.subject} stands behind a younger one"
            yield Finding(promise="order", at=_at(case, event), agent=event.account, text=text, about=one)
        newest[key[:2]] = one.number
    yield from _file_is_in_order(case)
    yield from _posts_are_in_order(case)


def _file_is_in_order(case: Case) -> Iterator[Finding]:
    sequence = {event.id: event.sequence for event in case.evidence.journal}
    before = 0
    for line in case.evidence.lines:
        this = sequence.get(line.get("id", ""), 0)
        if this and this <= before:
            text = f"event {this} stands in the file behind {before}"
            yield Finding(promise="order", at=case.evidence.ended_at, agent="", text=text)
        before = max(this, before)


def _posts_are_in_order(case: Case) -> Iterator[Finding]:
    events = {event.id: event for event in case.evidence.journal}
    newest: dict[str, int] = {}
    seen: set[str] = set()
    for post in case.evidence.posted:
        event = events.get(post.id)
        if event is None or post.id in seen:
            continue
        seen.add(post.id)
        if event.sequence < newest.get(event.subject, 0):
            text = f"event {event.sequence} of {event.subject} was posted behind {newest[event.subject]}"
            yield Finding(promise="order", at=post.at, agent=event.account, text=text)
        newest[event.subject] = max(event.sequence, newest.get(event.subject, 0))


def ids_are_stable(case: Case) -> Iterator[Finding]:
    """4. One id an event, and one event a publication."""
    for event_id, amount in Counter(event.id for event in case.evidence.journal).items():
        if amount > 1:
            text = f"{event_id} stands {amount} times in the journal"
            yield Finding(promise="id", at=case.evidence.ended_at, agent="", text=text)
    published = Counter(key_of(one) for one in case.evidence.published)
    for key, events in case.events_of.items():
        if len(events) > max(1, published[key]):
            text = f"{key[2]!r} of {key[1]} is in the journal as events {[event.sequence for event in events]}"
            yield Finding(promise="id", at=_at(case, events[-1]), agent=key[0], text=text)


def every_notification_is_counted(case: Case) -> Iterator[Finding]:
    """5. received = forwarded + filtered + refused, whenever one looks."""
    for at, process, counts in case.evidence.counts:
        if counts["received"] != counts["forwarded"] + counts["filtered"] + counts["refused"]:
            yield Finding(promise="counts", at=at, agent="", text=f"process {process}: {counts}")


def may_leave_a_gap(case: Case, trouble: SessionProblem) -> bool:
    """Not what replicas do in order; nor, with acknowledgements, what is taken over as fast as it should be."""
    if trouble.fault not in MOVES:
        return True
    is_fast = trouble.until - trouble.since <= TAKEN_OVER_WITHIN_S + _SLACK_S
    return not (is_fast and (case.plan.ack or trouble.fault in ORDERLY))


def gaps_tell_of_the_clock(case: Case) -> Iterator[Finding]:
    """6b. A gap says what was done to the wall clock in it."""
    for gap in case.gaps:
        if gap.reason not in UNCERTAIN and gap.length_s is not None:
            yield from _clock_is_told(case, gap, gap.length_s)


def _clock_is_told(case: Case, gap: Gap, length_s: float) -> Iterator[Finding]:
    begins_at = gap.begins_at
    if gap.reason == Cause.SUBSCRIPTION_LOST and any(
        begins_at <= end <= gap.ends_at for _, end, _ in case.evidence.lives
    ):
        begins_at += RECONCILE_S  # counted back from what was stored: what was done to the clock before is not
    step_s = (_offset_ms(gap.clock, gap.ends_at) - _offset_ms(gap.clock, begins_at)) / 1000
    if case.evidence.shared is not None:
        step_s = _step_since_some_moment(gap, step_s)
    named_s = (gap.to_ms - gap.from_ms) / 1000
    if abs(gap.step_s - step_s) > _SLACK_S or abs(named_s - length_s - abs(step_s)) > _SLACK_S:
        text = f"a gap of {length_s:.3f} s names {named_s:.3f} s and a step of {gap.step_s} s, which was {step_s} s"
        yield Finding(promise="gap too long", at=gap.ends_at, agent=gap.agent, text=text, about=gap)


def _step_since_some_moment(gap: Gap, step_s: float) -> float:
    """What the gap says, if that was done to the clock since some moment in it: that at which it was taken over."""
    moments = [gap.begins_at, *(since for since, _ in gap.clock if gap.begins_at <= since <= gap.ends_at)]
    now_ms = _offset_ms(gap.clock, gap.ends_at)
    steps = [(now_ms - _offset_ms(gap.clock, at)) / 1000 for at in moments]
    return next((one for one in steps if abs(one - gap.step_s) <= _SLACK_S), step_s)


def sessions_are_kept(case: Case) -> Iterator[Finding]:
    """6c. No session is lost that could have been kept: a login that was refused stands in the way until the next."""
    begun = {one.client_id: one.at for one in case.evidence.sessions if one.what == "began"}
    for session in case.evidence.sessions:
        began_at = begun.get(session.client_id, 0.0)
        is_unknown = _was_not_stored(case, session, began_at)
        if session.what == "abandoned" and not is_unknown:
            text = "a handshake took the place of a session that lived"
            yield Finding(promise="session abandoned", at=session.at, agent=session.agent, text=text, about=session)
        if session.what == "swept" and not (is_unknown and _nobody_could_know(case, session, began_at)):
            free_s = _longest_free_s(case, session)
            if free_s >= KEPT_SHARE * case.plan.max_interval_ms / 1000:
                text = f"no poll since {session.idle_since:.3f} s, of which {free_s:.1f} s nothing stood in its way"
                yield Finding(promise="session lost", at=session.at, agent=session.agent, text=text, about=session)


def _was_not_stored(case: Case, session: Session, began_at: float) -> bool:
    """Whether a process was killed, or had to give the account away, before it can have stored the session."""
    ended_at, shared = session.at, case.evidence.shared
    ends = [end for _, end, _ in case.evidence.lives if began_at <= end <= ended_at]
    if shared is not None:
        account = ACCOUNT + session.agent
        lost = [one.until for one in shared.owned if one.duty == account]
        ends += [end for end in lost if began_at - _NOTICED_S <= end <= ended_at]
    stalled = [one for one in case.evidence.troubles if one.fault in STALLS]
    return any(
        end - began_at < _SESSION_STORED_S or any(one.since <= end and one.until >= began_at for one in stalled)
        for end in ends
    )


def _nobody_could_know(case: Case, session: Session, began_at: float) -> bool:
    """Whether the next process did not find the session in its journal, or the database has never had it."""
    shared = case.evidence.shared
    known = [ids for at, ids in case.evidence.known_sessions if began_at <= at <= session.at]
    return not all(session.client_id in ids for ids in (known if shared is None else [shared.sessions]))


def _longest_free_s(case: Case, session: Session) -> float:
    """The longest stretch without trouble between a session's last poll and its end."""
    busy = sorted((one.since, one.until) for one in case.evidence.troubles if one.cuts and session.agent in one.agents)
    at, longest = _answered_at(case, session) + _advised_pause_s(case, session), 0.0
    for since, until in busy:
        longest = max(longest, min(since, session.at) - at)
        at = max(at, until)
    return max(longest, session.at - at)


def _answered_at(case: Case, session: Session) -> float:
    """When the answer to its last poll left, which a slow server holds up while the session is idle already."""
    left = (
        one.left_at
        for one in case.evidence.answers
        if (one.what, one.client_id) == ("/meta/connect", session.client_id) and one.asked_at <= session.idle_since
    )
    return max([session.idle_since, *left])


def _advised_pause_s(case: Case, session: Session) -> float:
    """What the server asks for between two polls, as far as it is obeyed: up to half of maxInterval."""
    advised_ms = [
        fault.interval_ms
        for fault in case.plan.faults
        if isinstance(fault, Advise) and (fault.agent, fault.kind) == (session.agent, "interval")
        if fault.at <= session.idle_since
    ]
    return min(max(advised_ms, default=0), case.plan.max_interval_ms / 2) / 1000


def everything_settles(case: Case) -> Iterator[Finding]:
    """7. Once nothing goes wrong any more, all is as it should be within a bound, and no process ended by itself."""
    for text in case.evidence.unsettled:
        agent = text.split()[1] if text.startswith("account ") else ""
        yield Finding(promise="unsettled", at=case.evidence.ended_at, agent=agent, text=text)
    for at, text in case.evidence.crashes:
        yield Finding(promise="crash", at=at, agent="", text=text)


def the_journal_knows_how_chats_stand(case: Case) -> Iterator[Finding]:
    """8. In the end the last event of a chat says what the chat says."""
    last: dict[str, str | None] = {}
    for event in case.dispositions:
        if event.change is not Change.UNCHANGED:
            last[event.subject] = case.data[event.id]["disposition"]
    for (agent, chat), value in case.evidence.values.items():
        if chat in last and last[chat] != value and case.hears(agent, chat):
            text = f"chat {chat} says {value!r}, its last event {last[chat]!r}"
            yield Finding(promise="stale", at=case.evidence.ended_at, agent=agent, text=text)


Promise = Callable[[Case], Iterator[Finding]]
PROMISES: tuple[Promise, ...] = (
    everything_is_accounted_for,
    what_is_durable_stays,
    every_sink_gets_everything,
    nothing_is_invented,
    nothing_is_altered,
    chats_are_in_order,
    ids_are_stable,
    every_notification_is_counted,
    gaps_tell_of_the_clock,
    sessions_are_kept,
    everything_settles,
    the_journal_knows_how_chats_stand,
)
