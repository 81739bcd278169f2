"""AMQP sinks at the broker that all tests share."""

import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from support.rabbitmq import QUEUE


@pytest.fixture
async def make_sink(rabbitmq, tmp_path):
    """Open sinks; closed at the end."""
    made = []

    async def make(*, opened=True, **options):
        table = {"url": f"amqp://127.0.0.1:{rabbitmq.port}", "queue": QUEUE, **options}
        sink = registry.build("bus", LaneSettings(type="amqp", **table), base=tmp_path)
        made.append(sink)
        if opened:
            await sink.open()
        return sink

    yield make
    for sink in made:
        await sink.close()
