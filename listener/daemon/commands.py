"""Executes the commands of the control socket on the running daemon."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec
import structlog
from msgspec.structs import replace

from listener.daemon.control import (
    CancelResend,
    Command,
    DeadLetterCount,
    DropDeadLetters,
    LaneList,
    ListLanes,
    ReplayDeadLetters,
    Resend,
    ResendCancelled,
    ResendEvents,
    Result,
    Resumed,
    ResumeLane,
    SendTestEvent,
    SinkTestResult,
    Summarize,
)
from listener.daemon.resending import planned, require_possible
from listener.delivery import Lane
from listener.errors import ControlError, NotPossible
from listener.model.condition import Attempt
from listener.model.event import DeadLetterFilter, Event
from listener.model.replica import LANE, resend_order
from listener.ports import Duties, Journal

log = structlog.get_logger(__name__)


class CommandHandler:
    """Executes commands on the daemon's journal and lanes; what other replicas have is left to them, as an order.

    Args:
        journal: open.
        lanes: those of this process, by the name of their sink.
        new_test_event: makes the test event for the sink of a name.
        duties: where orders are left; None where there are no others.
        configured: the names of all sinks, wherever their lanes are; those of `lanes` by default.
        owner: tells which replica has the lane of a sink, None if that is not known.
        summary: what is well and what is not.
        holds_once: whether nothing may be delivered to a sink again.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        lanes: Mapping[str, Lane],
        new_test_event: Callable[[str], Event],
        duties: Duties | None = None,
        configured: Callable[[], Collection[str]] | None = None,
        owner: Callable[[str], Awaitable[str | None]] | None = None,
        summary: Callable[[], Awaitable[msgspec.Struct]] | None = None,
        holds_once: Callable[[str], bool] = lambda _sink: False,
    ) -> None:
        self._summary = summary
        self._journal = journal
        self._lanes = lanes
        self._new_test_event = new_test_event
        self._duties = duties
        self._owner = owner
        self._holds_once = holds_once
        self._configured = configured or (lambda: self._lanes)

    async def execute(self, command: Command) -> Result:
        """Execute a command; changes of the journal are durable.

        Raises:
            ControlError: there is no such sink, or the command contradicts itself.
            NotPossible: the sink cannot do it.
            JournalError: the journal could not do it.
        """
        done: Result
        match command:
            case ResumeLane():
                done = await self.resume(command)
            case ReplayDeadLetters(filter=which):
                done = await self.replay(which)
            case DropDeadLetters(filter=which):
                done = DeadLetterCount(letters=await self._journal.drop_dead_letters(which))
                log.info("dead_letters_dropped", letters=done.letters, sink=which.sink)
            case SendTestEvent(name=name):
                done = await self.test(name)
            case ResendEvents():
                done = await self.resend(command)
            case CancelResend(name=name):
                done = await self.cancel_resend(name)
            case ListLanes() | Summarize():
                done = await self._tell(command)
        return done

    async def attempts(self, sink: str, limit: int) -> tuple[Sequence[Attempt], bool, str | None]:
        """The last attempts of a sink, newest first; whether its lane is here; and the replica that has it, if known.

        Raises ControlError: there is no such sink.
        """
        lane = self._lanes.get(self._known(sink))
        owner = None if self._owner is None else await self._owner(sink)
        return () if lane is None else lane.attempts(limit), lane is not None, owner

    async def _tell(self, command: ListLanes | Summarize) -> LaneList | msgspec.Raw:
        if isinstance(command, ListLanes):
            return LaneList(lanes=tuple(lane.status() for _, lane in sorted(self._lanes.items())))
        if self._summary is None:
            raise ControlError("summary: nobody keeps it here")
        return msgspec.Raw(msgspec.json.encode(await self._summary()))

    async def resume(self, command: ResumeLane) -> Resumed:
        """Raises ControlError; so do the following, and what else `execute` raises."""
        if (command.name is None) != command.all:
            raise ControlError("lane-resume: give either name or all")
        names = [self._known(command.name)] if command.name is not None else list(self._configured())
        lanes = [self._lanes[name] for name in names if name in self._lanes]
        resumed = tuple(lane.name for lane in lanes if lane.resume(by_command=True))
        trying = tuple(lane.name for lane in lanes if lane.name not in resumed and lane.try_now())
        ordered = {name: await self._order(name, "resume") for name in names if name not in self._lanes}
        log.info("sinks_resumed", sinks=resumed, trying=trying, ordered=ordered)
        return Resumed(
            resumed=resumed,
            trying=trying,
            running=tuple(lane.name for lane in lanes if lane.name not in {*resumed, *trying}),
            ordered=ordered,
        )

    async def _order(self, name: str, what: str) -> str:
        """Leave it to whoever has the lane, or will have it. Raises NotPossible: this process, once it has begun."""
        if self._duties is None or not self._duties.is_shared:
            raise NotPossible(f"sink {name!r} has not started yet: try again in a moment")
        return await self._duties.order(LANE + name, what) or ""

    async def test(self, name: str) -> SinkTestResult:
        """Send one test event."""
        lane = await self._lane(self._known(name))
        event = self._new_test_event(lane.name)
        tested = SinkTestResult.of(event.id, *await lane.send_test_event(event))
        log.info("sink_tested", sink=lane.name, event_id=event.id, verdict=tested.verdict, reason=tested.reason)
        return tested

    async def replay(self, which: DeadLetterFilter) -> DeadLetterCount:
        """Mark only letters of sinks that are configured: those of others would wait for ever."""
        names = [self._known(which.sink)] if which.sink is not None else list(self._configured())
        letters = 0
        for name in names:
            marked = await self._journal.replay_dead_letters(replace(which, sink=name))
            letters += marked
            if marked and name in self._lanes:
                self._lanes[name].replay()  # a shared journal lets the others know
        log.info("dead_letters_replayed", letters=letters, sink=which.sink)
        return DeadLetterCount(letters=letters)

    async def resend(self, command: ResendEvents) -> Resend:
        """Deliver again, or tell how much that would be."""
        name, last = self._known(command.name), self._journal.last_sequence
        lane = self._lanes.get(name)
        cursor = (await self._journal.cursors()).get(name, 0) if lane is None else lane.status().cursor
        require_possible(name, holds_once=self._holds_once(name), left=await self._resend_left(name))
        plan = await planned(command, self._journal.read, self._journal.events_between, last=last, cursor=cursor)
        if command.dry_run or not plan.events:
            return plan
        if lane is not None:
            await lane.resend(plan.after, plan.through)
        else:
            plan = replace(plan, ordered=await self._order(name, resend_order(plan.after, plan.through)))
        log.info("resend_wanted", sink=name, events=plan.events, ordered=plan.ordered)
        return plan

    async def cancel_resend(self, name: str) -> ResendCancelled:
        """No more of what is to be delivered again."""
        if self._known(name) in self._lanes:
            return ResendCancelled(sink=name, left=await self._lanes[name].cancel_resend())
        left = await self._resend_left(name)
        await self._order(name, "resend-cancel")
        return ResendCancelled(sink=name, left=left)

    async def _resend_left(self, name: str) -> int:
        if name in self._lanes:
            return self._lanes[name].status().resend_left
        state = (await self._journal.lane_states()).get(name)
        return 0 if state is None else self._journal.events_between(state.resend_after, state.resend_through)

    def _known(self, name: str) -> str:
        if name not in self._configured():
            known = ", ".join(self._configured()) or "none"
            raise ControlError(f"there is no sink {name!r} in the running daemon (it has: {known})")
        return name

    async def _lane(self, name: str) -> Lane:
        if name not in self._lanes:
            owner = None if self._owner is None else await self._owner(name)
            raise NotPossible(
                f"no replica delivers to sink {name!r} at the moment"
                if owner is None
                else f"replica {owner!r} delivers to sink {name!r}: ask for the test event there"
            )
        return self._lanes[name]
