"""The lanes of all sinks: builds, starts and replaces each of them while the others continue."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from listener.config.settings import Settings
from listener.daemon.accounts import Spawn
from listener.daemon.assembly import policy_of, sink_problems
from listener.delivery import Lane
from listener.errors import ConfigError, JournalError
from listener.model.event import Event, Gap, Kind
from listener.ports import Journal
from listener.runtime.backoff import Backoff
from listener.runtime.host import Host
from listener.runtime.metrics import Metrics
from listener.sinks import registry

_AT_ONCE = 1000  # events of one read
_IN_HAND_S = 1.0


class SinkLanes:
    """Builds, starts and stops the lanes of a configuration.

    Attributes:
        running: the lanes by the name of their sink, in the order of the configuration; changed in place.

    Args:
        journal: where events and cursors are.
        metrics: counts.
        host: time, chance and workers.
        certainty: as of `Lane`; None where no other process can have one.
        on_delivered: as of `Lane`.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        metrics: Metrics,
        host: Host,
        certainty: Callable[[], Awaitable[None]] | None = None,
        on_delivered: Callable[[int, float], None] | None = None,
    ) -> None:
        self._host = host
        self._certainty = certainty
        self._on_delivered = on_delivered
        self._journal = journal
        self._metrics = metrics
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.running: dict[str, Lane] = {}

    def build(self, settings: Settings, names: Iterable[str], *, retry_start_errors: bool = True) -> dict[str, Lane]:
        """The lanes of these sinks, as configured; none is opened. For `retry_start_errors` see `LanePolicy`.

        Raises:
            ConfigError: with the problems of all sinks.
        """
        if problems := sink_problems(settings):
            raise ConfigError(problems)
        return {name: self._lane(settings, name, retry_start_errors=retry_start_errors) for name in names}

    def start(self, lanes: Mapping[str, Lane], spawn: Spawn) -> None:
        """Start lanes that were built."""
        for name, lane in lanes.items():
            self.running[name] = lane
            self._tasks[name] = spawn(f"lane {name}", lane.run())

    async def end(self, names: Iterable[str]) -> None:
        """Stop these lanes; their position is in the journal. What was just delivered may be delivered again."""
        tasks = [self._tasks.pop(name) for name in names if name in self._tasks]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for name in names:
            self.running.pop(name, None)

    async def rest(self, names: Collection[str]) -> None:
        """Stop these lanes so that another process goes on where they are, as far as the journal can be written.

        A batch that the sink has in hand is waited for, for a moment: what it takes now, nobody brings it again.
        """
        lanes = [self.running[name] for name in names if name in self.running]
        with suppress(TimeoutError):
            async with asyncio.timeout(_IN_HAND_S):
                await asyncio.gather(*(lane.rest() for lane in lanes))
        await self.end(names)
        for lane in lanes:
            with suppress(JournalError):
                await self._journal.advance(lane.name, lane.status().cursor)

    async def exchange(self, settings: Settings, names: Iterable[str], spawn: Spawn) -> None:
        """Restart these lanes with the same settings, since files that the settings name have changed.

        Raises:
            ConfigError: those files cannot be used; the old lanes continue.
        """
        lanes = self.build(settings, names)
        await self.end(lanes)
        self.start(lanes, spawn)

    def files(self, settings: Settings) -> dict[str, list[Path]]:
        """The files that each sink reads, by its name. Blocks."""
        found: dict[str, list[Path]] = {}
        for name in [name for name in settings.sinks if name in self.running]:  # a reload may be under way
            with suppress(ConfigError):  # one is not there for the moment
                found[name] = registry.input_files(name, settings.sinks[name], settings.base)
        return found

    async def answered(self) -> None:
        """Return once each sink is open, or waits for something."""
        await asyncio.gather(*(lane.answered() for lane in self.running.values()))

    async def drained(self) -> None:
        """Return once each lane has delivered everything, or is parked."""
        await asyncio.gather(*(lane.drained() for lane in self.running.values()))

    def resume(self) -> list[str]:
        """Resume every parked lane whose sink is not disabled; returns their names."""
        return [name for name, lane in self.running.items() if lane.resume()]

    def reopen(self) -> None:
        """Let every sink that writes to files reopen them."""
        for lane in self.running.values():
            lane.reopen()

    def _lane(self, settings: Settings, name: str, *, retry_start_errors: bool) -> Lane:
        lane = settings.sinks[name]
        policy = replace(policy_of(name, lane), retry_start_errors=retry_start_errors)
        sink = registry.build(
            name,
            lane,
            base=settings.base,
            host=self._host,
            recall=partial(recall, self._journal, policy.shape),
            count=lambda metric, amount: self._metrics.count(metric, amount, name),
        )
        return Lane(
            name=name,
            kind=lane.type,
            sink=sink,
            journal=self._journal,
            policy=policy,
            metrics=self._metrics,
            now_ms=self._host.clock.now_ms,
            backoff=Backoff(limit_s=lane.retry_limit_s, uniform=self._host.random.uniform),
            monotonic=self._host.clock.monotonic_s,
            certainty=self._certainty,
            on_delivered=self._on_delivered,
        )


async def recall(
    journal: Journal, shape: Callable[[Sequence[Event]], Sequence[Event]], sequences: Sequence[int]
) -> registry.Recalled:
    """What a journal has of these sequences, which rise, as a sink gets it. Raises JournalError."""
    found: list[Event] = []
    wanted = list(sequences)
    while wanted:
        span = next((at for at, number in enumerate(wanted) if number != wanted[0] + at), len(wanted))
        span = min(span, _AT_ONCE)
        events = await journal.read(wanted[0] - 1, span)
        found += (event for event in events if event.sequence <= wanted[span - 1])
        del wanted[:span]
    last = journal.last_sequence
    if found and found[-1].sequence < sequences[-1] <= last and await _is_behind_the_end(journal, sequences[-1]):
        last = found[-1].sequence
    return registry.Recalled(shape(found), last)


async def _is_behind_the_end(journal: Journal, sequence: int) -> bool:
    """Whether the journal ended before this sequence, and left it out since a destination had shown a higher one.

    Its loss is on record behind that, or will be.
    """
    pending = [damage for damage in await journal.pending_damages() if not damage.set_aside]
    following = await journal.read(sequence, _AT_ONCE)
    return bool(pending) or any(
        event.kind is Kind.GAP and msgspec.json.decode(event.data, type=Gap).reason == "journal_lost"
        for event in following
    )
