"""What a large journal costs: `python tests/benchmarks/growth.py [--events 5000000] [--dir DIR] [--keep FILE]`.

Builds a journal of so many events (each with its chat's last value, and one dead letter for every fifty) beside one of
fifty thousand, and asks both for the same. Times are by the wall, the median and the longest; the processor's time is
that of the whole process. The ids of its chats are in no order, which is the worst case for the table of last values.
"""

import argparse
import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import structlog

from listener.journal import SqliteJournal, rows
from listener.journal.store import open_store
from listener.model.event import JournalBatch, LastValue
from listener.model.filter import EventFilter
from listener.testing import SAMPLE_MS, sample_event

SMALL = 50_000
DATA_BYTES = 400
EVENTS_A_CHAT = 5
EVENTS_A_LETTER = 50
STEPS = 20
CHUNK = 100_000


def chat_of(number: int) -> str:
    return f"{number // EVENTS_A_CHAT * 2654435761 % 2**32:08x}Na9B26EF"  # ids rise in no order


def build(path: Path, events: int) -> None:
    """A journal of so many events, a millisecond apart, at once and not durable."""
    open_store(path).close()
    sample = sample_event(0, data_bytes=DATA_BYTES)
    fixed = (sample.type, sample.source)
    rest = (sample.time, sample.kind.value, sample.account, "set", sample.origin.value, sample.data)

    def event(number: int) -> tuple[object, ...]:
        row = (number, SAMPLE_MS + number, f"event-{number}", *fixed, chat_of(number), *rest)
        return *row, rows.checksum(*row)

    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("PRAGMA synchronous = OFF")
        file.execute("PRAGMA cache_size = -500000")
        for start in range(1, events + 1, CHUNK):
            numbers = range(start, min(start + CHUNK, events + 1))
            file.execute("BEGIN")
            file.executemany("INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(event, numbers))
            file.execute("COMMIT")
        chats = sorted({chat_of(number) for number in range(0, events + 1, EVENTS_A_CHAT)})
        file.execute("BEGIN")
        file.executemany(
            "INSERT INTO last_value VALUES (?, 'DispositionCode', 'x', 'agent1', NULL, ?)",
            ((chat, SAMPLE_MS) for chat in chats),
        )
        file.execute(
            "INSERT INTO dead_letter (sink, sequence, event_id, reason, attempts, at_ms, received_ms, type, source,"
            " subject, time, kind, account, change, origin, data)"
            " SELECT 'crm', sequence, id, 'refused', 1, received_ms, received_ms, type, source, subject, time, kind,"
            " account, change, origin, data FROM event WHERE sequence % ? = 0",
            (EVENTS_A_LETTER,),
        )
        file.execute("INSERT INTO sink_cursor VALUES ('crm', ?)", (events,))
        file.execute("COMMIT")


class Asked:
    """One journal's answers: for each question the seconds of each time, and the processor's seconds of all."""

    def __init__(self, path: Path) -> None:
        self.journal = SqliteJournal(path=path)
        self.figures: dict[str, tuple[list[float], list[float]]] = {}

    async def ask(self, what: str, *answers, share: int = 1) -> None:
        """Await each of `answers`; each of them asks for `share` things."""
        wall, cpu = self.figures.setdefault(what, ([], []))
        for answer in answers:
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            await answer
            wall.append((time.perf_counter() - wall_s) / share)
            cpu.append((time.process_time() - cpu_s) / share)


async def ask_all(asked: Asked, events: int) -> None:
    journal, nothing = asked.journal, EventFilter(chat="nobody's")
    await asked.ask("open", journal.open())
    await asked.ask("figures for /status.json", *(journal.stats() for _ in range(50)))
    await asked.ask("append of 1", *(journal.append(batch(events + n)) for n in range(500)))
    await asked.ask("append of 100", *(journal.append(batch(events + n, 100)) for n in range(50)))
    await asked.ask("last values of 100 chats", *(journal.last_values(some_chats(events, n)) for n in range(20)))
    await asked.ask("read of 500", *(journal.read(events * n // 20, 500) for n in range(20)))
    await asked.ask("search that finds nothing", *(journal.search(nothing, limit=100) for _ in range(10)))
    await asked.ask("page of 100 dead letters", *(journal.dead_letter_page(limit=100) for _ in range(10)))
    await asked.ask("replays of a sink", *(journal.replays("crm", 100) for _ in range(10)))
    first = (await journal.stats()).first_sequence
    for n in range(1, STEPS + 1):
        end = SAMPLE_MS + first + n * min(1000, events // STEPS)
        await asked.ask("retention, a step", journal._delete(step(end)))
    await asked.ask("close", journal.close())


def step(before_ms: int):
    return lambda connection: rows.delete_events(connection, before_ms=before_ms, keep_for=(), limit=1000)


def batch(number: int, size: int = 1) -> JournalBatch:
    made = tuple(
        sample_event(number, chat=chat_of(number + n), data_bytes=DATA_BYTES, received_ms=SAMPLE_MS * 2)
        for n in range(size)
    )
    values = [
        LastValue(chat_id=e.subject, key="k", value="x", account="a", server_time_ms=1, received_ms=1) for e in made
    ]
    return JournalBatch(events=made, values=tuple(values))


def some_chats(events: int, turn: int) -> list[str]:
    return [chat_of(events * (100 * turn + n) // 2000) for n in range(100)]


def table(small: Asked, large: Asked, events: int) -> None:
    print(f"{'ms: median, longest, processor':<28} {SMALL:>26,} events {events:>26,} events")
    for what in large.figures:
        print(f"{what:<28}", *(f"{cells(one.figures[what]):>33}" for one in (small, large)))


def cells(figures: tuple[list[float], list[float]]) -> str:
    wall, cpu = figures
    return " ".join(f"{1000 * s:>9.3f}" for s in (statistics.median(wall), max(wall), statistics.mean(cpu)))


async def main(folder: Path, events: int, kept: Path | None) -> None:
    large = kept or folder / "large.db"
    if not large.exists():
        began_s = time.monotonic()
        build(large, events)
        print(f"built {large.stat().st_size / 2**20:,.0f} MiB in {time.monotonic() - began_s:.0f} s", flush=True)
    build(folder / "small.db", SMALL)
    small_asked, large_asked = Asked(folder / "small.db"), Asked(large)
    await ask_all(small_asked, SMALL)
    await ask_all(large_asked, events)
    table(small_asked, large_asked, events)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--dir", type=Path, default=None, help="a folder on the disk to measure")
    parser.add_argument("--keep", type=Path, default=None, help="where the large journal is, or is left")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        asyncio.run(main(Path(name), options.events, options.keep))
