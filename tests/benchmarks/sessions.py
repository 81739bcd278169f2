"""Very many sessions in one process: memory, idle CPU, start, resume, pages, `check`, reload, and the loop's stalls."""

import json
import re
import signal
import socket
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen, run

from benchmarks.measuring import CONFIG, HERE, Figure, Scale, Table, ask, child, cpu_s, number, rss_kib, wait
from support.authority import Authority

MAX_INTERVAL_S = 10.0
ADDED = 100
SETTLED_S, IDLE_S = 5.0, 15.0
LOOK_S = 0.2
ROUNDS = 5
WATCHED = HERE.parent / "support" / "loopwatch.py"
HTTP = '[http]\nlisten = "127.0.0.1:{port}"\n'
Row = tuple[str, str]


class IdleServer:
    """`idle_server.py`, which wants no login."""

    about = "Against a server that holds every poll, without a login."
    sessions = 10_000
    settings = CONFIG
    secret = ""

    @staticmethod
    def argv(_folder: Path, _agents: int) -> tuple[str | Path, ...]:
        """How it is started."""
        return sys.executable, HERE / "idle_server.py", str(MAX_INTERVAL_S)

    def __init__(self, process: Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.port = int(ask(process))

    def handshakes(self) -> int:
        """How many sessions began."""
        return int(ask(self.process, "handshakes?"))

    def rows(self) -> Iterator[Row]:
        """What it tells of itself."""
        yield from ()


class Unacknowledged(IdleServer):
    """The same over TLS, without acknowledgements: no poll may stay open at a stop, so from then on its time runs."""

    about = f"Against one that speaks TLS, grants no acknowledgements and keeps a session for {MAX_INTERVAL_S:.0f} s."
    sessions = 5_000
    settings = CONFIG.replace("http:", "https:").replace('login = "none"', 'login = "none"\nca_file = "ca.pem"')

    @staticmethod
    def argv(folder: Path, _agents: int) -> tuple[str | Path, ...]:
        """How it is started, by a certificate of its own."""
        return sys.executable, HERE / "idle_server.py", str(MAX_INTERVAL_S), Authority(folder).issue("server")


class Simulation(IdleServer):
    """`simulate`, where every agent logs in."""

    about = "Against `disposition-listener simulate --ack`, each account with a login of its own."
    settings = CONFIG.replace('login = "none"', 'login = "basic"').replace("/cometd", "/api/v2/notifications")
    secret = 'password = "secret"\n'

    @staticmethod
    def argv(folder: Path, agents: int) -> tuple[str | Path, ...]:
        """How it is started."""
        times = ("--timeout-ms", "600000", "--max-interval-ms", str(int(MAX_INTERVAL_S * 1000)))
        return sys.executable, WATCHED, folder / "server", "simulate", "--ack", "--port=0", f"--agents={agents}", *times

    def __init__(self, process: Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.port = int(ask(process).rpartition(":")[2])

    def handshakes(self) -> int:
        """How many sessions began."""
        return int(json.loads(fetched(f"http://127.0.0.1:{self.port}/control/state"))["handshakes"])

    def rows(self) -> Iterator[Row]:
        """What it costs itself."""
        yield "the server: MiB", number(rss_kib(self.process.pid) / 1024)
        yield "the server: seconds on a core, all in all", number(cpu_s(self.process.pid))
        yield "the server: longest turn of its loop, ms of CPU", number(longest_turn_ms(self.folder / "server"))


def longest_turn_ms(file: Path) -> float:
    """What a watched loop noted."""
    return json.loads(file.read_text(encoding="utf-8"))["cpu_s"] * 1000


def fetched(url: str) -> bytes:
    """A page, of any status."""
    try:
        with urllib.request.urlopen(url) as answer:  # noqa: S310 - of this machine
            return answer.read()
    except urllib.error.HTTPError as refused:
        return refused.read()


class Site:
    """A server, and the daemons that listen to it one after the other."""

    def __init__(self, folder: Path, server: IdleServer, sessions: int) -> None:
        self.folder = folder
        self.server = server
        self.sessions = sessions
        self.accounts = [self.account(number) for number in range(1, sessions + 1)]
        self.turns_ms: list[float] = []
        self.signalled_s = 0.0
        self.handshakes = 0
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.http_port = free.getsockname()[1]

    def account(self, number: int) -> str:
        """The table of an account."""
        return f'[[accounts]]\nusername = "agent{number}"\n{self.server.secret}'

    def configure(self, accounts: list[str]) -> None:
        """Write the configuration."""
        settings = self.server.settings.format(port=self.server.port) + HTTP.format(port=self.http_port)
        (self.folder / "listener.toml").write_text(settings + "".join(accounts), encoding="utf-8")

    @contextmanager
    def daemon(self) -> Iterator[Popen[str]]:
        """A watched one."""
        watch = self.folder / f"turns{len(self.turns_ms)}"
        argv = (sys.executable, WATCHED, watch, "run", "--config", "listener.toml")
        with (self.folder / "log").open("a") as log, child(*argv, cwd=self.folder, stderr=log) as process:
            yield process
            self.turns_ms.append(longest_turn_ms(watch))

    def page(self, path: str) -> bytes:
        """What the daemon answers."""
        return fetched(f"http://127.0.0.1:{self.http_port}{path}")

    def metric(self, name: str) -> float:
        """The value of a metric now; 0 while nobody answers."""
        with suppress(OSError):
            found = re.search(
                rb"^disposition_listener_%b (\S+)$" % re.escape(name.encode()), self.page("/metrics"), re.MULTILINE
            )
            return float(found[1]) if found else 0.0
        return 0.0

    def subscribed_s(self, daemon: Popen[str], count: int) -> float:
        """Seconds until so many sessions are subscribed."""

        def all_are() -> bool:
            if daemon.poll() is not None:
                sys.exit(f"the daemon ended with {daemon.returncode}")
            time.sleep(LOOK_S)
            return self.metric("sessions_subscribed") >= count

        return wait("sessions", all_are)

    def end(self, daemon: Popen[str], how: signal.Signals) -> Iterator[Row]:
        """End it, and forget nothing that the next one is measured by."""
        self.handshakes = self.server.handshakes()
        self.signalled_s = time.monotonic()
        daemon.send_signal(how)
        daemon.wait()
        yield f"ended by {how.name}, s", number(time.monotonic() - self.signalled_s)


def start(site: Site) -> Iterator[Row]:
    """A daemon that nobody has had before, from its start to its end."""
    site.configure(site.accounts[:1])
    with site.daemon() as daemon:
        site.subscribed_s(daemon, 1)
        time.sleep(SETTLED_S)
        alone_kib = rss_kib(daemon.pid)
    for file in site.folder.glob("journal.db*"):
        file.unlink()
    site.turns_ms.clear()
    site.configure(site.accounts)
    yield "`check`, s", number(check_s(site))
    with site.daemon() as daemon:
        yield "start until all are subscribed, s", number(site.subscribed_s(daemon, site.sessions))
        yield "start: seconds on a core", number(cpu_s(daemon.pid))
        time.sleep(SETTLED_S)
        yield "KiB a session", number((rss_kib(daemon.pid) - alone_kib) / (site.sessions - 1))
        spent_s = cpu_s(daemon.pid)
        time.sleep(IDLE_S)
        yield "idle, % of a core", number((cpu_s(daemon.pid) - spent_s) / IDLE_S * 100)
        yield from pages(site)
        yield from reloads(site, daemon)
        yield from site.end(daemon, signal.SIGTERM)


def check_s(site: Site) -> float:
    """Seconds of the command."""
    began = time.monotonic()
    argv = (sys.executable, "-m", "listener", "check", "--config", "listener.toml")
    run(argv, cwd=site.folder, check=True, stdout=PIPE)
    return time.monotonic() - began


def pages(site: Site) -> Iterator[Row]:
    """How long each page takes; the first look at something new included."""
    for path in ("/readyz", "/status.json", "/summary.json", "/accounts.json", "/metrics"):
        taken_ms = []
        for _ in range(ROUNDS):
            began = time.monotonic()
            site.page(path)
            taken_ms.append((time.monotonic() - began) * 1000)
        yield f"`{path}`, ms (slowest)", Figure(f"{number(statistics.median(taken_ms))} ({number(max(taken_ms))})")


def reloads(site: Site, daemon: Popen[str]) -> Iterator[Row]:
    """SIGHUP, with nothing, with one account and with many to change."""
    changed = [site.accounts[0].replace(site.server.secret, "") + 'password = "other"\n', *site.accounts[1:]]
    more = [*site.accounts, *(site.account(site.sessions + number) for number in range(1, ADDED + 1))]
    yield "reload, no change, s", number(reload_s(site, daemon, site.accounts))
    yield "reload, one account changed, s", number(reload_s(site, daemon, changed))
    yield f"reload, {ADDED} accounts added, s", number(reload_s(site, daemon, more))
    site.subscribed_s(daemon, site.sessions)
    reload_s(site, daemon, site.accounts)
    site.subscribed_s(daemon, site.sessions)


def reload_s(site: Site, daemon: Popen[str], accounts: list[str]) -> float:
    """Seconds from the signal until these accounts are in force."""
    done = 'config_reloads_total{result="done"}'
    before = site.metric(done)
    site.configure(accounts)
    daemon.send_signal(signal.SIGHUP)
    return wait("reload", lambda: site.metric(done) > before)


def resume(site: Site, then: Callable[[Popen[str]], Iterator[Row]]) -> Iterator[Row]:
    """The next daemon, which continues the sessions of the one before."""
    with site.daemon() as daemon:
        yield "start until all are resumed, s", number(site.subscribed_s(daemon, site.sessions))
        yield "from the signal to there, s", number(time.monotonic() - site.signalled_s)
        yield "resume: seconds on a core", number(cpu_s(daemon.pid))
        yield "resume: sessions lost", Figure(site.server.handshakes() - site.handshakes)
        time.sleep(SETTLED_S)
        yield from then(daemon)


def figures(site: Site) -> Iterator[Row]:
    """All of them, as they come."""
    yield from start(site)
    yield from resume(site, lambda daemon: site.end(daemon, signal.SIGKILL))
    yield from resume(site, lambda _: iter(()))
    yield "longest turn of the loop, ms of CPU", number(max(site.turns_ms))
    yield from site.server.rows()


def tables(scale: Scale) -> Iterator[Table]:
    """One table for each server."""
    for kind in (IdleServer, Unacknowledged, Simulation):
        sessions = scale.of(kind.sessions)
        with tempfile.TemporaryDirectory(dir=scale.folder) as name:
            folder = Path(name)
            with child(*kind.argv(folder, sessions + ADDED), stdin=PIPE, stdout=PIPE) as process:
                rows = list(figures(Site(folder, kind(process, folder), sessions)))
        yield Table(f"{sessions:,} sessions", f"{kind.about} A start is that of a new process.", ("", ""), rows)
