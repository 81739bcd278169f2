"""How each fault of replicas and of their database comes about in a world, and ends."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from simulation import database
from simulation import schedule as faults
from simulation.schedule import AnyFault
from simulation.wellness import JOINED_WITHIN_S

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.replicas import Replicas

_LOOK_S = 0.05


def begin(world: "Replicas", fault: AnyFault) -> None:
    """Let it go wrong, and see to its end."""
    match fault:
        case faults.RollingRestart():
            _work(world, _roll(world, fault.for_s))
        case faults.DatabaseRestart() | faults.DatabaseSlow():
            _at_the_database(world, fault)
        case faults.CutOff():
            _cut_off(world, fault)
        case faults.ReplicaClock():
            world.clocks[world.name_of(fault.replica)].jump(fault.by_s)
        case faults.Drain():
            host = world.name_of(fault.replica)
            world.drain(host, draining=True)
            world.is_unwell(host, "Drain", for_s=fault.for_s + JOINED_WITHIN_S)
            world.loop.call_later(fault.for_s, lambda: world.drain(host, draining=False))
        case faults.Namesake():
            _work(world, _start_a_namesake(world, world.name_of(fault.replica), fault.for_s))
        case faults.KillReplica() | faults.RestartReplica() | faults.Freeze():
            process = world.on(world.name_of(fault.replica))
            if process is not None:
                _to_one(world, process, fault)


def _work(world: "Replicas", work: "asyncio._CoroutineLike[None]") -> None:
    world.loop.net.host("driver").create_task(work)


def _to_one(
    world: "Replicas", process: "Process", fault: faults.KillReplica | faults.RestartReplica | faults.Freeze
) -> None:
    host = process.host
    match fault:
        case faults.KillReplica():
            world.kill(process)
            world.is_unwell(host, "KillReplica", for_s=fault.for_s + JOINED_WITHIN_S)
            world.loop.call_later(fault.for_s, world.start_on, host)
        case faults.RestartReplica():
            _work(world, _restart(world, process, fault.for_s, "RestartReplica"))
        case faults.Freeze() if not process.life.frozen:
            process.life.frozen = True
            world.is_unwell(host, "Freeze", for_s=fault.for_s + JOINED_WITHIN_S)
            world.loop.call_later(fault.for_s, world.loop.thaw, process.life)


async def _restart(world: "Replicas", process: "Process", down_s: float, why: str) -> None:
    since = world.loop.now_s
    await _stop(process)
    if process.life.alive:
        await asyncio.sleep(down_s)
        world.start_on(process.host)
    world.is_unwell(process.host, why, since=since, for_s=JOINED_WITHIN_S)


async def _stop(process: "Process") -> None:
    process.daemon.stop()
    while process.life.alive and not process.task.done():  # noqa: ASYNC110 - who is killed tells nobody
        await asyncio.sleep(_LOOK_S)


async def _roll(world: "Replicas", pause_s: float) -> None:
    for host in world.listeners[:-1]:
        process = world.on(host)
        if process is not None:
            await _restart(world, process, 0.2, "RollingRestart")
        await asyncio.sleep(pause_s)


async def _start_a_namesake(world: "Replicas", name: str, for_s: float) -> None:
    guest = world.listeners[-1]
    since = world.loop.now_s
    if world.on(guest) is not None:
        return
    world.start_on(guest, name=name)
    process = world.on(guest)
    await asyncio.sleep(for_s)
    if process is not None:
        await _stop(process)
    for host in (name, guest):
        world.is_unwell(host, "Namesake", since=since, for_s=JOINED_WITHIN_S)


def _at_the_database(world: "Replicas", fault: faults.DatabaseRestart | faults.DatabaseSlow) -> None:
    world.is_unwell(database.HOST, type(fault).__name__, for_s=fault.for_s + JOINED_WITHIN_S)
    match fault:
        case faults.DatabaseRestart():
            world.database.stop()
            world.loop.call_later(fault.for_s, world.database.start)
        case faults.DatabaseSlow():
            world.database.slow_s = fault.by_ms / 1000
            world.loop.call_later(fault.for_s, setattr, world.database, "slow_s", 0.0)


def _cut_off(world: "Replicas", fault: faults.CutOff) -> None:
    host, net = world.name_of(fault.replica), world.loop.net
    why = "CutOff of answers" if fault.way == "answers" else f"CutOff from {fault.host}"
    world.is_unwell(host, why, for_s=fault.for_s + JOINED_WITHIN_S)
    if fault.host == database.HOST:
        join = world.database.cut(host, way=fault.way, late=fault.late)
    else:
        pairs = {frozenset((host, fault.host))}
        net._cuts |= pairs
        join = partial(world.loop.join, pairs)
    world.loop.call_later(fault.for_s, join)
