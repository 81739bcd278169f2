"""The kind `kafka` against a real broker, where Java and Maven are installed, and against librdkafka's mock, always."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from listener.config.lane import LaneSettings
from listener.sinks import registry
from listener.testing.contract import SinkContract
from listener.testing.events import sample_event
from support.kafkabroker import KafkaBroker
from support.kafkacluster import events_of_topic, new_mock_topic, new_topic
from support.kafkamock import KafkaMock


class KafkaPlace:
    """A topic of its own in a real cluster."""

    exactly_once = False
    largest = 500_000
    of_the_host = False

    def __init__(self, cluster, topic, *, timeout_s):
        self._cluster = cluster
        self._topic = topic
        self._timeout_s = timeout_s

    def sink(self, **options):
        lane = {"bootstrap_servers": [self._cluster.server], "topic": self._topic, "timeout_s": self._timeout_s}
        return registry.build("sink", LaneSettings(type="kafka", **{**lane, **options}), base=Path())

    async def events(self):
        return await events_of_topic(self._cluster, self._topic)

    def outage(self):
        return self._cluster.outage()

    def stall(self):
        return self._cluster.stall()

    def denied(self):
        return self.sink(topic="nowhere")

    def poison(self, event):
        return replace(sample_event(event.sequence, chat=event.subject, data_bytes=2**20), sequence=event.sequence)


class MockPlace(KafkaPlace):
    """The same in the mock, which would lose its data with its life, and takes a message of any size."""

    def outage(self):
        return self._cluster.stall()

    def poison(self, event):
        pytest.skip("the mock takes a message of any size")


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with KafkaBroker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="module")
def mock(tmp_path_factory):
    with KafkaMock(tmp_path_factory.mktemp("mock"), brokers=2) as mock:
        yield mock


class TestMock(SinkContract):
    @pytest.fixture
    async def place(self, mock):
        return MockPlace(mock, await new_mock_topic(mock), timeout_s=2)


@pytest.mark.timeout(300)  # each start of a Java program takes seconds, many where others work, too
class TestKafka(SinkContract):
    deaths = (5,)

    @pytest.fixture
    async def place(self, broker):
        return KafkaPlace(broker, await new_topic(broker), timeout_s=2)


@pytest.mark.long
class TestManyDeaths(TestKafka):
    deaths = SinkContract.deaths
