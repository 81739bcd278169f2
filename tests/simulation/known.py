"""What the simulation has found and nobody has mended yet: each case, what shows it, and which findings it explains.

A finding is explained only by the mechanism of a case: the schedule holds the fault, it met this agent, at this time.
"""

from collections.abc import Callable
from dataclasses import dataclass

from listener.model.event import Origin
from simulation.evidence import Publication
from simulation.oracle import RETRY_S, Case, Finding, Gap
from simulation.schedule import (
    ClockJump,
    Forget,
    Schedule,
)
from simulation.world import RECONCILE_S

_FOUND_LATER_S = 2 * RECONCILE_S + 10.0
"""A change that was lost is found by the second look at the chats, at the latest."""
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


def _clock_was_set(case: Case, finding: Finding) -> bool:
    """A gap stands for a stretch in which, or before which, the clock of the listener's host was set."""
    if isinstance(finding.about, Gap):
        return _is_bent(case, finding.about)
    if not isinstance(finding.about, Publication):
        return False
    at = finding.about.at
    return any(
        gap.agent == finding.agent and at <= gap.recorded_at <= at + _FOUND_LATER_S + RETRY_S and _is_bent(case, gap)
        for gap in case.gaps
    )


def _is_bent(case: Case, gap: Gap) -> bool:
    """Whether its two ends were taken from a clock that showed different times.

    Set forward in the middle of it, the gap is longer by that. Set back, it is shorter, or has no length; so is one of
    a subscription that died in silence, for as long as the moment at which it was seen alive lies in the future.
    """
    died = any(isinstance(fault, Forget) and fault.agent == gap.agent for fault in case.plan.faults)
    settings = [(at, offset_ms / 1000) for at, offset_ms in case.evidence.clock if at <= gap.recorded_at]
    for place, (at, offset_s) in enumerate(settings):
        for _, before_s in settings[:place]:
            by_s = offset_s - before_s
            true_s = gap.length_s - by_s
            in_it = gap.ends_at - true_s - RETRY_S <= at
            if by_s > 0 and -RETRY_S <= true_s <= _LONGEST_OUTAGE_S and in_it:
                return True
            if by_s < 0 and in_it and gap.recorded_at <= at + _LONGEST_OUTAGE_S:
                return True
            if by_s < 0 and died and gap.length_s < -by_s and gap.recorded_at <= at - by_s + RETRY_S:
                return True
    return False


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


def _looked_while_the_clock_was_set(case: Case, finding: Finding) -> bool:
    """What this agent's look had found was older than what was heard, and the clock was set back during that look."""
    jumps = [one for one in case.plan.faults if isinstance(one, ClockJump) and one.host == "listener" and one.by_s < 0]
    if finding.promise == "stale":
        return any(one.at <= finding.at <= one.at - one.by_s + _FOUND_LATER_S for one in jumps)
    if finding.promise not in ("session abandoned", "gap without cause", "gap too long"):
        return False
    looks = [
        case.recorded[event.id].at
        for event in case.dispositions
        if event.origin is Origin.RECONCILED and event.account == finding.agent and event.id in case.recorded
    ]
    return any(
        finding.at - RECONCILE_S < found_at <= finding.at and found_at - RECONCILE_S <= jump.at <= found_at
        for found_at in looks
        for jump in jumps
    )


CASES: tuple[OpenCase, ...] = (
    OpenCase(
        id="clock-set-in-gap",
        text="a wall clock that is set while a session is away, or before, bends the gap: no length, or hours",
        promise="lost",
        shown_by=(
            '{"seed":0,"ack":false,"accounts":2,"hold_ms":5000,"max_interval_ms":10000,"csrf":false,"batched'
            '":false,"lasts_s":26.0,"faults":[{"type":"Refuse","host":"gws","at":8.0,"for_s":12.0},{"type":"'
            'ClockJump","host":"listener","by_s":-3600.0,"at":14.0}]}'
        ),
        explains=_clock_was_set,
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
        id="clock-set-in-look",
        text="a wall clock that is set back confuses what was received with what is read from the chats: during a look"
        " the older value is recorded and the session thrown away; after it, what is read is ignored for as long",
        promise="session abandoned",
        shown_by=(
            '{"seed":816,"ack":true,"accounts":2,"hold_ms":8000,"max_interval_ms":10000,"csrf":false,"batche'
            'd":false,"lasts_s":60.0,"faults":[{"type":"Partition","host":"gws","at":38.284,"for_s":9.134},{'
            '"type":"ClockJump","host":"gws","by_s":-3600.0,"at":39.624},{"type":"ClockJump","host":"listene'
            'r","by_s":-30.0,"at":46.789}]}'
        ),
        explains=_looked_while_the_clock_was_set,
    ),
)


def explained_by(case: Case, finding: Finding) -> OpenCase | None:
    """The open case that a finding is; None for one that nobody knows yet."""
    return next((known for known in CASES if known.explains(case, finding)), None)
