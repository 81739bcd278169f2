"""How each fault of a schedule comes about in a world, and ends."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

from listener.errors import JournalLocked
from simulation import again, replica_acts, site
from simulation import schedule as faults
from simulation.evidence import SessionProblem
from simulation.schedule import AnyFault, ends_at

if TYPE_CHECKING:
    from simulation.process import Process
    from simulation.replicas import Replicas
    from simulation.world import World

_REFUSED_WITHIN_S = 3.0
_STOPS_WITHIN_S = 30.0
_SECOND = 1000  # numbers of listeners that somebody starts beside the one that runs


def begin(world: "World", fault: AnyFault) -> None:
    """Let it go wrong, and see to its end."""
    world.note(repr(fault))
    match fault:
        case faults.Partition() | faults.Refuse() | faults.Reset():
            _on_the_network(world, fault)
        case faults.OperatorResends():
            again.begin(world, fault)
        case faults.ReceiverAnswers() | faults.ReceiverHangs() | faults.ReceiverChokes() | faults.ReceiverForgets():
            _at_the_receiver(world, fault)
        case (
            faults.ClockJump()
            | faults.Kill()
            | faults.Restart()
            | faults.Second()
            | faults.DiskFull()
            | faults.DiskStall()
            | faults.FilesTaken()
        ):
            _on_the_host(world, fault)
        case (
            faults.CutOff()
            | faults.KillReplica()
            | faults.RestartReplica()
            | faults.RollingRestart()
            | faults.Freeze()
            | faults.ReplicaClock()
            | faults.Drain()
            | faults.Namesake()
            | faults.DatabaseRestart()
            | faults.DatabaseSlow()
        ):
            replica_acts.begin(cast("Replicas", world), fault)
        case _:
            _at_the_server(world, fault)


def _later(world: "World", work: Coroutine[Any, Any, None], host: str = "driver") -> None:
    world.loop.net.host(host).create_task(work)


async def _after(delay_s: float, *acts: Any) -> None:
    await asyncio.sleep(delay_s)
    for act in acts:
        act()


def _trouble(
    world: "World", fault: AnyFault, *, cuts: bool = False, agent: str | None = None, until: float | None = None
) -> None:
    agents = frozenset([agent] if agent is not None else {*world.agents, *world.logins})
    until = ends_at(fault) if until is None else until
    world.evidence.troubles.append(
        SessionProblem(since=fault.at, until=until, agents=agents, fault=type(fault).__name__, cuts=cuts)
    )


# --- the network ------------------------------------------------------------------------------------------------------


def _on_the_network(world: "World", fault: faults.Partition | faults.Refuse | faults.Reset) -> None:
    net, host = world.loop.net, fault.host
    if host == "gws":
        _trouble(world, fault, cuts=not isinstance(fault, faults.Reset))
    match fault:
        case faults.Partition():
            pairs = {frozenset((listener, host)) for listener in world.listeners}
            net._cuts |= pairs
            _later(world, _after(fault.for_s, lambda: world.loop.join(pairs)))
        case faults.Refuse():
            listeners = {key: one for key, one in net._listeners.items() if key[0] == host}
            for key in listeners:
                del net._listeners[key]
            _reset(world, host)
            _later(world, _after(fault.for_s, lambda: net._listeners.update(_still_serving(listeners, net))))
        case faults.Reset():
            _reset(world, host)


def _still_serving(listeners: dict[Any, Any], net: Any) -> dict[Any, Any]:
    return {key: one for key, one in listeners.items() if one.server.is_serving() and key not in net._listeners}


def _reset(world: "World", host: str) -> None:
    for (_, name, _), transport in list(world.loop.net._streams.items()):
        if name == host and transport._remote[0] in world.listeners:
            transport.abort()


# --- the server -------------------------------------------------------------------------------------------------------


def _at_the_server(world: "World", fault: AnyFault) -> None:
    server = world.site
    cuts = isinstance(fault, faults.Slow | faults.ServerRestart | faults.LoseLogins)
    if not isinstance(fault, faults.ReadTimeout):  # that is no trouble once it is known: the server notes what it cuts
        _trouble(world, fault, cuts=cuts, agent=getattr(fault, "agent", None))
    match fault:
        case faults.StandIn():
            server.stand_in(fault)
        case faults.ReadTimeout():
            server.read_timeout_s = fault.limit_s
            _later(world, _after(fault.for_s, lambda: setattr(server, "read_timeout_s", None)))
        case faults.Slow():
            server.control("delay", ms=fault.by_ms)
            _later(world, _after(fault.for_s, lambda: server.control("delay", ms=0)))
        case faults.ServerRestart():
            _later(world, _restart_server(server, fault.for_s), "gws")
        case faults.RotateCsrf():
            server.control("set-csrf")
        case faults.RefuseTopic():
            server.control("refuse-topic", topic=fault.topic)
            server.control("expire")
            _later(world, _after(fault.for_s, lambda: server.control("refuse-topic", topic=fault.topic, refused=False)))
        case faults.LoseLogins():
            server.control("invalidate-logins", seconds=fault.for_s)
        case faults.Drop() | faults.Cut() | faults.Garbled() | faults.Fail() | faults.Duplicate():
            _to_the_next_answers(server, fault)
        case _:
            _to_one_agent(server, fault)


def _to_the_next_answers(server: site.Site, fault: AnyFault) -> None:
    match fault:
        case faults.Drop():
            server.control("drop", only=fault.only, target="notifications")
        case faults.Cut():
            server.control("cut", after_bytes=fault.after_bytes, only=fault.only, target="notifications")
        case faults.Garbled():
            server.control("garbage", kind=fault.kind)
        case faults.Fail():
            server.control("fail", status=fault.status, count=fault.count, target=fault.target)
        case faults.Duplicate():
            server.control("duplicate", count=fault.count)


def _to_one_agent(server: site.Site, fault: AnyFault) -> None:
    match fault:
        case faults.Expire():
            server.control("expire", agent=fault.agent)
        case faults.Forget():
            server.excuse(fault.agent)
            server.control("forget-subscriptions", agent=fault.agent)
        case faults.RefuseInBayeux():
            server.excuse(fault.agent)
            server.refuse_in_bayeux(fault.agent, fault.error)
        case faults.Deny():
            server.control("deny-handshake", count=fault.count)
            server.control("expire", agent=fault.agent)
        case faults.DenySubscription():
            server.deny_subscription(fault.agent, fault.count)
            server.control("expire", agent=fault.agent)
        case faults.Advise():
            server.control(
                "advice",
                kind=fault.kind,
                interval_ms=int(fault.interval_ms),
                successful=fault.successful,
                agent=fault.agent,
            )


async def _restart_server(server: site.Site, for_s: float) -> None:
    if server._runner is None:
        return
    await server.stop()
    await asyncio.sleep(for_s)
    if server._runner is None:
        await server.start()


# --- the listener's host ----------------------------------------------------------------------------------------------


def _on_the_host(world: "World", fault: AnyFault) -> None:
    process = world.running
    if not isinstance(fault, faults.FilesTaken):  # that excuses nothing
        begun_s = fault.by_s if isinstance(fault, faults.DiskStall) else 0.0  # what the disk has begun is late too
        cuts = isinstance(fault, faults.Kill | faults.Restart | faults.DiskStall)
        _trouble(world, fault, cuts=cuts, until=ends_at(fault) + begun_s)
    match fault:
        case faults.ClockJump():
            world.clocks[fault.host].jump(fault.by_s)
        case faults.Kill() if process is not None:
            world.kill(process, power=fault.power)
            _later(world, _after(fault.for_s, world.start))
        case faults.Restart() if process is not None:
            _later(world, _restart(world, process, fault))
        case faults.Second() if process is not None:
            _later(world, _start_second(world, process))
        case faults.DiskFull() if process is not None:
            _fill(world, process, is_full=True)
            _later(world, _after(fault.for_s, lambda: _fill(world, process, is_full=False)))
        case faults.DiskStall():
            world.loop.stall_s = fault.by_s
            _later(world, _after(fault.for_s, lambda: setattr(world.loop, "stall_s", 0.0)))
        case faults.FilesTaken() if process is not None:
            for suffix in fault.suffixes:
                (process.folder / f"journal.db{suffix}").unlink(missing_ok=True)


async def _restart(world: "World", process: "Process", fault: faults.Restart) -> None:
    began_at = world.loop.now_s
    process.daemon.stop()
    while not process.task.done():
        if not process.life.alive:
            return
        if world.loop.now_s - began_at > _STOPS_WITHIN_S:
            world.evidence.crashes.append((world.loop.now_s, f"no stop within {_STOPS_WITHIN_S} s"))
            return
        await asyncio.sleep(0.05)
    await asyncio.sleep(fault.for_s)
    world.start()
    _trouble(world, fault, cuts=True, until=world.loop.now_s)  # what a sink is waited for is a part of it


async def _start_second(world: "World", process: "Process") -> None:
    """Beside one that has its journal: of two that start at once on a slow disk, either may be the first."""
    while not process.has_its_journal:
        if not process.life.alive or process.task.done():
            return
        await asyncio.sleep(0.05)
    number = _SECOND + process.number
    second = world.process(process.folder, number, lambda _, error: _second_ended(world, error))

    def look() -> None:
        if not second.task.done():
            world.evidence.crashes.append((world.loop.now_s, "two listeners run on one journal"))
            second.daemon.stop()

    _later(world, _after(_REFUSED_WITHIN_S + 4 * world.loop.stall_s, look))  # a slow disk delays the refusal


def _second_ended(world: "World", error: BaseException | None) -> None:
    if not isinstance(error, JournalLocked):
        world.evidence.crashes.append((world.loop.now_s, f"a second listener ended with {error!r}"))


def _fill(world: "World", process: "Process", *, is_full: bool) -> None:
    world.disk.is_full = is_full
    if process.life.alive:
        process.fill_disk(is_full=is_full)


# --- the receiver -----------------------------------------------------------------------------------------------------


def _at_the_receiver(world: "World", fault: AnyFault) -> None:
    crm = world.receiver
    match fault:
        case faults.ReceiverAnswers():
            crm.trouble = fault
            _later(world, _after(fault.for_s, lambda: setattr(crm, "trouble", None)))
        case faults.ReceiverHangs():
            crm.hangs = True
            _later(world, _after(fault.for_s, lambda: setattr(crm, "hangs", False)))
        case faults.ReceiverChokes():
            crm.chokes_on = ""
            _later(world, _after(fault.for_s, lambda: setattr(crm, "chokes_on", None)))
