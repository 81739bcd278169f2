"""Executes the commands of the control socket on the running daemon."""

from collections.abc import Callable, Collection, Mapping, Sequence

import structlog
from msgspec.structs import replace

from listener.daemon.control import (
    Command,
    DeadLetterCount,
    DropDeadLetters,
    LaneList,
    ListLanes,
    ReplayDeadLetters,
    Result,
    Resumed,
    ResumeLane,
    SendTestEvent,
    SinkTestResult,
)
from listener.delivery import Lane
from listener.errors import ControlError
from listener.model.event import DeadLetterFilter, Event
from listener.model.replica import LANE
from listener.ports import Duties, Journal
from listener.runtime.clock import SYSTEM_CLOCK

log = structlog.get_logger(__name__)


class CommandHandler:
    """Executes commands on the daemon's journal and lanes.

    Args:
        journal: open.
        lanes: by the name of their sink.
        new_test_event: makes the test event for the sink of a name.
        elsewhere: the sinks that other replicas deliver to.
        duties: take what these have to do; none are elsewhere without.
        now_ms: epoch milliseconds.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        lanes: Mapping[str, Lane],
        new_test_event: Callable[[str], Event],
        elsewhere: Callable[[], Collection[str]] = tuple,
        duties: Duties | None = None,
        now_ms: Callable[[], int] = SYSTEM_CLOCK.now_ms,
    ) -> None:
        self._journal = journal
        self._lanes = lanes
        self._new_test_event = new_test_event
        self._elsewhere = elsewhere
        self._duties = duties
        self._now_ms = now_ms

    async def execute(self, command: Command) -> Result:
        """Execute a command; changes of the journal are durable.

        Raises:
            ControlError: there is no such sink, or the command contradicts itself.
            JournalError: the journal could not do it.
        """
        match command:
            case ResumeLane():
                return await self._resume(command)
            case ReplayDeadLetters(filter=which):
                return await self._replay(which)
            case DropDeadLetters(filter=which):
                letters = await self._journal.drop_dead_letters(which)
                log.info("dead_letters_dropped", letters=letters, sink=which.sink)
                return DeadLetterCount(letters=letters)
            case SendTestEvent(name=name):
                return await self._test(self._lane(name))
            case ListLanes():
                return LaneList(lanes=tuple(lane.status() for lane in self._lanes.values()))

    async def _resume(self, command: ResumeLane) -> Resumed:
        if (command.name is None) != command.all:
            raise ControlError("lane-resume: give either name or all")
        names = self._named(command.name)
        resumed = [name for name in names if name in self._lanes and self._lanes[name].resume(by_command=True)]
        resumed += await self._have_resumed([name for name in names if name not in self._lanes])
        log.info("sinks_resumed", sinks=tuple(resumed))
        return Resumed(resumed=tuple(resumed), running=tuple(name for name in names if name not in resumed))

    async def _have_resumed(self, elsewhere: Sequence[str]) -> list[str]:
        """Leave an order for each; returns those that are halted by what their lanes have stored."""
        if self._duties is None or not elsewhere:
            return []
        states, now_ms = await self._journal.lane_states(), self._now_ms()
        for name in elsewhere:
            await self._duties.order(LANE + name, "resume")
        return [name for name in elsewhere if name in states and states[name].is_halted(now_ms)]

    async def _test(self, lane: Lane) -> SinkTestResult:
        event = self._new_test_event(lane.name)
        tested = SinkTestResult.of(event.id, await lane.send_test_event(event))
        log.info("sink_tested", sink=lane.name, event_id=event.id, verdict=tested.verdict, reason=tested.reason)
        return tested

    async def _replay(self, which: DeadLetterFilter) -> DeadLetterCount:
        """Mark only letters of running lanes: those of other sinks would wait for ever."""
        letters = 0
        for name in self._named(which.sink):
            marked = await self._journal.replay_dead_letters(replace(which, sink=name))
            letters += marked
            if marked and name in self._lanes:  # what runs elsewhere is told by the journal
                self._lanes[name].replay()
        log.info("dead_letters_replayed", letters=letters, sink=which.sink)
        return DeadLetterCount(letters=letters)

    def _named(self, name: str | None) -> list[str]:
        """The sink of this name, here or elsewhere, or all. Raises ControlError: there is none."""
        known = list(dict.fromkeys([*self._lanes, *self._elsewhere()]))
        if name is not None and name not in known:
            raise self._unknown(name, known)
        return known if name is None else [name]

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None and name in self._elsewhere():
            raise ControlError(f"another replica delivers to sink {name!r}")
        if lane is None:
            raise self._unknown(name, list(self._lanes))
        return lane

    def _unknown(self, name: str, known: Sequence[str]) -> ControlError:
        has = ", ".join(known) or "none"
        return ControlError(f"there is no sink {name!r} in the running daemon (it has: {has})")
