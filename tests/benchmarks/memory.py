"""Memory of the daemon: what an idle session costs, and whether it grows with the events.

    python tests/benchmarks/memory.py [--sessions 1000] [--events 1000000]

Resident memory of the real process. A session's cost is the difference between a daemon that holds many and one that
holds one, by the number of them: HTTP connection, cookie jar, tasks and state, all of it. Growth is that of one session
over a stream in batches of 100, looked at on the way; the journal keeps all of it on disk.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from subprocess import PIPE

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measuring import CONFIG, HERE, RUN, Lines, ask, child, rss_kib, wait

BATCH = 100
SETTLED_S = 2.0


def accounts(count: int) -> str:
    """The tables of so many accounts."""
    return "".join(f'[[accounts]]\nusername = "agent{n}"\n' for n in range(count))


def idle(count: int) -> tuple[int, float]:
    """Resident KiB of a daemon with so many idle sessions, and the seconds until all of them polled."""
    with (
        tempfile.TemporaryDirectory() as name,
        child(sys.executable, HERE / "idle_server.py", stdin=PIPE, stdout=PIPE) as server,
    ):
        folder = Path(name)
        config = CONFIG.format(port=ask(server)) + accounts(count)
        (folder / "listener.toml").write_text(config, encoding="utf-8")
        with child(*RUN, cwd=folder) as daemon:
            opened_s = wait("sessions", lambda: daemon.poll() is None and int(ask(server, "held?")) >= count)
            time.sleep(SETTLED_S)
            return rss_kib(daemon.pid), opened_s


def growth(total: int) -> list[tuple[int, int]]:
    """Resident KiB after so many events, at ten marks on the way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with child(sys.executable, HERE / "publisher.py", stdin=PIPE, stdout=PIPE) as publisher:
            config = CONFIG.format(port=ask(publisher))
            (folder / "listener.toml").write_text(config, encoding="utf-8")
            with child(*RUN, cwd=folder) as daemon:
                lines, marks = Lines(folder / "out.jsonl"), []
                ask(publisher, f"load {total // 10} {BATCH}")
                for mark in range(0, total + 1, total // 10):
                    if mark:
                        ask(publisher, "go")
                        ask(publisher, f"load {total // 10} {BATCH}")
                    wait(f"{mark} events", lambda mark=mark: lines.update() >= mark)
                    marks.append((lines.count, rss_kib(daemon.pid)))
                return marks


def main() -> None:
    """Print both tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sessions", type=int, default=1000)
    options.add_argument("--events", type=int, default=1_000_000)
    given = options.parse_args()
    if given.sessions > 1:
        (one, _), (many, opened_s) = idle(1), idle(given.sessions)
        print(f"1 session: {one} KiB; {given.sessions} sessions, all polling after {opened_s:.1f} s: {many} KiB")
        print(f"{(many - one) / (given.sessions - 1):.1f} KiB a session", flush=True)
    if given.events:
        print(f"{'events':>10} {'KiB':>8}")
        for events, kib in growth(given.events):
            print(f"{events:>10} {kib:>8}")


if __name__ == "__main__":
    main()
