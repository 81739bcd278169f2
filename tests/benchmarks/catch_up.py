"""How fast a sink catches up that is far behind: its lane, from a journal on the disk.

The clock runs from the opening of the sink until the cursor of the last event is stored. The receiver of the webhook is
a process of its own, which reads each batch and answers 204. CPU is that of the lane's process, all threads, with the
garbage collector set as in the daemon.
"""

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE

from benchmarks.measuring import Scale, Table, ask, child, spread
from listener.config.lane import LaneSettings
from listener.daemon.assembly import policy_of
from listener.delivery import Lane
from listener.journal.sqlite import SqliteJournal
from listener.model.event import JournalBatch
from listener.runtime.host import THIS_HOST
from listener.runtime.metrics import Metrics
from listener.sinks import registry
from listener.testing import sample_event

EVENTS = 1_000_000
A_COMMIT = 1_000
BATCH = 500
RECEIVER = """
import asyncio
async def answer(reader, writer):
    try:
        while head := await reader.readuntil(b"\\r\\n\\r\\n"):
            length = next(line for line in head.lower().split(b"\\r\\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            writer.write(b"HTTP/1.1 204 No Content\\r\\nContent-Length: 0\\r\\n\\r\\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=2**22)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""

Cost = tuple[float, float]


async def fill(journal: SqliteJournal, count: int) -> None:
    """Events of 500 chats with 600 bytes of `data`."""
    for start in range(0, count, A_COMMIT):
        numbers = range(start, min(start + A_COMMIT, count))
        events = tuple(sample_event(n, chat=f"chat-{n % 500}", data_bytes=600) for n in numbers)
        await journal.append(JournalBatch(events=events))


async def read(journal: SqliteJournal, count: int) -> None:
    """Everything, and nothing done with it."""
    after = 0
    while after < count:
        after = (await journal.read(after, BATCH))[-1].sequence


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


async def measure(work: Callable[[], Awaitable[None]]) -> Cost:
    """Seconds, and seconds of CPU."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - began_s, time.process_time() - began_cpu_s


async def costs(count: int, rounds: int, folder: Path, port: str) -> dict[str, list[Cost]]:
    """Of each row, by its name."""
    file = LaneSettings(type="file", path="audit.jsonl", batch=BATCH)
    webhook = LaneSettings(type="webhook", url=f"http://127.0.0.1:{port}/", mode="batched", batch=BATCH)
    journal = SqliteJournal(path=folder / "journal.db")
    await journal.open()
    await fill(journal, count)
    await journal.close()
    found: dict[str, list[Cost]] = {}
    for turn in range(rounds):
        (place := folder / f"{turn}").mkdir()
        await journal.open()  # anew, so that nothing is read from memory
        works: dict[str, Callable[[], Awaitable[None]]] = {
            "the journal alone": lambda: read(journal, count),
            "`file`, chained and signed": lambda: catch_up(journal, file, f"file-{turn}", place),  # noqa: B023 - awaited at once
            "`webhook`, batched": lambda: catch_up(journal, webhook, f"webhook-{turn}", place),  # noqa: B023 - as above
        }
        for name, work in works.items():
            found.setdefault(name, []).append(await measure(work))
        await journal.close()
    return found


def tables(scale: Scale) -> Iterator[Table]:
    """One table."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    count = scale.of(EVENTS, A_COMMIT)
    argv = (sys.executable, "-c", RECEIVER)
    with tempfile.TemporaryDirectory(dir=scale.folder) as folder, child(*argv, stdout=PIPE) as receiver:
        found = asyncio.run(costs(count, scale.rounds, Path(folder), ask(receiver)))
    yield Table(
        "Catch-up",
        f"A sink that is {count:,} events of 830 bytes behind, in batches of {BATCH}. The file has an fsync per batch.",
        ["sink", "events/s", "CPU µs/event"],
        [
            [name, spread([count / took_s for took_s, _ in rows]), spread([cpu_s / count * 1e6 for _, cpu_s in rows])]
            for name, rows in found.items()
        ],
    )
