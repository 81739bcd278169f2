"""The topic that a `kafka` sink writes to: whether it is there, and what its acknowledgements are worth."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from listener.errors import Park
from listener.sinks.durability import report
from listener.sinks.kafka.settings import KafkaSettings
from listener.sinks.registry import SinkContext

_DEFAULT_LARGEST = 1_048_588  # bytes of a batch, unless a topic or its broker is configured otherwise
_NO_ERROR = 0
_CLOSE_S = 1.0


class Topic(NamedTuple):
    """What the cluster says of the topic.

    Attributes:
        replicas: those of the partition that has the fewest.
        config: its settings by name; empty where this user may not ask, or the broker does not tell.
    """

    replicas: int
    config: Mapping[str, str]

    @property
    def largest_batch(self) -> int | None:
        """Bytes of the largest batch that is taken; None where that is not known."""
        value = self.config.get("max.message.bytes", "")
        return int(value) if value.isdigit() else None

    @property
    def batch_bytes(self) -> int:
        """Bytes to put into one batch."""
        return min(self.largest_batch or _DEFAULT_LARGEST, _DEFAULT_LARGEST)


async def look_at(settings: KafkaSettings, security: Mapping[str, Any]) -> Topic:
    """Ask the cluster, over a connection of its own.

    Raises:
        Park: there is no such topic.
        KafkaError, OSError, TimeoutError: there is no answer.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=list(settings.bootstrap_servers), **security)
    try:
        await admin.start()
        # Of all topics: to ask for one by its name makes it, where the cluster makes topics by itself.
        topics = {topic["topic"]: topic for topic in await admin.describe_topics()}
        if settings.topic not in topics:
            text = f"topic {settings.topic} at {settings.place} does not exist, or this user may not see it"
            raise Park(text)
        partitions = topics[settings.topic]["partitions"]
        replicas = min((len(partition["replicas"]) for partition in partitions), default=0)
        return Topic(replicas, await _config(admin, settings.topic))
    finally:
        with contextlib.suppress(TimeoutError):  # over TLS it waits for the other side to say goodbye
            async with asyncio.timeout(_CLOSE_S):
                await admin.close()


def report_durability(context: SinkContext, settings: KafkaSettings, topic: Topic) -> None:
    """Log what an acknowledgement of all in-sync replicas is worth."""
    in_sync = topic.config.get("min.insync.replicas")
    report(
        context,
        destination=f"{settings.place}, topic {settings.topic}",
        risks=tuple(_risks(topic)),
        replicas=topic.replicas,
        min_insync_replicas=int(in_sync) if in_sync is not None else None,
    )


async def _config(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        ((error, _, _, _, entries),) = answer.resources
    except (KafkaError, ValueError):  # a broker that does not know the request, or answers in another shape
        return {}
    return {entry[0]: entry[1] or "" for entry in entries} if error == _NO_ERROR else {}


def _risks(topic: Topic) -> Iterator[str]:
    if topic.replicas == 1:
        yield "one replica: the only copy, which Kafka leaves to the operating system to fsync"
    if not topic.config:
        yield "the cluster does not tell this user min.insync.replicas and the topic's other settings"
    elif topic.replicas > 1 and topic.config.get("min.insync.replicas") == "1":
        yield "min.insync.replicas is 1: an acknowledgement may stand for the leader alone"
    if topic.config.get("unclean.leader.election.enable") == "true":
        yield "unclean.leader.election.enable: a replica that lags behind may become the leader"
    if "compact" in topic.config.get("cleanup.policy", ""):
        yield "cleanup.policy is compact: of each chat the newest event alone is kept"
