import contextlib

import pytest
from nats.js.api import StorageType
from structlog.testing import capture_logs

from listener.config.lane import LaneSettings
from listener.errors import Park, Reject, Retry
from listener.sinks import registry
from support.broker import free_port
from support.events import disposition_event, events_of
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
        "the stream is in memory: it is lost with its servers",
        "retention by interest: events that no consumer waits for are dropped",
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

        await eventually(made, timeout_s=60)
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


async def opened(sink):
    await sink.open()
    return sink


async def test_a_message_says_what_it_is(server):
    await server.make_stream()
    lane = LaneSettings(type="nats", servers=[server.address], format="template", template="$chatId: $disposition")
    sink = await opened(registry.build("bus", lane, base=None))
    event = disposition_event(1)
    await sink.deliver([event])
    await sink.close()
    (message,) = await server.messages()
    assert message.data == b"0000Na9B26EF003M: IssueResolved"
    assert message.headers == {
        "Nats-Msg-Id": event.id,
        "Nats-Expected-Stream": STREAM,
        "Content-Type": "text/plain; charset=utf-8",
    }


async def test_what_the_stream_itself_does_not_take_is_refused_and_the_rest_of_its_chat_goes_on(server, sink_to):
    await server.make_stream(max_msg_size=2000)
    batch = events_of(9, chats=3)
    batch[4] = disposition_event(5, chat=batch[4].subject, value="x" * 2000)
    with pytest.raises(Reject) as caught:
        await (await opened(sink_to(server))).deliver(batch)
    assert caught.value.letters.keys() == {4}
    assert caught.value.delivered == set(range(9)) - {4}
    assert "x" * 10 not in caught.value.reason
    assert {event["id"] for event in await server.events()} == {event.id for event in batch} - {batch[4].id}


async def test_a_full_stream_holds_each_chat_where_it_stands(server, sink_to):
    """A small event that would still fit does not overtake the larger one before it."""
    await server.make_stream(max_bytes=3000, discard="new")
    batch = [disposition_event(1, chat="a"), disposition_event(2, chat="b", value="x" * 3000)]
    batch += [disposition_event(3, chat="b"), disposition_event(4, chat="a")]
    with pytest.raises(Retry, match="maximum bytes exceeded") as caught:
        await (await opened(sink_to(server))).deliver(batch)
    assert caught.value.delivered == {0, 3}
    assert [event["id"] for event in await server.events()] == [batch[0].id, batch[3].id]


async def test_a_stream_that_goes_away_parks_the_lane_at_the_next_attempt(server, sink_to):
    await server.make_stream()
    sink = await opened(sink_to(server))
    await server.make_stream(subjects=["elsewhere"])
    with pytest.raises(Retry, match="no stream has the subject"):
        await sink.deliver(events_of(3, chats=2))
    with pytest.raises(Park, match="takes elsewhere, not dispositions"):
        await sink.deliver(events_of(3, chats=2))


async def test_a_subject_of_another_stream_is_not_published_to(server, sink_to):
    await server.make_stream()
    sink = await opened(sink_to(server))
    await server.make_stream(subjects=["elsewhere"])
    async with server.streams() as streams:
        await streams.add_stream(name="OTHER", subjects=[SUBJECT])
        with pytest.raises(Park, match="expected stream does not match"):
            await sink.deliver(events_of(2, chats=2))
        await streams.delete_stream("OTHER")


@pytest.mark.parametrize(
    ("permissions", "outcome"),
    [
        ('publish: { deny: ["dispositions"] }', "does not let this user publish: .*permissions violation for publish"),
        ('subscribe: { deny: ["_INBOX.>"] }', "permissions violation for subscription"),
    ],
)
async def test_a_user_who_may_not_publish_parks_the_lane(start_nats, sink_to, permissions, outcome):
    user = f'{{ user: agent, password: "x", permissions: {{ {permissions} }} }}'
    server = start_nats(f'authorization {{ users: [ {{ user: admin, password: "y" }}, {user} ] }}')
    await server.make_stream({"user": "admin", "password": "y"})
    with pytest.raises(Park, match=outcome):
        await (await opened(sink_to(server, username="agent", password="x"))).deliver(events_of(3, chats=2))


async def test_a_user_who_may_only_publish_can_do_that_and_hears_that_nothing_is_known(start_nats, sink_to, capfd):
    user = '{ user: agent, password: "x", permissions: { publish: { allow: ["dispositions"] } } }'
    server = start_nats(f'authorization {{ users: [ {{ user: admin, password: "y" }}, {user} ] }}')
    await server.make_stream({"user": "admin", "password": "y"})
    sink = await opened(sink_to(server, username="agent", password="x"))
    await sink.deliver(events_of(3, chats=2))
    assert len(await server.messages({"user": "admin", "password": "y"})) == 3


async def test_a_server_that_is_not_there_is_told_with_its_address(sink_to, server):
    port = free_port()
    with pytest.raises(Retry, match=rf"^127.0.0.1:{port} cannot be reached: "):
        await sink_to(server, servers=[f"nats://127.0.0.1:{port}"]).open()


async def test_another_server_of_the_list_stands_in(server, sink_to):
    await server.make_stream()
    sink = await opened(sink_to(server, servers=[f"nats://127.0.0.1:{free_port()}", server.address]))
    await sink.deliver(events_of(1))


async def test_a_server_that_stalls_is_given_up_after_the_timeout(server, sink_to):
    await server.make_stream()
    sink = await opened(sink_to(server, timeout_s=0.3))
    async with server.stall():
        with pytest.raises(Retry, match=r"did not acknowledge within 0.3 s"):
            await sink.deliver(events_of(3))
        with pytest.raises(Retry, match=r"no answer within 0.3 s"):
            await sink.deliver(events_of(3))


async def test_a_sink_that_is_not_open_delivers_nothing(server, sink_to):
    with pytest.raises(Retry, match=r"sinks.bus is not open"):
        await sink_to(server).deliver(events_of(1))
