"""A journal in a database that replicas share: commands ask the database itself, from any host."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec.structs import replace

from listener.cli import running
from listener.config.journal import JournalSettings
from listener.daemon import database
from listener.daemon.control import Resend, ResendCancelled, ResendEvents, Resumed
from listener.daemon.offline import require_known
from listener.daemon.resending import planned, require_possible
from listener.errors import UNDECODABLE, StartError
from listener.journal.shared.database import Database
from listener.model.event import (
    EVERY_DEAD_LETTER,
    DeadLetter,
    DeadLetterFilter,
    Event,
    JournalStats,
    LaneState,
    LaneStatus,
)
from listener.model.filter import DeadLetterGroup, EventFilter
from listener.model.holes import events_between
from listener.model.replica import LANE, DutyReport, resend_order
from listener.runtime.clock import SYSTEM_CLOCK
from listener.sinks import registry

if TYPE_CHECKING:
    from listener.journal.postgres.options import PostgresOptions

_PAGE = 1000

T = TypeVar("T")


class Shared:
    """Where it is; each question opens the database, and closes it again.

    Args:
        table: the `[journal]` table, which has a `url`.
        base: the folder that its files are beside.
    """

    def __init__(self, table: JournalSettings, base: Path) -> None:
        self._table = table
        self._base = base

    def __str__(self) -> str:
        return f"{self._table.url}, schema {self._table.schema}"

    def options(self) -> "PostgresOptions":
        """How it is reached. Raises StartError: the client library is not installed."""
        if (lacking := registry.lacking("postgres")) is not None:
            raise StartError(f"journal.url: {lacking}")
        return database.options_of(self._table, self._base)

    def database(self) -> Database:
        """The database, not open yet; what is not there is not made. Raises StartError likewise."""
        self.options()
        return database.database_of(self._table, self._base, makes_schema=False)

    def ask(self, work: Callable[[Database], Awaitable[T]]) -> T:
        """What it answers. Raises JournalError."""
        return running.run(_asked(self.database(), work))

    def pages(self, page: Callable[[Database, int], Coroutine[Any, Any, tuple[list[T], int]]]) -> Iterator[T]:
        """All that there is: `page` is called with a sequence, and brings what is behind it and where to go on.

        Raises JournalError.
        """
        with asyncio.Runner() as runner:
            opened = self.database()
            runner.run(opened.open())
            try:
                found, after = runner.run(page(opened, 0))
                while found:
                    yield from found
                    found, after = runner.run(page(opened, after))
            finally:
                runner.run(opened.close())


async def _asked(database: Database, work: Callable[[Database], Awaitable[T]]) -> T:
    await database.open()
    try:
        return await work(database)
    finally:
        await database.close()


def stats(place: Shared) -> JournalStats:
    """Its figures. Raises JournalError, as the others."""
    return place.ask(lambda database: database.stats())


def events(place: Shared, after: int = 0) -> Iterator[Event]:
    """Every event above a sequence, oldest first."""

    async def page(database: Database, beyond: int) -> tuple[list[Event], int]:
        found = list(await database.read(max(after, beyond), _PAGE))
        return found, found[-1].sequence if found else 0

    return place.pages(page)


def show(place: Shared, *, after: int, chat: str | None, limit: int) -> list[Event]:
    """At most `limit` events above `after`, oldest first, of one chat or of all."""
    found: list[Event] = []
    for event in events(place, after):
        if chat in (None, event.subject):
            found.append(event)
            if len(found) == limit:
                break
    return found


def newest(place: Shared, chat: str | None, count: int) -> list[Event]:
    """The last `count` events of one chat or of all, oldest first."""

    async def search(database: Database) -> list[Event]:
        found: list[Event] = []
        before: int | None = None
        while len(found) < count:
            looked = await database.search(EventFilter(chat=chat), before=before, limit=count - len(found))
            found += looked.events
            before = looked.before
            if before is None:
                break
        return found[::-1]

    return place.ask(search)


def export(place: Shared) -> Iterator[bytes]:
    """Every event as a line of CloudEvents JSON with its line end, oldest first."""
    return (event.to_json() + b"\n" for event in events(place))


def dead_letters(place: Shared, which: DeadLetterFilter = EVERY_DEAD_LETTER) -> list[DeadLetter]:
    """The dead letters that are meant, oldest first."""
    return place.ask(lambda database: database.dead_letters(which))


def dead_letter_groups(place: Shared, which: DeadLetterFilter) -> list[DeadLetterGroup]:
    """The dead letters that are meant, by sink and reason, the largest groups first."""
    return place.ask(lambda database: database.dead_letter_groups(which))


def dead_letter_events(place: Shared, which: DeadLetterFilter) -> list[Event]:
    """Their events, in journal order, as the letters keep them."""

    async def page(database: Database, after: int) -> tuple[list[Any], int]:
        found = (await database.dead_letter_page(after=after, limit=_PAGE, sink=which.sink)).letters
        return list(found), found[-1].letter.sequence if found else 0

    return [
        one.event
        for one in place.pages(page)
        if one.event is not None and (not which.event_ids or one.letter.event_id in which.event_ids)
    ]


def verify(place: Shared) -> list[str]:
    """Everything that is wrong with the journal, one sentence each; empty for a sound one.

    Checks that every event can be read and has an object for its data, that sequences rise without a hole but those
    that are on record, and that no cursor or dead letter points past the last event.
    """
    before, last = stats(place), 0
    faults: list[str] = []
    holes: list[tuple[int, int]] = []
    try:
        for event in events(place):
            if last and event.sequence != last + 1:
                holes.append((last, event.sequence))
            last = event.sequence
            try:
                msgspec.json.decode(event.data, type=dict[str, Any])
            except UNDECODABLE as exc:
                faults.append(f"event {event.sequence}: data is not a JSON object: {exc}")
    except (KeyError, ValueError) as exc:  # a word that no event has, which tells no more of itself
        faults.append(f"reading stopped behind event {last}: {type(exc).__name__}")
    after = stats(place)
    holes = [hole for hole in holes if hole[1] > after.first_sequence]  # retention may have been at work
    lacking = sum(found - known - 1 for known, found in holes) + (max(0, before.last_sequence - last) if last else 0)
    if lacking > max(_missing(before), _missing(after)):
        faults += [f"event {found} follows on {known}: {found - known - 1} missing" for known, found in holes]
    return [*faults, *_pointers(after, dead_letters(place))]


def _missing(found: JournalStats) -> int:
    """How many sequences are on record as those of no event."""
    return found.last_sequence - found.first_sequence + 1 - found.events if found.events else 0


def _pointers(found: JournalStats, letters: list[DeadLetter]) -> Iterator[str]:
    last = found.last_sequence
    for sink, sequence in found.cursors.items():
        if not 0 <= sequence <= last:
            yield f"cursor of sink {sink}: {sequence} is outside 0 to {last}"
    for letter in letters:
        if not 0 < letter.sequence <= last:
            yield f"dead letter of sink {letter.sink}: {letter.sequence} is outside 1 to {last}"


async def lanes_of(database: Database) -> dict[str, tuple[DutyReport, LaneStatus | None]]:
    """Per sink who has its lane, and how it stands, if its owner has told."""
    return {
        one.duty.removeprefix(LANE): (one, _status(one)) for one in await database.duties() if one.duty.startswith(LANE)
    }


def _status(one: DutyReport) -> LaneStatus | None:
    try:
        return msgspec.json.decode(one.report, type=LaneStatus) if one.report else None
    except UNDECODABLE:  # another version has left it
        return None


def replay(place: Shared, which: DeadLetterFilter) -> tuple[int, bool]:
    """Mark letters for another delivery; returns how many, and whether somebody has the lanes of all of them.

    Where replicas are there, only letters of sinks that one of them could deliver to: others would wait for ever.
    """

    async def mark(database: Database) -> tuple[int, bool]:
        lanes = await lanes_of(database)
        if not lanes:
            return await database.replay_dead_letters(which), False
        letters, owned = 0, True
        for sink in lanes.keys() & (lanes if which.sink is None else {which.sink}):
            marked = await database.replay_dead_letters(replace(which, sink=sink))
            letters += marked
            owned = owned and not (marked and lanes[sink][0].replica is None)
        return letters, owned

    return place.ask(mark)


def resume(place: Shared, name: str | None) -> tuple[Resumed, bool]:
    """Have whoever has a lane resume it, or all that are halted or fail; returns also whether all have an owner.

    Raises ControlError: there is no such sink.
    """

    async def order(database: Database) -> tuple[Resumed, bool]:
        lanes, states = await lanes_of(database), await database.lane_states()
        known = sorted({*lanes, *states, *await database.cursors()})
        if name is not None:
            require_known(name, known)
        meant = known if name is None else [name]
        now_ms = SYSTEM_CLOCK.now_ms()
        halted = tuple(sink for sink in meant if sink in states and states[sink].is_halted(now_ms))
        told = {sink: lane for sink in meant if sink in lanes and (lane := lanes[sink][1]) is not None}
        failing = [sink for sink, lane in told.items() if sink not in halted and lane.failing_s is not None]
        trying = tuple([sink for sink in failing if await database.order(LANE + sink, "resume") is not None])
        owned = True
        for sink in halted:
            if await database.order(LANE + sink, "resume") is None:
                owned = False
                await database.store_lane_state(None, states[sink].resumed())
        running = tuple(sink for sink in meant if sink not in {*halted, *trying})
        return Resumed(resumed=halted, trying=trying, running=running), owned

    return place.ask(order)


def resend(place: Shared, command: ResendEvents) -> Resend:
    """Have whoever has a sink's lane, or will have it, deliver events again. Raises ControlError: no such sink."""

    async def order(database: Database) -> Resend:
        cursors, states = await database.cursors(), await database.lane_states()
        require_known(command.name, {*await lanes_of(database), *states, *cursors})
        found, cursor = await database.stats(), cursors.get(command.name, 0)
        count = partial(events_between, holes=found.holes)
        plan = await planned(command, database.read, count, last=found.last_sequence, cursor=cursor)
        if command.dry_run or not plan.events:
            return plan
        state = states.get(command.name, LaneState(sink=command.name))
        require_possible(command.name, holds_once=False, left=count(state.resend_after, state.resend_through))
        what = resend_order(plan.after, plan.through)
        return replace(plan, ordered=await database.order(LANE + command.name, what) or "")

    return place.ask(order)


def cancel_resend(place: Shared, sink: str) -> ResendCancelled:
    """Have whoever has a sink's lane deliver nothing again any more. Raises ControlError: no such sink."""

    async def order(database: Database) -> ResendCancelled:
        states = await database.lane_states()
        require_known(sink, {*await lanes_of(database), *states, *await database.cursors()})
        await database.order(LANE + sink, "resend-cancel")
        state, found = states.get(sink, LaneState(sink=sink)), await database.stats()
        left = events_between(state.resend_after, state.resend_through, found.holes)
        return ResendCancelled(sink=sink, left=left)

    return place.ask(order)


def lanes(place: Shared) -> list[LaneStatus] | None:
    """How the lanes stand whose owners have told; None if no replica is there."""
    if not place.ask(lambda database: database.replicas()):
        return None
    return [status for _, status in owned_lanes(place).values() if status is not None]


def owned_lanes(place: Shared) -> dict[str, tuple[str | None, LaneStatus | None]]:
    """By sink the replica that has its lane, if one has, and how it stands, if that one has told."""
    found = place.ask(lanes_of)
    return {sink: (one.replica, status if one.replica else None) for sink, (one, status) in found.items()}


def drop(place: Shared, which: DeadLetterFilter) -> int:
    """Delete letters for good; returns how many there were."""
    return place.ask(lambda database: database.drop_dead_letters(which))
