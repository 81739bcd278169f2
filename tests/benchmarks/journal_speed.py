"""Speed and CPU of the journal alone. CPU is that of the whole process, all threads; rows hold 600 bytes of `data`."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from benchmarks.measuring import Scale, Table, spread
from listener.journal.sqlite import SqliteJournal
from listener.model.event import JournalBatch, LastValue
from listener.testing import sample_event

DATA_BYTES = 600
EVENTS = 20_000
APPENDERS = 100
CACHED = 4096  # newest events, which the journal keeps in memory


def batch_of(size: int, *, values: bool) -> JournalBatch:
    events = tuple(sample_event(n, chat=f"0000Na9B26EF{n % 500:04d}", data_bytes=DATA_BYTES) for n in range(size))
    last = tuple(
        LastValue(
            chat_id=e.subject, key="DispositionCode", value="x", account=e.account, server_time_ms=None, received_ms=1
        )
        for e in events
    )
    return JournalBatch(events=events, values=last if values else ())


class Bench:
    """The rows, and how a row is taken."""

    def __init__(self, scale: Scale) -> None:
        self.rounds = scale.rounds
        self.total = max(6_000, scale.of(EVENTS, 1_000))
        self.rows: list[list[str]] = []

    async def row(self, label: str, events: int, work: Callable[[], Awaitable[None]]) -> None:
        rates, cpu = [], []
        for _ in range(self.rounds):
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            await work()
            rates.append(events / (time.perf_counter() - wall_s))
            cpu.append((time.process_time() - cpu_s) / events * 1e6)
        self.rows.append([label, spread(rates), spread(cpu)])

    async def appends(self, journal: SqliteJournal) -> None:
        for size in (1, 10, 100):
            for values in (False, True):
                batch = batch_of(size, values=values)
                rounds = max(1, min(self.total // size, 1000))

                async def work(batch: JournalBatch = batch, rounds: int = rounds) -> None:
                    for _ in range(rounds):
                        await journal.append(batch)

                await self.row(
                    f"append, {size} a batch" + (", each with a last value" if values else ""), rounds * size, work
                )

    async def concurrent(self, journal: SqliteJournal) -> None:
        one = batch_of(1, values=False)
        rounds = max(1, self.total // APPENDERS)

        async def appender() -> None:
            for _ in range(rounds):
                await journal.append(one)

        async def work() -> None:
            async with asyncio.TaskGroup() as group:
                for n in range(APPENDERS):
                    group.create_task(appender(), name=f"appender-{n}")

        await self.row(f"append, {APPENDERS} at once, 1 a batch", rounds * APPENDERS, work)

    async def reads(self, journal: SqliteJournal) -> None:
        last = journal.last_sequence
        first = max(0, last - self.total)

        async def from_file() -> None:
            after = first
            while after < first + self.total - CACHED:
                after = (await journal.read(after, 500))[-1].sequence

        async def from_memory() -> None:
            for _ in range(self.total // 500):
                await journal.read(last - 500, 500)

        await self.row("read from the file, 500 at once", self.total - CACHED, from_file)
        await self.row("read from memory, 500 at once", self.total // 500 * 500, from_memory)

    async def follow(self, journal: SqliteJournal) -> None:
        """A lane beside an appender: what the memory saves, seen from the whole."""
        batch = batch_of(100, values=False)

        async def lane(until: int) -> None:
            after = journal.last_sequence
            while after < until:
                await journal.wait_beyond(after)
                after = (await journal.read(after, 500))[-1].sequence

        async def work() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(lane(journal.last_sequence + self.total), name="lane")
                for _ in range(self.total // 100):
                    await journal.append(batch)

        await self.row("append, 100 a batch, one lane behind", self.total, work)

    async def run(self, folder: Path) -> None:
        journal = SqliteJournal(path=folder / "journal.db")
        await journal.open()
        await self.appends(journal)
        await self.concurrent(journal)
        await self.reads(journal)
        await self.follow(journal)
        await journal.close()


def tables(scale: Scale) -> Iterator[Table]:
    bench = Bench(scale)
    with tempfile.TemporaryDirectory(dir=scale.folder) as folder:
        asyncio.run(bench.run(Path(folder)))
    about = f"Each append is one commit, durable. `data` has {DATA_BYTES} bytes. Medians of {scale.rounds}."
    yield Table("The journal alone", about, ["", "events/s", "CPU µs per event"], bench.rows)
