"""Connections to a Kafka cluster: security, the topic, and a producer that can be abandoned."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from listener.errors import Park, Retry
from listener.sinks.durability import report_durability
from listener.sinks.kafka.settings import KafkaSettings
from listener.sinks.registry import SinkContext

_CLOSE_S = 1.0

_NEEDS_A_PERSON = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
_DEFAULT_LARGEST = 1_048_588  # bytes of a batch, unless a topic or its broker is configured otherwise
_NO_ERROR = 0


# Its words on every attempt of its own repeat what our one line says, several times a second.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


async def security_of(context: SinkContext, settings: KafkaSettings) -> dict[str, Any]:
    """Arguments that every client of the library takes; reads certificates and the password anew.

    Raises:
        Retry: the password's file cannot be used now.
        StartError: a certificate cannot be used.
    """
    options: dict[str, Any] = {
        "security_protocol": "SSL" if settings.tls else "PLAINTEXT",
        "request_timeout_ms": round(settings.timeout_s * 1000),
        "client_id": "disposition-listener",
    }
    if settings.tls:
        options["ssl_context"] = await asyncio.to_thread(settings.ssl_context, context)
    if settings.username is not None:
        options["security_protocol"] = f"SASL_{options['security_protocol']}"
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.username
        options["sasl_plain_password"] = await settings.password_now(context) or ""
    return options


class Producer(AIOKafkaProducer):  # type: ignore[misc] # the library has no types
    """A producer that can be given up.

    An idempotent one retries for ever, and `stop` waits for it: neither reports a cluster that is away.

    Attributes:
        usable: whether it has not been given up.
    """

    usable = True

    async def close(self) -> None:
        """Give up what is not acknowledged and release everything, within a second or two. Idempotent."""
        self.usable = False
        self._closed = True
        sending = self._sender.sender_task
        tasks = [*self._requests(), *([] if sending is None else [sending])]
        for task in tasks:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self.client.close()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_S)

    def _requests(self) -> list[asyncio.Task[Any]]:
        """The tasks that wait for an answer to what was sent.

        The sender keeps them to itself, and they outlive it: each tries again once there is metadata, which nobody
        fetches any more.
        """
        return [task for task in asyncio.all_tasks() if self._is_request(task.get_coro())]

    def _is_request(self, coroutine: Any) -> bool:
        if getattr(coroutine, "__qualname__", "") != "Sender._send_produce_req":  # a test guards it
            return False
        return coroutine.cr_frame is not None and coroutine.cr_frame.f_locals.get("self") is self._sender


async def why_not(settings: KafkaSettings, security: dict[str, Any]) -> Park | Retry:
    """Knock at each server again: the library keeps to itself why none of them lets it in."""
    reasons: list[str] = []
    for server in settings.bootstrap_servers:
        host, _, port = server.rpartition(":")
        try:
            connection = await create_conn(host.strip("[]"), int(port), **security)
        except _NEEDS_A_PERSON as exc:
            return Park(f"{server} refuses our credentials: {words_of(exc)}")
        except TimeoutError:
            reasons.append(f"{server} did not answer within {settings.timeout_s:g} s")
        except (KafkaError, OSError) as exc:
            reasons.append(f"{server} cannot be reached: {words_of(exc)}")
        else:
            connection.close()
            reasons.append(f"{server} accepts connections but does not describe its cluster")
    return Retry("; ".join(reasons))


def words_of(exc: BaseException) -> str:
    """The text of an error, without the library's own explanation if the broker gave none."""
    return str(exc) or type(exc).__name__


class Topic(NamedTuple):
    """What the cluster says of the topic.

    Attributes:
        replicas: those of the partition that has the fewest.
        config: its settings by name; empty if this user may not ask, or the broker does not tell.
    """

    replicas: int
    config: Mapping[str, str]

    @property
    def largest_batch(self) -> int | None:
        """Bytes of the largest batch that is taken; None if that is not known."""
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


def report_topic(context: SinkContext, settings: KafkaSettings, topic: Topic) -> None:
    """Log what an acknowledgement of all in-sync replicas is worth."""
    in_sync = topic.config.get("min.insync.replicas")
    report_durability(
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
        yield "this user may not read min.insync.replicas and the topic's other settings"
    elif topic.replicas > 1 and topic.config.get("min.insync.replicas") == "1":
        yield "min.insync.replicas is 1: an acknowledged event may be on the leader alone"
    if topic.config.get("unclean.leader.election.enable") == "true":
        yield "unclean.leader.election.enable: a replica that lags behind may become the leader"
    if "compact" in topic.config.get("cleanup.policy", ""):
        yield "cleanup.policy is compact: only the newest event of each chat is kept"
