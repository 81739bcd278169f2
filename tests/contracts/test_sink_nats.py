from pathlib import Path

import pytest
from msgspec.structs import replace

from listener.config.lane import LaneSettings
from listener.sinks import registry
from listener.testing.contract import SinkContract
from listener.testing.events import sample_event
from support.natsserver import NatsServer


class NatsPlace:
    """A stream of a real server."""

    exactly_once = True
    largest = 500_000
    of_the_host = False

    def __init__(self, server):
        self._server = server

    def sink(self, **options):
        lane = LaneSettings(type="nats", servers=[self._server.address], timeout_s=5, **options)
        return registry.build("sink", lane, base=Path())

    async def events(self):
        return await self._server.events()

    def outage(self):
        return self._server.outage()

    def stall(self):
        return self._server.stall()

    def denied(self):
        return self.sink(stream="NOWHERE")

    def poison(self, event):
        return replace(sample_event(event.sequence, chat=event.subject, data_bytes=2**20), sequence=event.sequence)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


class TestNats(SinkContract):
    @pytest.fixture
    async def place(self, server):
        await server.make_stream()
        return NatsPlace(server)
