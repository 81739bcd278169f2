from pathlib import Path

import pytest
from msgspec.structs import replace

from listener.config.lane import LaneSettings
from listener.sinks import registry
from listener.testing.contract import SinkContract
from support.postgresserver import PostgresServer


class PostgresPlace:
    """A table of a real server."""

    exactly_once = True
    largest = 500_000
    of_the_host = False

    def __init__(self, server):
        self._server = server

    def sink(self, **options):
        keys = {"url": self._server.address, "username": "admin", "tls": False, "create_table": True, **options}
        return registry.build("sink", LaneSettings(type="postgres", **keys), base=Path())

    async def events(self):
        return await self._server.events()

    def outage(self):
        return self._server.outage()

    def stall(self):
        return self._server.stall()

    def denied(self):
        return self.sink(create_table=False)

    def poison(self, event):
        """A number that JSON knows, and PostgreSQL does not."""
        return replace(event, data=b'{"reference":1e200000,' + event.data[1:])


@pytest.fixture(scope="module")
def server():
    # What a killed process has written the system keeps; with fsync each restart begins with that of every file.
    with PostgresServer(fsync="off") as server:
        yield server


class TestPostgres(SinkContract):
    @pytest.fixture
    async def place(self, server):
        await server.empty()
        return PostgresPlace(server)
