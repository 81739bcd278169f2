"""Whether the daemon's memory grows with the events: one session over a stream in batches of 100, looked at on the way.

The journal keeps all of it on disk.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

from benchmarks.measuring import CONFIG, HERE, RUN, Figure, Lines, Scale, Table, ask, child, number, rss_kib, wait

EVENTS = 500_000
BATCH = 100
MARKS = 10


def growth(total: int, folder: Path) -> Iterator[tuple[int, int]]:
    """Events taken, and resident KiB of the daemon, at the beginning and at some marks on the way."""
    step = total // MARKS
    with child(sys.executable, HERE / "publisher.py", stdin=PIPE, stdout=PIPE) as publisher:
        (folder / "listener.toml").write_text(CONFIG.format(port=ask(publisher)), encoding="utf-8")
        with child(*RUN, cwd=folder) as daemon:
            lines = Lines(folder / "out.jsonl")
            ask(publisher, f"load {step} {BATCH}")
            for mark in range(0, total + 1, step):
                if mark:
                    ask(publisher, "go")
                    ask(publisher, f"load {step} {BATCH}")
                wait(f"{mark} events", lambda mark=mark: lines.update() >= mark)
                yield lines.count, rss_kib(daemon.pid)


def tables(scale: Scale) -> Iterator[Table]:
    """Memory by the number of events."""
    with tempfile.TemporaryDirectory(dir=scale.folder) as name:
        rows = [
            (Figure(f"{events:,}"), number(kib / 1024))
            for events, kib in growth(scale.of(EVENTS // BATCH, MARKS) * BATCH, Path(name))
        ]
    yield Table("Memory over a stream", "One session, 100 events a poll.", ("events", "MiB"), rows)
