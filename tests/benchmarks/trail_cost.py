"""What chain and checkpoints cost the file sink: the plain file, the chain, and both, turn by turn in one run."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.measuring import Figure, Scale, Table, spread
from listener.config.lane import LaneSettings
from listener.model.event import Event
from listener.sinks import registry
from support.events import disposition_event

EVENTS = 50_000
VARIANTS: Mapping[str, Mapping[str, object]] = {
    "plain": {"chain": False},
    "chain": {"checkpoint_lines": 10**9},
    "chain, a checkpoint each 1,000 lines": {},
    "chain, a checkpoint each 100 lines": {"checkpoint_lines": 100},
}


async def seconds(
    options: Mapping[str, object], events: Sequence[Event], batch: int, folder: Path
) -> tuple[float, float]:
    """Elapsed time and CPU of the process for all events, opening and closing left out."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        sink = registry.build("audit", LaneSettings(type="file", path="out.jsonl", **options), base=Path(place))
        await sink.open()
        began, cpu = time.perf_counter(), time.process_time()
        for start in range(0, len(events), batch):
            await sink.deliver(events[start : start + batch])
        took = time.perf_counter() - began, time.process_time() - cpu
        await sink.close()
    return took


def tables(scale: Scale) -> Iterator[Table]:
    count = scale.of(EVENTS, 1000)
    events = [disposition_event(number, chat=f"chat-{number % 1000}") for number in range(1, count + 1)]
    rows = []
    with tempfile.TemporaryDirectory(dir=scale.folder) as folder:
        for batch in (500, 10):
            some = events if batch > 10 else events[: count // 10]
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
            for _ in range(scale.rounds):
                for name, options in VARIANTS.items():
                    taken[name].append(asyncio.run(seconds(options, some, batch, Path(folder))))
            plain_s = statistics.median(elapsed for elapsed, _ in taken["plain"])
            for name, runs in taken.items():
                elapsed, cpu = zip(*runs, strict=True)
                rates, costs = [len(some) / s for s in elapsed], [s / len(some) * 1e6 for s in cpu]
                times = Figure(f"{statistics.median(elapsed) / plain_s:.2f}")
                rows.append([name, Figure(str(batch)), spread(rates), times, spread(costs)])
    yield Table(
        "Audit trail",
        f"The `file` sink alone, each batch durable before the next. Medians of {scale.rounds}, in turns.",
        ["", "a batch", "events/s", "time / plain", "CPU µs per event"],
        rows,
    )
