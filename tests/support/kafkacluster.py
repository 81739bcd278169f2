"""What a test asks of a Kafka cluster, real or mocked, through another client library than the sink's."""

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from typing import Any, Protocol

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

_NAMES = itertools.count()
_PATIENCE_S = 20.0


class Cluster(Protocol):
    """Where a cluster is."""

    @property
    def server(self) -> str:
        """Host and port to begin with."""


async def new_topic(cluster: Cluster, *, partitions: int = 3, **config: str) -> str:
    """Make an empty topic, and return its name. Its settings are written with _ in place of dots."""

    def make() -> str:
        name = f"dispositions-{next(_NAMES)}"
        settings = {key.replace("_", "."): value for key, value in config.items()}
        admin = AdminClient({"bootstrap.servers": cluster.server})
        new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=settings)
        admin.create_topics([new])[name].result(_PATIENCE_S)
        _wait_for_leaders(cluster.server, name, partitions)
        return name

    return await asyncio.to_thread(make)


async def new_mock_topic(cluster: Cluster) -> str:
    """The same in the mock, which makes a topic for the producer that asks for it, and in no other way."""

    def make() -> str:
        name = f"dispositions-{next(_NAMES)}"
        known = Producer({"bootstrap.servers": cluster.server}).list_topics(name, timeout=_PATIENCE_S)
        assert known.topics[name].partitions
        return name

    return await asyncio.to_thread(make)


async def delete_topic(cluster: Cluster, name: str) -> None:
    """Delete a topic, for good."""
    admin = AdminClient({"bootstrap.servers": cluster.server})
    await asyncio.to_thread(lambda: admin.delete_topics([name])[name].result(_PATIENCE_S))


async def messages_of(cluster: Cluster, topic: str) -> Sequence[Message]:
    """Every message of a topic, each partition in its order, one partition after the other."""
    return await asyncio.to_thread(_messages, cluster.server, topic)


async def events_of_topic(cluster: Cluster, topic: str) -> Sequence[Any]:
    """The same, as JSON."""
    return [json.loads(message.value() or b"") for message in await messages_of(cluster, topic)]


def _wait_for_leaders(server: str, topic: str, partitions: int) -> None:
    """A new topic is known before each of its partitions can be asked for anything."""
    consumer = Consumer({"bootstrap.servers": server, "group.id": "tests"})
    deadline = time.monotonic() + _PATIENCE_S
    for number in range(partitions):
        while True:
            try:
                consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_PATIENCE_S)
                break
            except KafkaException:
                assert time.monotonic() < deadline, f"{topic} has no leaders"
                time.sleep(0.05)
    consumer.close()


def _messages(server: str, topic: str) -> Sequence[Message]:
    consumer = Consumer({"bootstrap.servers": server, "group.id": "tests", "enable.auto.commit": False})
    try:
        known = consumer.list_topics(topic, timeout=_PATIENCE_S).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in known]
        ends = [consumer.get_watermark_offsets(place, timeout=_PATIENCE_S) for place in places]
        missing = sum(end - first for first, end in ends)
        consumer.assign([TopicPartition(topic, place.partition, OFFSET_BEGINNING) for place in places])
        found: list[Message] = []
        while missing > 0:
            batch = consumer.consume(min(500, missing), timeout=_PATIENCE_S)
            assert batch, f"{missing} messages of {topic} do not come"
            for message in batch:
                assert message.error() is None, message.error()
            found += batch
            missing -= len(batch)
        return sorted(found, key=lambda message: (message.partition() or 0, message.offset() or 0))
    finally:
        consumer.close()
