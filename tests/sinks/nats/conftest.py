"""A real NATS server, and sinks that lead to one."""

import contextlib
from pathlib import Path

import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from support.natsserver import NatsServer


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One with JetStream, that knows no logins; shared by the tests of a module."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
def start_nats(tmp_path):
    """Start one of its own for a test: `start_nats(configuration)`."""
    with contextlib.ExitStack() as stack:

        def start(configuration="", **options):
            folder = tmp_path / f"nats-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return stack.enter_context(NatsServer(folder, configuration=configuration, **options))

        yield start


@pytest.fixture
async def sink_to():
    """Make a sink that is closed with the test: `sink_to(server, **settings)`."""
    async with contextlib.AsyncExitStack() as stack:

        def make(server, **options):
            lane = LaneSettings(type="nats", **{"servers": [server.address], "timeout_s": 5, **options})
            sink = registry.build("bus", lane, base=Path())
            stack.push_async_callback(sink.close)
            return sink

        yield make
