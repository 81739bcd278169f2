import json
from pathlib import Path

import pytest

from listener.config.lane import LaneSettings
from listener.sinks import registry
from listener.testing.contract import SinkContract
from listener.testing.events import sample_event
from support.rabbitmq import MAX_BYTES, QUEUE


class AmqpPlace:
    """A durable queue of a real broker."""

    exactly_once = False
    largest = 500_000
    of_the_host = False

    def __init__(self, broker):
        self._broker = broker
        self._taken = []

    def sink(self, **options):
        url = f"amqp://127.0.0.1:{self._broker.port}"
        table = LaneSettings(type="amqp", url=url, queue=QUEUE, timeout_s=5, **options)
        return registry.build("sink", table, base=Path())

    async def events(self):
        self._taken += [json.loads(message.body) for message in await self._broker.take()]
        return self._taken

    def outage(self):
        return self._broker.outage()

    def stall(self):
        return self._broker.stall()

    def denied(self):
        return self.sink(username="guest", password="not the one")

    def poison(self, event):
        return sample_event(event.sequence, chat=event.subject, data_bytes=MAX_BYTES, sequence=event.sequence)


@pytest.mark.timeout(300)  # starts of a broker that takes seconds for each, many on a busy machine
class TestAmqp(SinkContract):
    deaths = (5,)

    @pytest.fixture
    async def place(self, rabbitmq):
        await rabbitmq.make_queue()
        return AmqpPlace(rabbitmq)


@pytest.mark.long
class TestManyDeaths(TestAmqp):
    deaths = SinkContract.deaths
