"""Executes the commands of the control socket on the running daemon."""

from collections.abc import Callable, Mapping

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
from listener.ports import Journal

log = structlog.get_logger(__name__)


class CommandHandler:
    """Executes commands on the daemon's journal and lanes.

    Args:
        journal: open.
        lanes: by the name of their sink.
        new_test_event: makes the test event for the sink of a name.
    """

    def __init__(self, *, journal: Journal, lanes: Mapping[str, Lane], new_test_event: Callable[[str], Event]) -> None:
        self._journal = journal
        self._lanes = lanes
        self._new_test_event = new_test_event

    async def execute(self, command: Command) -> Result:
        """Execute a command; changes of the journal are durable.

        Raises:
            ControlError: there is no such sink, or the command contradicts itself.
            JournalError: the journal could not do it.
        """
        match command:
            case ResumeLane():
                return self._resume(command)
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

    def _resume(self, command: ResumeLane) -> Resumed:
        if (command.name is None) != command.all:
            raise ControlError("lane-resume: give either name or all")
        lanes = [self._lane(command.name)] if command.name is not None else list(self._lanes.values())
        resumed = tuple(lane.name for lane in lanes if lane.resume(by_command=True))
        log.info("sinks_resumed", sinks=resumed)
        return Resumed(resumed=resumed, running=tuple(lane.name for lane in lanes if lane.name not in resumed))

    async def _test(self, lane: Lane) -> SinkTestResult:
        event = self._new_test_event(lane.name)
        tested = SinkTestResult.of(event.id, await lane.send_test_event(event))
        log.info("sink_tested", sink=lane.name, event_id=event.id, verdict=tested.verdict, reason=tested.reason)
        return tested

    async def _replay(self, which: DeadLetterFilter) -> DeadLetterCount:
        """Mark only letters of running lanes: those of other sinks would wait for ever."""
        lanes = [self._lane(which.sink)] if which.sink is not None else list(self._lanes.values())
        letters = 0
        for lane in lanes:
            marked = await self._journal.replay_dead_letters(replace(which, sink=lane.name))
            letters += marked
            if marked:
                lane.replay()
        log.info("dead_letters_replayed", letters=letters, sink=which.sink)
        return DeadLetterCount(letters=letters)

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            known = ", ".join(self._lanes) or "none"
            raise ControlError(f"there is no sink {name!r} in the running daemon (it has: {known})")
        return lane
