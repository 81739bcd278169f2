import asyncio
import json
from collections import Counter

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka
from cloudevents.core.formats.json import JSONFormat
from confluent_kafka import Producer as OtherProducer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from hypothesis import given
from hypothesis import strategies as st

from listener.errors import Park, Reject, Retry
from listener.model.forms import CLOUD_EVENT, form_of
from listener.sinks.kafka.sink import record_of
from support.events import disposition_event, events_of, gap_event
from support.faultproxy import FaultProxy
from support.kafkabroker import PASSWORD, USER
from support.kafkacluster import events_of_topic, messages_of, new_mock_topic, new_topic

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
pytestmark = pytest.mark.timeout(300)  # the first test may have to fetch the broker
AS_USER = {"username": USER, "password": PASSWORD}


def read(record):
    """What the authors of CloudEvents take it for."""
    message = KafkaMessage(dict(record.headers), record.key, record.value)
    event = from_kafka(message, JSONFormat())
    return event.get_attributes(), event.get_data()


@given(chat=TEXTS, value=st.text())
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_the_sdk_reads_the_event(mode, chat, value):
    event = disposition_event(7, chat=chat, value=value)
    attributes, data = read(record_of(event, form=CLOUD_EVENT, mode=mode))
    whole = json.loads(event.to_json())
    assert data == whole.pop("data")
    found = {name: str(attributes[name]) for name in whole.keys() - {"time"}}
    assert found == {name: whole[name] for name in found}
    assert attributes["time"].isoformat(timespec="milliseconds").replace("+00:00", "Z") == whole["time"]


def test_what_shares_a_chat_or_for_gaps_an_account_shares_the_key():
    assert record_of(disposition_event(1, chat="chät"), form=CLOUD_EVENT, mode="binary").key == "chät".encode()
    assert record_of(gap_event(2, account="agent1"), form=CLOUD_EVENT, mode="structured").key == b"agent1"


def test_a_structured_record_is_what_the_form_writes_and_says_so():
    event = disposition_event(1)
    record = record_of(event, form=CLOUD_EVENT, mode="structured")
    assert record.headers == [("content-type", b"application/cloudevents+json; charset=utf-8")]
    assert record.value == event.to_json()


@pytest.mark.parametrize(
    ("form", "value", "content_type"),
    [
        (CLOUD_EVENT, None, b"application/json"),
        (form_of("data", None, ""), None, b"application/json"),
        (form_of("template", "$disposition", "text/plain"), b"IssueResolved", b"text/plain"),
    ],
)
def test_a_binary_record_has_the_attributes_in_its_headers_whatever_the_form(form, value, content_type):
    event = disposition_event(7)
    record = record_of(event, form=form, mode="binary")
    assert record.value == (value or event.data)
    assert dict(record.headers) == {
        "content-type": content_type,
        "ce_specversion": b"1.0",
        "ce_type": event.type.encode(),
        "ce_source": event.source.encode(),
        "ce_id": event.id.encode(),
        "ce_subject": event.subject.encode(),
        "ce_time": event.time.encode(),
        "ce_sequence": b"7",
    }


def deny(broker, topic, operation):
    """USER may not do this with the topic, but everything else."""
    on_topic = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL)
    rules = [
        AclBinding(*on_topic, f"User:{USER}", "*", AclOperation.ALL, AclPermissionType.ALLOW),
        AclBinding(*on_topic, f"User:{USER}", "*", operation, AclPermissionType.DENY),
    ]
    admin = AdminClient({"bootstrap.servers": broker.server})
    for made in admin.create_acls(rules).values():
        made.result(10)


async def bring_all(sink, events):
    """As a lane does; returns what was rejected."""
    rejected = []
    for _ in range(30):
        try:
            await sink.deliver(events)
        except (Retry, Reject) as outcome:
            letters = outcome.letters.keys() if isinstance(outcome, Reject) else set()
            rejected += [events[index] for index in letters]
            done = outcome.delivered | letters
            events = [event for index, event in enumerate(events) if index not in done]
        else:
            return rejected
        if not events:
            return rejected
    raise AssertionError(f"{len(events)} are left")


async def test_within_one_producer_session_nothing_is_doubled_when_the_broker_is_killed(broker, sink_to):
    """Amid 10,000 events, with a batch in flight: the producer repeats it under its numbers until it is taken."""
    topic = await new_topic(broker)
    sink = sink_to(broker.server, topic, timeout_s=120)
    await sink.open()
    everything = events_of(10_000, chats=50)
    for start in range(0, len(everything), 500):
        delivery = asyncio.ensure_future(sink.deliver(everything[start : start + 500]))
        if start == 5000:
            await asyncio.sleep(0.01)
            async with broker.outage():
                pass
        await delivery
    arrived = await events_of_topic(broker, topic)
    assert Counter(event["id"] for event in arrived) == Counter(event.id for event in everything)
    newest = {}
    for event in arrived:
        assert int(event["sequence"]) > newest.get(event["subject"], 0)
        newest[event["subject"]] = int(event["sequence"])


async def test_a_batch_whose_acknowledgement_is_lost_is_there_once(broker, sink_to):
    """The broker recognizes the numbers of what the producer repeats."""
    topic = await new_topic(broker, partitions=1)
    async with FaultProxy(broker.ports["LINK"], port=broker.link_port) as link:
        sink = sink_to(f"127.0.0.1:{link.port}", topic)
        await sink.open()
        batches = [events_of(5, first=1 + 5 * number) for number in range(4)]
        for batch in batches:
            link.drop_next_response()
            await sink.deliver(batch)
            assert not link.cut_pending
    assert [event["id"] for event in await events_of_topic(broker, topic)] == [e.id for batch in batches for e in batch]


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_a_chat_is_in_the_partition_where_other_producers_look_for_it(broker, sink_to, mode):
    topic = await new_topic(broker, partitions=7)
    sink = sink_to(broker.server, topic, mode=mode)
    await sink.open()
    await sink.deliver(events_of(40, chats=40))
    ours = {message.key(): message.partition() for message in await messages_of(broker, topic)}
    other = OtherProducer({"bootstrap.servers": broker.server, "partitioner": "murmur2_random"})
    theirs = {}
    for key in ours:
        other.produce(
            topic, b"", key, on_delivery=lambda _, message: theirs.update({message.key(): message.partition()})
        )
    other.flush(10)
    assert theirs == ours
    assert len(ours) == 40


async def test_batches_are_as_large_as_the_topic_takes_and_one_event_that_is_larger_is_refused(broker, sink_to):
    topic = await new_topic(broker, partitions=1, max_message_bytes="20000")
    sink = sink_to(broker.server, topic)
    await sink.open()
    batch = events_of(200, chats=7)
    batch[100] = disposition_event(101, chat=batch[100].subject, value="x" * 20_000)
    with pytest.raises(Reject, match="larger than the 20000 bytes") as caught:
        await sink.deliver(batch)
    assert caught.value.letters.keys() == {100}
    assert caught.value.delivered == set(range(200)) - {100}
    assert [event["id"] for event in await events_of_topic(broker, topic)] == [
        event.id for event in batch if event is not batch[100]
    ]


async def test_where_the_limit_is_not_told_it_is_found(broker, sink_to):
    """Of a batch that is refused nothing is taken, and nothing overtakes it."""
    topic = await new_topic(broker, partitions=1, max_message_bytes="20000")
    deny(broker, topic, AclOperation.DESCRIBE_CONFIGS)
    sink = sink_to(broker.at("SASL_PLAINTEXT"), topic, **AS_USER)
    await sink.open()
    batch = events_of(200, chats=7)
    batch[100] = disposition_event(101, chat=batch[100].subject, value="x" * 20_000)
    assert await bring_all(sink, batch) == [batch[100]]
    assert [event["id"] for event in await events_of_topic(broker, topic)] == [
        event.id for event in batch if event is not batch[100]
    ]


async def test_a_user_who_may_not_write_parks_the_lane(broker, sink_to):
    topic = await new_topic(broker)
    deny(broker, topic, AclOperation.WRITE)
    sink = sink_to(broker.at("SASL_PLAINTEXT"), topic, **AS_USER)
    await sink.open()
    with pytest.raises(Park, match=f"topic {topic} at .*: .*TopicAuthorizationFailed"):
        await sink.deliver(events_of(3))


async def test_a_cluster_that_stalls_is_given_up_after_the_timeout(mock, sink_to):
    sink = sink_to(mock.server, await new_mock_topic(mock), timeout_s=0.5)
    await sink.open()
    async with mock.stall():
        with pytest.raises(Retry, match=r"did not acknowledge within 0.5 s"):
            await sink.deliver(events_of(3))
        with pytest.raises(Retry, match=r"did not answer within 0.5 s"):
            await sink.deliver(events_of(3))


async def test_a_sink_that_is_not_open_delivers_nothing(mock, sink_to):
    with pytest.raises(Retry, match=r"sinks.bus is not open"):
        await sink_to(mock.server).deliver(events_of(1))
