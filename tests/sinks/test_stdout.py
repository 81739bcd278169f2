"""The stdout sink on real pipes and files."""

import asyncio
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from listener.errors import Park, Retry
from listener.sinks.registry import SinkContext
from listener.sinks.stdout import StdoutSink
from support.events import disposition_event, events_of, sequences
from support.eventually import eventually

CONTEXT = SinkContext(name="console", base=Path())


@pytest.fixture
def ends():
    """The two ends of a pipe as files; closing one twice is safe."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as reading, os.fdopen(writer, "wb", buffering=0) as writing:
        yield reading, writing


@pytest.fixture
def pipe(ends):
    """The descriptors of the two ends."""
    return ends[0].fileno(), ends[1].fileno()


def drain(reader: int) -> bytes:
    data = b""
    while select.select([reader], [], [], 0)[0] and (block := os.read(reader, 65536)):
        data += block
    return data


async def test_a_line_is_the_event_as_json(pipe):
    reader, writer = pipe
    event = disposition_event(1)
    await StdoutSink(context=CONTEXT, fd=writer).deliver([event])
    assert drain(reader) == event.to_json() + b"\n"


async def test_a_slow_reader_holds_up_the_sink_and_not_the_loop(pipe):
    reader, writer = pipe
    delivery = asyncio.ensure_future(StdoutSink(context=CONTEXT, fd=writer).deliver(events_of(1000)))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert not delivery.done()
    data = b""

    def read_on():
        nonlocal data
        data += drain(reader)
        return delivery.done()

    await eventually(read_on, interval_s=0.001)
    await delivery
    assert sequences((data + drain(reader)).splitlines()) == list(range(1, 1001))


async def cancelled_at_a_full_pipe(sink, events):
    delivery = asyncio.ensure_future(sink.deliver(events))
    for _ in range(1000):
        await asyncio.sleep(0)
    delivery.cancel()
    await asyncio.wait([delivery])
    assert delivery.cancelled()


@pytest.mark.parametrize("times", [1, 2])
async def test_a_cancelled_delivery_leaves_no_half_line_before_the_next(pipe, times):
    reader, writer = pipe
    sink = StdoutSink(context=CONTEXT, fd=writer)
    for _ in range(times):
        await cancelled_at_a_full_pipe(sink, events_of(1000))
    data = drain(reader)
    assert not data.endswith(b"\n")
    await sink.deliver([disposition_event(2000)])
    seen = sequences((data + drain(reader)).splitlines())
    assert seen == [*range(1, len(seen)), 2000]


async def test_a_cancelled_delivery_that_wrote_nothing_leaves_nothing_for_the_next(pipe):
    reader, writer = pipe
    os.set_blocking(writer, False)
    while select.select([], [writer], [], 0)[1]:
        os.write(writer, b"x" * 65536)
    sink = StdoutSink(context=CONTEXT, fd=writer)
    await cancelled_at_a_full_pipe(sink, [disposition_event(1)])
    drain(reader)
    await sink.deliver([disposition_event(2)])
    assert sequences(drain(reader).splitlines()) == [2]


async def test_a_reader_that_is_gone_is_a_park(ends):
    reading, writing = ends
    reading.close()
    with pytest.raises(Park, match=r"^sinks\.console: standard output: Broken pipe$"):
        await StdoutSink(context=CONTEXT, fd=writing.fileno()).deliver([disposition_event(1)])


async def test_a_closed_descriptor_is_a_park_and_the_probe_tells_it(ends):
    sink = StdoutSink(context=CONTEXT, fd=ends[1].fileno())
    await sink.check()
    ends[1].close()
    with pytest.raises(Park, match="standard output is closed"):
        await sink.check()
    with pytest.raises(Park):
        await sink.deliver([disposition_event(1)])


@pytest.fixture
def full_device():
    with Path("/dev/full").open("wb", buffering=0) as device:
        yield device.fileno()


async def test_a_full_device_is_a_retry(full_device):
    with pytest.raises(Retry, match="No space left on device"):
        await StdoutSink(context=CONTEXT, fd=full_device).deliver([disposition_event(1)])


async def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(pipe):
    reader, writer = pipe
    os.set_blocking(writer, False)
    delivery = asyncio.ensure_future(StdoutSink(context=CONTEXT, fd=writer).deliver(events_of(1000)))
    data = b""
    while not delivery.done():
        data += drain(reader)
        await asyncio.sleep(0)
    await delivery
    assert len((data + drain(reader)).splitlines()) == 1000


PROGRAM = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.events import events_of
from listener.config.lane import LaneSettings
from listener.sinks import registry

async def main():
    sink = registry.build("console", LaneSettings(type="stdout"), base=Path())
    await sink.open()
    await sink.deliver(events_of(300))
    await sink.close()

if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("to", ["pipe", "file"])
def test_the_real_standard_output_takes_every_line(loop, to, tmp_path):
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    path = tmp_path / "out"
    with path.open("wb") as file:
        command = (sys.executable, "-c", PROGRAM, loop, Path(__file__).parents[1])
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE if to == "pipe" else file, timeout=60)
    written = done.stdout if to == "pipe" else path.read_bytes()
    assert sequences(written.splitlines()) == list(range(1, 301))
