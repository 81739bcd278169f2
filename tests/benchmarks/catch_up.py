"""How fast a sink catches up that is far behind: events a second of its lane, from a journal on the disk.

    python tests/benchmarks/catch_up.py [--events 1000000] [--rounds 1] [--batch 500] [--dir DIR]

`file` is chained, signed, and fsynced per batch; `webhook` sends batches to a receiver in a process of its own, which
reads them and answers 204. `read` is what the journal alone gives in batches of 500. The clock runs from the opening of
the sink until the cursor of the last event is stored. CPU is that of the process, all threads. Garbage is collected as
in the daemon.
"""

import argparse
import asyncio
import gc
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import structlog

from listener.config.lane import LaneSettings
from listener.daemon.assembly import policy_of
from listener.delivery import Lane
from listener.journal import SqliteJournal
from listener.model.event import JournalBatch
from listener.runtime.host import THIS_HOST
from listener.runtime.metrics import Metrics
from listener.sinks import registry
from listener.testing import sample_event

A_COMMIT = 1000
NO_CONTENT = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"


async def fill(journal: SqliteJournal, count: int) -> None:
    """Events of 500 chats with 600 bytes of `data`, as the journal numbers them."""
    for start in range(0, count, A_COMMIT):
        numbers = range(start, min(start + A_COMMIT, count))
        events = tuple(sample_event(number, chat=f"chat-{number % 500}", data_bytes=600) for number in numbers)
        await journal.append(JournalBatch(events=events))


async def read(journal: SqliteJournal, count: int, batch: int) -> None:
    after = 0
    while after < count:
        after = (await journal.read(after, batch))[-1].sequence


async def catch_up(journal: SqliteJournal, settings: LaneSettings, name: str, folder: Path) -> None:
    """Until all is delivered and the cursor is stored."""
    lane = Lane(
        name=name,
        kind=settings.type,
        sink=registry.build(name, settings, base=folder),
        journal=journal,
        policy=policy_of(name, settings),
        metrics=Metrics(),
        now_ms=THIS_HOST.clock.now_ms,
    )
    running = asyncio.create_task(lane.run())
    try:
        await lane.answered()
        drained = asyncio.create_task(lane.drained())
        await asyncio.wait((running, drained), return_when=asyncio.FIRST_COMPLETED)
        if not drained.done():
            await running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection of the receiver."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            writer.write(NO_CONTENT)
    writer.close()


async def receive() -> None:
    """Serve until killed."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=2**22)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def measure(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Seconds, and seconds of CPU."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - began_s, time.process_time() - began_cpu_s


async def main(count: int, rounds: int, batch: int, folder: Path, port: int) -> None:
    """Print the table."""
    journal = SqliteJournal(path=folder / "journal.db")
    await journal.open()
    await fill(journal, count)
    await journal.close()
    print(f"{count} events, daemon {'with' if find_spec('uvloop') else 'without'} uvloop, medians of {rounds}")
    print(f"{'':12}{'events/s':>10} {'CPU us/event':>13}")
    url = f"http://127.0.0.1:{port}/"
    taken: dict[str, list[tuple[float, float]]] = {"read": [], "file": [], "webhook": []}
    for number in range(rounds):
        await journal.open()
        file = LaneSettings(type="file", path=f"audit-{number}.jsonl", batch=batch)
        webhook = LaneSettings(type="webhook", url=url, mode="batched", batch=batch)
        taken["read"].append(await measure(lambda: read(journal, count, batch)))
        taken["file"].append(await measure(lambda: catch_up(journal, file, f"file-{number}", folder)))  # noqa: B023 - awaited at once
        taken["webhook"].append(await measure(lambda: catch_up(journal, webhook, f"webhook-{number}", folder)))  # noqa: B023 - as above
        await journal.close()
    for name, rows in taken.items():
        took_s, cpu_s = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:12}{count / took_s:10,.0f} {cpu_s / count * 1e6:13.2f}")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=1_000_000)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--batch", type=int, default=500)
    options.add_argument("--dir", type=Path, help="a folder on the disk to measure")
    options.add_argument("--receive", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.receive:
        asyncio.run(receive())
        sys.exit()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    if find_spec("uvloop"):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    with (
        tempfile.TemporaryDirectory(dir=given.dir) as home,
        subprocess.Popen([sys.executable, __file__, "--receive"], stdout=subprocess.PIPE, text=True) as receiver,
    ):
        try:
            assert receiver.stdout is not None
            port = int(receiver.stdout.readline())
            asyncio.run(main(given.events, given.rounds, given.batch, Path(home), port))
        finally:
            receiver.kill()
