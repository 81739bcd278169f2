"""An operator has events delivered again, and what must come of it."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from listener.daemon.commands import CommandHandler
from listener.daemon.control import Resend, ResendEvents
from listener.errors import ControlError, JournalError, JournalFenced
from listener.testing import sample_test
from simulation.evidence import Wanted
from simulation.oracle import Case, Finding
from simulation.process import Process
from simulation.schedule import OperatorResends

if TYPE_CHECKING:
    from simulation.world import World

_SINKS = ("audit", "crm")
_ANSWERED_WITHIN_S = 60.0


def begin(world: "World", fault: OperatorResends) -> None:
    """Ask a process that runs: of replicas mostly the one that has the sink; a refusal is an answer too."""
    own = [one for one in world.processes if "crm" in one.daemon._lanes.running]
    asked = own if own and round(fault.at * 1000) % 4 else world.processes
    for process in asked[:1]:
        process.spawn(_resend(world, process, fault), f"resend at {fault.at}")


async def _resend(world: "World", process: Process, fault: OperatorResends) -> None:
    daemon = process.daemon
    commands = CommandHandler(
        journal=daemon._journal,
        lanes=daemon._lanes.running,
        new_test_event=sample_test,
        duties=daemon._duties,
        configured=lambda: _SINKS,
        holds_once=lambda sink: sink == "audit",
    )
    now_ms = daemon._host.clock.now_ms()
    order = ResendEvents(
        name="crm", from_ms=now_ms - round(fault.since_s * 1000), to_ms=now_ms - round(fault.until_s * 1000)
    )
    try:
        async with asyncio.timeout(_ANSWERED_WITHIN_S):
            plan = await commands.execute(order)
            assert isinstance(plan, Resend)
            events = await daemon._journal.read(plan.after, max(1, plan.events))
    except (ControlError, JournalError, JournalFenced, TimeoutError) as exc:
        world.note(f"not resent: {type(exc).__name__}")
        return
    ids = tuple(event.id for event in events if event.sequence <= plan.through)
    world.note(f"to be resent: {plan}")
    if plan.events:
        world.evidence.wanted_again.append(Wanted(at=world.loop.now_s, ids=ids, is_ordered=plan.ordered is not None))


def what_is_wanted_again_comes_again(case: Case) -> Iterator[Finding]:
    """1d. What an operator has delivered again comes to the sink after that, or is a dead letter.

    What is ordered of another replica is replaced by what is wanted before that has begun.
    """
    last = {post.id: post.at for post in case.evidence.posted}
    dead = {letter.event_id for letter in case.evidence.letters if letter.sink == "crm"}
    for wanted in case.evidence.wanted_again:
        if wanted.is_ordered and any(one.at > wanted.at for one in case.evidence.wanted_again):
            continue
        for event_id in wanted.ids:
            if last.get(event_id, 0.0) < wanted.at and event_id not in dead:
                text = f"event {event_id} was to be delivered again, and never was"
                yield Finding(promise="not resent", at=wanted.at, agent="", text=text)
