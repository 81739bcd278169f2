"""No gap is longer than what it stands for: each is held against what the server and the network really did.

It begins at most SLACK_S before the moment since which something could have been missed: when the last request was
sent whose answer proved the session, or of a subscription that was dead, the last look. It ends at most SLACK_S after
the moment at which it could have been known that hearing went on: when nothing stood in the way any more. What may be
longer than that, and why, is in `LATER` and `EARLIER`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from listener.cometd.facts import Cause
from listener.intake.monitoring import NOT_MONITORED
from listener.model.event import Origin
from listener.model.replica import ACCOUNT
from simulation.evidence import Answer, SessionProblem, Verdict
from simulation.oracle import UNCERTAIN, Case, Finding, Gap, may_leave_a_gap
from simulation.schedule import LOOK_S, RECONCILE_S, Forget, RefuseTopic
from simulation.teams import NAME

SLACK_S = 2.0
_LOGIN_S = 65.0
_LOGINS_APART_S = 4.5  # 4 s, and the pause until the next attempt
_LONGEST_PAUSE_S = 30.0
_FIRST_PAUSE_S = 0.5
_STORED_S = 10.0
_ASKED_AGAIN_S = 30.0
_ON_ITS_WAY_S = 0.1  # an answer that left later may not have come
_CONNECT, _SUBSCRIBE = "/meta/connect", "/meta/subscribe"
_ARMED = ("Drop", "Cut", "Garbled", "StandIn", "Fail", "Duplicate", "Refused", "ReadTimeout")
"""What they spoil is known from the answers."""
_OF_THE_NETWORK = ("Partition", "Refuse", "Reset", "Slow", "ServerRestart", "CutOff from gws")
_HARMLESS = ("ClockJump", "Second")
_OF_A_LOOK = (Cause.SUBSCRIPTION_LOST, Cause.TOPIC_REFUSED)
_UNTIL_A_LOOK = "until the next look"
_HELD_UP = ("Partition", "CutOff from gws")
"""A poll from before may reach the server when these are over, and take what nobody hears then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hindrance:
    """A stretch in which no exchange of an agent could succeed, or a moment at which one did not."""

    since: float
    until: float
    what: str


class Stretch:
    """A gap and all that explains it: what stood in the way in it, and what the server answered its agent."""

    def __init__(self, case: Case, gap: Gap, answers: Sequence[Answer], hindrances: Sequence[Hindrance]) -> None:
        self.case = case
        self.gap = gap
        self.answers = answers
        self.begins_at = gap.ends_at - gap.least_s
        # Of an unknown length, where the clock showed its times twice, it is the longest that they mean.
        since = self.begins_at if gap.length_s is not None else min(self.begins_at, gap.begins_at)
        self.found = [
            one
            for one in hindrances
            if one.since <= gap.ends_at and one.until >= since - _ON_ITS_WAY_S
            if one.what != _UNTIL_A_LOOK or gap.reason in _OF_A_LOOK
        ]

    @property
    def since(self) -> float:
        """When the first of it began to stand in the way."""
        return min(one.since for one in self.found)

    @property
    def until(self) -> float:
        """When nothing did any more."""
        return max(min(one.until, self.gap.ends_at) for one in self.found)

    @property
    def has_moved(self) -> bool:
        """Whether it goes on in another process than it began in."""
        shared, since, until = self.case.evidence.shared, self.begins_at, self.gap.ends_at
        if shared is None:
            return any(since <= end <= until for _, end, _ in self.case.evidence.lives)
        return any(one.duty == ACCOUNT + self.gap.agent and since <= one.since <= until for one in shared.owned)

    def proven_at(self) -> float | None:
        """When the last request was sent before all that, that proves the session, or of a look the subscription."""
        what = _SUBSCRIBE if self.gap.reason in _OF_A_LOOK else _CONNECT
        by = self.since - _ON_ITS_WAY_S
        return max(
            (
                one.asked_at
                for one in self.answers
                if (one.what, one.verdict) == (what, Verdict.GRANTED) and one.left_at <= by
            ),
            default=None,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Allowance:
    """By how much longer a gap may be, and why; without `seconds` it is known how long it stood in the way."""

    when: str
    most: str
    text: str
    seconds: Callable[[Stretch], float] | None = None


def _tenth_of_outage(it: Stretch) -> float:
    outage_s = it.until - it.since
    return min(_LONGEST_PAUSE_S, outage_s / 10) if outage_s > it.case.plan.max_interval_ms / 1000 else 0.0


def _refused_again_and_again(it: Stretch) -> float:
    lasted_at = _lasted_at(it)
    times = sum(
        one.verdict in (Verdict.UNKNOWN_CLIENT, Verdict.REFUSED) and lasted_at <= one.left_at <= it.gap.ends_at
        for one in it.answers
    )
    return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (times - 1)) if times > 1 else 0.0


def _lasted_at(it: Stretch) -> float:
    """When a session was last known to last for more than its first poll, before all that stood in the way."""
    polls = [one for one in it.answers if (one.what, one.verdict) == (_CONNECT, Verdict.GRANTED)]
    known, lasted_at, network = set[str](), 0.0, [one for one in it.found if one.what in _OF_THE_NETWORK]
    for one in polls:
        if one.left_at <= it.gap.ends_at and one.client_id in known and not any(_meet(one, other) for other in network):
            lasted_at = min(one.left_at, it.since)
        known.add(one.client_id)
    return lasted_at


def _advised_interval(it: Stretch) -> float:
    advised = [one for one in it.answers if one.interval_ms is not None and one.left_at <= it.gap.ends_at]
    before = [one for one in advised if one.left_at < it.begins_at]
    advised_ms = [one.interval_ms or 0 for one in advised[max(0, len(before) - 1) :]]
    return min(max(advised_ms, default=0), it.case.plan.max_interval_ms / 2) / 1000


def _poll_beside_it(it: Stretch) -> float:
    if it.gap.reason != Cause.NO_ACK_CUT:
        return 0.0
    network = [one for one in it.found if one.what in _OF_THE_NETWORK]
    beside = [one for one in it.answers if one.what == _SUBSCRIBE and it.since <= one.left_at <= it.gap.ends_at]
    is_lost = any(one.verdict is Verdict.LOST or any(_meet(one, other) for other in network) for one in beside)
    if network and not beside:  # a look that goes on unsubscribed: its request has not come as far as the server
        during = [one for one in it.answers if it.since <= one.asked_at <= it.gap.ends_at]
        is_lost = any((one.what, one.verdict) == ("rest", Verdict.GRANTED) for one in during)
    return it.case.plan.hold_ms / 1000 if is_lost else 0.0


def _forgotten_at(it: Stretch) -> float | None:
    """When the server forgot what the agent's session is subscribed to, within the gap."""
    mine = [one.at for one in it.case.plan.faults if isinstance(one, Forget) and one.agent == it.gap.agent]
    return min((one for one in mine if it.begins_at <= one <= it.gap.ends_at), default=None)


def _found_over_an_end(it: Stretch) -> float:
    is_of_a_look = it.gap.reason in _OF_A_LOOK or _forgotten_at(it) is not None
    return RECONCILE_S if it.has_moved and is_of_a_look else 0.0


def _found_before_it(it: Stretch) -> float:
    agent, faults, at, proven_at = it.gap.agent, it.case.plan.faults, _forgotten_at(it), it.proven_at()
    if proven_at is None or it.gap.reason in _OF_A_LOOK:
        return 0.0
    looks = [one for one in it.answers if (one.what, one.verdict) == (_SUBSCRIBE, Verdict.GRANTED)]
    tells_no_values = it.case.plan.team is not None and not it.case.plan.team.hears_properties
    if at is None and tells_no_values and agent == NAME:  # what a look under way has found may be due to its death
        under_way = [one.asked_at for one in looks if it.since - LOOK_S <= one.asked_at <= it.since]
        return max([0.0, *(proven_at - _before(looks, asked_at, proven_at) for asked_at in under_way)])
    if at is None:
        return 0.0
    looked_at = _before(looks, at, proven_at)
    if tells_no_values or any(isinstance(one, RefuseTopic) for one in faults):
        looked_at = min(looked_at, proven_at) - RECONCILE_S  # what such a look finds is no sign, and ends no doubt
    return max(0.0, proven_at - looked_at)


def _before(looks: Sequence[Answer], at: float, default: float) -> float:
    """When the last of them was asked for that was answered before then."""
    return max((one.asked_at for one in looks if one.left_at < at), default=default)


def _meet(answer: Answer, hindrance: Hindrance) -> bool:
    return answer.asked_at <= hindrance.until and answer.left_at + _ON_ITS_WAY_S >= hindrance.since


def _allowed_s(allowances: Sequence[Allowance], it: Stretch) -> float:
    return sum(one.seconds(it) for one in allowances if one.seconds is not None)


LATER: tuple[Allowance, ...] = (
    Allowance(
        when="a subscription that the server forgot in silence, a topic that it grants again, events that it gave "
        "to a poll from before an outage, or what a chat came with before another process had the session",
        most="the interval of the looks, 15 s, and a look, 6.5 s",
        text="only the next look asks; a gap or what makes a look fail puts that off, and a look under way has asked",
    ),
    Allowance(
        when="a login that was refused, or that the server has lost again",
        most="65 s",
        text="directories lock users who log in too often",
    ),
    Allowance(
        when="an outage longer than `maxInterval`",
        most="a tenth of the outage, 30 s",
        text="the pause between attempts grows with the time for which they have failed",
        seconds=_tenth_of_outage,
    ),
    Allowance(
        when="sessions that are refused again and again, or last for one poll",
        most="0.5 s, twice that each time, 30 s",
        text="the pause between handshakes doubles",
        seconds=_refused_again_and_again,
    ),
    Allowance(
        when="an advised interval",
        most="the interval, half of `maxInterval`",
        text="the server does not want the next poll sooner",
        seconds=_advised_interval,
    ),
    Allowance(
        when="a request beside the polls that is lost on its way, or its answer, without acknowledgements",
        most="a hold",
        text="the server may write events into it yet, until the poll beside it is answered",
        seconds=_poll_beside_it,
    ),
    Allowance(
        when="an agent whom the supervisor may not monitor",
        most="30 s",
        text="it is asked for again with the next look at the team",
        seconds=lambda it: _ASKED_AGAIN_S if it.gap.reason == NOT_MONITORED else 0.0,
    ),
)
EARLIER: tuple[Allowance, ...] = (
    Allowance(
        when="the end of a process",
        most="10 s and a hold",
        text="how well an idle session was is stored with the first poll after ten seconds",
        seconds=lambda it: _STORED_S + it.case.plan.hold_ms / 1000 if it.has_moved else 0.0,
    ),
    Allowance(
        when="a dead subscription, or a refused topic, and the end of a process",
        most="the interval of the looks, 15 s",
        text="what the process had seen of the subscription since the last look is gone with it",
        seconds=_found_over_an_end,
    ),
    Allowance(
        when="a subscription that the server forgot in silence, or a supervisor who is not told what is set, and a gap "
        "before what a look has found is explained",
        most="the interval of the looks, 15 s; twice that if a look ended no doubt",
        text="it may have been dead since the look before",
        seconds=_found_before_it,
    ),
)


class Hindrances:
    """What stood in the way of each agent."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._known: dict[str, list[Hindrance]] = {}

    @cached_property
    def answers_of(self) -> dict[str, list[Answer]]:
        """What the server answered each agent, in its order."""
        found = defaultdict(list)
        for one in self._case.evidence.answers:
            found[one.agent].append(one)
        return found

    def of(self, agent: str) -> list[Hindrance]:
        """In no order."""
        if agent not in self._known:
            plain = [*self._troubles(agent), *self._answers(agent), *self._pauses_between_logins(agent)]
            self._known[agent] = [*plain, *self._until_looks(agent, plain), *self._until_values_are_known(agent)]
        return self._known[agent]

    def _mine(self, agent: str) -> Iterator[SessionProblem]:
        for one in self._case.evidence.troubles:
            if agent in one.agents and may_leave_a_gap(self._case, one) and one.fault not in (*_ARMED, *_HARMLESS):
                yield one

    def _troubles(self, agent: str) -> Iterator[Hindrance]:
        for one in self._mine(agent):
            until = one.until
            if one.fault == "Slow":  # what it has begun to hold up comes late
                late = (answer.left_at for answer in self.answers_of[agent] if answer.asked_at <= until)
                until = max([until, *late])
            if one.fault not in ("Forget", "RefuseTopic"):
                yield Hindrance(since=one.since, until=until, what=one.fault)
            elif one.fault == "RefuseTopic":
                yield Hindrance(since=one.since, until=one.since, what="Expire")

    def _answers(self, agent: str) -> Iterator[Hindrance]:
        """Answers that were none. That a session or a login is gone, one answer tells; what follows excuses nothing."""
        was_granted = True
        for one in self.answers_of[agent]:
            is_told = one.verdict in (Verdict.UNKNOWN_CLIENT, Verdict.UNKNOWN_LOGIN)
            if one.verdict in (Verdict.SPOILT, Verdict.LOST, Verdict.REFUSED) or (is_told and was_granted):
                yield Hindrance(since=one.asked_at, until=one.left_at, what=f"{one.verdict.name} {one.what}")
            was_granted = one.verdict is Verdict.GRANTED

    def _pauses_between_logins(self, agent: str) -> Iterator[Hindrance]:
        """Until a login holds for more than one poll, and 4 s at least: directories lock users who log in too often.

        One that the REST API still knows after a poll was refused for it is as good as another.
        """
        last: Answer | None = None
        polls, is_doubted = 0, False
        for one in self.answers_of[agent]:
            is_confirmed = is_doubted and (one.what, one.verdict) == ("rest", Verdict.GRANTED)
            is_doubted = one.verdict is Verdict.UNKNOWN_LOGIN
            if (one.what, one.verdict) == (_CONNECT, Verdict.GRANTED):
                polls += 1
            elif one.what == "login" or is_confirmed:
                if last is not None and (polls <= 1 or one.asked_at <= last.left_at + _LOGINS_APART_S):
                    until = min(one.asked_at, last.left_at + _LOGIN_S)
                    yield Hindrance(since=last.left_at, until=until, what="pause between logins")
                last, polls = one, 0

    def _until_looks(self, agent: str, others: Sequence[Hindrance]) -> Iterator[Hindrance]:
        """What only the next look finds: what the server forgot or swallowed in silence, a topic that is granted again.

        What makes a look fail puts it off, and so does a gap, whose re-reading comes first.
        """
        gaps = [(one.begins_at, one.ends_at) for one in self._case.gaps if one.agent == agent]
        in_the_way = sorted([*((one.since, one.until) for one in others), *gaps])
        for one in self._mine(agent):
            is_swallowed = one.fault in _HELD_UP and not self._case.plan.ack
            if one.fault not in ("Forget", "RefuseTopic") and not is_swallowed:
                continue
            by = one.until + RECONCILE_S + LOOK_S
            for since, until in in_the_way:
                if since <= by and until < self._looked_at(agent, one.until):
                    by = max(by, until + RECONCILE_S + LOOK_S)
            yield Hindrance(
                since=one.since, until=min(by, self._looked_at(agent, one.until) + LOOK_S), what=_UNTIL_A_LOOK
            )

    def _until_values_are_known(self, agent: str) -> Iterator[Hindrance]:
        """What a chat came with, where the process that was told is gone: to the next one a look finds it untold.

        Whoever set it has no account. Nothing tells it from what a dead subscription has missed.
        """
        case = self._case
        for event in case.dispositions:
            if (event.origin, event.account) != (Origin.RECONCILED, agent) or event.id not in case.recorded:
                continue
            recorded_at = case.recorded[event.id].at
            moved_at = max((at for at in self._moves(agent) if at < recorded_at), default=None)
            if moved_at is None:
                continue
            value = case.data[event.id]["disposition"]
            told = [one for one in case.evidence.published if (one.chat, one.value) == (event.subject, value)]
            if told and not any(one.agent in case.listened_since or one.at > moved_at for one in told):
                until = min(recorded_at, self._looked_at(agent, moved_at) + LOOK_S)
                yield Hindrance(since=moved_at, until=until, what=_UNTIL_A_LOOK)

    def _moves(self, agent: str) -> list[float]:
        """When another process had the agent's session from."""
        shared = self._case.evidence.shared
        if shared is None:
            return [end for _, end, _ in self._case.evidence.lives]
        return [one.since for one in shared.owned if one.duty == ACCOUNT + agent]

    def _looked_at(self, agent: str, since: float) -> float:
        """When a look was next that no end of its process cut off: a subscription that was granted, then the chats."""
        is_subscribed, moves = False, list(self._moves(agent))
        for one in self.answers_of[agent]:
            if one.asked_at < since or one.verdict is not Verdict.GRANTED:
                continue
            if one.what == _SUBSCRIBE:
                is_subscribed = True
            elif one.what == "rest" and is_subscribed:
                if not any(one.left_at <= at <= one.left_at + LOOK_S for at in moves):
                    return one.left_at
                is_subscribed = False
        return self._case.evidence.ended_at


def gaps_are_as_short_as_can_be(case: Case) -> Iterator[Finding]:
    """6a. A gap has a cause, and is no longer than that and what is stated."""
    hindrances = Hindrances(case)
    for gap in case.gaps:
        if gap.reason in UNCERTAIN:
            continue
        it = Stretch(case, gap, hindrances.answers_of[gap.agent], hindrances.of(gap.agent))
        if not it.found:
            text = f"a gap ({gap.reason}) of {gap.least_s:.3f} s without a cause"
            yield Finding(promise="gap without cause", at=gap.ends_at, agent=gap.agent, text=text, about=gap)
            continue
        late_s = gap.ends_at - it.until - SLACK_S - _allowed_s(LATER, it)
        if late_s > 0:
            text = f"a gap ({gap.reason}) ends {late_s:.3f} s late: nothing stood in the way since {it.until:.3f} s"
            yield Finding(promise="gap too long", at=gap.ends_at, agent=gap.agent, text=text, about=gap)
        proven_at = it.proven_at()
        if proven_at is None:
            continue
        early_s = proven_at - it.begins_at - SLACK_S - _allowed_s(EARLIER, it)
        if early_s > 0:
            text = f"a gap ({gap.reason}) begins {early_s:.3f} s early: all was well at {proven_at:.3f} s"
            yield Finding(promise="gap too long", at=gap.ends_at, agent=gap.agent, text=text, about=gap)
