"""What chain and checkpoints cost the file sink: the plain file, the chain, and both, turn by turn in one run.

    python tests/benchmarks/trail_cost.py [--events 50000] [--rounds 5] [--dir DIR]

Each figure is the median of the rounds. CPU is that of the process, all threads. `checkpoints` are made every 1,000
lines, as by default; `often` is every 100.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

sys.path.insert(0, str(Path(__file__).parents[1]))

from listener.config.lane import LaneSettings
from listener.sinks import registry
from support.events import disposition_event

NEVER = {"checkpoint_lines": 10**9}
VARIANTS: dict[str, Mapping[str, object]] = {
    "plain": {"chain": False},
    "chain": NEVER,
    "chain, checkpoints": {},
    "chain, checkpoints often": {"checkpoint_lines": 100},
}


async def seconds(options: Mapping[str, object], events: list, batch: int, folder: Path) -> tuple[float, float]:
    """Elapsed time and CPU for all events, opening and closing left out."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        lane = LaneSettings(type="file", path="out.jsonl", **options)
        sink = registry.build("audit", lane, base=Path(place))
        await sink.open()
        began, cpu = time.perf_counter(), time.process_time()
        for start in range(0, len(events), batch):
            await sink.deliver(events[start : start + batch])
        took = time.perf_counter() - began, time.process_time() - cpu
        await sink.close()
    return took


async def main(total: int, rounds: int, folder: Path) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    events = [disposition_event(number, chat=f"chat-{number % 1000}") for number in range(1, total + 1)]
    print(f"{'':<26}{'batch':>6} {'fsync':>6} {'events/s':>10} {'time':>6} {'CPU us/event':>13} {'CPU':>6}")
    for fsync in (True, False):
        for batch in (500, 10):
            some = events if batch > 10 or not fsync else events[: total // 10]
            taken: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
            for _ in range(rounds):
                for name, options in VARIANTS.items():
                    taken[name].append(await seconds({**options, "fsync": fsync}, some, batch, folder))
            medians = {
                name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in taken.items()
            }
            plain = medians["plain"]
            for name, (elapsed, cpu) in medians.items():
                print(
                    f"{name:<26}{batch:>6} {'yes' if fsync else 'no':>6} {len(some) / elapsed:>10.0f} "
                    f"{elapsed / plain[0]:>6.2f} {cpu / len(some) * 1e6:>13.2f} {cpu / plain[1]:>6.2f}"
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", type=Path, default=None, help="a folder on the disk to measure")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.dir) as home:
        asyncio.run(main(chosen.events, chosen.rounds, Path(home)))
