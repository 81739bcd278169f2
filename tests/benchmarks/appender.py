"""A replica that does nothing but append to a journal in PostgreSQL: `python appender.py PORT SCHEMA NAME`.

It prints a line once it has joined. For each line `SIZE COMMITS` on standard input it appends so many batches of SIZE
events, each with the last value of its chat, one after the other, and prints as JSON the seconds that this took on a
core and the median of a commit in milliseconds. Chats are its own.
"""

import asyncio
import json
import logging
import statistics
import sys
import time
from contextlib import suppress

import structlog

from listener.journal.postgres.database import PostgresDatabase
from listener.journal.postgres.options import PostgresOptions
from listener.journal.shared.journal import SharedJournal
from listener.journal.shared.membership import Membership
from listener.model.event import JournalBatch, LastValue
from listener.testing import sample_event

DATA_BYTES = 600
CHATS = 500


def batch_of(size: int, name: str) -> JournalBatch:
    """Events of many chats, each with a value."""
    events = tuple(sample_event(n, chat=f"{name}-{n % CHATS:04d}", data_bytes=DATA_BYTES) for n in range(size))
    values = tuple(
        LastValue(chat_id=chat, key="DispositionCode", value="x", account=name, server_time_ms=None, received_ms=1)
        for chat in dict.fromkeys(event.subject for event in events)
    )
    return JournalBatch(events=events, values=values)


async def appended(journal: SharedJournal, batch: JournalBatch, commits: int) -> dict[str, float]:
    """What so many cost."""
    taken_s, cpu_s = [], time.process_time()
    for _ in range(commits):
        began_s = time.perf_counter()
        await journal.append(batch)
        taken_s.append(time.perf_counter() - began_s)
    return {"cpu_s": time.process_time() - cpu_s, "median_ms": statistics.median(taken_s) * 1000}


async def main(port: str, schema: str, name: str) -> None:
    """Append until standard input ends."""
    where = {"host": "127.0.0.1", "port": int(port), "database": "postgres", "username": "admin", "schema": schema}
    database = PostgresDatabase(PostgresOptions(**where))
    membership = Membership(database=database, name=name, version="0", lease_s=10.0)
    journal = SharedJournal(database=database, membership=membership)
    await journal.open()
    async with asyncio.TaskGroup() as tasks:
        beats = tasks.create_task(membership.run(), name="beats")
        await journal.last_values([f"{name}-{n:04d}" for n in range(CHATS)])
        print("joined", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            size, commits = map(int, line.split())
            print(json.dumps(await appended(journal, batch_of(size, name), commits)), flush=True)
        beats.cancel()
    await membership.leave()
    await journal.close()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    try:
        import uvloop
    except ImportError:
        uvloop = asyncio
    with suppress(KeyboardInterrupt):
        uvloop.run(main(*sys.argv[1:]))
