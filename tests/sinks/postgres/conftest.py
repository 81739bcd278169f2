"""A real PostgreSQL server, and sinks that lead to one."""

import contextlib

import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from support.postgresserver import PostgresServer


@pytest.fixture(scope="session")
def shared():
    """One that trusts everybody, for all."""
    with PostgresServer() as running:
        yield running


@pytest.fixture
async def server(shared):
    """The shared one, without a table."""
    await shared.empty()
    return shared


@pytest.fixture
def start_postgres():
    """Start one of its own for a test: `start_postgres(fsync="off", hba="host all all all scram-sha-256")`."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(PostgresServer(**options))


@pytest.fixture
async def sink_to(tmp_path):
    """Make a sink that is closed with the test: `sink_to(server, **settings)`."""
    async with contextlib.AsyncExitStack() as stack:

        def make(server, **options):
            keys = {"url": server.address, "username": "admin", "tls": False, "create_table": True, **options}
            sink = registry.build("bus", LaneSettings(type="postgres", **keys), base=tmp_path)
            stack.push_async_callback(sink.close)
            return sink

        yield make
