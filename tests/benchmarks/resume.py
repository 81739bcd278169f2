"""Resuming many sessions: how many are lost when the daemon is stopped, or killed, and started again.

    python tests/benchmarks/resume.py [--sessions 1000 2000 5000] [--max-interval-s 10]

The real process against a server that forgets a session without a connect for so long. The time goes from the signal
until all sessions poll again, the new process's start included.
"""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path
from subprocess import PIPE

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.measuring import CONFIG, HERE, RUN, ask, child, cpu_by_thread, wait
from benchmarks.memory import accounts


def restart(count: int, how: signal.Signals, max_interval_s: float) -> tuple[int, float, float, float]:
    """Lost sessions; seconds until the old process had ended, until all polled, and of CPU in the new one."""
    server_argv = (sys.executable, HERE / "idle_server.py", str(max_interval_s))
    with tempfile.TemporaryDirectory() as name, child(*server_argv, stdin=PIPE, stdout=PIPE) as server:
        folder = Path(name)
        (folder / "listener.toml").write_text(CONFIG.format(port=ask(server)) + accounts(count), encoding="utf-8")

        def all_poll() -> bool:
            return int(ask(server, "held?")) >= count

        with child(*RUN, cwd=folder) as daemon:
            wait("sessions", lambda: daemon.poll() is None and all_poll())
            time.sleep(3.0)
            before, signalled = int(ask(server, "handshakes?")), time.monotonic()
            daemon.send_signal(how)
            daemon.wait()
            ended_s = time.monotonic() - signalled
        with child(*RUN, cwd=folder) as daemon:
            wait("sessions again", lambda: daemon.poll() is None and all_poll())
            polled_s = time.monotonic() - signalled
            cpu_s = sum(cpu_by_thread(daemon.pid).values())
            return int(ask(server, "handshakes?")) - before, ended_s, polled_s, cpu_s


def main() -> None:
    """One line a size and signal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1000, 2000, 5000])
    parser.add_argument("--max-interval-s", type=float, default=10.0)
    given = parser.parse_args()
    print(f"{'sessions':>8}  {'signal':8}  {'lost':>6}  {'ended s':>8}  {'all poll s':>10}  {'CPU s':>6}")
    for count in given.sessions:
        for how in (signal.SIGTERM, signal.SIGKILL):
            lost, *seconds, cpu = restart(count, how, given.max_interval_s)
            ended_s, polled_s = seconds
            print(f"{count:>8}  {how.name:8}  {lost:>6}  {ended_s:>8.1f}  {polled_s:>10.1f}  {cpu:>6.1f}", flush=True)


if __name__ == "__main__":
    main()
