from pathlib import Path

import pytest
from msgspec.structs import replace

from listener.config.lane import LaneSettings
from listener.sinks import registry
from listener.testing.contract import SinkContract
from listener.testing.events import sample_event
from support.redisserver import RedisServer


class RedisPlace:
    """A stream of a real server."""

    exactly_once = True
    largest = 500_000
    of_the_host = False

    def __init__(self, server):
        self._server = server

    def sink(self, **options):
        lane = LaneSettings(type="redis", url=self._server.address, **options)
        return registry.build("sink", lane, base=Path())

    async def events(self):
        return await self._server.events()

    def outage(self):
        return self._server.outage()

    def stall(self):
        return self._server.stall()

    def denied(self):
        return self.sink(username="nobody", password="wrong")

    def poison(self, event):
        return replace(sample_event(event.sequence, chat=event.subject, data_bytes=2**20), sequence=event.sequence)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


class TestRedis(SinkContract):
    @pytest.fixture
    async def place(self, server):
        await server.empty()
        return RedisPlace(server)
