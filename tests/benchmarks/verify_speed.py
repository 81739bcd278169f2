"""How fast a trail is verified: lines a second, beside the hashing of the same lines alone.

`python tests/benchmarks/verify_speed.py [--lines 1000000]`
"""

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from listener.audit.chain import Head, chained
from listener.audit.verify import verify
from support.events import disposition_event


def write(path: Path, count: int) -> int:
    """A trail of so many lines; returns its bytes."""
    head = Head()
    with path.open("wb", buffering=2**20) as file:
        for number in range(1, count + 1):
            event = disposition_event(number, chat=f"chat-{number % 1000}")
            line, head = chained(event.to_json(), len(event.data), head)
            file.write(line + b"\n")
    return path.stat().st_size


def hashed(path: Path) -> None:
    """What cannot be spared: reading the lines, and hashing them."""
    with path.open("rb") as file:
        for line in file:
            hashlib.sha256(line).digest()


def proven(path: Path) -> None:
    assert verify([path]).findings == []


def seconds(work: Callable[[Path], None], path: Path, rounds: int) -> float:
    """The median."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work(path)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[rounds // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trail.jsonl"
        size = write(path, options.lines)
        alone, whole = (seconds(work, path, options.rounds) for work in (hashed, proven))
    print(f"{options.lines} lines, {size / 2**20:.0f} MiB")
    print(f"verified   {whole:6.2f} s  {options.lines / whole:10.0f} lines/s")
    print(f"hash alone {alone:6.2f} s  {options.lines / alone:10.0f} lines/s  (ratio {whole / alone:.2f})")


if __name__ == "__main__":
    main()
