"""How many events a second each kind of sink takes, and what one costs: against the servers of the contract suite.

`python tests/benchmarks/sinks.py [KIND…]`, such as `nats redis`; all that can be started here by default.

The suite's own fixtures start the real servers. One of its tests is exchanged for a measurement: 10,000 events in
batches of 500, each batch durable there before the next begins. CPU is that of this process, so for webhook it includes
the receiver, which runs in it.
"""

import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from listener.model.event import Event
from listener.testing.contract import SinkContract
from listener.testing.events import sample_event

CONTRACTS = Path(__file__).parents[1] / "contracts"
EVENTS = 10_000
BATCH = 500
TAKEN_OVER = "test_a_single_event_is_a_batch"


class Row(NamedTuple):
    """One measurement."""

    sink: str
    seconds: float
    cpu_s: float


ROWS: list[Row] = []


def events(first: int, count: int) -> list[Event]:
    """Events of 50 chats, in journal order."""
    return [
        replace(sample_event(number, chat=f"chat-{number % 50}", data_bytes=600), sequence=number)
        for number in range(first, first + count)
    ]


def name_of(suite: SinkContract) -> str:
    """The suite's name and, where a kind is held to it in several ways, the way."""
    way = re.search(r"\[(.*?)\]", os.environ.get("PYTEST_CURRENT_TEST", ""))
    return type(suite).__name__.removeprefix("Test") + (f", {way[1]}" if way is not None else "")


async def measured(self: SinkContract, place: Any) -> None:
    """In the place of a test of the suite."""
    sink = place.sink()
    await sink.open()
    try:
        await sink.deliver(events(1, BATCH))
        batches = [events(start, BATCH) for start in range(BATCH + 1, BATCH + 1 + EVENTS, BATCH)]
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        for batch in batches:
            await sink.deliver(batch)
        ROWS.append(Row(name_of(self), time.perf_counter() - began_s, time.process_time() - began_cpu_s))
    finally:
        await sink.close()


def table(rows: Sequence[Row]) -> str:
    lines = ["| sink | events/s | CPU \u00b5s/event |", "| --- | ---: | ---: |"]
    lines += [f"| {row.sink} | {EVENTS / row.seconds:,.0f} | {row.cpu_s / EVENTS * 1e6:.0f} |" for row in rows]
    return "\n".join(lines)


def main() -> None:
    kinds = sys.argv[1:]
    files = (
        [CONTRACTS / f"test_sink_{kind}.py" for kind in kinds] if kinds else sorted(CONTRACTS.glob("test_sink_*.py"))
    )
    setattr(SinkContract, TAKEN_OVER, measured)
    pytest.main(["-n", "0", "-q", "-p", "no:cacheprovider", "--timeout", "300", "-k", TAKEN_OVER, *map(str, files)])
    print(f"\n{table(ROWS)}\n\n{EVENTS} events of {len(events(1, 1)[0].to_json())} bytes, {BATCH} a batch")


if __name__ == "__main__":
    main()
