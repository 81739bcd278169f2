"""Worlds with a supervisor: who has an account of his own, what the site is like, and what must hold of the team."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import msgspec

from listener.intake import monitoring, revocations
from listener.intake.monitoring import NOT_TOLD
from listener.model.event import Change, Event, Kind, SessionState
from simulation.evidence import Publication
from simulation.oracle import Case, Finding
from simulation.schedule import AnyFault, LoseLogins, Schedule, Supervisor

NAME = "supervisor1"
REFRESH_S = 10.0
RECORD_AFTER_S = 30.0
_MOST_AGENTS = 4
Stretch = tuple[str | None, float]


def with_team(plan: Schedule) -> Schedule:
    """The same with a supervisor, by dice of its own; half of what concerns one session concerns the supervisor's."""
    dice = random.Random(f"{plan.seed}:team")
    agents = min(_MOST_AGENTS, plan.accounts + 1)
    supervisor = Supervisor(
        own=dice.randint(0, agents - 1),
        overlap=dice.randint(0, 1),
        hears_properties=dice.random() < 0.85,
        dropped_on_leave=dice.random() < 0.3,
        survives_login=dice.random() < 0.3,
        monitor_again=dice.random() < 0.7,
        intrude=dice.random() < 0.7,
        needs_session=dice.random() < 0.7,
    )
    faults = [_of_supervisor(fault, dice) for fault in plan.faults]
    if dice.random() < 0.6:
        at = round(dice.uniform(6.0, plan.lasts_s - 2.0), 3)
        faults.append(LoseLogins(at=at, for_s=dice.choice((0.0, 3.0))))
    return msgspec.structs.replace(
        plan, accounts=agents, team=supervisor, faults=tuple(sorted(faults, key=lambda fault: fault.at))
    )


def _of_supervisor(fault: AnyFault, dice: random.Random) -> AnyFault:
    if not hasattr(fault, "agent") or dice.random() < 0.5:
        return fault
    return msgspec.structs.replace(fault, agent=NAME)


def accounts_of(plan: Schedule, agents: Sequence[str]) -> list[str]:
    """The agents who have accounts of their own."""
    return list(agents if plan.team is None else agents[: plan.team.own])


def team_of(plan: Schedule, agents: Sequence[str]) -> list[str]:
    """Those whom the supervisor monitors: some of them have accounts too."""
    return [] if plan.team is None else list(agents[max(0, plan.team.own - plan.team.overlap) :])


def the_team_is_accounted_for(case: Case) -> Iterator[Finding]:
    """9a. What an agent of the team was told is recorded, or in a gap of him or of the team, or one is open."""
    evidence = case.evidence
    heard: dict[tuple[str, str | None], list[float]] = {}
    for event in case.dispositions:
        at = case.recorded[event.id].at if event.id in case.recorded else evidence.ended_at
        heard.setdefault((event.subject, case.data[event.id]["disposition"]), []).append(at)
    team = evidence.team
    # What went by a session that did not hear it is a matter of the session: see `everything_is_accounted_for`.
    by = {(one.chat, one.value, one.stamp_ms) for one in evidence.published if one.agent == NAME and not one.heard}
    for one in evidence.published:
        since = team.monitored_since.get(one.agent)
        if since is None or one.at < since or (one.chat, one.value, one.stamp_ms) in by:
            continue
        if team.began[one.chat] <= since and one.at < team.came_in.get(one.chat, evidence.ended_at):
            continue  # of a chat from before nothing is promised until the supervisor is in it
        if any(at >= one.at for at in heard.get((one.chat, one.value), ())):
            continue
        if not _is_covered(case, one):
            text = f"{one.value!r} of chat {one.chat} is neither recorded nor in a gap of the team"
            yield Finding(promise="lost", at=one.at, agent=one.agent, text=text, about=one)


def _is_covered(case: Case, one: Publication) -> bool:
    """By a gap on record, or by one that is open in what is stored of the session."""
    for event, gap in zip(_gaps(case), case.gaps, strict=True):
        if event.account == NAME and case.data[event.id].get("agent") in (None, one.agent) and case._holds(gap, one.at):
            return True
    return any(agent in (None, one.agent) and since <= one.at for agent, since in case.evidence.team.open)


def _gaps(case: Case) -> list[Event]:
    return [event for event in case.evidence.journal if event.kind is Kind.GAP]


def no_change_is_doubled(case: Case) -> Iterator[Finding]:
    """9b. Whoever hears a change second finds it unchanged."""
    for event in case.dispositions:
        data = case.data[event.id]
        value = data["disposition"]
        if event.change is not Change.UNCHANGED and value is not None and data["previous"] == value:
            text = f"event {event.sequence} says {event.change} to {value!r}, which it was"
            yield Finding(promise="doubled", at=case.evidence.ended_at, agent=event.account, text=text)


def what_is_told_is_not_called_untold(case: Case) -> Iterator[Finding]:
    """9d. No gap says that a supervisor is told nothing from when it was told something."""
    told_at = min((one.at for one in case.evidence.published if one.agent == NAME and one.heard), default=None)
    for gap in case.gaps:
        if gap.reason == NOT_TOLD and told_at is not None and gap.begins_at > told_at + 2 * case.plan.hold_ms / 1000:
            text = f"a gap (not_told) from {gap.begins_at:.3f} s, and it was told something at {told_at:.3f} s"
            yield Finding(promise="gap without cause", at=gap.ends_at, agent=gap.agent, text=text, about=gap)


def agents_are_named_truly(case: Case) -> Iterator[Finding]:
    """9c. Whose chat it is said to be: one of those who were told of it; of an own account nothing is said."""
    told = case.evidence.team.members
    for event in case.dispositions:
        agent = case.data[event.id].get("agent")
        if event.account != NAME and "agent" in case.data[event.id]:
            yield Finding(promise="named", at=0.0, agent=event.account, text="an account's event names an agent")
        if agent is not None and agent not in told.get(event.subject, ()):
            text = f"chat {event.subject} is said to be of {agent}"
            yield Finding(promise="named", at=0.0, agent=event.account, text=text)


def open_stretches(sessions: Mapping[str, SessionState], at: Callable[[int, int | None], float]) -> list[Stretch]:
    """What is stored to be a gap once it is over: whose, None for the whole team, and since when."""
    session = sessions.get(NAME)
    if session is None or session.team is None:
        return []
    seen_s, team = at(session.seen_ms, session.seen_monotonic_ms), session.team
    found: list[Stretch] = [(name, seen_s - ms / 1000 if ms >= 0 else 0.0) for name, (ms, _) in team.missing]
    of_all = (team.behind, team.untold, team.revoked)
    return [*found, *((None, seen_s - one[0] / 1000 if one[0] >= 0 else 0.0) for one in of_all if one is not None)]


@contextmanager
def recorded_sooner() -> Iterator[None]:
    """What goes on record each hour does so in the short life of a world too; what is open at its end is stored."""
    with (
        patch.object(monitoring, "RECORD_AFTER_S", RECORD_AFTER_S),
        patch.object(revocations, "RECORD_AFTER_S", RECORD_AFTER_S),
    ):
        yield


OF_TEAMS = (
    the_team_is_accounted_for,
    no_change_is_doubled,
    agents_are_named_truly,
    what_is_told_is_not_called_untold,
)
