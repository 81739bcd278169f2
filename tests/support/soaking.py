"""A long run under random faults: the simulator, the real daemon, a link that goes bad, a webhook that fails."""

import asyncio
import contextlib
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

from listener.simulator import Simulator, SimulatorOptions
from support.books import AuditBook, Till, differences
from support.config import AUDIT
from support.eventually import eventually
from support.faultproxy import FaultProxy
from support.ledger import KEY, Publication, Publisher
from support.listening import Listening
from support.oracle import Promise, Verdict, judge
from support.scrape import imbalance, scrape
from support.troubles import Trouble, Troubles

CHATS = 20  # of each agent
TICK_S = 0.02
COLUMNS = (
    *("seconds", "published", "in-file", "missing-so-far", "gaps", "rss-mib", "open-files"),
    *("restarts", "faults", "at-webhook", "webhook-repeats"),
)
LATE = timedelta(seconds=15)  # what is not in the file by then counts as missing so far
DRAINED_S = 90.0
MIB = 2**20
CALM = (0.5, 0.92)  # the stretch of the run, as parts of it, in which the daemon is left running
SHORTEST_S = 240.0  # of the stretch in which memory can be judged
GROWTH, GROWTH_MIB = 0.08, 4.0  # what may come on top between its first and last third


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What to run.

    Attributes:
        rate: events a second.
        pause_s: between two faults of one kind (of the link and the server, of the webhook, of the daemon) at the most.
    """

    seconds: float
    rate: int = 200
    ack: bool = True
    agents: int = 3
    pause_s: float = 6.0
    seed: int = field(default_factory=time.time_ns)


@dataclass(kw_only=True, slots=True)
class Tally:
    """What happened so far."""

    faults: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    rss_mib: list[tuple[float, float]] = field(default_factory=list)
    scrapes: int = 0
    problems: list[str] = field(default_factory=list)


class Soak:
    """One run.

    Args:
        plan: how long, how fast.
        folder: journal and audit file, about 1 KiB an event each.
        say: takes a line of the report.
    """

    def __init__(self, plan: Plan, folder: Path, *, say: Callable[[str], None]) -> None:
        self._plan, self._say = plan, say
        self._dice = random.Random(plan.seed)  # noqa: S311 - dice for a test
        self._accounts = [f"agent{number}" for number in range(1, plan.agents + 1)]
        options = SimulatorOptions(agents=plan.agents, ack=plan.ack, timeout_ms=2000, ledger_limit=1)
        self._simulator = Simulator(options)
        self._till = Till()
        self._audit = AuditBook(folder / AUDIT)
        self._folder = folder
        self._tally = Tally()
        self._publishers = [self._publisher(account) for account in self._accounts]
        self._waiting: dict[str, dict[str, Publication]] = {account: {} for account in self._accounts}
        self._started_s = 0.0
        self._link: FaultProxy
        self._listening: Listening
        self._ports: dict[int, int] = {}  # of the daemon's HTTP server, by process

    def _publisher(self, agent: str) -> Publisher:
        chats = [f"{agent}-{number}" for number in range(CHATS)]
        for chat in chats:
            self._simulator.add_chat(chat, [agent])

        async def send(_number: int, chat: str, value: str) -> int:
            return self._simulator.set_disposition(agent, chat, value, KEY).reference_id

        return Publisher(send, chats=chats, agent=agent)

    async def run(self) -> list[str]:
        """Play it; returns what breaks a promise, in words."""
        self._say(f"seed {self._plan.seed}, {self._plan}")
        async with contextlib.AsyncExitStack() as owned:
            await owned.enter_async_context(self._simulator)
            await owned.enter_async_context(self._till)
            self._link = await owned.enter_async_context(FaultProxy(self._simulator.port))
            self._listening = await owned.enter_async_context(self._installation())
            await self._listening.start()
            await eventually(lambda: all(map(self._simulator.subscribed, self._accounts)))
            self._started_s = time.monotonic()
            async with self._watched():
                async with asyncio.timeout(self._plan.seconds + 60.0):
                    await self._stream()
                await self._drain()
            await self._stop()
        return self._verdict()

    def _installation(self) -> Listening:
        password = self._simulator.options.password
        waiting = {"poll_margin_s": 2.0, "connect_timeout_s": 2.0, "request_timeout_s": 5.0}
        return Listening(
            self._folder,
            server={"url": self._link.url, **waiting},
            webhook=f"{self._till.url}/crm",
            accounts=[{"username": account, "password": password} for account in self._accounts],
            sinks={"crm": {"retry_limit_s": 2.0, "timeout_s": 3.0, "concurrency": 8}},
        )

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    @property
    def _calm(self) -> tuple[float, float]:
        """The stretch without restarts, in seconds of the run."""
        return self._plan.seconds * CALM[0], self._plan.seconds * CALM[1]

    async def _stream(self) -> None:
        """Publish at the rate until the time is over, while things go wrong."""
        published = 0
        troubles = Troubles(link=self._link, simulator=self._simulator, till=self._till, dice=self._dice)
        async with asyncio.TaskGroup() as tasks:
            faults = [
                tasks.create_task(self._go_wrong(kinds), name=name)
                for name, kinds in (("link", troubles.on_the_way()), ("webhook", troubles.at_the_webhook()))
            ]
            faults.append(tasks.create_task(self._restart_now_and_then(), name="restarts"))
            while self._elapsed_s < self._plan.seconds:
                while published < self._elapsed_s * self._plan.rate:
                    await self._publish(self._publishers[published % len(self._publishers)])
                    published += 1
                await asyncio.sleep(TICK_S)
            for fault in faults:
                fault.cancel()

    async def _publish(self, publisher: Publisher) -> None:
        entry = await publisher.publish()
        assert entry.agent is not None
        self._waiting[entry.agent][entry.value] = entry

    async def _go_wrong(self, faults: Sequence[Trouble]) -> None:
        while True:
            await asyncio.sleep(self._dice.uniform(1.0, self._plan.pause_s))
            name, play = self._dice.choice(faults)
            self._tally.faults[name] += 1
            await play()

    async def _restart_now_and_then(self) -> None:
        """SIGTERM and kill -9 in turns, some of them before the daemon has come up; not in the calm stretch."""
        while True:
            await asyncio.sleep(self._dice.uniform(2.0, self._plan.pause_s * 4))
            if self._calm[0] - 10.0 < self._elapsed_s < self._calm[1]:
                await asyncio.sleep(max(0.0, self._calm[1] - self._elapsed_s))
                continue
            hard = self._dice.random() < 0.6
            self._tally.faults["kill -9" if hard else "SIGTERM"] += 1
            await self._restart(hard=hard)

    async def _restart(self, *, hard: bool) -> None:
        daemon = self._listening.daemon
        if hard:
            await daemon.kill()
        else:
            daemon.send_signal(signal.SIGTERM)
            status = await daemon.wait()
            if status != 0:
                self._tally.problems.append(f"the daemon ended with {status}:\n{daemon.output()}")
        self._tally.restarts += 1
        await self._listening.start(subscribed=False)

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Read the file, the counters and the memory every second, and report every minute, while the block runs."""

        async def watch() -> None:
            while True:
                await asyncio.sleep(1.0)
                self._look()
                await self._scrape()

        async def report() -> None:
            while True:
                await asyncio.sleep(60.0 - self._elapsed_s % 60.0)
                self._say(self._line())

        self._say(" ".join(COLUMNS))
        async with asyncio.TaskGroup() as tasks:
            watchers = [tasks.create_task(watch(), name="watch"), tasks.create_task(report(), name="report")]
            try:
                yield
            finally:
                for watcher in watchers:
                    watcher.cancel()
        self._look()
        self._say(self._line())

    def _look(self) -> None:
        for record in self._audit.read_on():
            waiting = self._waiting.get(record["data"]["account"], {})
            waiting.pop(record["data"].get("disposition", ""), None)
        rss = resident_mib(self._listening.daemon.pid)
        if rss is not None:
            self._tally.rss_mib.append((self._elapsed_s, rss))

    async def _scrape(self) -> None:
        """The books of the daemon have to balance at any moment."""
        port = self._port()
        if port is None:
            return
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            async with asyncio.timeout(5.0):
                wrong = imbalance(await scrape(port))
            self._tally.scrapes += 1
            if wrong:
                self._tally.problems.append(wrong)

    def _port(self) -> int | None:
        """Where the daemon that runs now serves its counters; None before it does."""
        daemon = self._listening.daemon
        if daemon.pid not in self._ports:
            for entry in daemon.log:
                if entry["event"] == "http_listening":
                    self._ports[daemon.pid] = entry["port"]
        return self._ports.get(daemon.pid)

    def _missing(self) -> int:
        """How many are not in the file although they have had the time."""
        due = datetime.now(UTC) - LATE
        return sum(entry.until < due for waiting in self._waiting.values() for entry in waiting.values())

    def _published(self) -> int:
        return sum(len(publisher.ledger) for publisher in self._publishers)

    def _line(self) -> str:
        gaps = sum(1 for account in self._accounts for _ in self._audit.gaps(account))
        rss = self._tally.rss_mib[-1][1] if self._tally.rss_mib else 0.0
        files = open_files(self._listening.daemon.pid)
        in_file = self._published() - sum(map(len, self._waiting.values()))
        books = (self._published(), in_file, self._missing(), gaps, f"{rss:.1f}", files)
        rest = (self._tally.restarts, self._tally.faults.total(), len(self._till.hashes), self._till.repeats)
        figures = (f"{self._elapsed_s:.0f}", *books, *rest)
        return " ".join(str(figure).rjust(len(name)) for figure, name in zip(figures, COLUMNS, strict=True))

    async def _drain(self) -> None:
        """Nothing goes wrong any more: what can still arrive does, at both sinks."""
        self._link.heal()
        self._simulator.control("clear")
        last = [publisher.ledger[-1] for publisher in self._publishers]

        def drained() -> bool:
            fresh = all(str(entry.agent) and entry.value not in self._waiting[str(entry.agent)] for entry in last)
            return fresh and self._audit.hashes.keys() <= self._till.hashes.keys()

        with contextlib.suppress(AssertionError):
            await eventually(drained, timeout_s=DRAINED_S, interval_s=0.2)
        await asyncio.sleep(2.0)

    async def _stop(self) -> None:
        status = await self._listening.stop()
        if status != 0:
            self._tally.problems.append(f"the daemon ended with {status}:\n{self._listening.daemon.output()}")
        self._look()

    def _verdict(self) -> list[str]:
        """Judge account by account: each hears its own agent's publications alone."""
        problems = [*self._tally.problems, *self._audit.problems, *self._till.problems]
        problems += differences(self._audit, self._till)
        for account, publisher in zip(self._accounts, self._publishers, strict=True):
            records = self._audit.records.pop(account, [])
            verdict = judge(publisher.ledger, records, promise=Promise.MISSING_ON_RECORD, accounts=(account,))
            problems += [f"{account}: {problem}" for problem in verdict.problems]
            self._say(f"{account}: {_summary(verdict)}; {_covered(records)}")
        self._say(f"faults: {dict(self._tally.faults)}")
        self._say(
            f"webhook: {len(self._till.hashes)} events, {self._till.repeats} repeats, {dict(self._till.answered)}"
        )
        self._say(f"handshakes: {self._simulator.state()['handshakes']}, scrapes: {self._tally.scrapes}")
        problems += self._memory()
        return problems

    def _memory(self) -> list[str]:
        """Whether the resident memory of the stretch without restarts grew."""
        start, end = self._calm
        samples = [rss for at_s, rss in self._tally.rss_mib if start <= at_s <= end]
        third = len(samples) // 3
        if not third:
            return ["memory was never looked at"]
        first, last = statistics.median(samples[:third]), statistics.median(samples[-third:])
        judged = end - start >= SHORTEST_S
        self._say(
            f"memory: median {first:.1f} MiB in the first third of {end - start:.0f} s without restarts, {last:.1f} MiB"
            f" in the last, {max(samples):.1f} at the most{'' if judged else '; too short to judge'}"
        )
        grown = judged and last > first * (1 + GROWTH) + GROWTH_MIB
        return [f"memory grew from {first:.1f} MiB to {last:.1f} MiB"] if grown else []


def resident_mib(pid: int) -> float | None:
    """Resident memory of a process; None when it has none."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / MIB
    return None


def open_files(pid: int) -> int:
    """How many file descriptors a process has; 0 when it is gone."""
    with contextlib.suppress(OSError):
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return 0


def _summary(verdict: Verdict) -> str:
    return (
        f"{verdict.published} published, {verdict.delivered} in the file, {verdict.reconciled} of them by re-reading,"
        f" {verdict.duplicates} repeated lines, {verdict.gaps} gaps, {len(verdict.missing)} missing,"
        f" {len(verdict.unaccounted)} outside of every gap on record"
    )


def _covered(records: Sequence[dict]) -> str:
    """How much of the time is on record as uncertain: a promise that excuses everything is none."""
    stretches = {(r["data"]["from"], r["data"]["to"]) for r in records if "from" in r["data"]}
    seconds = [(datetime.fromisoformat(to) - datetime.fromisoformat(since)).total_seconds() for since, to in stretches]
    return f"gaps of {sum(seconds):.0f} s in all, the longest {max(seconds, default=0.0):.1f} s"
