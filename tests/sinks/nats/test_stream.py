import contextlib

import pytest
from nats.js.api import StorageType
from structlog.testing import capture_logs

from listener.errors import Park
from support.broker import free_port
from support.events import disposition_event
from support.eventually import eventually
from support.natsserver import STREAM, SUBJECT, NatsServer

ONE_REPLICA = "one replica: the only copy, which the server fsyncs every two minutes unless its sync_interval differs"


async def told(sink):
    """What a sink tells when it opens."""
    with capture_logs() as logs:
        await sink.open()
    return logs


async def test_what_an_acknowledgement_of_one_replica_is_worth_is_told(server, sink_to):
    await server.make_stream()
    (line,) = await told(sink_to(server))
    assert line == {
        "event": "sink_durability_weak",
        "log_level": "warning",
        "sink": "bus",
        "destination": f"127.0.0.1:{server.port}, stream {STREAM}",
        "risks": [ONE_REPLICA],
        "effect": "an event acknowledged there can still be lost",
        "replicas": 1,
        "storage": "file",
        "duplicate_window_s": 120.0,
        "max_age_s": 0.0,
    }


async def test_a_stream_in_memory_and_one_that_drops_what_nobody_waits_for_are_told(server, sink_to):
    await server.make_stream(storage=StorageType.MEMORY, retention="interest")
    (line,) = await told(sink_to(server))
    assert line["risks"] == [
        "the stream is in memory: it ends with its servers",
        "retention by interest: what no consumer waits for is dropped",
    ]


async def test_a_window_that_is_too_short_to_recognise_what_comes_again_is_a_warning(server, sink_to):
    await server.make_stream(duplicate_window=5)
    _, line = await told(sink_to(server))
    assert (line["event"], line["log_level"], line["sink"]) == ("sink_duplicates_possible", "warning", "bus")
    assert line["duplicate_window_s"] == 5.0


async def test_three_replicas_are_told_without_a_warning(tmp_path, sink_to):
    routes = [free_port() for _ in range(3)]
    listed = ", ".join(f"nats://127.0.0.1:{route}" for route in routes)
    with contextlib.ExitStack() as stack:
        nodes = []
        for number, route in enumerate(routes):
            folder = tmp_path / f"node-{number}"
            folder.mkdir()
            lines = f"server_name: n{number}\ncluster {{ name: C, listen: 127.0.0.1:{route}, routes: [{listed}] }}"
            nodes.append(stack.enter_context(NatsServer(folder, configuration=lines)))

        async def made():
            with contextlib.suppress(Exception):  # until the cluster has a leader, in several words
                await nodes[0].make_stream(num_replicas=3)
                return True

        await eventually(made, timeout_s=30)
        sink = sink_to(nodes[1])
        (line,) = await told(sink)
        assert (line["event"], line["replicas"]) == ("sink_durability", 3)
        await sink.deliver([disposition_event(number) for number in range(3)])
        assert len(await nodes[2].events()) == 3


async def test_a_missing_stream_is_made_where_the_settings_ask_for_it_but_not_by_the_probe(start_nats, sink_to):
    server = start_nats()
    with pytest.raises(Park, match=f"stream {STREAM} at 127.0.0.1:{server.port} does not exist"):
        await sink_to(server).open()
    sink = sink_to(server, create_stream=True)
    await sink.check()
    with pytest.raises(Park, match="does not exist"):
        await sink_to(server).check()
    await sink.open()
    await sink_to(server).check()
    await sink.deliver([disposition_event(1)])
    assert len(await server.events()) == 1


@pytest.mark.parametrize("pattern", ["*.chat.agent1", "dispositions.*.agent1", "dispositions.>", "dispositions.chat.>"])
async def test_a_stream_that_covers_the_subject_can_be_used(server, sink_to, pattern):
    await server.make_stream(subjects=["other", pattern])
    await sink_to(server, subject="dispositions.chat.agent1").check()


@pytest.mark.parametrize(
    ("stream", "subject", "problem"),
    [
        ({"subjects": ["other.>"]}, SUBJECT, "takes other.>, not dispositions"),
        ({"subjects": ["dispositions.>"]}, SUBJECT, r"takes dispositions.>, not dispositions"),
        ({"subjects": ["dispositions.*"]}, "dispositions.a.b", "takes dispositions"),
        ({"no_ack": True}, SUBJECT, "acknowledges nothing"),
    ],
)
async def test_a_stream_that_cannot_be_used_parks_the_lane(server, sink_to, stream, subject, problem):
    await server.make_stream(**stream)
    sink = sink_to(server, subject=subject)
    for asking in (sink.check, sink.open):
        with pytest.raises(Park, match=problem):
            await asking()


async def test_a_server_without_jetstream_is_not_taken_for_a_missing_stream(start_nats, sink_to):
    server = start_nats(jetstream=False)
    with pytest.raises(Exception, match=rf"stream {STREAM} at 127.0.0.1:{server.port}: no JetStream there"):
        await sink_to(server).check()
