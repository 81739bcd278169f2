"""Replicas that share a PostgreSQL: appends, the whole pipeline, and very many sessions of which one replica is lost.

PostgreSQL runs beside them, with fsync, and its CPU is that of all its processes.
"""

import asyncio
import json
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from subprocess import PIPE, Popen

from benchmarks.measuring import (
    CONFIG,
    HERE,
    Figure,
    Lines,
    Scale,
    Table,
    ask,
    child,
    cpu_s,
    number,
    rss_kib,
    spread,
    wait,
)
from benchmarks.sessions import fetched
from support.broker import free_port
from support.postgresserver import PostgresServer

NAMES = ("a", "b", "c")
BATCHES = {1: 3_000, 10: 20_000, 100: 100_000, 500: 200_000}
STREAMS = {1: 1_500, 10: 9_000, 100: 45_000, 500: 90_000}
ACCOUNTS = 10_000
TAIL_S = 0.2
MAX_INTERVAL_S = 10.0
SETTLED_S, IDLE_S = 5.0, 15.0
LOOK_S = 0.2
JOURNAL = """[journal]
url = "postgresql://127.0.0.1:{port}/postgres"
username = "admin"
tls = false
schema = "{schema}"
replica = "{name}"
"""
Row = Sequence[str]


@contextmanager
def postgresql() -> Iterator[PostgresServer]:
    """A server whose processes are watched."""
    with PostgresServer(shared_buffers="256MB", max_wal_size="4GB") as server:
        yield server


def wal_bytes(server: PostgresServer) -> int:
    """How much log it has written since it was made."""
    return int(asyncio.run(server.fetch("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn AS bytes"))[0]["bytes"])


class Spent:
    """What PostgreSQL has spent since the last look: seconds on a core, bytes of log, seconds that went by."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._before = self._now()

    def _now(self) -> tuple[float, int, float]:
        return self._server.cpu_s(), wal_bytes(self._server), time.monotonic()

    def look(self) -> tuple[float, int, float]:
        """The difference."""
        before, self._before = self._before, self._now()
        cpu_s, wal, at_s = (now - then for now, then in zip(self._before, before, strict=True))
        return cpu_s, int(wal), at_s


# --- appends --------------------------------------------------------------------------------------------------------


def appended(server: PostgresServer, replicas: int, scale: Scale) -> Iterator[Row]:
    """A row for each size of a commit."""
    schema = f"appends{replicas}"
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                child(sys.executable, HERE / "appender.py", str(server.port), schema, name, stdin=PIPE, stdout=PIPE)
            )
            for name in NAMES[:replicas]
        ]
        for worker in workers:
            ask(worker)
        for size, total in BATCHES.items():
            commits = scale.of(total, size) // size
            rates, ours_us, theirs_us, middle_ms = [], [], [], []
            for _ in range(scale.rounds):
                spent, began_s = Spent(server), time.monotonic()
                for worker in workers:
                    worker.stdin.write(f"{size} {commits}\n")
                    worker.stdin.flush()
                answers = [json.loads(ask(worker)) for worker in workers]
                took_s, events = time.monotonic() - began_s, size * commits * replicas
                rates.append(events / took_s)
                ours_us.append(sum(answer["cpu_s"] for answer in answers) / events * 1e6)
                theirs_us.append(spent.look()[0] / events * 1e6)
                middle_ms.append(statistics.median(answer["median_ms"] for answer in answers))
            yield Figure(replicas), Figure(size), *map(spread, (rates, middle_ms, ours_us, theirs_us))


def appends(scale: Scale) -> Table:
    """The journal alone."""
    with postgresql() as server:
        rows = [row for replicas in (1, 3) for row in appended(server, replicas, scale)]
    return Table(
        "The journal in PostgreSQL, alone",
        "Each append is one commit, durable, by a process of its own for each replica; `data` has 600 bytes. "
        f"Medians of {scale.rounds}.",
        ["replicas", "events a commit", "events/s", "ms a commit, p50", "CPU µs an event", "PostgreSQL: CPU µs"],
        rows,
    )


# --- the whole pipeline ---------------------------------------------------------------------------------------------


class Replica:
    """One daemon of several: where it runs, what runs, and what it tells."""

    def __init__(self, folder: Path, name: str, config: str) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.port = free_port()
        self.process: Popen[str]
        text = f'{config}[http]\nlisten = "127.0.0.1:{self.port}"\n'
        (self.folder / "listener.toml").write_text(text.replace("{name}", name), encoding="utf-8")

    def start(self, stack: ExitStack) -> None:
        """A new process, killed at the end."""
        log = stack.enter_context((self.folder / "log").open("a"))
        argv = (sys.executable, "-m", "listener", "run", "--config", "listener.toml")
        self.process = stack.enter_context(child(*argv, cwd=self.folder, stderr=log))

    def metric(self, name: str) -> float:
        """The value of a metric now; 0 while nobody answers."""
        with suppress(OSError):
            page = fetched(f"http://127.0.0.1:{self.port}/metrics")
            found = re.search(rb"^disposition_listener_%b (\S+)$" % re.escape(name.encode()), page, re.MULTILINE)
            return float(found[1]) if found else 0.0
        return 0.0

    def subscribed(self) -> int:
        """How many sessions it has."""
        if self.process.poll() is not None:
            return 0
        return int(self.metric("sessions_subscribed"))


def configuration(server: PostgresServer, *, schema: str, port: int, accounts: int) -> str:
    """What all replicas have in common; the sink is the first one's, so that one file has everything."""
    journal = JOURNAL.format(port=server.port, schema=schema, name="{name}")
    text = CONFIG.format(port=port).replace('[journal]\npath = "journal.db"\n', journal)
    text = text.replace('path = "out.jsonl"\n', f'path = "out.jsonl"\non = "{NAMES[0]}"\n')
    return text + "".join(f'[[accounts]]\nusername = "agent{number}"\n' for number in range(1, accounts + 1))


def even(replicas: Sequence[Replica], accounts: int) -> bool:
    """Whether all sessions are subscribed, and shared evenly."""
    time.sleep(LOOK_S)
    each = [replica.subscribed() for replica in replicas]
    return sum(each) == accounts and max(each) <= -(-accounts // len(replicas))


def streamed(server: PostgresServer, count: int, scale: Scale) -> Iterator[Row]:
    """A row for each size of a poll."""
    with tempfile.TemporaryDirectory(dir=scale.folder) as name, ExitStack() as stack:
        folder = Path(name)
        publisher = stack.enter_context(child(sys.executable, HERE / "publisher.py", stdin=PIPE, stdout=PIPE))
        config = configuration(server, schema=f"stream{count}", port=int(ask(publisher)), accounts=len(NAMES))
        replicas = [Replica(folder, name, config) for name in NAMES[:count]]
        for replica in replicas:
            replica.start(stack)
        wait("sessions", lambda: even(replicas, len(NAMES)))
        lines = Lines(replicas[0].folder / "out.jsonl")
        for size, total in STREAMS.items():
            rates, ours_us, theirs_us = [], [], []
            events = scale.of(total, size * len(NAMES))
            for warm in [True] + [False] * scale.rounds:
                ask(publisher, f"load {events} {size}")
                until, spent, before_s = (
                    lines.update() + events,
                    Spent(server),
                    sum(cpu_s(r.process.pid) for r in replicas),
                )
                began_s = time.monotonic()
                ask(publisher, "go")
                wait("events", lambda until=until: lines.update() >= until)
                took_s = time.monotonic() - began_s
                time.sleep(TAIL_S)
                if not warm:
                    rates.append(events / took_s)
                    ours_us.append((sum(cpu_s(r.process.pid) for r in replicas) - before_s) / events * 1e6)
                    theirs_us.append(spent.look()[0] / events * 1e6)
            yield Figure(count), Figure(size), *map(spread, (rates, ours_us, theirs_us))


def pipelines(scale: Scale) -> Table:
    """From the poll to the line in a file."""
    with postgresql() as server:
        rows = [row for replicas in (1, 3) for row in streamed(server, replicas, scale)]
    return Table(
        "The whole pipeline with its journal in PostgreSQL",
        f"{len(NAMES)} sessions, notifications of 900 bytes, one chained and signed file with fsync, which one replica "
        "has. Publisher, PostgreSQL and all replicas share the machine. CPU is that of all replicas together. Medians "
        f"of {scale.rounds}.",
        ["replicas", "a poll", "events/s", "CPU µs an event", "PostgreSQL: CPU µs"],
        rows,
    )


# --- very many sessions ---------------------------------------------------------------------------------------------


def idle(server: PostgresServer, replicas: Sequence[Replica]) -> Iterator[tuple[str, Figure]]:
    """What all of it costs while nothing happens."""
    spent, before = Spent(server), [cpu_s(replica.process.pid) for replica in replicas]
    time.sleep(IDLE_S)
    taken = [(cpu_s(replica.process.pid) - then) / IDLE_S * 100 for replica, then in zip(replicas, before, strict=True)]
    postgres_s, wal, seconds = spent.look()
    yield "each replica: MiB", spread([rss_kib(replica.process.pid) / 1024 for replica in replicas])
    yield "each replica, idle: % of a core", spread(taken)
    yield "PostgreSQL, idle: % of a core", number(postgres_s / seconds * 100)
    yield "PostgreSQL, idle: KiB of WAL a second", number(wal / seconds / 1024)


def crowd(scale: Scale) -> Iterator[tuple[str, Figure]]:
    """The rows, as they come."""
    accounts = scale.of(ACCOUNTS)
    with tempfile.TemporaryDirectory(dir=scale.folder) as name, ExitStack() as stack:
        server = stack.enter_context(postgresql())
        argv = (sys.executable, HERE / "idle_server.py", str(MAX_INTERVAL_S))
        site = stack.enter_context(child(*argv, stdin=PIPE, stdout=PIPE))
        config = configuration(server, schema="crowd", port=int(ask(site)), accounts=accounts)
        replicas = [Replica(Path(name), each, config) for each in NAMES]
        for replica in replicas:
            replica.start(stack)
        yield (
            "start of all three until all are subscribed and evenly shared, s",
            number(wait("sessions", lambda: even(replicas, accounts))),
        )
        time.sleep(SETTLED_S)
        yield from idle(server, replicas)
        *others, lost = replicas
        for how in (signal.SIGKILL, signal.SIGTERM):
            handshakes, spent = int(ask(site, "handshakes?")), Spent(server)
            lost.process.send_signal(how)
            taken_s = wait("take-over", lambda: even(others, accounts))
            yield f"{how.name} to one: until the others have all its sessions, s", number(taken_s)
            yield f"{how.name}: PostgreSQL's seconds on a core for it", number(spent.look()[0])
            lost.process.wait()
            lost.start(stack)
            yield (
                f"{how.name}: from its new start until all are evenly shared, s",
                number(wait("sessions", lambda: even(replicas, accounts))),
            )
            yield f"{how.name}: sessions lost", Figure(int(ask(site, "handshakes?")) - handshakes)


def tables(scale: Scale) -> Iterator[Table]:
    """All of them."""
    yield appends(scale)
    yield pipelines(scale)
    about = "Three replicas, against a server that holds every poll, without a login."
    yield Table(f"{scale.of(ACCOUNTS):,} accounts, three replicas", about, ("", ""), list(crowd(scale)))
