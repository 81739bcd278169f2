"""Many worlds, one after the other or in several processes, and what became of them."""

import gc
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from simulation.draws import draw
from simulation.judge import judge
from simulation.known import explained_by
from simulation.oracle import Case, Finding
from simulation.replicas import Replicas
from simulation.schedule import Schedule
from simulation.world import World

BROKEN = "broken world"
"""The finding that there is nothing to judge."""
_COLLECT_EVERY = 10  # worlds: each leaves cycles, and what a daemon freezes of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of one world.

    Attributes:
        plan: what went wrong in it.
        unknown: findings that no open case explains.
        known: the open cases that it shows, and a finding of each.
        virtual_s: how long it lasted.
        cpu_s: what it cost.
        trace: see `World`.
    """

    plan: Schedule
    unknown: list[Finding] = field(default_factory=list)
    known: dict[str, Finding] = field(default_factory=dict)
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    trace: str = ""


def play(plan: Schedule, *, log: bool = False) -> Outcome:
    """Play a schedule and judge the world. What breaks the world itself is a finding too."""
    began_s = time.process_time()
    world = Replicas(plan, log=log) if plan.replicas else World(plan, log=log)
    try:
        evidence = world.play()
        findings = judge(plan, evidence)
    except Exception as exc:  # noqa: BLE001 - it belongs to this seed, and to no other
        broken = Finding(promise=BROKEN, at=world.loop.now_s, agent="", text=f"{type(exc).__name__}: {exc}")
        return Outcome(plan=plan, unknown=[broken], cpu_s=time.process_time() - began_s)
    case, unknown, known = Case(plan, evidence), [], dict[str, Finding]()
    for finding in findings:
        explanation = explained_by(case, finding)
        if explanation is None:
            unknown.append(finding)
        else:
            known.setdefault(explanation.id, finding)
    return Outcome(
        plan=plan,
        unknown=unknown,
        known=known,
        virtual_s=evidence.ended_at,
        cpu_s=time.process_time() - began_s,
        trace=world.trace,
    )


def play_seed(seed: int, replicas: int = 0, *, media: bool = False, team: bool = False) -> Outcome:
    """Play the schedule of a seed; see `draw`."""
    if seed % _COLLECT_EVERY == 0:
        gc.unfreeze()
        gc.collect()
    return play(draw(seed, replicas, media=media, team=team))


def explore(
    seeds: Iterable[int], *, workers: int, replicas: int = 0, media: bool = False, team: bool = False
) -> Iterator[Outcome]:
    """Play the schedules of these seeds; the outcomes come in their order."""
    play_one = partial(play_seed, replicas=replicas, media=media, team=team)
    if workers <= 1:
        yield from map(play_one, seeds)
        return
    with ProcessPoolExecutor(workers, initializer=os.nice, initargs=(5,)) as pool:
        yield from pool.map(play_one, seeds, chunksize=2)
