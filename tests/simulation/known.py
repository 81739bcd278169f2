"""What the simulation has found and nobody has mended yet: each case, what shows it, and which findings it explains.

A finding is explained only by the mechanism of a case: the schedule holds the fault, it met this agent, at this time.
"""

from collections.abc import Callable
from dataclasses import dataclass

from listener.model.replica import ACCOUNT
from simulation.evidence import Publication, Verdict
from simulation.oracle import RETRY_S, Case, Finding
from simulation.schedule import RECONCILE_S, Forget, Schedule


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


def _subscribed_again_at(case: Case, agent: str, since: float) -> float:
    """When the server granted what it had forgotten; what makes looks fail, and a gap, puts that off."""
    answers = [one for one in case.evidence.answers if one.agent == agent and one.what == "/meta/subscribe"]
    granted = [one.left_at for one in answers if one.verdict is Verdict.GRANTED and one.left_at > since]
    return min(granted, default=case.evidence.ended_at)


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
    if since is None or lost.at > _subscribed_again_at(case, finding.agent, since):
        return False
    ended = (finding.agent, lost.chat) not in case.evidence.values
    of_the_chat = [one for one in case.evidence.published if (one.agent, one.chat) == (lost.agent, lost.chat)]
    heard = {one.value for one in of_the_chat if one.heard and one.at <= until}
    said_before = any(one.value in heard for one in of_the_chat if not one.heard and lost.at <= one.at <= until)
    began = [began for began, _, _ in case.evidence.lives]
    if case.evidence.shared is not None:
        began += [one.since for one in case.evidence.shared.owned if one.duty == ACCOUNT + lost.agent]
    began_anew = any(lost.at - RETRY_S <= at <= until for at in began)
    gaps = [gap for gap in case.gaps if gap.agent == finding.agent and since <= gap.ends_at and gap.begins_at <= until]
    heard_before = any(one.heard and one.at < lost.at for one in of_the_chat)
    overwritten = any(one.heard and lost.at < one.at <= until for one in of_the_chat)
    return ended or said_before or began_anew or overwritten or not heard_before or bool(gaps)


CASES: tuple[OpenCase, ...] = (
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
