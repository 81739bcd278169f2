import asyncio
import inspect
import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer.sender import Sender
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from listener.errors import Park, Retry, StartError
from listener.sinks.kafka.session import Producer
from support.broker import free_port
from support.events import disposition_event
from support.kafkabroker import PASSWORD, USER
from support.kafkacluster import messages_of, new_mock_topic, new_topic

pytestmark = pytest.mark.timeout(300)  # the first test may have to fetch the broker


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("tls", [True, False])
async def test_a_user_and_a_password_are_enough_and_wrong_ones_need_a_person(
    broker, sink_to, authority, tmp_path, mechanism, tls
):
    topic = await new_topic(broker)
    server = broker.at("SASL_SSL" if tls else "SASL_PLAINTEXT")
    options = {"tls": True, "ca_file": str(authority.ca_file)} if tls else {}
    options |= {"username": USER, "sasl_mechanism": mechanism, "password_file": str(tmp_path / "password")}
    (tmp_path / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    sink = sink_to(server, topic, **options)
    await sink.open()
    await sink.deliver([disposition_event(1)])
    assert len(await messages_of(broker, topic)) == 1
    (tmp_path / "password").write_text("wrong-" + PASSWORD, encoding="utf-8")
    with pytest.raises(Park, match=rf"^{server} refuses our credentials: ") as caught:
        await sink.check()
    assert PASSWORD not in str(caught.value)


async def test_a_brokers_certificate_is_verified_and_ours_is_shown(broker, sink_to, authority):
    topic = await new_topic(broker)
    tls = {"tls": True, "client_cert_file": str(authority.issue("client"))}
    await sink_to(broker.at("SSL"), topic, **tls, ca_file=str(authority.ca_file)).check()
    await sink_to(broker.at("SSL"), topic, **tls, verify=False).check()
    with pytest.raises(Retry, match="CERTIFICATE_VERIFY_FAILED"):
        await sink_to(broker.at("SSL"), topic, **tls).check()
    with pytest.raises(Retry):
        await sink_to(broker.at("SSL"), topic, tls=True, ca_file=str(authority.ca_file)).check()


async def test_a_broker_that_wants_tls_is_not_talked_to_without_it(broker, sink_to):
    with pytest.raises(Retry, match=broker.at("SASL_SSL")):
        await sink_to(broker.at("SASL_SSL"), timeout_s=1, username=USER, password=PASSWORD).check()


async def test_a_certificate_that_cannot_be_used_is_the_hosts_matter(mock, sink_to, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate", encoding="utf-8")
    with pytest.raises(StartError, match=r"sinks\.bus\.ca_file"):
        await sink_to(mock.server, tls=True, ca_file=str(tmp_path / "ca.pem")).open()


async def test_a_cluster_that_is_not_there_is_told_with_each_address(sink_to):
    ports = [free_port() for _ in range(2)]
    servers = [f"127.0.0.1:{port}" for port in ports]
    with pytest.raises(Retry) as caught:
        await sink_to("", bootstrap_servers=servers).check()
    for server in servers:
        assert f"{server} cannot be reached: " in caught.value.reason


async def test_another_server_of_the_list_stands_in(mock, sink_to):
    topic = await new_mock_topic(mock)
    sink = sink_to("", topic, bootstrap_servers=[f"127.0.0.1:{free_port()}", mock.server])
    await sink.open()
    await sink.deliver([disposition_event(1)])


async def test_a_producer_is_given_up_at_once(mock):
    """With requests in flight to two brokers that keep silent, which the library would wait for."""
    topic = await new_mock_topic(mock)
    before = asyncio.all_tasks()
    producer = Producer(bootstrap_servers=mock.server, enable_idempotence=True, request_timeout_ms=30_000)
    await producer.start()
    partitions = await producer.partitions_for(topic)
    async with mock.stall():
        for partition in partitions:
            batch = producer.create_batch()
            batch.append(timestamp=None, key=b"a", value=b"b")
            await producer.send_batch(batch, topic, partition=partition)
        await asyncio.sleep(0.3)
        assert producer._requests()
        began = time.monotonic()
        await producer.close()
        await producer.close()
        assert time.monotonic() - began < 10
        assert [task for task in asyncio.all_tasks() - before if not task.done()] == []


def test_the_names_that_giving_up_relies_on_are_there():
    async def look():
        producer = AIOKafkaProducer()
        assert producer._closed is False
        assert producer._sender.sender_task is None
        assert inspect.iscoroutinefunction(Sender._send_produce_req)
        await producer.stop()

    asyncio.run(look())


ONE_REPLICA = "one replica: the only copy, which Kafka leaves to the operating system to fsync"


async def told(sink):
    """What a sink tells when it opens."""
    with capture_logs() as logs:
        await sink.open()
    (line,) = logs
    return line


async def test_what_an_acknowledgement_of_one_replica_is_worth_is_told(broker, sink_to):
    topic = await new_topic(broker)
    assert await told(sink_to(broker.server, topic)) == {
        "event": "sink_durability_weak",
        "log_level": "warning",
        "sink": "bus",
        "destination": f"{broker.server}, topic {topic}",
        "risks": [ONE_REPLICA],
        "effect": "an event acknowledged there can still be lost",
        "replicas": 1,
        "min_insync_replicas": 1,
    }


async def test_what_the_topic_is_set_to_do_with_events_is_told(broker, sink_to):
    options = {"cleanup_policy": "compact", "unclean_leader_election_enable": "true", "min_insync_replicas": "2"}
    line = await told(sink_to(broker.server, await new_topic(broker, **options)))
    assert line["min_insync_replicas"] == 2
    assert line["risks"] == [
        ONE_REPLICA,
        "unclean.leader.election.enable: a replica that lags behind may become the leader",
        "cleanup.policy is compact: only the newest event of each chat is kept",
    ]


async def test_a_cluster_that_does_not_tell_of_itself_is_a_warning(mock, sink_to):
    line = await told(sink_to(mock.server, await new_mock_topic(mock)))
    assert line["replicas"] == 2
    assert line["min_insync_replicas"] is None
    assert line["risks"] == ["this user may not read min.insync.replicas and the topic's other settings"]


async def test_a_missing_topic_parks_the_lane_and_is_not_made_by_asking(broker, sink_to):
    """The cluster makes topics by itself as soon as somebody asks for one by its name."""
    sink = sink_to(broker.server, "missing")
    for asking in (sink.check, sink.open):
        with pytest.raises(Park, match=f"topic missing at {broker.server} does not exist"):
            await asking()
    with pytest.raises(Park):
        await sink.deliver([disposition_event(1)])
    assert "missing" not in AdminClient({"bootstrap.servers": broker.server}).list_topics(timeout=10).topics
