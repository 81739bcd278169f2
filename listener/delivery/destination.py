"""A sink as its lane sees it: one call at a time, pauses, and a halt where it needs a person."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from listener.backoff import Backoff
from listener.delivery.outcomes import hand_over, outcome_of, pause_after
from listener.delivery.standing import Standing
from listener.errors import Outcome, Park, Retry, StartError
from listener.metrics import Metrics
from listener.model import Event
from listener.ports import Sink

_CLOSE_S = 5.0
_TRIAL_S = 30.0


class Destination:
    """Shared by the two ways that lead to a sink: the stream of the journal, and replayed letters.

    Whoever delivers holds `turn`, in the pause after a failure too where the failure meets the other way as well. A
    test event needs no turn: it goes between two calls.

    Args:
        name: the sink's name.
        sink: the sink.
        standing: is told of parks.
        metrics: counts attempts and failures.
        on_park: called when the lane halts.
        shape: what of a batch's events may leave the process.
    """

    def __init__(
        self,
        *,
        name: str,
        sink: Sink,
        standing: Standing,
        metrics: Metrics,
        on_park: Callable[[], None],
        shape: Callable[[Sequence[Event]], Sequence[Event]],
    ) -> None:
        self._name = name
        self._shape = shape
        self._sink = sink
        self._standing = standing
        self._metrics = metrics
        self._on_park = on_park
        self._resumed = asyncio.Event()
        self._log = structlog.get_logger(__name__).bind(sink=name)
        self.turn = asyncio.Lock()
        self._calls = asyncio.Lock()
        self._opened = False
        self.parked: str | None = None
        self.failures = 0
        self.opening_error: str | None = None
        metrics.set("sink_parked", 0, name)

    async def open(self, backoff: Backoff) -> None:
        """Open the sink, as often as it takes. Raises StartError where the host refuses."""
        while True:
            try:
                await self._sink.open()
            except StartError:
                raise
            except Exception as exc:  # noqa: BLE001 - as in deliver: a foreign sink's bug is its own lane's matter
                outcome = outcome_of(exc)
                self.opening_error = outcome.reason
                self._count(outcome)
                await self.wait_after(outcome, pause_after(outcome, backoff))
            else:
                break
        self._opened = True
        if self.opening_error is not None:
            self._log.info("delivery_recovered")
        self.opening_error = None

    async def close(self) -> None:
        """Close the sink. One that cannot be closed holds nobody up."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._sink.close()
        except Exception as exc:  # noqa: BLE001 - as in deliver
            self._log.error("sink_not_closed", error=f"{type(exc).__name__}: {exc}")

    async def hand_over(self, events: Sequence[Event]) -> Outcome | None:
        """One attempt; None where the sink has taken everything."""
        self._metrics.count("sink_attempts_total", 1, self._name)
        async with self._calls:
            theirs = list(self._shape(events))  # a foreign sink may empty its list; the lane counts in its own
            outcome = await hand_over(self._sink, theirs)
        if outcome is not None:
            self._count(outcome)
        return outcome

    async def try_out(self, event: Event) -> Outcome | None:
        """Hand over an event that is none of the journal's: at once, whatever the lane waits for."""
        if not self._opened:
            return Retry(f"the sink is not open yet: {self.opening_error or 'the lane is starting'}")
        try:
            async with asyncio.timeout(_TRIAL_S), self._calls:
                return await hand_over(self._sink, [event])
        except TimeoutError:
            return Retry(f"the sink did not decide within {_TRIAL_S:g} s")

    def _count(self, outcome: Outcome) -> None:
        self.failures += 1
        self._metrics.count("sink_failures_total", 1, self._name, type(outcome).__name__.lower())

    async def wait_after(self, outcome: Outcome, pause_s: float) -> None:
        """Take the pause after a Retry; after a Park, stand still until a person says otherwise."""
        match outcome:
            case Park():
                await self._park(outcome.reason)
            case Retry():
                self._log.warning("delivery_failed", reason=outcome.reason, retry_in_s=round(pause_s, 2))
                await asyncio.sleep(pause_s)

    async def _park(self, reason: str) -> None:
        self.parked = reason
        self._resumed.clear()
        self._on_park()
        self._metrics.set("sink_parked", 1, self._name)
        self._log.error(
            "lane_parked", reason=reason, effect="events are kept", until="lane resume, SIGHUP or a restart"
        )
        try:
            await self._standing.park(reason)
            await self._resumed.wait()
        finally:
            self.parked = None
            self._metrics.set("sink_parked", 0, self._name)
        await self._standing.resume()
        self._log.info("lane_resumed")

    def resume(self) -> bool:
        """End a park; tells whether there was one."""
        self._resumed.set()
        return self.parked is not None
