"""The summary without the daemon's help: of a journal that none has, and of the database that replicas share."""

import platform
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from listener.daemon.diagnosis import Diagnosis, of_accounts, of_dead_letters
from listener.daemon.health import letters_of, nobodys_of, stored_of
from listener.daemon.replicas import Survey
from listener.daemon.troubles import Standing, Troubles
from listener.journal.shared.database import Database
from listener.journal.sqlite import views
from listener.model.condition import SinkReport
from listener.model.event import EVERY_DEAD_LETTER, JournalStats, LaneState, LaneStatus, rfc3339
from listener.model.filter import grouped
from listener.model.holes import events_between
from listener.runtime.clock import SYSTEM_CLOCK
from listener.web.status import SCHEMA_VERSION, JournalReport, ReplicaStatus
from listener.web.summary import HealthProblem, Summary

NOBODY = "no daemon is running"


def of_file(path: Path, kinds: Mapping[str, str], accounts: Collection[str] | None) -> Summary:
    """How the last daemon left its journal: nobody listens since.

    Args:
        path: the journal. No daemon has it.
        kinds: the configured sinks, each with its kind; empty if they are not known.
        accounts: the configured accounts; None for all that have a session.

    Raises:
        JournalError: there is no such journal.
    """
    stats, sessions = views.stats(path), views.sessions(path)
    ended = {name: one.seen_ms for name, one in sessions.items() if accounts is None or name in accounts}
    newest = views.show(path, after=stats.last_sequence - 1, limit=1)
    now_ms = SYSTEM_CLOCK.now_ms()
    ended_ms = max([*ended.values(), *(event.received_ms for event in newest)], default=now_ms)
    troubles = Troubles()
    for name in ended if accounts is None else accounts:
        standing = Standing(
            subscribed=False,
            trouble=f"no subscription: {NOBODY}",
            since_ms=ended.get(name, ended_ms),
            certain_ms=ended.get(name),
            why=NOBODY,
        )
        troubles.put(name, standing, at_ms=now_ms)
    lanes = [_lane(sink, stats, kinds) for sink in sorted({*stats.cursors, *stats.lanes, *kinds})]
    health = [
        HealthProblem(
            what=f"{NOBODY}: nobody listens",
            since=rfc3339(ended_ms),
            kind="start",
            help="disposition-listener run",
        ),
        *Diagnosis(now_ms=lambda: now_ms, started_ms=now_ms).of_sinks(lanes, stats),
        *of_dead_letters(stats.dead_letters, grouped(views.dead_letter_groups(path))),
    ]
    return _summary(stats, health, [(lane, None) for lane in lanes], troubles, now_ms)


async def of_database(database: Database, kinds: Mapping[str, str]) -> tuple[Summary, bool]:
    """What all replicas have left in their database, which is open, and whether any of them is there.

    Raises:
        JournalError: it does not answer.
    """
    replicas = await database.replicas()
    stats, now_ms = await database.stats(), SYSTEM_CLOCK.now_ms()
    survey = Survey(kinds=lambda: kinds)
    look = await survey.look(replicas, await database.duties())
    lanes = survey.lanes(look, (), stats)
    diagnosis = Diagnosis(now_ms=lambda: now_ms, started_ms=now_ms)
    groups = grouped(await database.dead_letter_groups(EVERY_DEAD_LETTER)) if any(stats.dead_letters.values()) else []
    nobody = HealthProblem(
        what="no replica is running: nobody listens",
        since=rfc3339(now_ms),
        kind="start",
        help="disposition-listener run",
    )
    health = [
        *([] if replicas else [nobody]),
        *diagnosis.of_sinks([lane for lane, _ in lanes], stats, nobodys_of(lanes)),
        *of_accounts(look.troubles.counts(), look.troubles.groups()),
        *diagnosis.of_replicas(look.replicas, None),
        *of_dead_letters(stats.dead_letters, groups),
    ]
    return _summary(stats, health, lanes, look.troubles, now_ms, look.replicas), bool(replicas)


def _summary(
    stats: JournalStats,
    health: Sequence[HealthProblem],
    lanes: Sequence[tuple[LaneStatus, str | None]],
    troubles: Troubles,
    now_ms: int,
    replicas: tuple[ReplicaStatus, ...] = (),
) -> Summary:
    return Summary(
        schema_version=SCHEMA_VERSION,
        at=rfc3339(now_ms),
        ready=not any(one.kind != "deadLetters" for one in health),
        instance=platform.node(),
        server="",
        build=None,
        configuration=None,
        health=tuple(health),
        rates=None,
        last_hour=None,
        accounts=troubles.counts(),
        troubles=troubles.groups(),
        open_gaps=troubles.open_gaps(),
        sinks=tuple(SinkReport.of(lane, stats.dead_letters.get(lane.sink, 0), replica) for lane, replica in lanes),
        gaps=troubles.gaps(),
        dead_letters=letters_of(stats),
        journal=JournalReport(
            last_sequence=stats.last_sequence,
            depth_events=max((lane.lag for lane, _ in lanes), default=0),
            oldest_age_seconds=max((lane.lag_s for lane, _ in lanes), default=0.0),
            bytes=stats.bytes,
            failing=None,
            commit_waiting_seconds=0.0,
            stored=stored_of(stats),
        ),
        replicas=replicas,
    )


def _lane(sink: str, stats: JournalStats, kinds: Mapping[str, str]) -> LaneStatus:
    cursor, state = stats.cursors.get(sink, 0), stats.lanes.get(sink, LaneState(sink=sink))
    return LaneStatus(
        sink=sink,
        kind=kinds.get(sink, ""),
        cursor=cursor,
        lag=events_between(cursor, stats.last_sequence, stats.holes),
        delivered=0,
        failures=0,
        parked=state.parked,
        last_error=state.last_error if state.sequence > cursor else None,
    )
