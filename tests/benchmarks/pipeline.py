"""CPU per event and events per second of the whole daemon, beside two plain scripts.

The daemon receives, filters, classifies, journals with fsync, and writes the file sink, chained and signed, with fsync.
The rivals append a line with the same fields, without a chain. Client and publisher have a core each. Each client goes
through all sizes of batches in one life, after a warm-up that does not count, and the clients take turns: a round of
each, then the next. CPU is all threads' time on a core, until 0.2 s after the last line, so that what follows an event
counts with it.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen

from benchmarks.catch_up import fill
from benchmarks.measuring import (
    CLIENT_CORE,
    CONFIG,
    HERE,
    RUN,
    SERVER_CORE,
    Figure,
    Lines,
    Scale,
    Table,
    ask,
    child,
    cpu_by_thread,
    cpu_s,
    number,
    spread,
    wait,
)
from listener.journal.sqlite import SqliteJournal

MODULES = HERE.parent / "interop" / "servers" / "node_modules"
COUNTS = {1: 1_000, 10: 6_000, 100: 30_000}
WARM_UP = 300
TAIL_S = 0.2
GROWN = 1_000_000
SESSIONS, SPREAD_S = 200, 15
OURS = "disposition-listener"


@dataclass(frozen=True)
class Client:
    """One row: what is started, and what it says to its server.

    `settings` are changes of the configuration, texts by the texts whose place they take. `{url}` and `{out}` in `argv`
    are filled in. `folder` is where it lives again and again; a new one each time by default.
    """

    name: str
    argv: Sequence[str | Path] = RUN
    ack: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


def script(language: str, *, ack: bool, fsync: bool) -> Client:
    """A rival."""
    words = ["ack"] * ack + ["fsync"] * fsync
    library, command, name = {
        "py": ("aiocometd-ng", sys.executable, "script.py"),
        "js": ("cometd.js", "node", "script.js"),
    }[language]
    argv = (command, HERE / "rivals" / name, "{url}", "{out}", *words)
    env = {"NODE_PATH": str(MODULES)}
    return Client(f"{library} script{', fsync per batch' if fsync else ''}", argv, ack=ack, env=env)


LANGUAGES = ("py", "js") if MODULES.exists() else ("py",)
RIVALS = [
    client
    for ack in (True, False)
    for client in (
        Client(OURS, ack=ack),
        *(
            script(language, ack=ack, fsync=fsync)
            for language in LANGUAGES
            for fsync in (False, True)
            if ack or not fsync
        ),
    )
]
WEBSOCKET = {'login = "none"': 'login = "none"\ntransport = "websocket"'}
VARIANTS = [
    Client(OURS),
    Client("over a websocket", settings=WEBSOCKET),
    Client("without uvloop", env={"NO_UVLOOP": "1"}),
    Client("without the chain", settings={'path = "out.jsonl"': 'path = "out.jsonl"\nchain = false'}),
]


@dataclass(frozen=True)
class Run:
    """One stream: CPU in microseconds per event by thread, and events per second."""

    threads: Counter[str]
    rate: float

    @property
    def cpu_us(self) -> float:
        """Of all threads."""
        return sum(self.threads.values())


@contextmanager
def streaming(client: Client, folder: Path) -> Iterator[tuple[Popen[str], Popen[str]]]:
    """A publisher and its client, which polls."""
    publisher_argv = [sys.executable, HERE / "publisher.py", *([] if client.ack else ["--no-ack"])]
    with child(*publisher_argv, core=SERVER_CORE, stdin=PIPE, stdout=PIPE) as publisher:
        port = ask(publisher)
        config = CONFIG.format(port=port)
        for old, new in client.settings.items():
            config = config.replace(old, new)
        (folder / "listener.toml").write_text(config, encoding="utf-8")
        words = [str(word).format(url=f"http://127.0.0.1:{port}/cometd", out="out.jsonl") for word in client.argv]
        with child(*words, core=CLIENT_CORE, cwd=folder, env={**os.environ, **client.env}) as process:
            yield publisher, process


def stream(publisher: Popen[str], process: Popen[str], lines: Lines, count: int, batch: int) -> Run:
    """So many events, from the first to 0.2 s after the last."""
    ask(publisher, f"load {count} {batch}")
    until = lines.update() + count
    before, started = cpu_by_thread(process.pid), time.monotonic()
    ask(publisher, "go")
    wait(f"{process.args}: {count} events", lambda: process.poll() is not None or lines.update() >= until)
    took_s = time.monotonic() - started
    time.sleep(TAIL_S)
    if lines.update() != until:
        sys.exit(f"{process.args}: {lines.count} events instead of {until}")
    threads = Counter({name: s / count * 1e6 for name, s in (cpu_by_thread(process.pid) - before).items()})
    return Run(threads, count / took_s)


def measure(client: Client, scale: Scale) -> dict[int, Run]:
    """One life of a client: a stream for each size of batch."""
    with tempfile.TemporaryDirectory(dir=scale.folder) as name:
        folder = client.folder or Path(name)
        lines = Lines(folder / "out.jsonl")
        with streaming(client, folder) as (publisher, process):
            for batch in COUNTS:
                stream(publisher, process, lines, scale.of(WARM_UP, batch), batch)
            return {b: stream(publisher, process, lines, scale.of(count, b), b) for b, count in COUNTS.items()}


def in_turns(clients: Sequence[Client], scale: Scale) -> list[dict[int, list[Run]]]:
    """The runs of each client by size of batch: a round of each before the next, each round begun by another."""
    runs: list[dict[int, list[Run]]] = [{batch: [] for batch in COUNTS} for _ in clients]
    order = deque(zip(clients, runs, strict=True))
    for _ in range(scale.rounds):
        for client, taken in order:
            for batch, run in measure(client, scale).items():
                taken[batch].append(run)
        order.rotate(-1)
    return runs


def median_us(runs: Sequence[Run]) -> float:
    """The middle of the rounds."""
    return statistics.median(run.cpu_us for run in runs)


def ratio(ours: Sequence[Run], theirs: Sequence[Run]) -> Figure:
    """Our CPU as a part of theirs."""
    return Figure(f"{median_us(ours) / median_us(theirs):.2f}")


def rivals(scale: Scale) -> Iterator[Table]:
    """The table that the project is measured by."""
    runs = in_turns(RIVALS, scale)
    ours = {client.ack: taken for client, taken in zip(RIVALS, runs, strict=True) if client.name == OURS}
    sizes = list(COUNTS)
    rows = [
        [
            client.name,
            "yes" if client.ack else "no",
            *(spread([run.cpu_us for run in taken[b]]) for b in sizes),
            *(ratio(ours[client.ack][b], taken[b]) for b in sizes),
            *(Figure(f"{statistics.median(run.rate for run in taken[b]):,.0f}") for b in sizes),
        ]
        for client, taken in zip(RIVALS, runs, strict=True)
    ]
    head = [f"CPU µs, {b} a poll" for b in sizes] + [f"ours / theirs, {b}" for b in sizes]
    head += [f"events/s, {b}" for b in sizes]
    yield Table(
        "CPU per event, beside plain scripts",
        "The whole daemon (receive, classify, journal with fsync, chained and signed file with fsync) and two scripts "
        "as people write them, with the JSON and the event loop that come with them. They write lines with the same "
        "fields, in one write for all that has arrived, and make nothing durable except in the rows with an fsync: "
        "that is what they would cost if they lost nothing. One session, notifications of 900 bytes, client and server "
        f"on a core each. Medians of {scale.rounds} rounds in turns, least and most in brackets.",
        ["client", "acknowledgements", *head],
        rows,
    )
    threads = {name for taken in runs[0].values() for run in taken for name in run.threads}

    def thread_us(name: str, batch: int) -> float:
        return statistics.median(run.threads[name] for run in runs[0][batch])

    yield Table(
        "Where the daemon's CPU goes",
        "The first row above by thread, CPU µs per event.",
        ["thread", *(f"{b} a poll" for b in sizes)],
        [
            [name, *(Figure(f"{thread_us(name, b):.1f}") for b in sizes)]
            for name in sorted(threads)
            if any(thread_us(name, b) >= 0.1 for b in sizes)
        ],
    )


async def grow(path: Path, total: int) -> None:
    """A journal of so many events, all of them delivered."""
    journal = SqliteJournal(path=path)
    await journal.open()
    await fill(journal, total)
    await journal.advance("file", journal.last_sequence)
    await journal.close()


def variants(scale: Scale) -> Iterator[Table]:
    """What the surroundings change."""
    with tempfile.TemporaryDirectory(dir=scale.folder) as name:
        grown = scale.of(GROWN, 1000)
        asyncio.run(grow(Path(name) / "journal.db", grown))
        clients = [*VARIANTS, Client(f"with {grown:,} events in the journal", folder=Path(name))]
        runs = in_turns(clients, scale)
    yield Table(
        "The same daemon in other surroundings",
        "As above, acknowledgements on. CPU µs per event.",
        ["", *(f"{b} a poll" for b in COUNTS)],
        [
            [client.name, *(spread([run.cpu_us for run in taken[b]]) for b in COUNTS)]
            for client, taken in zip(clients, runs, strict=True)
        ],
    )


def spread_out(scale: Scale, accounts: int, rates: Sequence[float]) -> Iterator[list[str]]:
    """A row for each rate: so many events/s, evenly spread over time and over so many sessions."""
    tables = "".join(f'[[accounts]]\nusername = "agent{n}"\n' for n in range(accounts))
    client, seconds = Client(OURS, settings={"[journal]": f"{tables}[journal]"}), scale.of(SPREAD_S)
    with tempfile.TemporaryDirectory(dir=scale.folder) as name, streaming(client, Path(name)) as (publisher, process):
        lines = Lines(Path(name) / "out.jsonl")
        wait("sessions", lambda: int(ask(publisher, "held")) == accounts)
        ask(publisher, f"spread 1 {SESSIONS // accounts}")
        wait("the warm-up", lambda: lines.update() >= SESSIONS)
        for rate in rates:
            each = round(rate * seconds / accounts)
            until = lines.update() + each * accounts
            before_s, began_s = cpu_s(process.pid), time.monotonic()
            ask(publisher, f"spread {seconds} {each}")
            wait("the events", lambda until=until: lines.update() >= until)
            taken_s = cpu_s(process.pid) - before_s
            per_event = number(taken_s / (each * accounts) * 1e6) if each else Figure()
            share = taken_s / (time.monotonic() - began_s)
            yield [str(accounts), number(each * accounts / seconds), Figure(f"{share:.1%}"), per_event]


def sessions(scale: Scale) -> Iterator[Table]:
    """Many sessions, each of which hears little, beside one that hears as much."""
    yield Table(
        f"{SESSIONS} sessions in one daemon",
        f"Over {scale.of(SPREAD_S)} s, events evenly spread: each is polled, committed and delivered by itself.",
        ["sessions", "events/s", "of a core", "CPU µs per event"],
        [*spread_out(scale, SESSIONS, (0, SESSIONS / 8, SESSIONS)), *spread_out(scale, 1, (SESSIONS / 8, SESSIONS))],
    )
