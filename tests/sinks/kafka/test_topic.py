import pytest
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from listener.errors import Park
from support.events import disposition_event
from support.kafkacluster import new_mock_topic, new_topic

pytestmark = pytest.mark.timeout(300)  # the first test may have to fetch the broker

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
        "cleanup.policy is compact: of each chat the newest event alone is kept",
    ]


async def test_a_cluster_that_does_not_tell_of_itself_is_a_warning(mock, sink_to):
    line = await told(sink_to(mock.server, await new_mock_topic(mock)))
    assert line["replicas"] == 2
    assert line["min_insync_replicas"] is None
    assert line["risks"] == ["the cluster does not tell this user min.insync.replicas and the topic's other settings"]


async def test_a_missing_topic_parks_the_lane_and_is_not_made_by_asking(broker, sink_to):
    """The cluster makes topics by itself as soon as somebody asks for one by its name."""
    sink = sink_to(broker.server, "missing")
    for asking in (sink.check, sink.open):
        with pytest.raises(Park, match=f"topic missing at {broker.server} does not exist"):
            await asking()
    with pytest.raises(Park):
        await sink.deliver([disposition_event(1)])
    assert "missing" not in AdminClient({"bootstrap.servers": broker.server}).list_topics(timeout=10).topics
