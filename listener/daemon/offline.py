"""Commands on a journal without a daemon: the command line owns the journal for that moment."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from listener.daemon.control import Resend, ResendCancelled, ResendEvents
from listener.daemon.resending import planned, require_possible
from listener.errors import ControlError, JournalError, JournalLocked
from listener.journal.sqlite import SqliteJournal
from listener.model.event import DeadLetterFilter, LaneState
from listener.runtime.clock import SYSTEM_CLOCK

T = TypeVar("T")


async def replay(path: Path, which: DeadLetterFilter) -> int:
    """Mark dead letters, durably: the next daemon delivers them again. Returns how many are marked now.

    Raises:
        ControlError: another process owns the journal after all.
        JournalError: there is no journal, or it could not do it.
    """
    return await _owning(path, lambda journal: journal.replay_dead_letters(which))


async def drop(path: Path, which: DeadLetterFilter) -> int:
    """Delete dead letters for good; returns how many there were. Raises as `replay` does."""
    return await _owning(path, lambda journal: journal.drop_dead_letters(which))


async def resume(path: Path, name: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Forget that a sink is parked or paused, or all of them.

    The next daemon does so anyway for one that is merely parked. Returns the names of those that were parked or paused,
    and of the others. Raises as `replay` does, and ControlError if there is no such sink.
    """

    async def work(journal: SqliteJournal) -> tuple[tuple[str, ...], tuple[str, ...]]:
        states = await journal.lane_states()
        known = sorted({*states, *await journal.cursors()})
        if name is not None:
            require_known(name, known)
        meant = known if name is None else [name]
        now_ms = SYSTEM_CLOCK.now_ms()
        parked = tuple(sink for sink in meant if sink in states and states[sink].is_halted(now_ms))
        for sink in parked:
            await journal.store_lane_state(states[sink].resumed())
        return parked, tuple(sink for sink in meant if sink not in parked)

    return await _owning(path, work)


async def resend(path: Path, command: ResendEvents) -> Resend:
    """Have the next daemon deliver events again; raises as `replay` does, ControlError if there is no such sink."""

    async def work(journal: SqliteJournal) -> Resend:
        state = await _state(journal, command.name)
        cursor = (await journal.cursors()).get(command.name, 0)
        plan = await planned(command, journal.read, journal.events_between, last=journal.last_sequence, cursor=cursor)
        if not command.dry_run:
            left = journal.events_between(state.resend_after, state.resend_through)
            require_possible(command.name, holds_once=False, left=left)
        if plan.events and not command.dry_run:
            await journal.store_lane_state(replace(state, resend_after=plan.after, resend_through=plan.through))
        return plan

    return await _owning(path, work)


async def cancel_resend(path: Path, sink: str) -> ResendCancelled:
    """Have the next daemon deliver nothing again. Raises as `resend`."""

    async def work(journal: SqliteJournal) -> ResendCancelled:
        state = await _state(journal, sink)
        left = journal.events_between(state.resend_after, state.resend_through)
        await journal.store_lane_state(replace(state, resend_after=0, resend_through=0))
        return ResendCancelled(sink=sink, left=left)

    return await _owning(path, work)


async def _state(journal: SqliteJournal, sink: str) -> LaneState:
    """How a sink that the journal knows stands. Raises ControlError."""
    states = await journal.lane_states()
    require_known(sink, {*states, *await journal.cursors()})
    return states.get(sink, LaneState(sink=sink))


def require_known(sink: str, known: Collection[str]) -> None:
    """Raises ControlError: a journal knows no such sink."""
    if sink not in known:
        raise ControlError(f"this journal knows no sink {sink!r} (known: {', '.join(sorted(known)) or 'none'})")


async def _owning(path: Path, work: Callable[[SqliteJournal], Awaitable[T]]) -> T:
    if not await asyncio.to_thread(path.exists):
        raise JournalError(f"journal {path}: no such file")  # opening would make one
    journal = SqliteJournal(path=path)
    try:
        await journal.open()
    except JournalLocked as exc:
        raise ControlError(f"{exc}, which takes no commands; if it is starting or stopping, try again") from exc
    try:
        return await work(journal)
    finally:
        await journal.close()
