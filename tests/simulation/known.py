"""What the simulation has found and nobody has mended yet: each case, what shows it, and which findings it explains.

A finding is explained only by the mechanism of a case: the schedule holds the fault, it met this agent, at this time.
"""

from collections.abc import Callable
from dataclasses import dataclass

from listener.model.replica import ACCOUNT
from simulation.evidence import Publication, Session
from simulation.oracle import RETRY_S, Case, Finding
from simulation.schedule import (
    RECONCILE_S,
    Advise,
    Forget,
    LoseLogins,
    Partition,
    Schedule,
    Slow,
    ends_at,
)


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


def _died_in_silence(case: Case, finding: Finding) -> bool:
    """The server had forgotten what this agent's session is subscribed to, and it was not subscribed again yet.

    Nothing tells of what was set meanwhile: the chat has ended and begun unseen, or says what it said before, or a
    restart or a gap came before the next look, or the chat has said something else by then, which was heard. Or it is
    the first that the chat says: it may have come with the chat.
    """
    lost = finding.about
    if finding.promise != "lost" or not isinstance(lost, Publication) or lost.heard:
        return False
    forgotten = [fault.at for fault in case.plan.faults if isinstance(fault, Forget) and fault.agent == finding.agent]
    since = max((at for at in forgotten if at <= lost.at), default=None)
    until = lost.at + RECONCILE_S + RETRY_S
    if since is None or lost.at > since + RECONCILE_S + RETRY_S:
        return False
    ended = (finding.agent, lost.chat) not in case.evidence.values
    said_before = any(
        (one.agent, one.chat, one.value, one.heard) == (lost.agent, lost.chat, lost.value, True)
        and since - RECONCILE_S <= one.at <= until
        for one in case.evidence.published
    )
    began = [began for began, _, _ in case.evidence.lives]
    if case.evidence.shared is not None:
        began += [one.since for one in case.evidence.shared.owned if one.duty == ACCOUNT + lost.agent]
    began_anew = any(lost.at - RETRY_S <= at <= until for at in began)
    gaps = [gap for gap in case.gaps if gap.agent == finding.agent and since <= gap.ends_at and gap.begins_at <= until]
    heard_before = any(
        (one.agent, one.chat, one.heard) == (lost.agent, lost.chat, True) and one.at < lost.at
        for one in case.evidence.published
    )
    overwritten = any(
        (one.agent, one.chat, one.heard) == (lost.agent, lost.chat, True) and lost.at < one.at <= until
        for one in case.evidence.published
    )
    return ended or said_before or began_anew or overwritten or not heard_before or bool(gaps)


def _overtook_on_another_connection(case: Case, finding: Finding) -> bool:
    """Without acknowledgements, the answer to a poll was held up on its way with the older change in it.

    The younger one came with the answer to the look's subscription, on a connection of its own, once the network was
    whole again, or the server quick.
    """
    older = finding.about
    if finding.promise != "order" or case.plan.ack or not isinstance(older, Publication) or not older.heard:
        return False
    for fault in case.plan.faults:
        if not fault.at <= older.at <= ends_at(fault):
            continue
        # It waits on the server while one answer is on its way, and comes with the next.
        if isinstance(fault, Slow) and finding.at <= older.at + 2 * fault.by_ms / 1000 + 1.0:
            return True
        if isinstance(fault, Partition) and fault.host == "gws" and 0 <= finding.at - ends_at(fault) <= 1.0:
            return True
    return False


def _lived_by_its_interval(case: Case, finding: Finding) -> bool:
    """The server had advised this agent of an interval, and nothing but that kept its session beyond maxInterval."""
    session = finding.about
    if finding.promise != "session abandoned" or not isinstance(session, Session):
        return False
    advised = [
        fault.interval_ms
        for fault in case.plan.faults
        if isinstance(fault, Advise) and (fault.agent, fault.kind) == (finding.agent, "interval")
        if fault.at <= session.idle_since
    ]
    away_ms = (session.at - session.idle_since) * 1000
    return bool(advised) and case.plan.max_interval_ms < away_ms < case.plan.max_interval_ms + max(advised)


def _lived_by_polls_without_answers(case: Case, finding: Finding) -> bool:
    """Polls reached the server, answers came too late for `maxInterval`, and then the login was lost."""
    session = finding.about
    if finding.promise != "session abandoned" or not isinstance(session, Session):
        return False
    most_s = case.plan.max_interval_ms / 1000
    return any(
        slow.at + most_s < session.at and slow.at <= session.idle_since <= ends_at(slow) + 2 * slow.by_ms / 1000
        for slow in case.plan.faults
        if isinstance(slow, Slow)
        and any(isinstance(lost, LoseLogins) and slow.at + most_s < lost.at < session.at for lost in case.plan.faults)
    )


CASES: tuple[OpenCase, ...] = (
    OpenCase(
        id="advised-interval",
        text="a server keeps a session for the interval that it advised and `maxInterval`; where logins are refused for"
        " longer than `maxInterval`, it is given up although it lives",
        promise="session abandoned",
        shown_by=(
            '{"seed":1462,"ack":true,"accounts":2,"hold_ms":5000,"max_interval_ms":10000,"csrf":false,"batched'
            '":false,"sliced":true,"lasts_s":80.0,"faults":[{"type":"Advise","agent":"agent2","kind":"interval",'
            '"interval_ms":1e18,"successful":true,"at":15.62},{"type":"Kill","power":true,"at":17.0,"for_s":1.0},'
            '{"type":"LoseLogins","at":17.5,"for_s":50.0}]}'
        ),
        explains=_lived_by_its_interval,
    ),
    OpenCase(
        id="late-answers",
        text="polls reach a server that is so slow that no answer comes in time, and keep the session, which a "
        "client cannot know: where the login is lost after more than `maxInterval` of that, it is given up "
        "although it lives",
        promise="session abandoned",
        shown_by=(
            '{"seed":5177,"ack":false,"accounts":3,"hold_ms":5000,"max_interval_ms":10000,"csrf":false,"batched":'
            'false,"sliced":false,"lasts_s":90.0,"faults":[{"type":"StandIn","status":408,"count":3,"keeps_body":'
            'false,"only":"messages","at":41.293},{"type":"Reset","host":"gws","at":42.433},{"type":"Slow","by_ms'
            '":4000,"at":52.091,"for_s":20.305},{"type":"LoseLogins","at":70.827,"for_s":0.0},{"type":"Advise","a'
            'gent":"supervisor1","kind":"multiple-clients","interval_ms":0,"successful":true,"at":79.398}],"repli'
            'cas":0,"media":["chat"],"team":{"own":1,"overlap":0,"hears_properties":true,"dropped_on_leave":true,'
            '"survives_login":false,"monitor_again":false,"intrude":false,"needs_session":true}}'
        ),
        explains=_lived_by_polls_without_answers,
    ),
    OpenCase(
        id="two-answers",
        text="without acknowledgements: an answer to a poll that the network holds up, and that to the look's"
        " subscription beside it, which holds younger changes and comes first",
        promise="order",
        shown_by=(
            '{"seed":967,"ack":false,"accounts":3,"hold_ms":5000,"max_interval_ms":10000,"csrf":false,"batched'
            '":false,"sliced":false,"lasts_s":60.0,"faults":[{"type":"Partition","host":"gws","at":37.402,'
            '"for_s":4.273}]}'
        ),
        explains=_overtook_on_another_connection,
    ),
    OpenCase(
        id="silent-death",
        text="a subscription that the server forgot in silence: what was set before the next look, or before a restart"
        " or a gap that came first, and has left no trace in the chats, is lost unseen",
        promise="lost",
        shown_by=(
            '{"seed":0,"ack":false,"accounts":2,"hold_ms":5000,"max_interval_ms":10000,"csrf":false,"batched'
            '":false,"lasts_s":21.0,"faults":[{"type":"Forget","agent":"agent1","at":8.0},{"type":"Restart",'
            '"at":14.0,"for_s":1.0}]}'
        ),
        explains=_died_in_silence,
    ),
)


def explained_by(case: Case, finding: Finding) -> OpenCase | None:
    """The open case that a finding is; None for one that nobody knows yet."""
    return next((known for known in CASES if known.explains(case, finding)), None)
