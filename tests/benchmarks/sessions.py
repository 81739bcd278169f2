"""Very many sessions in one process: memory, idle CPU, start, resume, pages, `check`, reload, and the loop's stalls.

    python tests/benchmarks/sessions.py [--sessions 10000] [--basic] [--max-interval-s 10]

The real process against a server that holds every poll, `idle_server.py`; with `--basic` against `simulate`, with a
login for each account. The server forgets a session without a connect for so long. Memory of a session is the
difference between a daemon that holds many and one that holds one, by the number of them. Times of a start go from the
new process's beginning; the longest turn is CPU time, since the wall clock would count what else the machine does.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen

from pipeline import CONFIG, HERE, child, cpu_s, rss_kib

WATCHED = HERE.parent / "support" / "loopwatch.py"
HTTP = '[http]\nlisten = "127.0.0.1:{port}"\n'
SETTLED_S, IDLE_S = 5.0, 20.0
LIMIT_S = 900.0
ADDED = 100
ROUNDS = 5


def ask(process: Popen[str], line: str = "") -> int:
    """The number that a child prints, after a line to it if there is one."""
    if line:
        process.stdin.write(f"{line}\n")
        process.stdin.flush()
    return int(process.stdout.readline())


def wait(what: str, done: Callable[[], bool]) -> float:
    """Poll until `done`; returns how many seconds it took."""
    started = time.monotonic()
    while not done():
        if time.monotonic() - started > LIMIT_S:
            sys.exit(f"{what}: not within {LIMIT_S} s")
        time.sleep(0.05)
    return time.monotonic() - started


def fetched(url: str) -> bytes:
    """The body of a page; of any status."""
    try:
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - of this machine
            return answer.read()
    except urllib.error.HTTPError as refused:
        return refused.read()


class IdleServer:
    """`idle_server.py`: its accounts need no login."""

    settings = CONFIG

    def __init__(self, process: Popen[str]) -> None:
        self.process = process
        self.port = ask(process)

    def account(self, number: int) -> str:
        """The table of one account."""
        return f'[[accounts]]\nusername = "agent{number}"\n'

    def handshakes(self) -> int:
        """How many sessions began."""
        return ask(self.process, "handshakes?")

    def polling(self) -> int:
        """How many polls are held."""
        return ask(self.process, "held?")


class Simulation:
    """`simulate`: its agents log in."""

    settings = CONFIG.replace('login = "none"', 'login = "basic"').replace("/cometd", "/api/v2/notifications")

    def __init__(self, process: Popen[str]) -> None:
        self.process = process
        self.port = int(process.stdout.readline().rpartition(":")[2])

    def account(self, number: int) -> str:
        """The table of one account."""
        return f'[[accounts]]\nusername = "agent{number}"\npassword = "secret"\n'

    def handshakes(self) -> int:
        """How many sessions began."""
        return int(self._state()["handshakes"])

    def polling(self) -> int:
        """How many polls are held."""
        return sum(session["held"] for session in self._state()["sessions"])

    def _state(self) -> dict:
        return json.loads(fetched(f"http://127.0.0.1:{self.port}/control/state"))


@contextmanager
def server_of(*, basic: bool, sessions: int, max_interval_s: float, watch: Path) -> Iterator[IdleServer | Simulation]:
    """The server, in a process of its own."""
    if basic:
        most = ("--agents", str(sessions + ADDED), "--max-interval-ms", str(int(max_interval_s * 1000)))
        simulate = ("simulate", "--port", "0", "--ack", "--timeout-ms", "600000", *most)
        with child(sys.executable, WATCHED, watch, *simulate, stdout=PIPE) as process:
            yield Simulation(process)
    else:
        with child(sys.executable, HERE / "idle_server.py", str(max_interval_s), stdin=PIPE, stdout=PIPE) as process:
            yield IdleServer(process)


class Daemons:
    """Daemons of one configuration, one after the other."""

    def __init__(self, folder: Path, server: IdleServer | Simulation) -> None:
        self.folder = folder
        self.server = server
        self.http_port = 0
        self.turns_ms: list[float] = []

    def configure(self, accounts: list[str]) -> None:
        """Write the configuration."""
        settings = self.server.settings.format(port=self.server.port) + HTTP.format(port=self.http_port)
        (self.folder / "listener.toml").write_text(settings + "".join(accounts), encoding="utf-8")

    @contextmanager
    def running(self, label: str = "run") -> Iterator[Popen[str]]:
        """A daemon; its longest turn is noted at its end."""
        watch = self.folder / f"{label}.turn"
        argv = (sys.executable, WATCHED, watch, "run", "--config", "listener.toml")
        with child(*argv, cwd=self.folder) as daemon:
            yield daemon
        if watch.exists():
            self.turns_ms.append(json.loads(watch.read_text())["cpu_s"] * 1000)

    def page(self, path: str) -> bytes:
        """What the daemon answers."""
        return fetched(f"http://127.0.0.1:{self.http_port}{path}")

    def metric(self, name: str) -> float:
        """The value of one metric; 0 while nobody answers."""
        with suppress(OSError):
            for line in self.page("/metrics").decode().splitlines():
                if line.startswith(f"disposition_listener_{name} "):
                    return float(line.rpartition(" ")[2])
        return 0.0

    def subscribed(self, daemon: Popen[str], count: int) -> float:
        """Seconds until so many sessions are subscribed."""

        def all_are() -> bool:
            if daemon.poll() is not None:
                sys.exit(f"the daemon ended with {daemon.returncode}")
            time.sleep(0.1)
            return self.metric("sessions_subscribed") >= count

        return wait("sessions", all_are)


def free_port() -> int:
    """A port that nobody has at this moment."""
    with __import__("socket").create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def pages_ms(daemons: Daemons) -> Iterator[tuple[str, float]]:
    """The slowest of some answers, for each page."""
    for path in ("/readyz", "/status.json", "/metrics"):
        taken = []
        for _ in range(ROUNDS):
            started = time.monotonic()
            daemons.page(path)
            taken.append((time.monotonic() - started) * 1000)
        yield f"{path}, ms (median, slowest)", f"{statistics.median(taken):.0f}, {max(taken):.0f}"


def reload_s(daemons: Daemons, daemon: Popen[str], accounts: list[str]) -> float:
    """Seconds from SIGHUP until these accounts are in force."""
    name = 'config_reloads_total{result="done"}'
    daemons.configure(accounts)
    done, started = daemons.metric(name), time.monotonic()
    daemon.send_signal(signal.SIGHUP)
    wait("reload", lambda: daemons.metric(name) > done)
    return time.monotonic() - started


def reloads(daemons: Daemons, daemon: Popen[str], accounts: list[str]) -> Iterator[tuple[str, str]]:
    """SIGHUP with nothing, with one and with many accounts to change."""
    count = len(accounts)
    yield "reload, no change, s", f"{reload_s(daemons, daemon, accounts):.2f}"
    changed = [accounts[0].replace('"secret"', '"secret "') + 'password_file = ""\n' * 0, *accounts[1:]]
    if changed == accounts:
        changed[0] += 'password = "another"\n'
    yield "reload, one changed, s", f"{reload_s(daemons, daemon, changed):.2f}"
    more = [*accounts, *(daemons.server.account(n) for n in range(count + 1, count + ADDED + 1))]
    yield f"reload, {ADDED} added, s", f"{reload_s(daemons, daemon, more):.2f}"
    yield "and all subscribed after, s", f"{daemons.subscribed(daemon, count + ADDED):.1f}"
    daemons.configure(accounts)
    reload_s(daemons, daemon, accounts)


def measured(daemons: Daemons, count: int) -> Iterator[tuple[str, str]]:
    """Name and value of each figure, as they come."""
    accounts = [daemons.server.account(number) for number in range(1, count + 1)]
    daemons.configure(accounts[:1])
    with daemons.running() as daemon:
        daemons.subscribed(daemon, 1)
        time.sleep(SETTLED_S)
        alone_kib = rss_kib(daemon.pid)
    for file in daemons.folder.glob("journal.db*"):
        file.unlink()
    daemons.configure(accounts)
    started = time.monotonic()
    subprocess.run(
        (sys.executable, "-m", "listener", "check", "--config", "listener.toml"),
        cwd=daemons.folder,
        check=True,
        stdout=PIPE,
    )
    yield "check, s", f"{time.monotonic() - started:.2f}"
    with daemons.running("start") as daemon:
        yield "all subscribed after, s", f"{daemons.subscribed(daemon, count):.1f}"
        yield "CPU of that, s", f"{cpu_s(daemon.pid):.1f}"
        time.sleep(SETTLED_S)
        yield "KiB a session", f"{(rss_kib(daemon.pid) - alone_kib) / (count - 1):.1f}"
        spent_s, server_s = cpu_s(daemon.pid), cpu_s(daemons.server.process.pid)
        time.sleep(IDLE_S)
        yield "idle, % of a core", f"{(cpu_s(daemon.pid) - spent_s) / IDLE_S * 100:.1f}"
        yield "the server's, %", f"{(cpu_s(daemons.server.process.pid) - server_s) / IDLE_S * 100:.1f}"
        yield from pages_ms(daemons)
        yield from reloads(daemons, daemon, accounts)
        yield from ended(daemons, daemon, signal.SIGTERM)
    yield from resumed(daemons, count, signal.SIGKILL)
    yield from resumed(daemons, count, None)


def ended(daemons: Daemons, daemon: Popen[str], how: signal.Signals) -> Iterator[tuple[str, str]]:
    """End it."""
    daemons.handshakes = daemons.server.handshakes()
    daemons.signalled = time.monotonic()
    daemon.send_signal(how)
    daemon.wait(LIMIT_S)
    yield f"ended by {how.name} after, s", f"{time.monotonic() - daemons.signalled:.1f}"


def resumed(daemons: Daemons, count: int, then: signal.Signals | None) -> Iterator[tuple[str, str]]:
    """Start again, and end as told."""
    with daemons.running("resume") as daemon:
        yield "all resumed after, s", f"{daemons.subscribed(daemon, count):.1f}"
        yield "since the signal, s", f"{time.monotonic() - daemons.signalled:.1f}"
        yield "CPU of that, s", f"{cpu_s(daemon.pid):.1f}"
        yield "lost sessions", str(daemons.server.handshakes() - daemons.handshakes)
        time.sleep(SETTLED_S)
        if then is not None:
            yield from ended(daemons, daemon, then)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--basic", action="store_true")
    parser.add_argument("--max-interval-s", type=float, default=10.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server_watch = folder / "server.turn"
        with server_of(
            basic=given.basic, sessions=given.sessions, max_interval_s=given.max_interval_s, watch=server_watch
        ) as server:
            daemons = Daemons(folder, server)
            daemons.http_port = free_port()
            for figure, value in measured(daemons, given.sessions):
                print(f"{figure:32} {value:>12}", flush=True)
            print(f"{'longest turns of the loop, ms':32} {', '.join(f'{turn:.0f}' for turn in daemons.turns_ms):>12}")
            if given.basic:
                print(f"{'the server, MiB':32} {rss_kib(server.process.pid) / 1024:>12.0f}")
                print(f"{'its longest turn, ms':32} {json.loads(server_watch.read_text())['cpu_s'] * 1000:>12.0f}")


if __name__ == "__main__":
    main()
