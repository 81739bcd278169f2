"""Delivery to real servers that refuse, fail over, encrypt, or belong to a cluster."""

import asyncio
import contextlib

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from listener.errors import Park, Retry, StartError
from listener.testing.events import SAMPLE_MS, sample_event
from support.authority import Authority
from support.broker import free_port
from support.eventually import eventually
from support.redisserver import redis_version


def an_event(number, *, sequence=None, later_ms=0, **changes):
    event = sample_event(number, received_ms=SAMPLE_MS + later_ms, sequence=number if sequence is None else sequence)
    return replace(event, **changes)


async def numbers(server):
    """The events of the stream, by their numbers."""
    return [int(fields["id"].removeprefix("event-")) for _, fields in await server.entries()]


async def test_an_entry_has_the_time_and_place_of_its_event_as_id_and_what_readers_route_by_as_fields(server, sink_to):
    event = an_event(7, later_ms=5)
    await sink_to(server).deliver([event])
    ((entry, fields),) = await server.entries()
    assert entry == f"{SAMPLE_MS + 5}-7"
    assert fields == {
        "id": "event-7",
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "sequence": "7",
        "content-type": "application/cloudevents+json; charset=utf-8",
        "body": event.to_json().decode(),
    }


async def test_another_form_is_written_as_it_is_with_the_same_fields_beside_it(server, sink_to):
    await sink_to(server, format="template", template="$chatId: $disposition").deliver([an_event(1)])
    ((_, fields),) = await server.entries()
    assert (fields["id"], fields["content-type"]) == ("event-1", "text/plain; charset=utf-8")
    assert fields["body"] == "0000Na9B26EF003M: IssueResolved"


LATE = {
    "of a replayed letter": an_event(2),
    "of a journal that was begun anew": an_event(50, sequence=1),
    "of a clock that was set back": an_event(50, later_ms=-60_000),
    "at the place of another journal's": an_event(50, sequence=3),
    "with a known id of another source": an_event(50, sequence=3, id="event-3", source="http://other.example.com"),
}


@pytest.mark.parametrize("window", [10_000, 3])
@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
async def test_an_event_that_comes_late_is_written_once_behind_the_others(server, sink_to, late, window):
    sink = sink_to(server, dedup_window=window)
    for batch in ([an_event(1), an_event(3), an_event(9)], [late], [late, an_event(10)], [late]):
        await sink.deliver(batch)
    fields = [fields for _, fields in await server.entries()]
    assert [(one["id"], one["source"]) for one in fields] == [
        (one.id, one.source) for one in (an_event(1), an_event(3), an_event(9), late, an_event(10))
    ]


async def test_the_events_after_a_late_one_keep_the_ids_that_they_should_have(server, sink_to):
    sink = sink_to(server)
    await sink.deliver([an_event(5)])
    await sink.deliver([an_event(2), an_event(6, later_ms=1)])
    assert [entry for entry, _ in await server.entries()] == [
        f"{SAMPLE_MS}-5",
        f"{SAMPLE_MS}-6",
        f"{SAMPLE_MS + 1}-6",
    ]


async def test_an_event_whose_mark_is_gone_is_known_by_its_entry(server, sink_to):
    """So a cursor that was lost, which brings the whole journal again, doubles nothing either."""
    sink = sink_to(server, dedup_window=2)
    events = [an_event(number) for number in range(1, 21)]
    for batch in (events, events[:10], events):
        await sink.deliver(batch)
    assert await numbers(server) == list(range(1, 21))


async def test_an_event_whose_entry_is_gone_is_known_by_its_mark(server, sink_to):
    """As after a reader that deletes what it has taken."""
    sink = sink_to(server)
    await sink.deliver([an_event(1), an_event(2)])
    async with server.client() as client:
        await client.xdel("dispositions", f"{SAMPLE_MS}-1", f"{SAMPLE_MS}-2")
    await sink.deliver([an_event(1), an_event(2), an_event(3)])
    assert await numbers(server) == [3]


async def test_what_others_write_to_the_stream_is_no_hindrance(server, sink_to):
    async with server.client() as client:
        await client.xadd("dispositions", {"note": "of a clock far ahead"}, id=f"{SAMPLE_MS + 10**9}-5")
    for _ in range(2):
        await sink_to(server).deliver([an_event(1), an_event(2)])
    entries = await server.entries()
    assert [fields.get("id") for _, fields in entries] == [None, "event-1", "event-2"]


async def test_no_more_marks_are_kept_than_asked_for(server, sink_to):
    await sink_to(server, dedup_window=7).deliver([an_event(number) for number in range(1, 30)])
    async with server.client() as client:
        assert await client.zcard("{dispositions}:ids") == 7
        await sink_to(server, dedup_window=0).deliver([an_event(30)])
        assert await client.exists("{dispositions}:ids") == 0


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"maxlen": 0}, range(3000, 3001)),
        ({"maxlen": 100, "maxlen_exact": True}, range(100, 101)),
        ({"maxlen": 100}, range(100, 250)),  # whole nodes of the stream
    ],
)
async def test_the_stream_is_kept_as_long_as_asked_for(server, sink_to, options, kept):
    events = [an_event(number) for number in range(1, 3001)]
    sink = sink_to(server, **options)
    for start in range(0, 3000, 500):
        await sink.deliver(events[start : start + 500])
    assert len(found := await numbers(server)) in kept
    assert found == list(range(3001 - len(found), 3001))


async def test_a_batch_of_many_bytes_goes_in_several_calls_and_keeps_its_order(server, sink_to):
    events = [sample_event(number, sequence=number, data_bytes=900_000) for number in range(1, 13)]
    async with server.client() as client:
        await client.config_resetstat()
        await sink_to(server).deliver(events)
        calls = (await client.info("commandstats"))["cmdstat_eval"]["calls"]
    assert await numbers(server) == list(range(1, 13))
    assert calls == 1 + 3, "the probe, and at most 4 MiB each"


EVENTS = [sample_event(number, sequence=number) for number in range(1, 6)]
PERMISSIONS = "+eval +xadd +xrange +xinfo +xtrim +zadd +zscore +zrevrange +zremrangebyrank"


async def ids(server, **login):
    return [fields["id"] for _, fields in await server.entries(**login)]


ALL = [event.id for event in EVENTS]


# Who may write, and what.


async def test_a_user_with_few_permissions_on_two_keys_is_enough(start_redis, sink_to):
    """What full.toml names. The rest (INFO, CONFIG, WAITAOF) is for telling what an acknowledgement is worth."""
    server = start_redis(
        user=f"listener on >hush resetchannels ~dispositions ~{{dispositions}}:ids -@all {PERMISSIONS}"
    )
    sink = sink_to(server, username="listener", password="hush")
    await sink.check()
    await sink.deliver(EVENTS[:3])
    await sink.deliver([EVENTS[4]])
    await sink.deliver(EVENTS)
    assert await ids(server) == [event.id for event in (*EVENTS[:3], EVENTS[4], EVENTS[3])]


@pytest.mark.parametrize(
    "missing", [*(word for word in PERMISSIONS.split() if word != "+eval"), "~{dispositions}:ids", "~dispositions"]
)
async def test_a_permission_that_is_needed_one_day_is_missed_at_the_start(start_redis, sink_to, missing):
    if redis_version() < (7,):
        pytest.skip("scripts can ask for permissions since Redis 7")
    rules = [word for word in (*PERMISSIONS.split(), "~{dispositions}:ids", "~dispositions") if word != missing]
    server = start_redis(user=f"listener on >hush -@all {' '.join(rules)}")
    sink = sink_to(server, username="listener", password="hush")
    for attempt in (sink.check, sink.open):
        with pytest.raises(Park, match=r"may not use|[Nn]o permissions"):
            await attempt()


@pytest.mark.parametrize("login", [{"username": "listener", "password": "hush"}, {}])
async def test_a_login_that_is_refused_parks_and_is_not_told(start_redis, sink_to, login):
    server = start_redis(requirepass="other")
    with capture_logs() as logs, pytest.raises(Park, match="refuses the login") as caught:
        await sink_to(server, **login).open()
    assert "hush" not in f"{caught.value.reason}{logs}"
    await sink_to(server, username="default", password="other").deliver(EVENTS)


@pytest.mark.parametrize("key", ["dispositions", "{dispositions}:ids"])
async def test_a_key_of_another_type_parks(server, sink_to, key):
    async with server.client() as client:
        await client.set(key, "something else")
    sink = sink_to(server)
    for attempt in (sink.check, sink.open):
        with pytest.raises(Park, match="WRONGTYPE"):
            await attempt()


async def test_a_database_that_is_not_there_parks(server, sink_to):
    with pytest.raises(Park, match="DB index"):
        await sink_to(server, url=f"{server.address}/99").open()


async def test_another_database_is_used_as_the_address_says(server, sink_to):
    await sink_to(server, url=f"{server.address}/3").deliver(EVENTS)
    assert await ids(server, db=3) == ALL
    assert await ids(server) == []


# Troubles that pass.


async def test_a_server_without_memory_is_waited_for(start_redis, sink_to):
    server = start_redis(maxmemory_policy="noeviction")
    sink = sink_to(server)
    await sink.deliver(EVENTS[:2])
    async with server.client() as client:
        await client.config_set("maxmemory", 1)
        with pytest.raises(Retry, match="maxmemory"):
            await sink.deliver(EVENTS)
        assert await ids(server) == ALL[:2]
        await client.config_set("maxmemory", 0)
    await sink.deliver(EVENTS)
    assert await ids(server) == ALL


async def test_a_server_that_became_a_replica_is_waited_for_and_a_new_master_found(start_redis, sink_to):
    server, other = start_redis(), start_redis()
    sink = sink_to(server)
    await sink.deliver(EVENTS[:2])
    async with server.client() as client:
        await client.replicaof("127.0.0.1", other.port)
        with pytest.raises(Retry):
            await sink.deliver(EVENTS)
        with pytest.raises(Retry, match="replica"):
            await sink.check()
        await client.replicaof("NO", "ONE")
    await sink.deliver(EVENTS)
    assert await ids(server) == ALL


async def test_something_else_that_answers_there_is_waited_for(sink_to, owned):
    async def answer(_reader, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\nhush")
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    owned.callback(listening.close)
    sink = sink_to(None, url=f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    with pytest.raises(Retry) as caught:
        await sink.open()
    assert "hush" not in caught.value.reason


# What is waited for behind a write.


@contextlib.asynccontextmanager
async def replicated(start_redis):
    server = start_redis()
    replica = start_redis(replicaof=f"127.0.0.1 {server.port}")

    async def synced():
        async with server.client() as client:
            return (await client.info("replication")).get("slave0", {}).get("state") == "online"

    await eventually(synced)
    yield server, replica


async def test_a_batch_is_acknowledged_once_as_many_replicas_have_it_as_asked_for(start_redis, sink_to):
    async with replicated(start_redis) as (server, replica):
        await sink_to(server, wait_replicas=1).deliver(EVENTS)
        assert await ids(replica) == ALL
        with pytest.raises(Retry, match="1 of wait_replicas = 2"):
            await sink_to(server, wait_replicas=2, timeout_s=0.4).deliver(EVENTS)


async def test_a_repetition_waits_for_the_replicas_as_well(start_redis, sink_to):
    """Asked over a new connection that has written nothing, Redis 7.2 and later would take that for replicated."""
    async with replicated(start_redis) as (server, replica):
        async with replica.stall():
            for _ in range(2):
                with pytest.raises(Retry, match="0 of wait_replicas = 1"):
                    await sink_to(server, wait_replicas=1, timeout_s=1.0).deliver(EVENTS)
        await sink_to(server, wait_replicas=1).deliver(EVENTS)
        assert await ids(replica) == ALL


async def test_a_server_that_can_tell_is_waited_for_until_its_disk_has_the_batch(start_redis, sink_to):
    if redis_version() < (7, 2):
        pytest.skip("WAITAOF came with Redis 7.2")
    server = start_redis(appendfsync="everysec")
    sink = sink_to(server)
    with capture_logs() as logs:
        await sink.deliver(EVENTS)
    assert [(log["event"], log["waits_for_fsync"]) for log in logs] == [("sink_durability", True)]
    assert await ids(server) == ALL
    async with server.client() as client:
        assert (await client.info("commandstats"))["cmdstat_waitaof"]["calls"] == 2, "asked for at the start, and used"


async def test_a_server_whose_fsyncs_nobody_waits_for_is_not_waited_for(start_redis, sink_to):
    server = start_redis(appendfsync="no")
    await sink_to(server, timeout_s=2).deliver(EVENTS)
    assert await ids(server) == ALL


async def test_where_the_disk_does_not_follow_in_time_the_batch_comes_again(start_redis, sink_to):
    if redis_version() < (7, 2):
        pytest.skip("WAITAOF came with Redis 7.2")
    server = start_redis(appendfsync="everysec")
    patient, hasty = sink_to(server), sink_to(server, timeout_s=0.4)
    await hasty.open()
    await patient.deliver(EVENTS[:2])  # the next fsync is a second away
    with pytest.raises(Retry, match="not on its disk yet"):
        await hasty.deliver(EVENTS)
    await patient.deliver(EVENTS)
    assert await ids(server) == ALL


# Ways to a server.


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


async def test_over_tls_both_sides_are_verified(start_redis, sink_to, authority):
    server = start_redis(authority=authority)
    own = authority.issue("client").name
    await sink_to(server, ca_file="ca.pem", client_cert_file=own).deliver(EVENTS)
    assert await ids(server) == ALL
    for options in ({"client_cert_file": own}, {"ca_file": "ca.pem"}):
        with pytest.raises(Retry):
            await sink_to(server, **options).open()
    await sink_to(server, verify=False, client_cert_file=own).check()


async def test_a_certificate_for_another_host_is_refused(start_redis, sink_to, authority):
    server = start_redis(authority=authority, bind="127.0.0.1 127.0.0.2")
    options = {"ca_file": "ca.pem", "client_cert_file": authority.issue("client").name}
    await sink_to(server, url=f"rediss://localhost:{server.port}", **options).check()
    with pytest.raises(Retry, match="IP address mismatch"):
        await sink_to(server, url=f"rediss://127.0.0.2:{server.port}", **options).check()


async def test_a_certificate_that_is_none_is_told_with_its_setting(server, sink_to, tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate", encoding="utf-8")
    with pytest.raises(StartError, match=r"sinks\.bus\.ca_file"):
        await sink_to(server, url=f"rediss://127.0.0.1:{server.port}", ca_file="ca.pem").open()


async def test_a_socket_of_the_host_is_a_way_too(start_redis, sink_to, tmp_path):
    server = start_redis(unixsocket=tmp_path / "redis.sock")
    await sink_to(server, url=f"unix://{tmp_path}/redis.sock").deliver(EVENTS)
    assert await ids(server) == ALL


# A cluster.


@pytest.fixture
async def cluster(start_redis):
    """Two nodes, the one that is asked first and the one that has the stream."""
    if redis_version() < (7,):
        pytest.skip("a cluster's second port can be chosen since Redis 7")
    buses = [free_port() for _ in range(2)]
    nodes = [start_redis(cluster_enabled="yes", cluster_node_timeout=2000, cluster_port=bus) for bus in buses]
    async with nodes[0].client() as client:
        slot = await client.execute_command("CLUSTER KEYSLOT", "dispositions")
        assert slot == await client.execute_command("CLUSTER KEYSLOT", "{dispositions}:ids")
        await client.execute_command("CLUSTER MEET", "127.0.0.1", nodes[1].port, buses[1])
        await client.execute_command("CLUSTER ADDSLOTSRANGE", 0, slot - 1, slot + 1, 16383)
    async with nodes[1].client() as client:
        await client.execute_command("CLUSTER ADDSLOTS", slot)
    return nodes


async def healthy(node):
    async with node.client() as client:
        return (await client.execute_command("CLUSTER INFO"))["cluster_state"] == "ok"


async def test_in_a_cluster_the_node_is_found_that_has_the_stream(cluster, sink_to):
    asked, other = cluster
    sink = sink_to(asked)
    for node in cluster:
        await eventually(lambda node=node: healthy(node))
    await sink.check()
    await sink.deliver(EVENTS[:2])
    async with other.outage():
        with pytest.raises(Retry):
            await sink.deliver(EVENTS)
    await eventually(lambda: healthy(asked))
    await eventually(lambda: healthy(other))
    await sink.deliver(EVENTS)
    assert await ids(other) == ALL


async def test_a_cluster_that_serves_nothing_is_waited_for(start_redis, sink_to):
    with pytest.raises(Retry, match="Hash slot not served"):
        await sink_to(start_redis(cluster_enabled="yes", cluster_port=free_port())).open()
