"""Speed and CPU of the journal: `python tests/benchmarks/journal_speed.py [--events N] [--dir DIR]`.

CPU is that of the whole process (all threads, kernel included). Rows hold about 600 bytes of `data`.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from listener.journal import SqliteJournal
from listener.model.event import JournalBatch, LastValue
from listener.testing import sample_event

DATA_BYTES = 600


def batch_of(size, *, values):
    events = tuple(sample_event(n, chat=f"0000Na9B26EF{n % 500:04d}", data_bytes=DATA_BYTES) for n in range(size))
    last = tuple(
        LastValue(
            chat_id=e.subject, key="DispositionCode", value="x", account=e.account, server_time_ms=None, received_ms=1
        )
        for e in events
    )
    return JournalBatch(events=events, values=last if values else ())


def report(label, events, work_s, cpu_s):
    print(f"{label:<46} {events / work_s:>10,.0f} events/s {cpu_s / events * 1e6:>8.2f} us CPU/event")


async def measured(label: str, events: int, work: Callable[[], Awaitable[None]], *, rounds: int = 3):
    figures = []
    for _ in range(rounds):
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        await work()
        figures.append((time.process_time() - cpu_s, time.perf_counter() - wall_s))
    cpu_s, wall_s = min(figures)
    report(label, events, wall_s, cpu_s)


async def appends(journal, total):
    for size in (1, 10, 100):
        for values in (False, True):
            batch = batch_of(size, values=values)
            rounds = max(1, min(total // size, 1000))

            async def work(batch=batch, rounds=rounds):
                for _ in range(rounds):
                    await journal.append(batch)

            label = f"append, batches of {size}" + (", each with a last value" if values else "")
            await measured(label, rounds * size, work)


async def concurrent(journal, total, appenders=100):
    one = batch_of(1, values=False)
    rounds = max(1, total // appenders)

    async def appender():
        for _ in range(rounds):
            await journal.append(one)

    async def work():
        async with asyncio.TaskGroup() as group:
            for n in range(appenders):
                group.create_task(appender(), name=f"appender-{n}")

    await measured(f"append, {appenders} appenders, batches of 1", rounds * appenders, work)


async def reads(journal, total):
    last = journal.last_sequence
    first = max(0, last - total)

    async def from_file(limit=500):
        after = first
        while after < first + total - 4096:
            after = (await journal.read(after, limit))[-1].sequence

    await measured("read from the file, 500 at once", total - 4096, from_file)

    async def from_memory():
        for _ in range(total // 500):
            await journal.read(last - 500, 500)

    await measured("read from memory, 500 at once", total // 500 * 500, from_memory)


async def follow(journal, total):
    """A lane beside an appender: what the memory saves, seen from the whole."""
    batch = batch_of(100, values=False)

    async def lane(until):
        after = journal.last_sequence
        while after < until:
            await journal.wait_beyond(after)
            after = (await journal.read(after, 500))[-1].sequence

    async def work():
        async with asyncio.TaskGroup() as group:
            group.create_task(lane(journal.last_sequence + total // 100 * 100), name="lane")
            for _ in range(total // 100):
                await journal.append(batch)

    await measured("append batches of 100, one lane behind", total // 100 * 100, work)


async def main(folder: Path, total: int):
    journal = SqliteJournal(path=folder / "journal.db")
    await journal.open()
    await appends(journal, total)
    await concurrent(journal, total)
    await reads(journal, total)
    await follow(journal, total)
    await journal.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--dir", type=Path, default=None, help="a folder on the disk to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        asyncio.run(main(Path(folder), options.events))
