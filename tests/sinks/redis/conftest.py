"""A real Redis server, and sinks that lead to one."""

import contextlib

import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from support.redisserver import RedisServer


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One that knows no logins and loses nothing; shared by the tests of a module."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
async def server(shared):
    """The shared one, empty."""
    await shared.empty()
    return shared


@pytest.fixture
def start_redis(tmp_path_factory):
    """Start one of its own for a test: `start_redis(appendfsync="no")`."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(RedisServer(tmp_path_factory.mktemp("redis"), **options))


@pytest.fixture
async def sink_to(tmp_path):
    """Make a sink that is closed with the test: `sink_to(server, **settings)`."""
    async with contextlib.AsyncExitStack() as stack:

        def make(server, **options):
            lane = LaneSettings(type="redis", **{"url": server.address if server else None, **options})
            sink = registry.build("bus", lane, base=tmp_path)
            stack.push_async_callback(sink.close)
            return sink

        yield make
