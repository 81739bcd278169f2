"""CPU per event and events per second of the whole daemon, beside two plain scripts, in one run on one machine.

    pip install '.[bench]' && python tests/benchmarks/pipeline.py [--rounds 3]

The daemon receives, filters, classifies, journals with fsync, and writes the file sink with fsync. The rivals append
to a file and make nothing durable: one is a script on `aiocometd-ng`, one the official JavaScript client on Node (npm
modules from tests/interop/servers). CPU is user and system time of the client's process from the first event to the
last; figures are medians of the rounds.
"""

import argparse
import os
import platform
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
MODULES = HERE.parent / "interop" / "servers" / "node_modules"
COUNTS = {1: 3_000, 10: 20_000, 100: 100_000}
LIMIT_S = 180.0
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


def cpu_s(pid: int) -> float:
    """User and system time of a process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_kib(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


@contextmanager
def child(*argv: str | Path, **options: object) -> Iterator[subprocess.Popen[str]]:
    """A child process, killed at the end."""
    with subprocess.Popen([str(a) for a in argv], text=True, **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.kill()


class Lines:
    """How many lines a growing file has."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.offset = 0

    def update(self) -> int:
        """Read what is new."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self.offset)
                while chunk := file.read(2**20):
                    self.count += chunk.count(b"\n")
                    self.offset += len(chunk)
        return self.count


def measure(argv: list[str | Path], count: int, batch: int, folder: Path, env: dict[str, str]) -> tuple[float, float]:
    """CPU in microseconds per event, and events per second, of one client over one stream."""
    out = folder / "out.jsonl"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with child(sys.executable, HERE / "publisher.py", str(count), str(batch), **pipes) as publisher:
        port = int(publisher.stdout.readline())
        (folder / "listener.toml").write_text(CONFIG.format(port=port), encoding="utf-8")
        words = [str(word).format(url=f"http://127.0.0.1:{port}/cometd", out=out) for word in argv]
        with child(*words, cwd=folder, env={**os.environ, **env}) as client:
            if not select.select([publisher.stdout], [], [], 20.0)[0]:
                sys.exit(f"{words[:3]}: does not poll")
            lines = Lines(out)
            before, started = cpu_s(client.pid), time.monotonic()
            publisher.stdin.write("go\n")
            publisher.stdin.flush()
            while lines.update() < count:
                if time.monotonic() - started > LIMIT_S or client.poll() is not None:
                    sys.exit(f"{words[:3]}: {lines.count} of {count} events after {LIMIT_S} s")
                time.sleep(0.005)
            return (cpu_s(client.pid) - before) / count * 1e6, count / (time.monotonic() - started)


def main() -> None:
    """Print the table: medians of the rounds, and the daemon's share of each rival's CPU."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--only", help="one client, by its name in the table")
    given = options.parse_args()
    run = [sys.executable, "-m", "listener", "run", "--config", "listener.toml"]
    clients: dict[str, list[str | Path]] = {"disposition-listener": run}
    clients["aiocometd-ng script"] = [sys.executable, HERE / "rivals/script.py", "{url}", "{out}"]
    if MODULES.exists():
        clients["cometd.js script"] = ["node", HERE / "rivals/script.js", "{url}", "{out}"]
    if given.only:
        clients = {given.only: clients[given.only]}
    env = {"NODE_PATH": str(MODULES)}
    uvloop = "with" if find_spec("uvloop") else "without"
    print(f"Python {platform.python_version()}, daemon {uvloop} uvloop, {os.cpu_count()} cores, {given.rounds} rounds")
    print(f"{'client':22} {'batch':>5} {'CPU us/event':>13} {'events/s':>10} {'ours / theirs':>14}")
    for batch, count in COUNTS.items():
        ours = 0.0
        for name, argv in clients.items():
            rounds = []
            for _ in range(given.rounds):
                with tempfile.TemporaryDirectory() as folder:
                    rounds.append(measure(argv, count, batch, Path(folder), env))
            cpu, rate = (statistics.median(values) for values in zip(*rounds, strict=True))
            ours = ours or cpu
            print(f"{name:22} {batch:5} {cpu:13.1f} {rate:10.0f} {ours / cpu:14.2f}", flush=True)


if __name__ == "__main__":
    main()
