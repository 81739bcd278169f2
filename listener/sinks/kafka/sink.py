"""Writes to a topic: events as records, one batch per partition at a time, and the meaning of failures."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    PolicyViolationError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)
from aiokafka.partitioner import DefaultPartitioner

from listener.errors import Park, Retry
from listener.model.event import Event
from listener.model.forms import CLOUD_EVENT, Form
from listener.sinks.kafka.session import Producer, Topic, look_at, report_topic, security_of, why_not, words_of
from listener.sinks.kafka.settings import KafkaSettings, Mode
from listener.sinks.registry import SinkContext
from listener.sinks.session import KeptSession, expire
from listener.sinks.verdict import Verdict

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

_NEED_A_PERSON = (
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    InvalidTopicError,
    PolicyViolationError,
    TopicAuthorizationFailedError,
)


class Record(NamedTuple):
    """What becomes one record."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


def record_of(event: Event, *, form: Form, mode: Mode) -> Record:
    """The event as a record whose key is the chat's id, or the account of a gap: what shares it keeps its order.

    Structured: the body as the sink's form writes it. Binary: the attributes are headers, and the body is the event's
    data alone, or what another form than the CloudEvent makes of it.
    """
    if mode == "structured":
        return Record(event.subject.encode(), form.body(event), [_content_type(form.content_type)])
    headers = [(f"ce_{name}", value.encode()) for name, value in _attributes(event).items()]
    if form is CLOUD_EVENT:
        return Record(event.subject.encode(), event.data, [_content_type("application/json"), *headers])
    return Record(event.subject.encode(), form.body(event), [_content_type(form.content_type), *headers])


def _content_type(media_type: str) -> tuple[str, bytes]:
    return "content-type", media_type.encode()


def _attributes(event: Event) -> dict[str, str]:
    return {
        "specversion": "1.0",
        "type": event.type,
        "source": event.source,
        "id": event.id,
        "subject": event.subject,
        "time": event.time,
        "sequence": str(event.sequence),
    }


class Batch(NamedTuple):
    """Records that become durable together or not at all, and the events that they are, by index."""

    builder: Any
    indexes: list[int]


class KafkaSink:
    """Writes to one topic with acks=all and an idempotent producer; the key is the chat.

    A partition has one batch on its way, and the next only once that is acknowledged: what fails is not overtaken.
    While `timeout_s` lasts the producer repeats a batch under its own sequence numbers, so that the broker recognizes
    what it has. What fails then, in whatever way, ends the producer, because its numbers are off from there on: the
    next delivery has a new one, from which an event may be there twice. Can be opened again after `close`.

    Args:
        context: the sink's name, the base of relative paths and how events are written.
        settings: its keys.
    """

    def __init__(self, *, context: SinkContext, settings: KafkaSettings) -> None:
        self._context = context
        self._settings = settings
        self._partition_of = DefaultPartitioner()  # that of the Java client, so that other producers find it, too
        self._producer = KeptSession(context.name, self._connect)
        self._topic: Topic | None = None
        self._batch_bytes: int | None = None
        self._delivery: asyncio.Timeout | None = None

    async def open(self) -> None:
        """See `ports.Sink`. Never makes the topic."""
        await self.close()
        await self._producer.open()
        if self._topic is not None:
            report_topic(self._context, self._settings, self._topic)

    async def deliver(self, events: Sequence[Event]) -> None:
        """See `ports.Sink`. Of several outcomes one is raised: Reject before Park before Retry."""
        producer = await self._producer.get()
        verdict = Verdict()
        records = [record_of(event, form=self._context.form, mode=self._settings.mode) for event in events]
        try:
            placed = await self._placed(producer, records, verdict)
            async with asyncio.timeout(None) as self._delivery, asyncio.TaskGroup() as group:
                for partition, indexes in placed.items():
                    batches = self._batches(producer, records, indexes, verdict)
                    name = f"kafka-{self._context.name}-{partition}"
                    group.create_task(self._send(producer, partition, batches, verdict), name=name)
        except TimeoutError:  # that of `close`
            verdict.hold(Retry(f"sinks.{self._context.name} was closed"))
        finally:
            self._delivery = None
            if not producer.usable:
                await producer.close()
        verdict.raise_outcome()

    async def check(self) -> None:
        """See `ports.Sink`: logs in over a connection of its own, and asks for the topic."""
        await self._look(await security_of(self._context, self._settings))

    async def close(self) -> None:
        """See `ports.Sink`."""
        expire(self._delivery)
        await self._producer.close()

    async def _placed(
        self, producer: Producer, records: Sequence[Record], verdict: Verdict
    ) -> Mapping[int, Sequence[int]]:
        """The indexes of records by their partition, in order; nothing where the topic's partitions are not known."""
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                partitions = sorted(await producer.partitions_for(self._settings.topic))
        except (KafkaError, TimeoutError) as exc:
            self._give_up(producer, exc, Batch(None, []), verdict)
            return {}
        placed: dict[int, list[int]] = {}
        for index, record in enumerate(records):
            placed.setdefault(self._partition_of(record.key, partitions, partitions), []).append(index)
        return placed

    def _batches(
        self, producer: Producer, records: Sequence[Record], indexes: Sequence[int], verdict: Verdict
    ) -> Iterator[Batch]:
        """Batches as large as they may be; a record that is too large even for one of its own is refused."""
        batch = Batch(producer.create_batch(), [])
        for index in indexes:
            if not _appended(batch, index, records[index]):
                yield batch
                batch = Batch(producer.create_batch(), [])
                _appended(batch, index, records[index])  # the first one always fits
            largest = self._topic.largest_batch if self._topic is not None else None
            if len(batch.indexes) == 1 and largest is not None and batch.builder.size() > largest:
                verdict.refuse(index, f"larger than the {largest} bytes that topic {self._settings.topic} takes")
                batch = Batch(producer.create_batch(), [])
        if batch.indexes:
            yield batch

    async def _send(self, producer: Producer, partition: int, batches: Iterator[Batch], verdict: Verdict) -> None:
        """Batch after batch, until one fails."""
        for batch in batches:
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    await (await producer.send_batch(batch.builder, self._settings.topic, partition=partition))
            except (KafkaError, TimeoutError) as exc:
                self._give_up(producer, exc, batch, verdict)
                return
            verdict.delivered.update(batch.indexes)

    def _give_up(self, producer: Producer, exc: Exception, batch: Batch, verdict: Verdict) -> None:
        """The producer is of no use any more; what that means for a batch."""
        producer.usable = False
        place = f"topic {self._settings.topic} at {self._settings.place}"
        if isinstance(exc, TimeoutError):
            verdict.hold(Retry(f"{place} did not acknowledge within {self._settings.timeout_s:g} s"))
        elif isinstance(exc, _TOO_LARGE) and len(batch.indexes) == 1:
            verdict.refuse(batch.indexes[0], f"larger than {place} takes", words_of(exc))
        elif isinstance(exc, _TOO_LARGE):  # the topic does not tell its limit, or it has changed
            self._batch_bytes = batch.builder.size() // 2
            verdict.hold(Retry(f"{place} does not take a batch of {batch.builder.size()} bytes"))
        elif isinstance(exc, _NEED_A_PERSON):
            verdict.hold(Park(f"{place}: {words_of(exc)}"))
        else:
            verdict.hold(Retry(f"{place}: {words_of(exc)}"))

    async def _connect(self) -> Producer:
        """A new producer once the topic is there. Raises Retry or Park."""
        security = await security_of(self._context, self._settings)
        self._topic = await self._look(security)
        return await self._started(security, self._topic)

    async def _look(self, security: Mapping[str, Any]) -> Topic:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await look_at(self._settings, security)
        except KafkaConnectionError as exc:
            raise await why_not(self._settings, dict(security)) from exc
        except TimeoutError as exc:
            raise Retry(f"{self._settings.place} did not answer within {self._settings.timeout_s:g} s") from exc
        except (KafkaError, OSError) as exc:
            raise Retry(f"{self._settings.place}: {words_of(exc)}") from exc

    async def _started(self, security: Mapping[str, Any], topic: Topic) -> Producer:
        producer = Producer(
            bootstrap_servers=list(self._settings.bootstrap_servers),
            acks="all",
            enable_idempotence=True,
            max_batch_size=min(self._batch_bytes or topic.batch_bytes, topic.batch_bytes),
            **security,
        )
        place = self._settings.place
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await producer.start()
                await producer.partitions_for(self._settings.topic)
        except BaseException as exc:
            await producer.close()
            if isinstance(exc, ClusterAuthorizationFailedError):
                raise Park(f"{place} does not let this user write idempotently: {words_of(exc)}") from exc
            if isinstance(exc, KafkaError | OSError):
                raise Retry(f"{place} cannot be used: {words_of(exc)}") from exc
            raise
        return producer


def _appended(batch: Batch, index: int, record: Record) -> bool:
    """Whether there was room for it."""
    appended = batch.builder.append(timestamp=None, key=record.key, value=record.value, headers=record.headers)
    if appended is not None:
        batch.indexes.append(index)
    return appended is not None
