"""All benchmarks, in one command, from the root of the repository: `python -m tests.benchmarks`."""

import argparse
import json
import logging
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest's `pythonpath` does

import structlog

from benchmarks import (
    audit_speed,
    catch_up,
    growth,
    journal_speed,
    latency,
    memory,
    pipeline,
    replicas,
    sessions,
    sinks,
    trail_cost,
)
from benchmarks.measuring import Scale, Table

QUICK = Scale(rounds=1, share=0.2)
SECTIONS: dict[str, Callable[[Scale], Iterable[Table]]] = {
    "rivals": pipeline.rivals,
    "variants": pipeline.variants,
    "many": pipeline.sessions,
    "latency": latency.tables,
    "catch-up": catch_up.tables,
    "journal": journal_speed.tables,
    "growth": growth.tables,
    "sinks": sinks.tables,
    "trail": trail_cost.tables,
    "audit": audit_speed.tables,
    "sessions": sessions.tables,
    "memory": memory.tables,
    "replicas": replicas.tables,
}
BEGIN, END = "<!-- python -m tests.benchmarks -->", "<!-- the end of what it wrote -->"


def machine(scale: Scale) -> str:
    """What the figures were taken on, when, and how carefully."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    place = scale.folder or Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108 - where tempfile goes
    system = output("df", "--output=fstype", str(place)).split()[-1]
    parts = [
        f"{datetime.now(UTC):%Y-%m-%d}, load {os.getloadavg()[0]:.1f} at the start",
        f"{scale.rounds} rounds, {scale.share:.0%} of the amounts",
        f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, {system}",
        f"Python {platform.python_version()}, uvloop {version('uvloop')}, aiohttp {version('aiohttp')}",
        f"aiocometd-ng {version('aiocometd-ng')}",
    ]
    if pipeline.MODULES.exists():
        cometd = json.loads((pipeline.MODULES / "cometd" / "package.json").read_text(encoding="utf-8"))["version"]
        parts.append(f"cometd.js {cometd} on Node {output('node', '--version')}")
    return "; ".join(parts) + "."


def output(*argv: str) -> str:
    """What a command prints."""
    return subprocess.check_output(argv, text=True).strip()


def main() -> None:
    """Print the tables, and write them into a document if one is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="NAME")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true", help="a fifth of the amounts, once")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure")
    parser.add_argument("--write", type=Path, help="a document that has the markers")
    given = parser.parse_args()
    if given.write and len(given.only) < len(SECTIONS):
        parser.error("--write is for all tables, of one run")
    before, _, rest = given.write.read_text(encoding="utf-8").partition(BEGIN) if given.write else ("", "", "")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    base = QUICK if given.quick else Scale()
    scale = Scale(given.rounds or base.rounds, base.share, given.dir)
    texts = [machine(scale)]
    print(texts[0], flush=True)
    for name in given.only:
        began = time.monotonic()
        for table in SECTIONS[name](scale):
            texts.append(table.markdown())
            print(f"\n{texts[-1]}", flush=True)
        print(f"\n({name}: {time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    if given.write:
        written = "\n\n".join([before + BEGIN, *texts, END + rest.partition(END)[2]])
        given.write.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
