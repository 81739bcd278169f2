"""Milliseconds from the server's publication of an event to its durable line in the audit file, at several rates.

    python tests/benchmarks/latency.py [--rates 1 50 200] [--seconds 20] [--dir DIR]

The publisher, in a process of its own, stamps each notification with the moment at which it is published, and answers
the poll that waits. `line` is when the line is seen in the file, which is looked at every 0.2 ms; `durable` when an
fdatasync of this process has returned after that.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline import CONFIG, LIMIT_S, child, cpu_s
from publisher import HOLD_S, Publisher, notification

LOOK_S = 0.0002
STAMP = re.compile(rb'"disposition":"at([0-9]+)"')


class Paced(Publisher):
    """Publishes so many events a second, evenly, each with its moment (monotonic nanoseconds, alike in all processes).

    Args:
        count: how many.
        rate: events a second.
    """

    def __init__(self, count: int, rate: float) -> None:
        super().__init__(0, 1)
        self.texts = [f'{{"channel":"/v2/me/chats","data":{notification(n)}}}' for n in range(count)]
        self.rate = rate
        self.waiting: list[str] = []
        self.published = asyncio.Event()
        self.publishing: asyncio.Task[None] | None = None

    async def publish(self) -> None:
        """Every event in its turn."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number, text in enumerate(self.texts):
            await asyncio.sleep(began_s + number / self.rate - loop.time())
            self.waiting.append(text.replace(f'"Code{number}"', f'"at{time.monotonic_ns()}"'))
            self.published.set()

    async def connect(self, message: dict, reply: dict) -> str:
        """All that is published; as soon as there is any."""
        self.number += 1
        if "ack" in message.get("ext", {}):
            reply["ext"] = {"ack": self.number}
        if self.number == 1 or message.get("advice", {}).get("timeout") == 0:
            return json.dumps(reply)
        if self.publishing is None:
            print("polled", flush=True)
            await self.go.wait()
            self.publishing = asyncio.create_task(self.publish())
        try:
            async with asyncio.timeout(HOLD_S):
                await self.published.wait()
        except TimeoutError:
            return json.dumps(reply)
        self.published.clear()
        events, self.waiting = self.waiting, []
        return ",".join([*events, json.dumps(reply)])


async def serve(count: int, rate: float) -> None:
    publisher = Paced(count, rate)
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: (sys.stdin.readline(), publisher.go.set()))
    server = await asyncio.start_server(publisher.serve, "127.0.0.1", 0, limit=2**22)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def watch(path: Path, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each event until its line is seen, and until it is on the disk."""
    seen: list[float] = []
    durable: list[float] = []
    rest, deadline_s = b"", time.monotonic() + LIMIT_S
    with path.open("rb", buffering=0) as file:
        while len(seen) < count:
            block = file.read(2**20)
            if not block:
                if time.monotonic() > deadline_s:
                    sys.exit(f"{len(seen)} of {count} events after {LIMIT_S} s")
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


def measure(count: int, rate: float, folder: Path) -> tuple[list[float], list[float], float]:
    """The milliseconds of each event, as `watch`, and the daemon's CPU per event in microseconds."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with child(sys.executable, __file__, "--publish", str(count), str(rate), **pipes) as publisher:
        port = int(publisher.stdout.readline())
        (folder / "listener.toml").write_text(CONFIG.format(port=port), encoding="utf-8")
        with child(sys.executable, "-m", "listener", "run", "--config", "listener.toml", cwd=folder) as daemon:
            if publisher.stdout.readline() != "polled\n":
                sys.exit("the daemon does not poll")
            before = cpu_s(daemon.pid)
            publisher.stdin.write("go\n")
            publisher.stdin.flush()
            seen, durable = watch(folder / "out.jsonl", count)
            return seen, durable, (cpu_s(daemon.pid) - before) / count * 1e6


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rates", type=float, nargs="+", default=[1, 50, 200])
    options.add_argument("--seconds", type=float, default=20.0, help="of each rate, and 20 events at least")
    options.add_argument("--dir", type=Path, help="a folder on the disk to measure")
    options.add_argument("--publish", nargs=2, metavar=("COUNT", "RATE"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.publish:
        asyncio.run(serve(int(given.publish[0]), float(given.publish[1])))
        return
    heads = "".join(f"{name:>9}" for name in ("p50", "p99", "max"))
    print(f"{'events/s':>9} {'events':>7} {'line':>9}{heads[9:]} {'durable':>9}{heads[9:]} {'CPU us/event':>13}  (ms)")
    for rate in given.rates:
        count = max(20, int(given.seconds * rate))
        with tempfile.TemporaryDirectory(dir=given.dir) as folder:
            seen, durable, cpu = measure(count, rate, Path(folder))
        cells = [
            f"{statistics.median(values):9.2f}{percentile(values, 0.99):9.2f}{max(values):9.2f}"
            for values in (seen, durable)
        ]
        print(f"{rate:9g} {count:7} {' '.join(cells)} {cpu:13.0f}", flush=True)


if __name__ == "__main__":
    main()
