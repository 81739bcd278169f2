"""What the simulation has found and nobody has mended yet: each case, what shows it, and which findings it explains.

A finding is explained only by the mechanism of a case: the schedule holds the fault, it met this agent, at this time.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from simulation.evidence import Publication, Session
from simulation.oracle import REFUSALS, RETRY_S, Case, Finding, Gap
from simulation.schedule import (
    Advise,
    AnyFault,
    Forget,
    Kill,
    RefuseInBayeux,
    Restart,
    Schedule,
)
from simulation.world import RECONCILE_S

_FOUND_LATER_S = 2 * RECONCILE_S + 10.0
"""A change that was lost is found by the second look at the chats, at the latest."""
_FAILURES = (*REFUSALS, "Partition", "Refuse", "Reset", "Drop", "Cut", "Garbled", "Slow", "ServerRestart", "Refused")
_STARTS_PER_S = 100
_SAME_MOMENT_S = 0.5
_LONGEST_OUTAGE_S = 130.0


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenCase:
    """A fault of the product that is known.

    Attributes:
        id: its name here.
        text: what goes wrong.
        promise: what the oracle says then.
        shown_by: the smallest schedule that shows it.
        explains: whether a finding in a world is this case.
    """

    id: str
    text: str
    promise: str
    shown_by: str
    explains: Callable[[Case, Finding], bool]

    @property
    def schedule(self) -> Schedule:
        """As one that can be played."""
        return Schedule.from_json(self.shown_by)


def _outlived_by_a_pause(case: Case, finding: Finding) -> bool:
    """An exchange had failed, and the pause after it outlived the session."""
    session = finding.about
    return (
        finding.promise == "session lost"
        and isinstance(session, Session)
        and _troubled(case, session.agent, _FAILURES, session.idle_since - _answer_s(case), session.at)
    )


def _answer_s(case: Case) -> float:
    """How long a poll may take until it has failed."""
    return case.plan.hold_ms / 1000 + 5.0


def _refused_too_often(case: Case, finding: Finding) -> bool:
    """HTTP 401 or 403 came several times on a session that lived."""
    return finding.promise == "session abandoned" and _troubled(
        case, finding.agent, REFUSALS, finding.at - case.plan.max_interval_ms / 1000 - RETRY_S, finding.at
    )


def _troubled(case: Case, agent: str, faults: Iterable[str], since: float, until: float) -> bool:
    return any(
        one.fault in faults and agent in one.agents and one.since <= until and one.until >= since
        for one in case.evidence.troubles
    )


def _resumed_too_late(case: Case, finding: Finding) -> bool:
    """So many accounts started one after the other that the last ones came too late."""
    spread_s = case.plan.accounts / _STARTS_PER_S
    starts = [life[0] for life in case.evidence.lives] + [one.at + one.for_s for one in _of(case, Restart, Kill)]
    return (
        finding.promise == "session lost"
        and spread_s > case.plan.max_interval_ms / 1000 / 2
        and any(start <= finding.at <= start + spread_s + 1.0 for start in starts)
    )


def _of(case: Case, *kinds: type[AnyFault]) -> list[AnyFault]:
    return [fault for fault in case.plan.faults if isinstance(fault, kinds)]


def _refused_in_bayeux(case: Case, finding: Finding) -> bool:
    """The login of this agent had run out, and the server said so under HTTP 200; or no gap was closed since then."""
    refused = [one.at for one in case.plan.faults if isinstance(one, RefuseInBayeux) and one.agent == finding.agent]
    closed = [gap.recorded_at for gap in case.gaps if gap.agent == finding.agent]
    return any(at <= finding.at or (finding.promise == "lost" and max(closed, default=0.0) < at) for at in refused)


def _told_to_pause_for_ever(case: Case, finding: Finding) -> bool:
    """The server had advised this agent to pause for longer than it keeps a session."""
    return any(
        isinstance(fault, Advise)
        and fault.agent == finding.agent
        and fault.interval_ms > case.plan.max_interval_ms
        and fault.at <= finding.at
        for fault in case.plan.faults
    )


def _died_in_silence(case: Case, finding: Finding) -> bool:
    """The server had forgotten what this agent's sessions are subscribed to; nobody knows, or not since when."""
    lost = finding.about
    forgotten = [fault.at for fault in case.plan.faults if isinstance(fault, Forget) and fault.agent == finding.agent]
    if finding.promise == "unsettled" and finding.text.endswith("does not listen"):
        return bool(forgotten)
    if isinstance(lost, Gap):  # found late, since what the first look found may have come with its chat
        return any(at - _FOUND_LATER_S <= lost.begins_at <= at + _FOUND_LATER_S for at in forgotten)
    if not isinstance(lost, Publication) or lost.heard:
        return False
    return any(at <= lost.at <= at + _FOUND_LATER_S + RETRY_S for at in forgotten)


def _was_refused_at_first(case: Case, finding: Finding) -> bool:
    """A session had begun, its first poll had been refused, and the daemon was restarted in the pause after that."""
    began = [one.at for one in case.evidence.sessions if one.what == "began" and one.agent == finding.agent]
    refused = any(
        isinstance(fault, Advise) and fault.agent == finding.agent and not fault.successful and fault.at <= finding.at
        for fault in case.plan.faults
    )
    before = max((at for at in began if at < finding.at - 0.001), default=0.0)
    return (
        finding.promise == "session abandoned"
        and refused
        and any(before <= end <= finding.at for _, end, _ in case.evidence.lives)
    )


CASES: tuple[OpenCase, ...] = (
    OpenCase(
        id="pause-outlives-session",
        text="the pause after failed exchanges grows beyond maxInterval, and the session is lost after a short outage",
        promise="session lost",
        shown_by=(
            '{"seed":0,"ack":true,"accounts":3,"hold_ms":5000,"max_interval_ms":10000,"csrf":false,"batched"'
            ':false,"lasts_s":21.0,"faults":[{"type":"Refuse","host":"gws","at":8.0,"for_s":7.0}]}'
        ),
        explains=_outlived_by_a_pause,
    ),
    OpenCase(
        id="handshake-while-alive",
        text="the third HTTP 401 or 403 in a row throws a session away that lives",
        promise="session abandoned",
        shown_by=(
            '{"seed":0,"ack":true,"accounts":2,"hold_ms":5000,"max_interval_ms":10000,"csrf":false,"batched"'
            ':false,"lasts_s":14.0,"faults":[{"type":"Fail","status":401,"count":12,"target":"notifications"'
            ',"at":8.0}]}'
        ),
        explains=_refused_too_often,
    ),
    OpenCase(
        id="resumed-too-late",
        text="a hundred accounts a second go on after a start, also where their sessions cannot wait for so long",
        promise="session lost",
        shown_by=(
            '{"seed":0,"ack":true,"accounts":150,"hold_ms":8000,"max_interval_ms":1000,"csrf":false,"batched'
            '":true,"lasts_s":14.2,"faults":[{"type":"Restart","at":8.0,"for_s":0.2}]}'
        ),
        explains=_resumed_too_late,
    ),
    OpenCase(
        id="refused-in-bayeux",
        text="a login that ran out and is refused in Bayeux under HTTP 200 is not renewed",
        promise="lost",
        shown_by=(
            '{"seed":0,"ack":false,"accounts":2,"hold_ms":5000,"max_interval_ms":10000,"csrf":false,"batched'
            '":false,"lasts_s":60.0,"faults":[{"type":"RefuseInBayeux","agent":"agent1","error":"401::Authen'
            'tication invalid","at":8.0}]}'
        ),
        explains=_refused_in_bayeux,
    ),
    OpenCase(
        id="absurd-interval",
        text="an advised interval far beyond maxInterval is obeyed: no poll for up to a day",
        promise="unsettled",
        shown_by=(
            '{"seed":0,"ack":false,"accounts":2,"hold_ms":5000,"max_interval_ms":10000,"csrf":false,"batched'
            '":false,"lasts_s":30.0,"faults":[{"type":"Advise","agent":"agent1","kind":"interval","interval_'
            'ms":1e18,"successful":true,"at":8.0}]}'
        ),
        explains=_told_to_pause_for_ever,
    ),
    OpenCase(
        id="silent-death",
        text="a subscription that the server forgot in silence: what was set in a chat that was completed before the"
        " next look, or before a start, lies before the gap; where nothing is set, nobody notices",
        promise="lost",
        shown_by=(
            '{"seed":0,"ack":false,"accounts":2,"hold_ms":5000,"max_interval_ms":10000,"csrf":false,"batched'
            '":false,"lasts_s":21.0,"faults":[{"type":"Forget","agent":"agent1","at":8.0},{"type":"Restart",'
            '"at":14.0,"for_s":1.0}]}'
        ),
        explains=_died_in_silence,
    ),
    OpenCase(
        id="refused-first-poll",
        text="a session whose first poll was refused is not stored: a restart in the pause after it throws it away",
        promise="session abandoned",
        shown_by=(
            '{"seed":8351,"ack":false,"accounts":2,"hold_ms":5000,"max_interval_ms":10000,"csrf":false,"batch'
            'ed":false,"lasts_s":60.0,"faults":[{"type":"Refuse","host":"gws","at":4.174,"for_s":7.254},{"typ'
            'e":"Advise","agent":"agent2","kind":"interval","interval_ms":500,"successful":false,"at":5.359},'
            '{"type":"Restart","at":33.194,"for_s":0.2}]}'
        ),
        explains=_was_refused_at_first,
    ),
)


def explained_by(case: Case, finding: Finding) -> OpenCase | None:
    """The open case that a finding is; None for one that nobody knows yet."""
    return next((known for known in CASES if known.explains(case, finding)), None)
