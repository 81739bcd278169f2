"""What a large journal costs: what is asked of it, beside the same of a small one.

A journal of five million events (each with its chat's last value, and one dead letter for every fifty) beside one of
fifty thousand. The ids of its chats are in no order, which is the worst case for the table of last values.
"""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.measuring import Scale, Table, spread
from listener.journal.sqlite import SqliteJournal, rows
from listener.journal.sqlite.store import open_store
from listener.model.event import JournalBatch, LastValue
from listener.model.filter import EventFilter
from listener.runtime.durable import sync_path
from listener.testing import SAMPLE_MS, sample_event

LARGE = 5_000_000
SMALL = 50_000
DATA_BYTES = 400
EVENTS_A_CHAT = 5
EVENTS_A_LETTER = 50
STEPS = 20
CHUNK = 100_000
_INSERT = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)"


def chat_of(number: int) -> str:
    return f"{number // EVENTS_A_CHAT * 2654435761 % 2**32:08x}Na9B26EF"  # ids rise in no order


def build(path: Path, events: int) -> None:
    """A journal of so many events, a millisecond apart."""
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
            file.executemany(_INSERT, map(event, numbers))
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
        file.execute("UPDATE meta SET folded_through = ?", (events,))
        file.execute("COMMIT")
    sync_path(path)  # or the first checkpoint waits for all of it


class Asked:
    """One journal's answers: for each question the milliseconds of each time, by the wall and of the processor."""

    def __init__(self, path: Path) -> None:
        self.journal = SqliteJournal(path=path)
        self.figures: dict[str, tuple[list[float], list[float]]] = {}

    async def ask(self, what: str, times: int, question: Callable[[int], Awaitable[object]]) -> None:
        """Ask so many times; the question gets the number of the turn."""
        wall, cpu = self.figures[what] = [], []
        for turn in range(times):
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            await question(turn)
            wall.append((time.perf_counter() - wall_s) * 1000)
            cpu.append((time.process_time() - cpu_s) * 1000)

    async def all(self, events: int) -> None:
        """Every question, in the order of the table."""
        journal, nothing = self.journal, EventFilter(chat="nobody's")
        await self.ask("open", 1, lambda _: journal.open())
        await self.ask("the figures of `/status.json`", 50, lambda _: journal.stats())
        await self.ask("append of 1", 500, lambda n: journal.append(batch(events + n)))
        await self.ask("append of 100", 50, lambda n: journal.append(batch(events + 100 * n, 100)))
        await self.ask("last values of 100 chats", 20, lambda n: journal.last_values(some_chats(events, n)))
        await self.ask("read of 500", 20, lambda n: journal.read(events * n // 20, 500))
        await self.ask("search that finds nothing, a look", 10, lambda _: journal.search(nothing, limit=100))
        await self.ask("page of 100 dead letters", 10, lambda _: journal.dead_letter_page(limit=100))
        await self.ask("replays of a sink", 10, lambda _: journal.replays("crm", 100))
        await self.ask("retention, 1,000 events", STEPS, lambda n: journal._delete(a_step(n)))
        await self.ask("close", 1, lambda _: journal.close())


def a_step(turn: int) -> Callable[[sqlite3.Connection], rows.Deleted]:
    """Deletes the events of so many steps, of which all but the last are gone."""
    return partial(rows.delete_events, before_ms=SAMPLE_MS + 1 + 1000 * (turn + 1), keep_for=(), limit=1000)


def batch(number: int, size: int = 1) -> JournalBatch:
    made = tuple(
        sample_event(number, chat=chat_of(number + n), data_bytes=DATA_BYTES, received_ms=SAMPLE_MS * 2)
        for n in range(size)
    )
    last = {"key": "k", "value": "x", "account": "agent1", "server_time_ms": SAMPLE_MS, "received_ms": SAMPLE_MS}
    return JournalBatch(events=made, values=tuple(LastValue(chat_id=event.subject, **last) for event in made))


def some_chats(events: int, turn: int) -> list[str]:
    return [chat_of(events * (100 * turn + n) // 2000) for n in range(100)]


def tables(scale: Scale) -> Iterator[Table]:
    """One table; the median, and the least and the most."""
    large = scale.of(LARGE, 1_000)
    sizes = (min(SMALL, large), large)
    found = []
    with tempfile.TemporaryDirectory(dir=scale.folder) as name:
        for turn, size in enumerate(sizes):
            path = Path(name) / f"{turn}.db"
            build(path, size)
            asked = Asked(path)
            asyncio.run(asked.all(size))
            found.append(asked.figures)
            path.unlink()
    yield Table(
        "A journal that has grown",
        "Milliseconds. A step of retention is a commit; a search looks at 20,000 events at a time. What is small is"
        " looked through as a whole when it is opened.",
        ["", *(head for size in sizes for head in (f"{size:,} events", "processor"))],
        [[what, *(spread(figure) for figures in found for figure in figures[what])] for what in found[0]],
    )
