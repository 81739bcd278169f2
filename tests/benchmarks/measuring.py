"""What the benchmarks share: children pinned to a core, CPU by thread, medians with their spread, and tables."""

import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode, so its starts do not compile

HERE = Path(__file__).parent
LIMIT_S = 300.0
CORES = sorted(os.sched_getaffinity(0))
CLIENT_CORE, SERVER_CORE = CORES[0], CORES[-1]
RUN = (sys.executable, HERE / "daemon.py", "run", "--config", "listener.toml")
CONFIG = """
shutdown_timeout_s = 5
[server]
url = "http://127.0.0.1:{port}"
notifications = "/cometd"
login = "none"
[journal]
path = "journal.db"
[log]
level = "warning"
[sinks.file]
type = "file"
path = "out.jsonl"
"""


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: how often each figure is taken; a table shows the median.
        share: what part of the usual amounts is gone through, at most 1.
        folder: where files and journals are made; None for the system's.
    """

    rounds: int = 3
    share: float = 1.0
    folder: Path | None = None

    def of(self, count: int, step: int = 1) -> int:
        """The share of an amount, a whole number of steps and at least one."""
        return max(1, round(count * self.share / step)) * step


@dataclass(frozen=True)
class Table:
    """One table: a heading, what is measured, a row of headings, and the rows. Figures stand right."""

    title: str
    about: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """As it stands in a document."""
        columns = zip(*self.rows, strict=True)
        texts = [not any(isinstance(cell, Figure) for cell in column) for column in columns]
        lines = [self.head, ["---" if text else "---:" for text in texts], *self.rows]
        return f"### {self.title}\n\n{self.about}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Figure(str):
    """A number as a table shows it."""

    __slots__ = ()


def number(value: float) -> Figure:
    """Two significant digits below ten, none after the point above, groups of three."""
    return Figure(f"{value:,.0f}" if value >= 20 else f"{value:.1f}" if value >= 2 else f"{value:.2f}")


def spread(values: Sequence[float]) -> Figure:
    """The median, and the least and the most."""
    if len(values) == 1:
        return number(values[0])
    return Figure(f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})")


@contextmanager
def child(*argv: str | Path, core: int | None = None, **options: Any) -> Iterator[Popen[str]]:
    """A child process, on one core if that is given, killed at the end. Its pipes are text."""
    free = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        process = Popen([str(word) for word in argv], text=True, **options)
    finally:
        os.sched_setaffinity(0, free)
    with process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: Popen[str], line: str = "") -> str:
    """The line that a child prints, after a line to it if there is one."""
    if line:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    if answer := process.stdout.readline():
        return answer.strip()
    sys.exit(f"{process.args}: ended before it answered {line!r}")


def wait(what: str, done: Callable[[], object], limit_s: float = LIMIT_S) -> float:
    """Look until it is done. Returns how many seconds it took."""
    started = time.monotonic()
    while not done():
        if time.monotonic() - started > limit_s:
            sys.exit(f"{what}: not within {limit_s} s")
        time.sleep(0.005)
    return time.monotonic() - started


def cpu_by_thread(pid: int) -> Counter[str]:
    """Seconds on a core, user and system, by the names of a process's threads (see daemon.py)."""
    taken: Counter[str] = Counter()
    for task in Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text(encoding="utf-8").strip()
        taken[name] += int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    return taken


def cpu_s(pid: int) -> float:
    """Seconds on a core, of all threads."""
    return sum(cpu_by_thread(pid).values())


def rss_kib(pid: int) -> int:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


class Lines:
    """How many events a growing file has. Lines that are no disposition, such as checkpoints, do not count."""

    MARK = b'.chat.disposition"'

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.offset = path.stat().st_size if path.exists() else 0
        self.rest = b""

    def update(self) -> int:
        """Read what is new."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self.offset)
                while chunk := file.read(2**20):
                    self.offset += len(chunk)
                    whole, end, self.rest = (self.rest + chunk).rpartition(b"\n")
                    self.count += whole.count(self.MARK) if end else 0
        return self.count
