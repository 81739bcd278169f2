"""From the server's publication of an event to its line in the audit file, and to that line on the disk.

The publisher stamps each notification with the moment at which it is published, and answers the poll that waits. The
file is looked at every 0.2 ms. A line counts as durable when an fdatasync of the looker has returned after that.
"""

import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from subprocess import Popen

from benchmarks.measuring import LIMIT_S, Figure, Scale, Table, number
from benchmarks.pipeline import OURS, Client, Lines, stream, streaming

SECONDS = {1: 60, 50: 10, 200: 8}
WARM_UP = 300
LOOK_S = 0.0002
STAMP = re.compile(rb'"disposition":"at ([0-9]+) ')


def watch(path: Path, offset: int, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each event until its line is seen, and until it is on the disk."""
    seen: list[float] = []
    durable: list[float] = []
    rest, until_s = b"", time.monotonic() + LIMIT_S
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        while len(seen) < count and time.monotonic() < until_s:
            block = file.read(2**20)
            if not block:
                time.sleep(LOOK_S)
                continue
            now = time.monotonic_ns()
            os.fdatasync(file.fileno())
            then = time.monotonic_ns()
            whole, _, rest = (rest + block).rpartition(b"\n")
            stamps = [int(found) for found in STAMP.findall(whole)]
            seen += [(now - stamp) / 1e6 for stamp in stamps]
            durable += [(then - stamp) / 1e6 for stamp in stamps]
    return seen, durable


def measure(publisher: Popen[str], path: Path, seconds: int, count: int) -> tuple[list[float], list[float]]:
    """So many events, evenly spread over these seconds."""
    offset = path.stat().st_size
    publisher.stdin.write(f"spread {seconds} {count}\n")
    publisher.stdin.flush()
    found = watch(path, offset, count)
    publisher.stdout.readline()
    return found


def percentiles(values: Sequence[float]) -> list[Figure]:
    """The median, the 99th of a hundred, and the most."""
    ranked = sorted(values)
    return [number(value) for value in (statistics.median(ranked), ranked[int(len(ranked) * 0.99)], ranked[-1])]


def tables(scale: Scale) -> Iterator[Table]:
    """One table."""
    rows = []
    with tempfile.TemporaryDirectory(dir=scale.folder) as name:
        folder = Path(name)
        path = folder / "out.jsonl"
        with streaming(Client(OURS), folder) as (publisher, process):
            stream(publisher, process, Lines(path), WARM_UP, 1)
            for rate, seconds in SECONDS.items():
                shorter = scale.of(seconds)
                seen, durable = measure(publisher, path, shorter, shorter * rate)
                rows.append([number(rate), number(len(seen)), *percentiles(seen), *percentiles(durable)])
    yield Table(
        "Latency",
        "Milliseconds from the server's publication to the line in the audit file, and until it is durable. The poll, "
        "the commit with its fsync and the delivery with its fsync lie between. One session, one event at a time.",
        ["events/s", "events", *(f"{what}, {one}" for what in ("line", "durable") for one in ("p50", "p99", "max"))],
        rows,
    )
