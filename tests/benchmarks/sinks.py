"""How many events a second each kind of sink takes, and what one costs: against the servers of the contract suite.

The suite's own fixtures start the real servers. One of its tests is exchanged for a measurement: events in batches of
500, each batch durable there before the next begins. CPU is that of this process, so for webhook it includes the
receiver, which runs in it. A kind whose server is not installed has no row.
"""

import io
import os
import re
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks.measuring import Scale, Table, number
from listener.model.event import Event
from listener.ports import Sink
from listener.testing.contract import SinkContract
from listener.testing.events import sample_event

CONTRACTS = Path(__file__).parents[1] / "contracts"
EVENTS = 10_000
BATCH = 500
TAKEN_OVER = "test_a_single_event_is_a_batch"


def events(first: int, count: int) -> list[Event]:
    """Events of 50 chats, in journal order."""
    return [
        replace(sample_event(n, chat=f"chat-{n % 50}", data_bytes=600), sequence=n) for n in range(first, first + count)
    ]


def name_of(suite: SinkContract) -> str | None:
    """The kind and, where it is held to the suite in several ways, the way; None for a double."""
    kind = type(suite).__name__.removeprefix("Test").lower()
    if not type(suite).__module__.endswith(f"test_sink_{kind}"):
        return None
    way = re.search(r"\[(.*?)\]", os.environ.get("PYTEST_CURRENT_TEST", ""))
    return f"`{kind}`" + (f", {way[1]}" if way is not None else "")


async def measure(name: str, sink: Sink, count: int) -> list[str]:
    """A row."""
    await sink.open()
    try:
        await sink.deliver(events(1, BATCH))
        batches = [events(start, BATCH) for start in range(BATCH + 1, BATCH + 1 + count, BATCH)]
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for batch in batches:
            await sink.deliver(batch)
        took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        return [name, number(count / took_s), number(cpu_s / count * 1e6)]
    finally:
        await sink.close()


def tables(scale: Scale) -> Iterator[Table]:
    count, rows = scale.of(EVENTS, BATCH), []

    async def measured(self: SinkContract, place: Any) -> None:
        """In the place of a test of the suite."""
        if name := name_of(self):
            rows.append(await measure(name, place.sink(), count))

    setattr(SinkContract, TAKEN_OVER, measured)
    files = map(str, sorted(CONTRACTS.glob("test_sink_*.py")))
    with redirect_stdout(io.StringIO()):
        pytest.main(["-n", "0", "-q", "-p", "no:cacheprovider", "--timeout", "300", "-k", TAKEN_OVER, *files])
    yield Table(
        "Throughput per sink",
        f"{count:,} events of {len(events(1, 1)[0].to_json())} bytes in batches of {BATCH}, each durable at the "
        "destination before the next begins. One run on the same cores, which the server shares. The `webhook` "
        "receiver shares the process as well.",
        ["sink", "events/s", "CPU µs per event"],
        sorted(rows),
    )
